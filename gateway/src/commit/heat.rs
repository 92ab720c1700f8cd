//! Which heads say what was used lately.
//!
//! A heat takes some 64 KiB in a head, and heads come every few seconds: so one in [`EVERY`] carries it, and those after
//! it name that one, which stays among the kept ones until another has taken its place.

use std::time::Duration;

use tidegate_replicator::repository::{HeadName, Heat, KeptHead, UtcNanos};

use super::Committer;
use super::line::Parent;
use crate::heat::Meter;

/// From one head that says what is hot to the next: 9 MB a day where heads come all the time.
const EVERY: Duration = Duration::from_mins(10);

impl Committer {
    /// What the next head says of it: what is hot, or which head said so last.
    pub(super) fn heat(
        &self,
        meter: Option<&Meter>,
        parent: Option<&Parent>,
        line: &[KeptHead],
        frozen_at: UtcNanos,
    ) -> (Heat, Option<HeadName>) {
        let said_in = parent.and_then(|parent| parent.head.heat_at(parent.name));
        let said = said_in.and_then(|name| line.iter().find(|head| head.name == name));
        let is_young = said.is_some_and(|said| {
            u128::from(frozen_at.as_nanos().abs_diff(said.frozen_at.as_nanos())) < EVERY.as_nanos()
        });
        if is_young {
            return (Heat::default(), said_in);
        }
        match meter.map(|meter| meter.summary(|pack| self.ledger.is_void(pack))) {
            Some(heat) if !heat.is_empty() => (heat, None),
            Some(_) | None => (Heat::default(), said.map(|said| said.name)),
        }
    }
}
