//! What a probe found, for the local state and for people.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::store::ChecksumMode;

/// The largest difference of clocks that is no cause for remark. Stores tell times in whole seconds.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);

/// What a store really does, in this very place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Where.
    pub address: String,
    /// Of several writers that create one object at once, exactly one wins.
    pub create_new: bool,
    /// How many won in the race that most won; 0 when none was run, since the condition failed before.
    pub race_winners_max: usize,
    /// Ranges are read as asked.
    pub ranged_reads: bool,
    /// Listings are in byte order, and pages join.
    pub ordered_listing: bool,
    /// Deleted objects are gone, at once.
    pub deletes: bool,
    /// The checksum that the store takes.
    pub checksum: ChecksumMode,
    /// The store refuses bytes that do not match their checksum.
    pub checksum_verified: bool,
    /// How far the store's clock is ahead of ours, in milliseconds; negative when it is behind.
    pub clock_skew_ms: i64,
    /// Whether objects can be locked there, if they are to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockFound>,
}

/// What became of an object that was stored with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockFound {
    /// It could not be deleted before the lock ended.
    Honoured,
    /// The bucket took no lock.
    Refused,
    /// The store took the lock, and showed none afterwards.
    Ignored,
    /// The store took the lock, and deleted the object all the same.
    Broken,
}

impl LockFound {
    /// Why objects cannot be locked there, and what to do; none if they can.
    pub fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Honoured => None,
            Self::Refused => Some(
                "`lock` is set, and the bucket takes no object lock: make a bucket with object lock enabled, for \
                 few stores turn it on later, and without a default retention; or leave `lock` out",
            ),
            Self::Ignored => Some(
                "`lock` is set, and the store keeps no object lock, although it takes the request: use another \
                 service, or leave `lock` out",
            ),
            Self::Broken => Some(
                "`lock` is set, and a locked object could be deleted: use another service, or leave `lock` out",
            ),
        }
    }

    fn for_people(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Broken => "taken and broken",
        }
    }
}

impl ProbeReport {
    /// A report that has found nothing good yet.
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            create_new: false,
            race_winners_max: 0,
            ranged_reads: false,
            ordered_listing: false,
            deletes: false,
            checksum: ChecksumMode::None,
            checksum_verified: false,
            clock_skew_ms: 0,
            lock: None,
        }
    }

    /// Why no repository can be kept there; empty when one can.
    pub fn obstacles(&self) -> Vec<&'static str> {
        let found = [
            (self.ranged_reads, "ranges of objects are not read as asked"),
            (self.ordered_listing, "listings are out of order or incomplete"),
            (self.deletes, "deleted objects do not disappear"),
        ];
        let found = found.into_iter().filter(|(works, _)| !works).map(|(_, obstacle)| obstacle);
        found.chain(self.lock.and_then(LockFound::obstacle)).collect()
    }

    /// Whether the clocks differ by more than they should.
    pub fn is_clock_skewed(&self) -> bool {
        self.clock_skew_ms.unsigned_abs() > CLOCK_SKEW_MAX.as_millis() as u64
    }

    /// Notes the time that the store gave to an object which was written between `before` and `after`.
    pub(super) fn set_clock_skew(&mut self, stored: SystemTime, before: SystemTime, after: SystemTime) {
        // Stores cut off fractions of a second.
        let earliest = before - Duration::from_secs(1);
        self.clock_skew_ms = if stored > after {
            milliseconds(stored, after)
        } else if stored < earliest {
            -milliseconds(earliest, stored)
        } else {
            0
        };
    }

    /// What the store's clock shows when ours shows `ours`.
    pub(super) fn store_time(&self, ours: SystemTime) -> SystemTime {
        let skew = Duration::from_millis(self.clock_skew_ms.unsigned_abs());
        if self.clock_skew_ms < 0 { ours - skew } else { ours + skew }
    }
}

fn milliseconds(later: SystemTime, earlier: SystemTime) -> i64 {
    later.duration_since(earlier).unwrap_or_default().as_millis() as i64
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.address)?;
        let create_new = match (self.create_new, self.race_winners_max) {
            (true, _) => "one of several writers wins".to_owned(),
            (false, 0) => "conditions are ignored or refused; leading is settled by listing".to_owned(),
            (false, 1) => "no clear winner in a race; leading is settled by listing".to_owned(),
            (false, winners) => format!("{winners} writers won one race; leading is settled by listing"),
        };
        writeln!(f, "  creating new      {create_new}")?;
        let checksum = match (self.checksum, self.checksum_verified) {
            (ChecksumMode::Crc32c, true) => "crc32c, verified by the store",
            (ChecksumMode::Crc32c, false) => "crc32c, ignored by the store",
            (ChecksumMode::None, _) => "none",
        };
        writeln!(f, "  checksum          {checksum}")?;
        let clock = if self.is_clock_skewed() { " (set the clocks right)" } else { "" };
        writeln!(f, "  clock difference  {} ms{clock}", self.clock_skew_ms)?;
        if let Some(lock) = &self.lock {
            writeln!(f, "  object lock       {}", lock.for_people())?;
        }
        match self.obstacles().as_slice() {
            [] => write!(f, "  usable            yes"),
            obstacles => write!(f, "  usable            no: {}", obstacles.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_within_the_fraction_that_stores_cut_off_is_right() {
        let mut report = ProbeReport::new("memory:".to_owned());
        let now = SystemTime::now();
        for (offset_ms, expected) in [(-900_i64, 0), (0, 0), (5_000, 4_900), (-61_000, -60_000)] {
            let offset = Duration::from_millis(offset_ms.unsigned_abs());
            let stored = if offset_ms < 0 { now - offset } else { now + offset };
            report.set_clock_skew(stored, now, now + Duration::from_millis(100));
            assert_eq!(report.clock_skew_ms, expected);
        }
        assert!(!report.is_clock_skewed());
        assert_eq!(report.store_time(now), now - Duration::from_mins(1));
    }

    #[test]
    fn a_report_survives_being_written() {
        let report = ProbeReport::new("memory:".to_owned());
        let text = serde_json::to_string(&report).expect("written");
        assert_eq!(serde_json::from_str::<ProbeReport>(&text).expect("read"), report);
        assert_eq!(report.obstacles().len(), 3);
        assert!(report.to_string().contains("usable            no: ranges"));
    }
}
