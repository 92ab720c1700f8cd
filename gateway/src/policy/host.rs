//! What a run asks of the gateway. Tests have one in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use tidegate_replicator::repository::NewSnapshot;

use super::place::Place;
use crate::appliance::INCOMPLETE_TAG;
use crate::control::{ControlError, JobHandle};

/// A snapshot of a share or source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its id in the repository.
    pub id: String,
    /// When it was taken.
    pub at: Timestamp,
    /// The policy that took it; none if a person did.
    pub policy: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What it lacks, for people, when it was just taken and lacks something.
    pub lacks: Option<String>,
}

impl Taken {
    /// Its tags as pairs.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether it has all that its source had.
    pub(super) fn is_whole(&self) -> bool {
        !self.tags.contains_key(INCOMPLETE_TAG)
    }

    /// What it lacks, for people, also when it was not taken just now.
    pub(super) fn lacking(&self) -> Option<String> {
        let counted = || Some(format!("{} names could not be read", self.tags.get(INCOMPLETE_TAG)?));
        self.lacks.clone().or_else(counted)
    }
}

/// See the head of this module.
#[async_trait]
pub trait PolicyHost: Send + Sync + 'static {
    /// All snapshots of a share or source that can be read, oldest first.
    async fn snapshots(&self, share: &str) -> Result<Vec<Taken>, ControlError>;

    /// Waits until a source can be read, and holds the place for a run that reads so many. That may take long: the job is
    /// told, and may be cancelled.
    async fn ready(&self, sources: usize, job: &JobHandle) -> Result<Place, ControlError>;

    /// Publishes what a share or source has now, and keeps it; a source in the place of its run, if that has one. That may
    /// take long: the job is told, and may be cancelled.
    async fn take(
        &self,
        share: &str,
        new: NewSnapshot,
        place: Option<&Place>,
        job: &JobHandle,
    ) -> Result<Taken, ControlError>;

    /// The same for several shares, all of one moment, or none of them; one result a share, in order.
    async fn take_together(&self, shares: &[String], new: NewSnapshot) -> Vec<Result<Taken, ControlError>>;

    /// Keeps a snapshot no more.
    async fn forget(&self, share: &str, snapshot: &Taken) -> Result<(), ControlError>;
}
