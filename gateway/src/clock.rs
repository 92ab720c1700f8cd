//! The clock seam: everything that asks for the time of day asks here, so that tests can turn it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_replicator::map::Timestamp;
use tidegate_replicator::repository::UtcNanos;

/// Tells the time of day.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now, UTC.
    fn now(&self) -> Timestamp;

    /// Now, as objects of the repository have it.
    fn utc(&self) -> UtcNanos {
        let now = self.now();
        UtcNanos::new(now.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(now.nanos)))
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
    }
}
