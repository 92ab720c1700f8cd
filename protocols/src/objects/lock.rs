//! Object lock (Amazon S3 user guide, "Locking objects with Object Lock").
//!
//! An object under a retention or a legal hold can be neither changed nor removed, whoever asks. Times are those
//! of whoever keeps the objects, never of a client.

use serde::{Deserialize, Serialize};

use super::ObjectError;
use crate::view::Time;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// Days of a year, as S3 counts them.
const YEAR_DAYS: i64 = 365;
/// The longest default retention: a hundred years.
const DAYS_MAX: u32 = 36_500;

/// How firm a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Who has the right to bypass it may shorten or lift it.
    Governance,
    /// Nobody may shorten or lift it.
    Compliance,
}

/// Until when an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How firmly.
    pub mode: LockMode,
    /// Until when.
    pub until: Time,
}

/// The lock of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Kept until a time.
    pub retention: Option<Retention>,
    /// Kept until the hold is lifted.
    pub legal_hold: bool,
}

impl Lock {
    /// Whether the object may be neither changed nor removed at `now`. A caller with the right to bypass passes
    /// governance.
    pub fn holds(&self, now: Time, bypass: bool) -> bool {
        let keeps = |retention: &Retention| {
            retention.until > now && !(bypass && retention.mode == LockMode::Governance)
        };
        self.legal_hold || self.retention.as_ref().is_some_and(keeps)
    }

    /// Whether the retention may be replaced at `now`: it may be made longer in its own mode; all else needs the right
    /// to bypass, to make it firmer too, as nobody could take that back. Not even that right helps while compliance
    /// lasts.
    pub fn admit(&self, new: Option<&Retention>, now: Time, bypass: bool) -> Result<(), ObjectError> {
        let Some(old) = self.retention.filter(|old| old.until > now) else { return Ok(()) };
        let is_longer = new.is_some_and(|new| new.until >= old.until && new.mode == old.mode);
        if is_longer || bypass && old.mode == LockMode::Governance {
            Ok(())
        } else {
            Err(ObjectError::Locked)
        }
    }
}

/// How long new objects of a bucket are kept when nobody says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How firmly.
    pub mode: LockMode,
    /// So many days; or years, which have 365 of them.
    pub days: u32,
    /// Whether it was said in years.
    pub years: bool,
}

impl DefaultRetention {
    /// Of so many days or years; [`ObjectError::InvalidArgument`] when that is none or more than a hundred years.
    pub fn new(mode: LockMode, count: u32, years: bool) -> Result<Self, ObjectError> {
        let days = if years { count.checked_mul(YEAR_DAYS as u32) } else { Some(count) };
        let Some(days) = days.filter(|days| (1..=DAYS_MAX).contains(days)) else {
            let why = "a default retention lasts at least one day and at most a hundred years";
            return Err(ObjectError::InvalidArgument(why.into()));
        };
        Ok(Self { mode, days, years })
    }

    /// In the unit in which it was said.
    pub fn count(&self) -> u32 {
        if self.years { self.days / YEAR_DAYS as u32 } else { self.days }
    }

    /// The retention of an object that is made at `now`.
    pub fn from(&self, now: Time) -> Retention {
        let seconds = now.seconds.saturating_add(i64::from(self.days) * DAY_SECONDS);
        Retention { mode: self.mode, until: Time { seconds, nanos: now.nanos } }
    }
}

/// The object lock of a bucket. Once it has one, it has it for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockConfiguration {
    /// What new objects get.
    pub default: Option<DefaultRetention>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time { seconds, nanos: 0 }
    }

    fn locked(mode: LockMode, until: i64) -> Lock {
        Lock { retention: Some(Retention { mode, until: at(until) }), legal_hold: false }
    }

    #[test]
    fn a_lock_holds_until_its_time() {
        for mode in [LockMode::Governance, LockMode::Compliance] {
            let lock = locked(mode, 100);
            assert!(lock.holds(at(99), false));
            assert!(!lock.holds(at(100), false));
            assert_eq!(lock.holds(at(99), true), mode == LockMode::Compliance);
        }
        assert!(Lock { legal_hold: true, ..Lock::default() }.holds(at(0), true));
        assert!(!Lock::default().holds(at(0), false));
    }

    #[test]
    fn a_retention_grows_and_only_governance_can_be_lifted() {
        use LockMode::{Compliance, Governance};
        let to = |mode, until| Some(Retention { mode, until: at(until) });
        let admits = |old, new: Option<Retention>, bypass| {
            locked(old, 100).admit(new.as_ref(), at(50), bypass).is_ok()
        };
        assert!(admits(Governance, to(Governance, 100), false));
        assert!(!admits(Governance, to(Compliance, 200), false), "firmer is for ever");
        assert!(admits(Governance, to(Compliance, 100), true));
        assert!(!admits(Governance, to(Governance, 99), false));
        assert!(!admits(Governance, None, false));
        assert!(admits(Governance, None, true));
        assert!(admits(Compliance, to(Compliance, 101), false));
        assert!(!admits(Compliance, to(Governance, 200), true));
        assert!(!admits(Compliance, to(Compliance, 99), true));
        assert!(!admits(Compliance, None, true));
        assert_eq!(locked(Compliance, 100).admit(None, at(100), false), Ok(()), "it is over");
    }

    #[test]
    fn a_default_is_one_day_to_a_hundred_years() {
        let of = |count, years| DefaultRetention::new(LockMode::Governance, count, years);
        assert!(of(0, false).is_err() && of(101, true).is_err() && of(u32::MAX, true).is_err());
        let two_years = of(2, true).unwrap();
        assert_eq!((two_years.days, two_years.count()), (730, 2));
        assert_eq!(of(3, false).unwrap().from(at(10)).until, at(10 + 3 * 86_400));
    }
}
