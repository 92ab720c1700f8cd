//! The clock seam: everything that asks for the time of day asks here, so that tests can turn it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_replicator::map::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now, UTC.
    fn now(&self) -> Timestamp;
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
