//! Whether a backlog shrinks.
//!
//! It does not when it has lain above a floor for a whole period without ever becoming less; nor when its lowest
//! point in one half of the period lies well above that of the half before. A gateway that keeps up comes back to
//! little after each upload, however much goes through; one that falls behind does not.

use std::time::Duration;

use jiff::Timestamp;

/// A backlog up to this many bytes is none.
const FLOOR_BYTES: u64 = 64 << 20;
/// How much the lowest point grows from one half to the next when a gateway falls behind, in percent.
const GROWTH_PERCENT: u64 = 150;

/// See the head of this module.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    bytes: u64,
    /// When it last became less, or lay below the floor.
    fell_at: Timestamp,
    /// When the half began that is under way, its lowest point, and that of the half before.
    half_began: Timestamp,
    low: u64,
    low_before: Option<u64>,
    grows: bool,
}

impl Trend {
    /// A backlog that is looked at for the first time.
    pub fn new(bytes: u64, now: Timestamp) -> Self {
        Self { bytes, fell_at: now, half_began: now, low: bytes, low_before: None, grows: false }
    }

    /// Takes in one look; says whether it does not shrink. None: that cannot be told yet.
    pub fn look(&mut self, bytes: u64, now: Timestamp, period: Duration) -> Option<bool> {
        if bytes < self.bytes || bytes <= FLOOR_BYTES {
            self.fell_at = now;
        }
        (self.fell_at, self.half_began) = (self.fell_at.min(now), self.half_began.min(now));
        self.bytes = bytes;
        self.low = self.low.min(bytes);
        if lasted(self.half_began, now) >= period / 2 {
            let before = self.low_before.replace(self.low);
            let grown = |before: u64| self.low > before.max(FLOOR_BYTES).saturating_mul(GROWTH_PERCENT) / 100;
            self.grows = before.is_some_and(grown);
            (self.half_began, self.low) = (now, bytes);
        }
        let stands = lasted(self.fell_at, now) >= period;
        if bytes <= FLOOR_BYTES {
            return Some(false);
        }
        if stands || self.grows { Some(true) } else { self.low_before.map(|_| false) }
    }
}

fn lasted(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
