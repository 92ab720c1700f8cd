//! One run of a policy.
//!
//! | step | what | when it fails |
//! |---|---|---|
//! | ready | a place among the sources that are saved at once, if the run has sources and the hook `before` ([`Place`]) | the run ends |
//! | before | the hook `before` | the run ends, unless the hook may fail |
//! | take | a commit and a snapshot of each share, a few shares at once, or all of one moment | the other shares get theirs; of one moment, none, and nothing is forgotten |
//! | after | the hook `after`, if all shares have theirs | nothing is forgotten, unless the hook may fail |
//! | forget | what the rules keep no more, of each share that has a new snapshot | the next run does it |
//! | on_failure | the hook `on_failure`, once, if anything failed; of a snapshot that is missing before anything is forgotten | the log says so |
//!
//! What the hook `before` has begun is ended however the run ends: when it is cancelled after `before` has begun, `after`
//! (all snapshots are there) or `on_failure` (they are not) runs all the same. Neither is cut with the run: each has its
//! own time, and [`AT_STOP_MAX`] from when the gateway begins to stop.
//!
//! A run that is cut at any step leaves more snapshots than the rules keep, never fewer. Forgotten is only what
//! carries the policy's name, was not taken after now, and is in a listing that has the new snapshot too; and never the
//! newest whole one, while those that are newer lack something.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tidegate_replicator::repository::NewSnapshot;
use tokio_util::sync::CancellationToken;

use super::hook::{self, HookError};
use super::host::{PolicyHost, Taken};
use super::place::Place;
use super::plan::Plan;
use crate::appliance::locked_until;
use crate::clock::Clock;
use crate::control::{ControlError, ErrorKind, JobHandle, PolicyRun, PolicyShareRun, Unit};
use crate::settings::{Argument, OnHookFailure};

/// Shares of a policy whose snapshots are taken at once.
const SHARES_AT_ONCE: usize = 4;
/// What a hook that ends what `before` has begun may still take once the gateway stops. At most two come one after the other.
const AT_STOP_MAX: Duration = Duration::from_secs(20);

/// What the hooks are called in the settings.
const BEFORE: &str = "before";
const AFTER: &str = "after";
const ON_FAILURE: &str = "on_failure";

/// Now, by a clock.
pub(super) fn now(clock: &dyn Clock) -> Timestamp {
    let now = clock.now();
    Timestamp::new(now.seconds, now.nanos.cast_signed()).unwrap_or_default()
}

/// What a run came to.
pub(super) struct Outcome {
    pub(super) run: PolicyRun,
    /// The new snapshots.
    pub(super) taken: BTreeMap<String, Taken>,
    /// Why it failed, if it did.
    pub(super) failure: Option<ControlError>,
}

/// A run under way.
struct Run<'r> {
    plan: &'r Plan,
    host: &'r dyn PolicyHost,
    clock: &'r dyn Clock,
    job: &'r JobHandle,
    /// Cancelled when the gateway stops.
    stop: &'r CancellationToken,
    began: Timestamp,
    /// Whether the hook `before` has begun something that no other hook has ended yet.
    owes_an_end: bool,
    /// Whether the hook `on_failure` has had its turn.
    has_told: bool,
    shares: Vec<PolicyShareRun>,
    taken: BTreeMap<String, Taken>,
}

/// Runs a policy for some of its shares. `stop` is cancelled when the gateway stops, besides the job.
pub(super) async fn run(
    plan: &Plan,
    (host, clock, stop): (&dyn PolicyHost, &dyn Clock, &CancellationToken),
    shares: Vec<String>,
    tags: &BTreeMap<String, String>,
    job: &JobHandle,
) -> Outcome {
    // Of one moment are only those that are frozen in one run.
    let shares = if plan.policy.consistent { plan.shares.clone() } else { shares };
    let shares = shares.into_iter().map(|share| PolicyShareRun { share, ..PolicyShareRun::default() });
    let (began, shares) = (now(clock), shares.collect());
    let (owes_an_end, has_told, taken) = (false, false, BTreeMap::new());
    let mut run = Run { plan, host, clock, job, stop, began, owes_an_end, has_told, shares, taken };
    let failure = run.carry_out(tags).await.err();
    if let Some(error) = &failure {
        run.tell_of_failure(error).await;
    }
    let Run { shares, taken, .. } = run;
    let error = failure.as_ref().map(ToString::to_string);
    let run = PolicyRun { policy: plan.name().to_owned(), began, ended: now(clock), shares, error };
    Outcome { run, taken, failure }
}

impl Run<'_> {
    async fn carry_out(&mut self, tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
        let place = self.ready().await?;
        self.job.checkpoint()?;
        let plan = self.plan;
        let policy = &plan.policy;
        self.owes_an_end = !policy.before.is_empty();
        self.hook(BEFORE, &policy.before).await?;
        let taken = self.take(tags, place.as_ref()).await;
        drop(place);
        match &taken {
            Ok(()) => {
                let tolerated = self.hook(AFTER, &policy.after).await?;
                self.owes_an_end &= policy.after.is_empty() || tolerated.is_some();
                if let Some(error) = tolerated.filter(|_| self.owes_an_end) {
                    self.tell_of_failure(&error).await;
                }
            }
            // What is frozen does not wait for what is forgotten: a store that is away takes its time.
            Err(error) => self.tell_of_failure(error).await,
        }
        // Older ones of one moment do not make room for what is not of one.
        if policy.consistent && taken.is_err() {
            return taken;
        }
        let forgotten = self.forget().await;
        taken.and(forgotten)
    }

    /// Waits for a place to read the sources in. What `before` begins lasts until they are read, so it does not begin while they would
    /// wait for those of others. Where nothing begins there, they wait each by itself, and shares do not wait for them.
    async fn ready(&self) -> Result<Option<Place>, ControlError> {
        let policy = &self.plan.policy;
        let is_source =
            |share: &&PolicyShareRun| policy.sources.iter().any(|source| source.as_str() == share.share);
        let sources = self.shares.iter().filter(is_source).count();
        if sources == 0 || policy.before.is_empty() {
            return Ok(None);
        }
        self.host.ready(sources, self.job).await.map(Some)
    }

    /// A hook beside the snapshots. Of one that may fail the failure is only logged, and given.
    async fn hook(
        &self,
        which: &'static str,
        command: &[Argument],
    ) -> Result<Option<ControlError>, ControlError> {
        let policy = self.plan.name();
        match self.run_hook(which, command, None).await {
            Ok(()) => Ok(None),
            Err(error) if error.kind == ErrorKind::Cancelled => Err(error),
            Err(error) if self.plan.policy.on_hook_failure == OnHookFailure::Continue => {
                tracing::warn!(policy, %error, "a hook failed; the run goes on");
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the hook `on_failure`, once. A run that was cancelled is no failure, but what `before` has begun is ended.
    async fn tell_of_failure(&mut self, error: &ControlError) {
        let is_due = self.owes_an_end || error.kind != ErrorKind::Cancelled;
        if !is_due || std::mem::replace(&mut self.has_told, true) {
            return;
        }
        let command = &self.plan.policy.on_failure;
        if let Err(error) = self.run_hook(ON_FAILURE, command, Some(error.to_string())).await {
            tracing::warn!(policy = self.plan.name(), %error, "a hook failed");
        }
    }

    async fn run_hook(
        &self,
        which: &'static str,
        command: &[Argument],
        error: Option<String>,
    ) -> Result<(), ControlError> {
        if command.is_empty() {
            return Ok(());
        }
        self.job.phase(&format!("hook {which}"), None, Unit::Items);
        let timeout = self.plan.policy.hook_timeout.duration();
        let variables = self.variables(which, error);
        let ended = if which == BEFORE {
            hook::run(command, &variables, timeout, self.job).await
        } else {
            self.run_to_its_end(command, &variables, timeout).await
        };
        match ended {
            Ok(output) => {
                tracing::info!(policy = self.plan.name(), hook = which, output, "a hook ended well");
                Ok(())
            }
            Err(error) => {
                let kind = match &error {
                    HookError::Cancelled { .. } => ErrorKind::Cancelled,
                    HookError::Start { .. } | HookError::Failed { .. } | HookError::TimedOut { .. } => {
                        ErrorKind::Failed
                    }
                };
                Err(ControlError::new(kind, format!("hook {which} failed: {error}")))
            }
        }
    }

    /// Runs a hook that is not cut with the run; see the head of this module.
    async fn run_to_its_end(
        &self,
        command: &[Argument],
        variables: &[(&'static str, String)],
        timeout: Duration,
    ) -> Result<String, HookError> {
        let own = JobHandle::new();
        let bound = async {
            self.stop.cancelled().await;
            tokio::time::sleep(AT_STOP_MAX).await;
            own.cancel();
            // Below it is waited for the end of the hook.
            std::future::pending::<Result<String, HookError>>().await
        };
        tokio::select! {
            ended = hook::run(command, variables, timeout, &own) => ended,
            ended = bound => ended,
        }
    }

    /// The environment of a hook.
    fn variables(&self, which: &str, error: Option<String>) -> Vec<(&'static str, String)> {
        let shares: Vec<&str> = self.shares.iter().map(|share| share.share.as_str()).collect();
        let taken: Vec<String> =
            self.taken.iter().map(|(share, taken)| format!("{share}={}", taken.id)).collect();
        let mut variables = vec![
            ("TIDEGATE_HOOK", which.to_owned()),
            ("TIDEGATE_POLICY", self.plan.name().to_owned()),
            ("TIDEGATE_RUN_TIME", self.began.to_string()),
            ("TIDEGATE_SHARES", shares.join(" ")),
            ("TIDEGATE_SNAPSHOTS", taken.join(" ")),
        ];
        variables.extend(error.map(|error| ("TIDEGATE_ERROR", hook::variable(&error))));
        variables
    }

    async fn take(
        &mut self,
        tags: &BTreeMap<String, String>,
        place: Option<&Place>,
    ) -> Result<(), ControlError> {
        self.job.phase("take snapshots", Some(self.shares.len() as u64), Unit::Items);
        let (name, host, job) = (self.plan.name(), self.host, self.job);
        let new = NewSnapshot { label: name.to_owned(), policy: Some(name.to_owned()), tags: tags.clone() };
        let shares: Vec<String> = self.shares.iter().map(|share| share.share.clone()).collect();
        let results: Vec<Result<Taken, ControlError>> = if self.plan.policy.consistent {
            let taken = host.take_together(&shares, new).await;
            job.advance(taken.len() as u64);
            taken
        } else {
            let each = |share: String| {
                let new = new.clone();
                async move {
                    job.checkpoint()?;
                    let taken = host.take(&share, new, place, job).await;
                    job.advance(1);
                    taken
                }
            };
            stream::iter(shares).map(each).buffered(SHARES_AT_ONCE).collect().await
        };
        for (share, result) in self.shares.iter_mut().zip(results) {
            match result {
                Ok(taken) => {
                    share.snapshot = Some(taken.id.clone());
                    share.lacks.clone_from(&taken.lacks);
                    self.taken.insert(share.share.clone(), taken);
                }
                Err(error) => note(share, &error),
            }
        }
        self.failures()
    }

    /// Everything that failed for a share, as one error.
    fn failures(&self) -> Result<(), ControlError> {
        let failed: Vec<String> = self
            .shares
            .iter()
            .filter_map(|share| Some(format!("share {}: {}", share.share, share.error.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        self.job.checkpoint()?;
        let kind = if self.taken.is_empty() { ErrorKind::Failed } else { ErrorKind::Incomplete };
        Err(ControlError::new(kind, failed.join("; ")))
    }

    async fn forget(&mut self) -> Result<(), ControlError> {
        self.job.phase("forget snapshots", None, Unit::Items);
        let mut shares = std::mem::take(&mut self.shares);
        for share in &mut shares {
            let Some(new) = self.taken.get(&share.share) else { continue };
            if let Err(error) = self.forget_of(share, new).await {
                note(share, &error);
            }
        }
        self.shares = shares;
        self.failures()
    }

    async fn forget_of(&self, share: &mut PolicyShareRun, new: &Taken) -> Result<(), ControlError> {
        let listed = self.host.snapshots(&share.share).await?;
        if !listed.iter().any(|snapshot| snapshot.id == new.id) {
            let message = "its snapshots are listed without the new one; nothing is forgotten";
            return Err(ControlError::new(ErrorKind::Failed, message));
        }
        let own = of_policy(&listed, self.plan.name());
        share.kept = own.len() as u64;
        let now = now(self.clock);
        let past: Vec<&Taken> = own.into_iter().filter(|snapshot| snapshot.at <= now).collect();
        let reasons = self.plan.reasons(&past);
        for (snapshot, reasons) in past.into_iter().zip(reasons) {
            let is_locked = locked_until(&snapshot.tags).is_some_and(|until| until.as_nanos() > nanos(now));
            if reasons.is_kept() || is_locked {
                continue;
            }
            self.job.checkpoint()?;
            self.host.forget(&share.share, snapshot).await?;
            share.forgotten.push(snapshot.id.clone());
            share.kept -= 1;
            self.job.advance(1);
        }
        Ok(())
    }
}

fn nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// What a policy took.
pub(super) fn of_policy<'t>(listed: &'t [Taken], policy: &str) -> Vec<&'t Taken> {
    listed.iter().filter(|snapshot| snapshot.policy.as_deref() == Some(policy)).collect()
}

fn note(share: &mut PolicyShareRun, error: &ControlError) {
    let before = share.error.take().map(|before| format!("{before}; ")).unwrap_or_default();
    share.error = Some(format!("{before}{error}"));
}
