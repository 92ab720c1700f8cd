//! Long work of this very process, shown as a job of a gateway is: progress while it runs, and Ctrl-C asks
//! it to stop at the next safe point.

use std::time::Duration;

use tidegate_replicator::{check, restore};

use super::follow::ProgressDisplay;
use super::terminal::Terminal;
use crate::control::{JobHandle, Unit};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Runs `work`, which reports to `job`, to its end.
pub(super) async fn watch<T>(terminal: &Terminal, job: &JobHandle, work: impl Future<Output = T>) -> T {
    let mut display = ProgressDisplay::new(terminal);
    let mut ticks = tokio::time::interval(TICK);
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = ticks.tick() => display.show(&job.progress()),
            _ = tokio::signal::ctrl_c(), if !job.is_cancelled() => job.cancel(),
        }
    };
    display.end();
    outcome
}

/// A job as restore, check and collection see it.
pub(super) struct Watched(pub(super) JobHandle);

impl restore::Observer for Watched {
    fn written(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl check::Observer for Watched {
    fn phase(&self, phase: &'static str) {
        self.0.phase(phase, None, Unit::Items);
    }

    fn advanced(&self, by: u64) {
        self.0.advance(by);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
