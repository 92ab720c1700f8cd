//! The rule by which objects of a target are locked.
//!
//! Relations, all times by the store's clock, of an object that something retained needs:
//!
//! * stored, or extended, at `t`: locked until `t + period + margin`, and never longer;
//! * a round extends what ends before `now + period + margin / 2`, and rounds are at most `margin / 2` apart;
//! * so between rounds it is locked for at least `period` more, at every moment.
//!
//! What nothing needs any more is not extended: its lock ends by itself.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::ObjectName;

/// A day.
const DAY: Duration = Duration::from_hours(24);

/// The least margin: a collection once a day comes twice in it.
const MARGIN_MIN: Duration = Duration::from_hours(48);

/// Names below these are not locked: they are short-lived, or nothing is lost with them.
const NOT_LOCKED: [&str; 4] = ["heartbeats/", "leases/", "plans/", "probe/"];

/// Heads, of which one in so long is locked when it is stored: most of them are superseded within seconds. Those that are
/// kept a round locks.
const HEADS: &str = "heads/";

/// See [`HEADS`].
pub(super) const HEAD_EVERY: Duration = Duration::from_hours(1);

/// Who can end a lock early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Whoever has the right to bypass it (`s3:BypassGovernanceRetention`), which nobody has who needs it not.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

impl LockMode {
    /// As S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// See the head of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockRule {
    /// Who can end a lock early.
    pub mode: LockMode,
    /// For how long what is needed is locked at least, from every moment on, in days.
    pub days: u32,
}

impl LockRule {
    /// For how long what is needed is locked at least, from every moment on.
    pub fn period(&self) -> Duration {
        DAY * self.days
    }

    /// How much longer an object is locked than it must be, so that not every round has to extend it.
    pub fn margin(&self) -> Duration {
        (self.period() / 3).max(MARGIN_MIN)
    }

    /// The time between two rounds at most.
    pub fn round_every(&self) -> Duration {
        self.margin() / 2
    }

    /// Until when what is stored or extended now is locked.
    pub fn until(&self, now: SystemTime) -> SystemTime {
        now + self.period() + self.margin()
    }

    /// For how many days an object is locked at most after it is needed no more.
    pub fn days_max(&self) -> u64 {
        (self.period() + self.margin()).as_secs().div_ceil(DAY.as_secs())
    }

    /// Whether a lock that ends then has to be extended now.
    pub fn is_due(&self, until: Option<SystemTime>, now: SystemTime) -> bool {
        until.is_none_or(|until| until < now + self.period() + self.round_every())
    }

    /// Whether objects of this name are locked.
    pub fn covers(name: &ObjectName) -> bool {
        !NOT_LOCKED.iter().any(|folder| name.as_str().starts_with(folder))
    }

    /// Whether it is a head, of which not every one is locked when it is stored; gives the folder of its share.
    pub(super) fn head_folder(name: &ObjectName) -> Option<&str> {
        name.as_str().strip_prefix(HEADS)?.rsplit_once('/').map(|(share, _)| share)
    }
}

/// Which heads are locked when they are stored.
#[derive(Debug, Default)]
pub(super) struct HeadPace(parking_lot::Mutex<std::collections::HashMap<String, SystemTime>>);

/// Shares of which it is remembered when a head of theirs was locked.
const SHARES_MAX: usize = 4096;

impl HeadPace {
    /// Whether an object of this name is to be locked when it is stored now.
    pub(super) fn locks(&self, name: &ObjectName, now: SystemTime) -> bool {
        let Some(share) = LockRule::head_folder(name) else { return LockRule::covers(name) };
        let mut last = self.0.lock();
        let is_due =
            last.get(share).is_none_or(|last| now.duration_since(*last).is_ok_and(|age| age >= HEAD_EVERY));
        if is_due {
            if last.len() >= SHARES_MAX {
                last.clear();
            }
            last.insert(share.to_owned(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).expect("a name")
    }

    #[test]
    fn what_is_needed_is_locked_for_the_period_at_every_moment() {
        for days in [1, 5, 6, 7, 30, 3650] {
            let rule = LockRule { mode: LockMode::Compliance, days };
            let stored = SystemTime::UNIX_EPOCH + DAY * 10_000;
            let mut until = rule.until(stored);
            for round in 1..200 {
                let now = stored + rule.round_every() * round;
                assert!(until >= now + rule.period(), "{days} days, round {round}");
                if rule.is_due(Some(until), now) {
                    until = rule.until(now);
                }
                assert!(until <= now + rule.period() + rule.margin());
            }
        }
    }

    #[test]
    fn one_head_an_hour_is_locked_and_everything_that_lasts() {
        let (pace, now) = (HeadPace::default(), SystemTime::UNIX_EPOCH + DAY);
        for (object, locked) in [
            ("packs/00/a", true),
            ("index/a", true),
            ("config", true),
            ("keys/a", true),
            ("snapshots/s/a", true),
            ("leases/s/a", false),
            ("heartbeats/a/b", false),
            ("heads/s/1", true),
            ("heads/s/2", false),
            ("heads/t/1", true),
        ] {
            assert_eq!(pace.locks(&name(object), now), locked, "{object}");
        }
        assert!(pace.locks(&name("heads/s/3"), now + HEAD_EVERY));
    }
}
