//! The policies of a gateway, run by the clock.
//!
//! A share is *owed* a snapshot when a run was to begin after its newest snapshot of the policy (or after the policy
//! was first seen here, while there is none) and not after now. So whatever was missed is made up for once, and
//! nothing has to be written down besides the snapshots. A run covers the shares that are owed one. After a run
//! that failed the next try comes after a pause that doubles, and not later than the next run.
//!
//! What is known of a share stays known when a run fails, and says since when the policy is late; but nothing is
//! taken by it before it was looked again.
//!
//! Everything that is asked of the store is asked before and in a run, never to find out whether one is due.
//!
//! | | while it runs | while it is removed | while the gateway stops |
//! |---|---|---|---|
//! | a run | waits (by the clock) or is refused (by hand): `turn` | is cancelled between steps | the same; the stop waits for it |
//!
//! Of a run that is cancelled, what its hook `before` has begun is ended nevertheless, by another hook (`run.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::host::{PolicyHost, Taken};
use super::plan::Plan;
use super::run::{self, Outcome, now, of_policy};
use crate::clock::Clock;
use crate::control::{
    ControlError, ErrorKind, JobHandle, PolicyDetails, PolicyRun, PolicyRunRequest, PolicyShareRun,
    PolicySnapshot, PolicyStatus,
};
use crate::telemetry::trace_work;

/// How often it is looked whether something is due. Often, because a clock may be set.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after the first run that failed, and the longest.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(30);
/// How far back the clock may be set without being taken for set.
const SET_BACK: SignedDuration = SignedDuration::from_mins(1);
/// Policies that run at once: so many without sources, and so many with some.
const RUNS_AT_ONCE: usize = 4;
/// Runs to come that are shown.
const NEXT_RUNS_SHOWN: usize = 5;

/// See the head of this module.
pub struct Engine {
    host: Arc<dyn PolicyHost>,
    clock: Arc<dyn Clock>,
    runners: Mutex<BTreeMap<String, Arc<Runner>>>,
    /// Where policies of shares alone wait for their turn, and where those with sources do: to save a source may take hours,
    /// in which the others go on.
    places: Semaphore,
    places_with_sources: Semaphore,
    /// When it was last looked what is due.
    looked_at: Mutex<Timestamp>,
    changed: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A policy that is in force.
struct Runner {
    plan: Plan,
    /// Held through a run, also of an earlier form of the policy.
    turn: Arc<tokio::sync::Mutex<()>>,
    running: AtomicBool,
    /// The run under way that the clock began.
    /// Of the run that is under way, also of one that began before the policy changed.
    job: Arc<Mutex<JobHandle>>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    /// When the policy was first seen here.
    since: Timestamp,
    /// What the repository has, or had, of the shares that were ever looked at.
    shares: BTreeMap<String, Known>,
    /// When there is something to do; None: never.
    next: Option<Timestamp>,
    /// Runs that failed one after the other.
    tries: u32,
    failures: u64,
    last_run: Option<PolicyRun>,
}

/// What is known of the snapshots of a share.
#[derive(Clone, Default)]
struct Known {
    newest: Option<Timestamp>,
    /// What the newest one lacks.
    lacks: Option<String>,
    count: u64,
    /// Whether there may be more since: a run has failed, and what failed may have been done all the same.
    is_stale: bool,
}

impl State {
    /// Whether it is known what a share has now.
    fn is_sure_of(&self, share: &str) -> bool {
        self.shares.get(share).is_some_and(|known| !known.is_stale)
    }

    /// Takes in what a run has come to for a share.
    fn note(&mut self, share: &PolicyShareRun, taken: Option<&Taken>, has_failed: bool) {
        let known = self.shares.entry(share.share.clone()).or_default();
        known.is_stale = has_failed || taken.is_none();
        if let Some(taken) = taken {
            (known.newest, known.lacks) = (Some(taken.at), taken.lacking());
        }
        if !known.is_stale {
            known.count = share.kept;
        }
    }
}

/// Says that a policy runs, until the run has ended in whatever way.
struct Running<'r>(&'r AtomicBool);

impl<'r> Running<'r> {
    fn begin(running: &'r AtomicBool) -> Self {
        running.store(true, Ordering::Relaxed);
        Self(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Runner {
    fn new(plan: Plan, now: Timestamp, before: Option<&Self>) -> Self {
        let fresh = State {
            since: now,
            shares: BTreeMap::new(),
            next: Some(now),
            tries: 0,
            failures: 0,
            last_run: None,
        };
        let state = before.map_or(fresh.clone(), |before| {
            let State { failures, last_run, .. } = before.state.lock().clone();
            State { failures, last_run, ..fresh }
        });
        let turn = before.map(|before| before.turn.clone()).unwrap_or_default();
        let job = before.map(|before| before.job.clone()).unwrap_or_default();
        let running = AtomicBool::new(false);
        Self { plan, turn, running, job, state: Mutex::new(state) }
    }

    /// When the next run begins for a share, by the newest snapshot that is known; while none is, by when the policy was
    /// first seen here.
    fn next_of(&self, state: &State, share: &str) -> Option<Timestamp> {
        let newest = state.shares.get(share).and_then(|known| known.newest);
        self.plan.schedule.next_after(newest.unwrap_or(state.since))
    }

    /// When the earliest run that is not done begins.
    fn due(&self, state: &State) -> Option<Timestamp> {
        self.plan.shares.iter().filter_map(|share| self.next_of(state, share)).min()
    }

    /// The shares that are owed a snapshot, of those of which it is known what they have.
    fn owed(&self, now: Timestamp) -> Vec<String> {
        let state = self.state.lock();
        let is_owed = |share: &&String| {
            state.is_sure_of(share) && self.next_of(&state, share).is_some_and(|next| next <= now)
        };
        self.plan.shares.iter().filter(is_owed).cloned().collect()
    }

    /// The shares of which it is not known what they have.
    fn unknown(&self) -> Vec<String> {
        let state = self.state.lock();
        self.plan.shares.iter().filter(|share| !state.is_sure_of(share)).cloned().collect()
    }

    /// Sets when there is something to do again. `failed`: a try has just failed.
    fn plan_next(&self, now: Timestamp, failed: bool) {
        let (owed, unknown) = (!self.owed(now).is_empty(), !self.unknown().is_empty());
        let mut state = self.state.lock();
        if failed && (owed || unknown) {
            let pause = PAUSE.saturating_mul(1 << state.tries.min(10)).min(PAUSE_MAX);
            state.tries = state.tries.saturating_add(1);
            let again = now.saturating_add(pause).ok();
            state.next = again.into_iter().chain(self.plan.schedule.next_after(now)).min();
        } else if unknown {
            state.next = Some(now);
        } else {
            state.tries = 0;
            state.next = self.due(&state);
        }
    }

    /// The clock was set back: what lies after now does not count as done.
    fn set_back(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.since = state.since.min(now);
        for known in state.shares.values_mut() {
            known.newest = known.newest.map(|newest| newest.min(now));
        }
        state.next = Some(now);
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.state.lock().next.is_some_and(|next| next <= now)
    }

    fn status(&self) -> PolicyStatus {
        let state = self.state.lock();
        let newest: Option<Vec<Timestamp>> =
            self.plan.shares.iter().map(|share| state.shares.get(share)?.newest).collect();
        let lacks = |share: &String| Some((share.clone(), state.shares.get(share)?.lacks.clone()?));
        PolicyStatus {
            name: self.plan.name().to_owned(),
            shares: self.plan.names(),
            when: self.plan.policy.when(),
            next: state.next,
            due: self.due(&state),
            running: self.running.load(Ordering::Relaxed),
            last_success: newest.and_then(|newest| newest.into_iter().min()),
            last_run: state.last_run.clone(),
            failures: state.failures,
            snapshots: state.shares.values().map(|known| known.count).sum(),
            lacks: self.plan.shares.iter().filter_map(lacks).collect(),
        }
    }
}

impl Engine {
    /// An engine without policies.
    pub fn new(host: Arc<dyn PolicyHost>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            host,
            clock,
            runners: Mutex::default(),
            places: Semaphore::new(RUNS_AT_ONCE),
            places_with_sources: Semaphore::new(RUNS_AT_ONCE),
            looked_at: Mutex::new(Timestamp::MIN),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Puts policies in force. One that is as before goes on as it was. A run of one that changes ends in the
    /// old way; a run of one that goes is cancelled.
    pub fn set(&self, plans: Vec<Plan>) {
        let now = now(&*self.clock);
        let mut runners = self.runners.lock();
        let mut before = std::mem::take(&mut *runners);
        for plan in plans {
            let runner = match before.remove(plan.name()) {
                Some(runner) if runner.plan.is_as(&plan) => runner,
                other => Arc::new(Runner::new(plan, now, other.as_deref())),
            };
            runners.insert(runner.plan.name().to_owned(), runner);
        }
        for gone in before.values() {
            gone.job.lock().cancel();
        }
        drop(runners);
        self.changed.notify_one();
    }

    /// Runs what is due, whenever it is due, until the engine is stopped.
    pub fn start(self: &Arc<Self>) {
        let engine = self.clone();
        self.tasks.spawn(async move {
            while !engine.stop.is_cancelled() {
                for runner in engine.due() {
                    let engine = engine.clone();
                    engine.clone().tasks.spawn(async move { engine.attend(&runner).await });
                }
                tokio::select! {
                    () = engine.stop.cancelled() => {}
                    () = engine.changed.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
    }

    /// Ends what [`Engine::start`] began. Waits for snapshots that are being taken, and for hooks that end what others began,
    /// within a bound; those of runs by hand, which whoever started them cancels, too.
    pub async fn stop(&self) {
        self.stop.cancel();
        let runners: Vec<_> = self.runners.lock().values().cloned().collect();
        for runner in &runners {
            runner.job.lock().cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs everything that is due now, one after the other; gives when there is something to do again.
    pub async fn run_due(&self) -> Option<Timestamp> {
        for runner in self.due() {
            self.attend(&runner).await;
        }
        self.runners.lock().values().filter_map(|runner| runner.state.lock().next).min()
    }

    /// All policies, by name. Cheap.
    pub fn statuses(&self) -> Vec<PolicyStatus> {
        self.runners.lock().values().map(|runner| runner.status()).collect()
    }

    /// A policy, and what its rules keep of what is there.
    pub async fn details(&self, policy: &str) -> Result<PolicyDetails, ControlError> {
        let runner = self.runner(policy)?;
        let now = now(&*self.clock);
        let mut snapshots = Vec::new();
        for share in &runner.plan.shares {
            let listed = self.host.snapshots(share).await?;
            snapshots.extend(kept_of(&runner.plan, share, &of_policy(&listed, policy)));
        }
        let next = |time: &Timestamp| runner.plan.schedule.next_after(*time);
        let next_runs = std::iter::successors(next(&now), next).take(NEXT_RUNS_SHOWN).collect();
        Ok(PolicyDetails { status: runner.status(), next_runs, snapshots })
    }

    /// Runs a policy now, for all its shares. What is due by the clock is done by it too.
    pub async fn run_now(
        &self,
        policy: &str,
        request: &PolicyRunRequest,
        job: &JobHandle,
    ) -> Result<PolicyRun, ControlError> {
        let runner = self.runner(policy)?;
        let Ok(_turn) = runner.turn.try_lock() else {
            let error = ControlError::new(ErrorKind::Busy, format!("policy {policy:?} is running now"));
            return Err(error.todo(format!("see `tidegate policy show {policy}`")));
        };
        let _waited_for = self.tasks.token();
        let outcome = self.run(&runner, runner.plan.shares.clone(), request, job).await;
        match outcome.failure {
            Some(error) => Err(error),
            None => Ok(outcome.run),
        }
    }

    fn runner(&self, policy: &str) -> Result<Arc<Runner>, ControlError> {
        let found = self.runners.lock().get(policy).cloned();
        found.ok_or_else(|| {
            let error = ControlError::new(ErrorKind::NotFound, format!("there is no policy {policy:?}"));
            error.todo("`tidegate policy list` shows all policies")
        })
    }

    fn due(&self) -> Vec<Arc<Runner>> {
        let now = now(&*self.clock);
        let runners = self.runners.lock();
        let before = std::mem::replace(&mut *self.looked_at.lock(), now);
        if before.duration_since(now) > SET_BACK {
            tracing::warn!(%before, %now, "the clock was set back");
            for runner in runners.values() {
                runner.set_back(now);
            }
        }
        runners.values().filter(|runner| runner.is_due(now)).cloned().collect()
    }

    /// Learns what a policy has, and runs it if a share is owed a snapshot.
    async fn attend(&self, runner: &Runner) {
        let Ok(_turn) = runner.turn.try_lock() else { return };
        let has_sources = !runner.plan.policy.sources.is_empty();
        let places = if has_sources { &self.places_with_sources } else { &self.places };
        let Ok(_place) = places.acquire().await else { return };
        if !runner.is_due(now(&*self.clock)) {
            return;
        }
        let learned = tokio::select! {
            () = self.stop.cancelled() => return,
            learned = self.learn(runner) => learned,
        };
        let now = now(&*self.clock);
        let owed = runner.owed(now);
        if owed.is_empty() {
            return runner.plan_next(now, learned.is_err());
        }
        let job = JobHandle::new();
        *runner.job.lock() = job.clone();
        if !self.stop.is_cancelled() {
            self.run(runner, owed, &PolicyRunRequest::default(), &job).await;
            if learned.is_err() {
                runner.plan_next(run::now(&*self.clock), true);
            }
        }
    }

    /// Finds out which snapshots of a policy there are, unless it is known. A share that cannot be looked at does
    /// not keep the others from being.
    async fn learn(&self, runner: &Runner) -> Result<(), ControlError> {
        let (mut learned, now) = (Ok(()), now(&*self.clock));
        for share in runner.unknown() {
            match self.host.snapshots(&share).await {
                Ok(listed) => {
                    let own = of_policy(&listed, runner.plan.name());
                    // What is dated after now does not count as done.
                    let newest = own.iter().filter(|taken| taken.at <= now).max_by_key(|taken| taken.at);
                    let known = Known {
                        newest: newest.map(|taken| taken.at),
                        lacks: newest.and_then(|taken| taken.lacking()),
                        count: own.len() as u64,
                        is_stale: false,
                    };
                    runner.state.lock().shares.insert(share, known);
                }
                Err(error) => {
                    let policy = runner.plan.name();
                    tracing::warn!(policy, share, %error, "cannot look at the snapshots of a share yet");
                    learned = Err(error);
                }
            }
        }
        learned
    }

    async fn run(
        &self,
        runner: &Runner,
        shares: Vec<String>,
        request: &PolicyRunRequest,
        job: &JobHandle,
    ) -> Outcome {
        let _running = Running::begin(&runner.running);
        let (seams, began) = ((&*self.host, &*self.clock, &self.stop), Instant::now());
        let outcome = run::run(&runner.plan, seams, shares, &request.tags, job).await;
        let policy = runner.plan.name();
        match &outcome.failure {
            None => tracing::info!(policy, "a policy has run"),
            Some(error) => tracing::warn!(policy, %error, "a run of a policy failed"),
        }
        let failed = outcome.failure.as_ref().map(|error| error.kind);
        trace_work("run of a policy", &[("tidegate.policy", policy)], &[], began.elapsed(), failed);
        {
            let mut state = runner.state.lock();
            for share in &outcome.run.shares {
                state.note(share, outcome.taken.get(&share.share), outcome.failure.is_some());
            }
            let failed = |error: &ControlError| error.kind != ErrorKind::Cancelled;
            state.failures += u64::from(outcome.failure.as_ref().is_some_and(failed));
            state.last_run = Some(outcome.run.clone());
        }
        runner.plan_next(now(&*self.clock), outcome.failure.is_some());
        outcome
    }
}

/// The snapshots of a share, newest first, with what keeps them.
fn kept_of(plan: &Plan, share: &str, own: &[&Taken]) -> Vec<PolicySnapshot> {
    let reasons = plan.reasons(own);
    let mut shown: Vec<PolicySnapshot> = own
        .iter()
        .zip(reasons)
        .map(|(taken, reasons)| PolicySnapshot {
            share: share.to_owned(),
            id: taken.id.clone(),
            taken: taken.at,
            kept_by: reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
        })
        .collect();
    shown.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.taken));
    shown
}
