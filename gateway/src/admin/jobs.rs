//! The registry of jobs: long work that goes on when the caller has gone.
//!
//! Promises: at most [`JOBS_RUNNING_MAX`] run at once, the [`JOBS_REMEMBERED_MAX`] that ended last
//! are remembered, and a job always ends: with a result, an error, or (should its code panic) the
//! error that says so. Not promised: that a job outlives the process; its work is then as far as it
//! had come.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::control::{ControlError, ErrorKind, JobHandle, Progress};
use crate::telemetry::metrics::JOBS_RUNNING;
use crate::telemetry::trace_work;

/// The most jobs that run at once.
pub const JOBS_RUNNING_MAX: usize = 16;
/// How many ended jobs are remembered.
pub const JOBS_REMEMBERED_MAX: usize = 256;
/// Kinds of which one about the same thing runs at a time.
const ALONE: [&str; 1] = [super::runbooks::DRILL];
/// How long a stop waits for cancelled jobs.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It was asked to stop and has not stopped yet.
    Cancelling,
    /// It ended as wanted; there is a result.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It stopped because it was asked to.
    Cancelled,
}

impl JobState {
    /// As it is written in JSON and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobInfo {
    /// Its name.
    pub id: String,
    /// What it does: `commit`, `snapshot-create`, `restore`, `rollback`, `clone`.
    pub kind: String,
    /// The share it is about, or the bucket, policy, runbook or whatever else.
    pub share: String,
    /// The share or bucket that a token must be for; none: one for the whole gateway.
    #[serde(skip)]
    pub(super) within: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How much of its work is done.
    pub progress: Progress,
    /// What it answered, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Why it ended otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ControlError>,
}

impl JobInfo {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        match self.state {
            JobState::Running | JobState::Cancelling => false,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => true,
        }
    }
}

/// All jobs of a gateway. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    running: BTreeMap<String, Running>,
    /// The one that ended last at the front.
    ended: VecDeque<JobInfo>,
}

struct Running {
    info: JobInfo,
    handle: JobHandle,
    /// Closed when the job has ended.
    ended: watch::Receiver<()>,
}

impl Running {
    fn snapshot(&self) -> JobInfo {
        let state = if self.handle.is_cancelled() { JobState::Cancelling } else { JobState::Running };
        JobInfo { state, progress: self.handle.progress(), ..self.info.clone() }
    }
}

impl Jobs {
    /// Starts a job. [`ErrorKind::Busy`] when too many run.
    pub(super) fn start<W, F, T>(
        &self,
        kind: &str,
        share: &str,
        within: Option<String>,
        work: W,
    ) -> Result<JobInfo, ControlError>
    where
        W: FnOnce(JobHandle) -> F,
        F: Future<Output = Result<T, ControlError>> + Send + 'static,
        T: Serialize + Send + 'static,
    {
        let info = new_info(kind, share, within)?;
        let handle = JobHandle::new();
        let (ended_sender, ended) = watch::channel(());
        {
            let mut registry = self.0.lock();
            if registry.running.len() >= JOBS_RUNNING_MAX {
                let message = format!("{JOBS_RUNNING_MAX} jobs run already");
                return Err(ControlError::new(ErrorKind::Busy, message)
                    .todo("wait for one to end: `tidegate job list`"));
            }
            let is_same = |other: &Running| other.info.kind == kind && other.info.share == share;
            if ALONE.contains(&kind) && registry.running.values().any(is_same) {
                let message = format!("a {kind} of {share:?} runs already");
                return Err(ControlError::new(ErrorKind::Busy, message)
                    .todo("wait for its end, or cancel it: `tidegate job list`"));
            }
            let running = Running { info: info.clone(), handle: handle.clone(), ended };
            registry.running.insert(info.id.clone(), running);
            JOBS_RUNNING.with(&[]).set(registry.running.len() as f64);
        }
        let work = tokio::spawn(work(handle));
        let (jobs, id) = (self.clone(), info.id.clone());
        tokio::spawn(async move {
            let outcome = work.await.unwrap_or_else(|error| {
                Err(ControlError::new(ErrorKind::Failed, format!("the job broke off: {error}")))
            });
            jobs.end(&id, outcome);
            drop(ended_sender);
        });
        Ok(info)
    }

    /// All jobs, the newest first.
    pub(super) fn list(&self) -> Vec<JobInfo> {
        let registry = self.0.lock();
        let mut running: Vec<JobInfo> = registry.running.values().map(Running::snapshot).collect();
        running.sort_by_key(|job| std::cmp::Reverse(job.started));
        running.into_iter().chain(registry.ended.iter().cloned()).collect()
    }

    /// A job as it is now.
    pub(super) fn get(&self, id: &str) -> Result<JobInfo, ControlError> {
        let registry = self.0.lock();
        let running = registry.running.get(id).map(Running::snapshot);
        running.or_else(|| registry.ended.iter().find(|job| job.id == id).cloned()).ok_or_else(|| {
            ControlError::new(ErrorKind::NotFound, format!("there is no job {id}"))
                .todo("`tidegate job list` shows those that are remembered")
        })
    }

    /// The share that a job is about, if it is known and about one.
    pub(super) fn share_of(&self, id: &str) -> Option<String> {
        self.get(id).ok()?.within
    }

    /// A job once it has ended, or as it is when the time is over.
    pub(super) async fn wait(&self, id: &str, time: Duration) -> Result<JobInfo, ControlError> {
        let ended = self.0.lock().running.get(id).map(|running| running.ended.clone());
        if let Some(mut ended) = ended {
            // Ends with an error when the sender goes, which is what is waited for.
            let _ = tokio::time::timeout(time, ended.changed()).await;
        }
        self.get(id)
    }

    /// Asks a job to stop. One that has ended stays as it is.
    pub(super) fn cancel(&self, id: &str) -> Result<JobInfo, ControlError> {
        if let Some(running) = self.0.lock().running.get(id) {
            running.handle.cancel();
        }
        self.get(id)
    }

    /// Cancels all jobs and waits for their end, within a bound.
    pub(super) async fn stop(&self) {
        self.stop_where(|_| true, STOP_TIME_MAX).await;
    }

    /// Cancels those of a kind, as [`Jobs::stop`] all.
    pub(super) async fn stop_those(&self, kind: &str, time: Duration) {
        self.stop_where(|info| info.kind == kind, time).await;
    }

    async fn stop_where(&self, which: impl Fn(&JobInfo) -> bool, time: Duration) {
        let waiting: Vec<_> = {
            let registry = self.0.lock();
            let these = registry.running.values().filter(|running| which(&running.info));
            these.inspect(|running| running.handle.cancel()).map(|running| running.ended.clone()).collect()
        };
        let all_ended = async {
            for mut ended in waiting {
                let _ = ended.changed().await;
            }
        };
        if tokio::time::timeout(time, all_ended).await.is_err() {
            tracing::warn!(seconds = time.as_secs(), "jobs did not stop in time; the stop goes on");
        }
    }

    fn end<T: Serialize>(&self, id: &str, outcome: Result<T, ControlError>) {
        let mut registry = self.0.lock();
        let Some(running) = registry.running.remove(id) else { return };
        JOBS_RUNNING.with(&[]).set(registry.running.len() as f64);
        let outcome = outcome.and_then(|result| {
            serde_json::to_value(result).map_err(|error| {
                ControlError::from_source(ErrorKind::Failed, "write down the result", &error)
            })
        });
        let mut info = running.snapshot();
        info.ended = Some(Timestamp::now());
        match outcome {
            Ok(result) => (info.state, info.result) = (JobState::Succeeded, Some(result)),
            Err(error) => {
                let cancelled = error.kind == ErrorKind::Cancelled;
                info.state = if cancelled { JobState::Cancelled } else { JobState::Failed };
                info.error = Some(error);
            }
        }
        let took = info.ended.unwrap_or(info.started).duration_since(info.started).unsigned_abs();
        let about = [("tidegate.job", id), ("tidegate.share", &info.share)];
        let failed = info.error.as_ref().map(|error| error.kind);
        trace_work(&format!("job: {}", info.kind), &about, &[], took, failed);
        tracing::info!(
            job = id,
            kind = info.kind,
            share = info.share,
            state = info.state.as_str(),
            "job ended"
        );
        registry.ended.push_front(info);
        registry.ended.truncate(JOBS_REMEMBERED_MAX);
    }
}

fn new_info(kind: &str, share: &str, within: Option<String>) -> Result<JobInfo, ControlError> {
    let id = getrandom::u64()
        .map_err(|error| ControlError::from_source(ErrorKind::Failed, "draw a job id", &error))?;
    Ok(JobInfo {
        id: format!("{id:016x}"),
        kind: kind.to_owned(),
        share: share.to_owned(),
        within,
        state: JobState::Running,
        started: Timestamp::now(),
        ended: None,
        progress: Progress::default(),
        result: None,
        error: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_job_ends_with_its_result_its_error_or_its_panic() {
        let jobs = Jobs::default();
        let good = jobs.start("commit", "docs", None, |_| async { Ok(7) }).expect("started");
        let bad = jobs
            .start("commit", "docs", None, |_| async {
                Err::<(), _>(ControlError::new(ErrorKind::Full, "no room"))
            })
            .expect("started");
        let broken = jobs
            .start("commit", "docs", None, |_| async {
                assert_eq!(1, 2);
                Ok(())
            })
            .expect("started");
        let end = |id: String| {
            let jobs = jobs.clone();
            async move { jobs.wait(&id, LONG).await.expect("known") }
        };
        assert_eq!(end(good.id).await.result, Some(7.into()));
        assert_eq!(end(bad.id).await.error.map(|error| error.kind), Some(ErrorKind::Full));
        assert_eq!(end(broken.id).await.state, JobState::Failed);
    }

    #[tokio::test]
    async fn a_cancelled_job_says_so_when_it_stops() {
        let jobs = Jobs::default();
        let job = jobs
            .start("restore", "docs", None, |handle| async move {
                handle.cancelled().await;
                handle.checkpoint()
            })
            .expect("started");
        assert_eq!(jobs.cancel(&job.id).expect("known").state, JobState::Cancelling);
        assert_eq!(jobs.wait(&job.id, LONG).await.expect("known").state, JobState::Cancelled);
        assert_eq!(jobs.cancel("0").map_err(|error| error.kind), Err(ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn one_drill_of_a_runbook_runs_at_a_time_and_can_be_ended_before_the_rest() {
        let jobs = Jobs::default();
        let wait = |handle: JobHandle| async move {
            handle.cancelled().await;
            handle.checkpoint()
        };
        let first = jobs.start("drill", "site-b", None, wait).expect("room");
        let second = jobs.start("drill", "site-b", None, wait);
        assert_eq!(second.map_err(|error| error.kind), Err(ErrorKind::Busy));
        jobs.start("drill", "site-c", None, wait).expect("another runbook");
        let restore = jobs.start("restore", "docs", None, wait).expect("room");
        jobs.stop_those("drill", LONG).await;
        assert_eq!(jobs.get(&first.id).expect("known").state, JobState::Cancelled);
        assert_eq!(jobs.get(&restore.id).expect("known").state, JobState::Running);
        jobs.start("drill", "site-b", None, wait).expect("the first has ended");
        jobs.stop().await;
    }

    #[tokio::test]
    async fn running_and_remembered_jobs_are_bounded() {
        let jobs = Jobs::default();
        let wait = |handle: JobHandle| async move {
            handle.cancelled().await;
            handle.checkpoint()
        };
        for _ in 0..JOBS_RUNNING_MAX {
            jobs.start("restore", "docs", None, wait).expect("room");
        }
        assert_eq!(
            jobs.start("restore", "docs", None, wait).map_err(|error| error.kind),
            Err(ErrorKind::Busy)
        );
        jobs.stop().await;
        for _ in 0..JOBS_REMEMBERED_MAX {
            let job = jobs.start("commit", "docs", None, |_| async { Ok(()) }).expect("room");
            jobs.wait(&job.id, LONG).await.expect("known");
        }
        let list = jobs.list();
        assert_eq!(list.len(), JOBS_REMEMBERED_MAX);
        assert!(list.iter().all(|job| job.kind == "commit"), "the oldest are forgotten");
    }
}
