//! What a long piece of work sees of its job: progress out, cancellation in.
//!
//! The registry that names jobs, keeps their history and runs them is `admin::jobs`; commands that
//! work without a gateway use a handle of their own. Reporting is cheap enough for every file.

use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{ControlError, ErrorKind};

/// What progress is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things: files, packs, objects.
    #[default]
    Items,
    /// Bytes.
    Bytes,
}

/// How far a job has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What is being done now, for people: "upload packs".
    pub phase: String,
    /// Done in this phase.
    pub done: u64,
    /// All there is to do in this phase, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What both numbers count.
    pub unit: Unit,
}

/// The job's end of a piece of work; clones share one state.
#[derive(Clone, Debug, Default)]
pub struct JobHandle {
    progress: Arc<Mutex<Progress>>,
    cancelled: CancellationToken,
}

impl JobHandle {
    /// A handle that nobody has cancelled, without progress.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle with progress of its own, that is cancelled with this one: for one of several works at once.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { progress: Arc::default(), cancelled: self.cancelled.clone() }
    }

    /// Begins a phase: what is done, how much there is of it (if known), counted in what.
    pub fn phase(&self, phase: &str, total: Option<u64>, unit: Unit) {
        *self.progress.lock() = Progress { phase: phase.to_owned(), done: 0, total, unit };
    }

    /// Counts more as done in this phase.
    pub fn advance(&self, done: u64) {
        let mut progress = self.progress.lock();
        progress.done = progress.done.saturating_add(done);
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// Asks the work to stop at the next safe point.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Whether the work was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// For `?` between two steps: fails with [`ErrorKind::Cancelled`] once asked to stop.
    pub fn checkpoint(&self) -> Result<(), ControlError> {
        if self.is_cancelled() {
            Err(ControlError::new(ErrorKind::Cancelled, "the job was cancelled"))
        } else {
            Ok(())
        }
    }

    /// Returns once the work was asked to stop; for `select!`.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_phase_starts_counting_at_zero() {
        let job = JobHandle::new();
        job.phase("read", Some(10), Unit::Bytes);
        job.advance(7);
        assert_eq!(job.progress().done, 7);
        job.phase("write", None, Unit::Items);
        assert_eq!(job.progress(), Progress { phase: "write".into(), ..Progress::default() });
    }

    #[test]
    fn a_clone_sees_the_cancellation() {
        let job = JobHandle::new();
        let seen = job.clone();
        assert!(seen.checkpoint().is_ok());
        job.cancel();
        assert_eq!(seen.checkpoint().map_err(|error| error.kind), Err(ErrorKind::Cancelled));
    }
}
