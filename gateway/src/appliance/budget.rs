//! The dirty budget: how much may wait here that no target has.
//!
//! Counts the journal and the packs that are not uploaded. Writers are slowed down from 70 % of the
//! budget on, ever more, so that the uploads can keep up; at 100 % they wait a while for room and are
//! then told to try later. Removing files is never refused: it needs journal space too, but a reserve
//! beyond the budget is kept for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_protocols::view::FsError;
use tokio::sync::Notify;

use crate::files::Admission;
use crate::journal::Journal;
use crate::ledger::Ledger;

/// From this part of the budget on writers are slowed down.
const SLOW_FROM: f64 = 0.7;
/// The longest delay of one write before the budget is full.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// How long a write waits for room before its client is told to try later.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// See the head of this module.
pub(crate) struct DirtyBudget {
    journal: Journal,
    ledger: Arc<Ledger>,
    bytes_max: u64,
    /// Told when commits should hurry.
    pub(crate) pressure: Notify,
    /// Told when room was made.
    pub(crate) relief: Notify,
}

impl DirtyBudget {
    pub(crate) fn new(journal: Journal, ledger: Arc<Ledger>, bytes_max: u64) -> Self {
        Self { journal, ledger, bytes_max, pressure: Notify::new(), relief: Notify::new() }
    }

    /// Bytes that only this machine has.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        let journal: u64 = self.journal.segments().iter().map(|segment| segment.bytes).sum();
        journal + self.ledger.backlog_bytes()
    }

    /// The part of the budget that is used; over 1 when it is exceeded.
    pub(crate) fn used(&self) -> f64 {
        self.dirty_bytes() as f64 / self.bytes_max as f64
    }
}

/// How long a write is held up at a use of the budget below 1.
fn delay(used: f64) -> Duration {
    let part = ((used - SLOW_FROM) / (1.0 - SLOW_FROM)).clamp(0.0, 1.0);
    DELAY_MAX.mul_f64(part * part)
}

#[async_trait]
impl Admission for DirtyBudget {
    async fn admit(&self, bytes: u64) -> Result<(), FsError> {
        let used = self.used();
        if used < SLOW_FROM || bytes == 0 {
            return Ok(());
        }
        self.pressure.notify_waiters();
        if used < 1.0 {
            tokio::time::sleep(delay(used)).await;
            return Ok(());
        }
        let room = async {
            loop {
                let relieved = self.relief.notified();
                if self.used() < 1.0 {
                    return;
                }
                relieved.await;
            }
        };
        tokio::time::timeout(WAIT_MAX, room).await.map_err(|_| FsError::TryLater)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_begin_at_seventy_percent_and_grow() {
        assert_eq!(delay(0.5), Duration::ZERO);
        assert_eq!(delay(0.7), Duration::ZERO);
        assert!(delay(0.8) < delay(0.9));
        assert_eq!(delay(1.0), DELAY_MAX);
    }
}
