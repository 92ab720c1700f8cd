//! The prediction for a share, held against its objectives. Pure.

use std::time::Duration;

use super::amounts::Amounts;
use super::asleep::Thaw;
use super::model::{Amount, Bound, Machine, Way, fetch, one_by_one};
use super::price::Prices;
use crate::amounts::{bytes, seconds};
use crate::control::{RecoveryLink, RecoveryStage};
use crate::settings::{Share, Span};

/// Within what a share is to be there again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objectives {
    /// Until the first byte.
    pub first: Option<Duration>,
    /// Until what is hot.
    pub hot: Option<Duration>,
    /// Until everything.
    pub whole: Option<Duration>,
    /// Whether somebody has accepted that they may not be kept.
    pub accept_risk: bool,
}

impl Objectives {
    /// Those of a share of the settings.
    pub fn of(share: &Share) -> Self {
        Self {
            first: share.rto.map(Span::duration),
            hot: share.rto_hot.map(Span::duration),
            whole: share.rto_whole.map(Span::duration),
            accept_risk: share.accept_risk,
        }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.first.or(self.hot).or(self.whole).is_some()
    }
}

/// The stages of a recovery: to the first byte, to what is hot, to everything. The time of each counts from the disaster
/// being declared; `settle` is how long a claim settles. `calendar` is how long so many bytes take by the rates that
/// will hold, where any do.
pub fn plan_share(
    amounts: &Amounts,
    objectives: &Objectives,
    way: Option<&Way>,
    (machine, settle): (&Machine, Duration),
    prices: Option<&Prices>,
    calendar: &dyn Fn(u64) -> Option<Duration>,
) -> [RecoveryStage; 3] {
    let first = way.map(|way| one_by_one(way, machine, amounts.first, settle));
    let later = |amount: Amount| {
        let way = way?;
        let (time, bound) = fetch(way, machine, amount);
        let by_calendar = calendar(amount.bytes).unwrap_or_default();
        let (time, bound) = if by_calendar > time { (by_calendar, Bound::Link) } else { (time, bound) };
        let first = first.map_or(Duration::ZERO, |(first, _)| first);
        Some((first.saturating_add(time), bound))
    };
    let stage = |amount: Amount, thaw: Thaw, time: Option<(Duration, Bound)>, objective: Option<Duration>| {
        let time = time.map(|time| thawed_before(time, thaw));
        RecoveryStage {
            bytes: amount.bytes,
            requests: amount.requests,
            seconds: time.map(|(time, _)| time.as_secs_f64()),
            bound: time.map(|(_, bound)| bound.as_str().to_owned()),
            price: prices.map(|prices| prices.shown(amount)),
            objective_seconds: objective.map(|objective| objective.as_secs()),
            is_kept: time.zip(objective).map(|((time, _), objective)| time <= objective),
            asleep_bytes: thaw.bytes,
            thaw_seconds: (thaw.bytes > 0).then_some(thaw.takes.as_secs_f64()),
        }
    };
    let Amounts { first: to_first, hot, whole, asleep } = *amounts;
    [
        stage(to_first, asleep.first, first, objectives.first),
        stage(to_first + hot, asleep.hot, later(hot), objectives.hot),
        stage(to_first + whole, asleep.whole, later(whole), objectives.whole),
    ]
}

/// A time, and what most of it is, when the store thaws first what sleeps.
fn thawed_before((time, bound): (Duration, Bound), thaw: Thaw) -> (Duration, Bound) {
    let bound = if thaw.takes > time { Bound::Thawing } else { bound };
    (time.saturating_add(thaw.takes), bound)
}

/// What of it is thawed before, as it is said after the rest.
fn thawing(stage: &RecoveryStage) -> String {
    let Some(takes) = stage.thaw_seconds else { return String::new() };
    let takes = seconds(takes.ceil() as u64);
    format!(", for up to {} of it sleep, which the store thaws in {takes} at most", bytes(stage.asleep_bytes))
}

/// The keys of the objectives, in the order of the stages.
const KEYS: [&str; 3] = ["rto", "rto_hot", "rto_whole"];

/// Which objectives cannot be kept, with the arithmetic; none when all can be, or nothing is known.
pub fn refusal(stages: [&RecoveryStage; 3], link: Option<&RecoveryLink>) -> Option<String> {
    let link = link?;
    let missed: Vec<String> = KEYS
        .into_iter()
        .zip(stages)
        .filter(|(_, stage)| stage.is_kept == Some(false))
        .map(|(key, stage)| {
            format!(
                "{key} = {} cannot be kept: {} in {} requests, at {}/s with {:.0} ms an answer and {} at once, take {}, \
                 most of it {}{}",
                seconds(stage.objective_seconds.unwrap_or_default()),
                bytes(stage.bytes),
                stage.requests,
                bytes(link.bytes_per_second),
                link.latency_ms,
                link.requests_max,
                seconds(stage.seconds.unwrap_or_default().ceil() as u64),
                stage.bound.as_deref().unwrap_or("unknown"),
                thawing(stage),
            )
        })
        .collect();
    (!missed.is_empty()).then(|| missed.join("; "))
}
