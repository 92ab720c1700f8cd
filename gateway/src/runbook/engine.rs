//! The engine: carries a run to its end, from wherever its journal says that it is.
//!
//! Order of a run: look at the repository; steps, each when those before it let go on; in a roll back, and at
//! the end of a drill, what was begun is taken back, the last first; the teardown of a drill; a second look; the end.
//! Every change is durable in the journal before the next one happens:
//!
//! ```text
//! step-begun | effect | step-done          step-begun | effect ... dies ... looked at again
//! ```
//!
//! What dies between begin and end is carried out again where that does no harm; else its probe is asked, and where
//! there is none, or it does not know, nobody carries it out a second time: the run stops, and a person says how it is.
//! A failed attempt of such a step is looked at in the same way before it is tried again.
//!
//! A drill that was interrupted, or died, is not gone on with: it is torn down.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::journal::{Journal, JournalError};
use super::state::{Entry, Mode, Record, Standing, State};
use super::world::{Known, Probed, StepFailure, World};
use crate::settings::{OnStepFailure, Runbook, Step};

/// The longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// How often taking something back is tried, and the teardown.
const UNDO_ATTEMPTS: u32 = 3;
/// Between two attempts at that.
const UNDO_PAUSE: Duration = Duration::from_secs(2);
/// How long one of them may take.
const UNDO_TIME_MAX: Duration = Duration::from_mins(10);
/// How long a look at the repository may take.
const LOOK_TIME_MAX: Duration = Duration::from_hours(1);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step is done, skipped or passed over; a drill is torn down and left everything as it was.
    Done,
    /// A step failed. A failover can be resumed; a drill is torn down.
    Failed,
    /// A step failed, and what was done was taken back.
    RolledBack,
    /// It was told to stop, or died. A failover can be resumed; a drill is torn down.
    Interrupted,
    /// Something of a drill is left, or the repository is not as it was: see the report.
    Left,
}

impl Outcome {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::Interrupted => "interrupted",
            Self::Left => "left",
        }
    }
}

/// Why a run cannot be carried on. What it did is in its journal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing can be begun.
    #[error("{0}")]
    World(#[from] StepFailure),
}

/// With what a run is taken up again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenUp {
    records: Vec<Record>,
}

impl TakenUp {
    /// Of a run; `done` and `again` are steps of which a person says that they were, or were not, carried out.
    pub fn of(
        runbook: &Runbook,
        mode: Mode,
        state: &State,
        done: &[String],
        again: &[String],
    ) -> Result<Self, String> {
        let mut records = vec![Record::Resumed];
        if mode.is_drill() {
            return match state.outcome {
                None | Some(Outcome::Left) => {
                    records.push(Record::Interrupted);
                    Ok(Self { records })
                }
                Some(_) => Err("the drill has ended, and is torn down; begin another".to_owned()),
            };
        }
        match state.outcome {
            Some(Outcome::Done | Outcome::RolledBack) => return Err("the run has ended".to_owned()),
            None if state.halted == Some(OnStepFailure::RollBack) => return Ok(Self { records }),
            Some(Outcome::Failed | Outcome::Interrupted | Outcome::Left) | None => {}
        }
        let said = |names: &[String], step: &Step| names.iter().any(|name| name == step.name.as_str());
        for name in done.iter().chain(again) {
            if !state.steps.get(name).is_some_and(|step| step.standing == Standing::Failed) {
                return Err(format!("{name:?} is no step that was given up"));
            }
        }
        for step in &runbook.steps {
            let Some(known) = state.steps.get(step.name.as_str()) else { continue };
            if known.standing != Standing::Failed {
                continue;
            }
            let (was_done, was_not) = (said(done, step), said(again, step));
            let step_name = step.name.as_str().to_owned();
            let why = match (was_done, was_not, known.doubtful) {
                (true, true, _) => return Err(format!("step {step_name} cannot be both done and not")),
                (false, false, true) => {
                    return Err(format!(
                        "nobody knows whether step {step_name} was carried out: look, and say --done {step_name} or \
                         --again {step_name}"
                    ));
                }
                (true, ..) | (_, true, _) => "a person said how it is",
                (false, false, false) => "the run was resumed",
            };
            let reopened =
                Record::StepReopened { step: step_name.clone(), why: why.to_owned(), not_done: was_not };
            records.push(reopened);
            if was_done {
                let note = "a person said that it was done".to_owned();
                records.push(Record::StepDone { step: step_name, note, first_byte: false });
            }
        }
        Ok(Self { records })
    }
}

/// See the head of this module.
pub struct Engine<'w> {
    runbook: &'w Runbook,
    mode: Mode,
    world: &'w dyn World,
    journal: &'w dyn Journal,
    state: Mutex<State>,
    /// Held while an entry is made durable, so that the state follows the order of the journal.
    order: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

impl<'w> Engine<'w> {
    /// Of a run whose journal says so far what `state` is.
    pub fn new(
        runbook: &'w Runbook,
        mode: Mode,
        world: &'w dyn World,
        journal: &'w dyn Journal,
        state: State,
        stop: CancellationToken,
    ) -> Self {
        Self {
            runbook,
            mode,
            world,
            journal,
            state: Mutex::new(state),
            order: tokio::sync::Mutex::default(),
            stop,
        }
    }

    /// Where the run is.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Takes the run up again, in another process than before.
    pub async fn take_up(&self, taken_up: TakenUp) -> Result<(), RunError> {
        for record in taken_up.records {
            self.note(record).await?;
        }
        Ok(())
    }

    /// Carries the run to its end.
    pub async fn run(&self) -> Result<Outcome, RunError> {
        if self.state().before.is_none() && !self.state().interrupted {
            let looked = self.within(LOOK_TIME_MAX, self.world.look(None)).await;
            let (evidence, _) = match looked {
                Ok(looked) => looked,
                // Nothing has been done yet, so there is nothing to take back either.
                Err(failure) => {
                    self.note(Record::Ended { outcome: Outcome::Failed }).await?;
                    return Err(failure.into());
                }
            };
            self.note(Record::Before { evidence }).await?;
        }
        self.forward().await?;
        let rolls_back = self.state().halted == Some(OnStepFailure::RollBack);
        if self.mode.is_drill() || rolls_back {
            self.backward().await?;
        }
        if self.mode.is_drill() {
            self.tear_down().await?;
        }
        let outcome = self.outcome();
        self.note(Record::Ended { outcome }).await?;
        Ok(outcome)
    }

    fn outcome(&self) -> Outcome {
        let state = self.state();
        let left = !state.torn_down || state.compared.as_ref().is_none_or(|found| !found.is_empty());
        match state.halted {
            _ if self.mode.is_drill() && left => Outcome::Left,
            _ if state.interrupted => Outcome::Interrupted,
            Some(OnStepFailure::RollBack) => Outcome::RolledBack,
            Some(_) => Outcome::Failed,
            None if state.is_through(self.runbook) => Outcome::Done,
            None => Outcome::Failed,
        }
    }

    /// Steps, until none is left that may begin.
    async fn forward(&self) -> Result<(), RunError> {
        let mut active = FuturesUnordered::new();
        let mut names = BTreeSet::new();
        if !self.state().ready(self.runbook).is_empty() {
            if let Err(failure) = self.world.prepare().await {
                return self.cannot_begin(failure).await;
            }
        }
        loop {
            for step in self.state().ready(self.runbook) {
                let room = active.len() < self.runbook.rules.parallel as usize;
                if room && !self.stop.is_cancelled() && names.insert(step.name.as_str()) {
                    active.push(async move { (step.name.as_str(), self.carry_out(step).await) });
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    drop(active);
                    if !self.state().is_through(self.runbook) {
                        self.note(Record::Interrupted).await?;
                    }
                    return Ok(());
                }
                ended = active.next() => match ended {
                    None => return Ok(()),
                    Some((name, ended)) => {
                        ended?;
                        names.remove(name);
                    }
                }
            }
        }
    }

    /// What steps need could not be made: those that would begin now fail.
    async fn cannot_begin(&self, failure: StepFailure) -> Result<(), RunError> {
        for step in self.state().ready(self.runbook) {
            self.give_up(step, failure.why.clone(), false).await?;
        }
        Ok(())
    }

    /// Attempts at a step, until it is done or given up.
    async fn carry_out(&self, step: &Step) -> Result<(), RunError> {
        let name = step.name.as_str().to_owned();
        if self.mode.is_drill() && !step.runs_in_drill() {
            let why = "it does nothing in a drill".to_owned();
            return self.note(Record::StepSkipped { step: name, why }).await;
        }
        loop {
            let (attempts, failures) = self.attempts(&name);
            let unsure = attempts > 0 && !step.is_idempotent() && !self.is_known_not_done(&name);
            if unsure && self.looked_at(step).await? {
                return Ok(());
            }
            if failures > 0 {
                tokio::time::sleep(backoff(step, failures)).await;
            }
            self.note(Record::StepBegun { step: name.clone(), attempt: attempts + 1 }).await?;
            let known = self.known();
            let failure =
                match self.within(step.time_max().duration(), self.world.perform(step, &known)).await {
                    Ok(done) => {
                        let (note, first_byte) = (done.note, done.first_byte);
                        return self.note(Record::StepDone { step: name, note, first_byte }).await;
                    }
                    Err(failure) => failure,
                };
            let why = failure.why.clone();
            self.note(Record::StepFailed { step: name.clone(), why }).await?;
            let (_, failures) = self.attempts(&name);
            if failure.is_final || failures > step.retries_max() {
                return self.give_up(step, failure.why, false).await;
            }
        }
    }

    /// Asks how it is with a step that may not be carried out twice, and was begun; whether that settles it.
    async fn looked_at(&self, step: &Step) -> Result<bool, RunError> {
        let name = step.name.as_str().to_owned();
        match self.world.probe(step).await {
            Probed::Done(note) => {
                self.note(Record::StepDone { step: name, note, first_byte: false }).await?;
                Ok(true)
            }
            Probed::NotDone => Ok(false),
            Probed::Unknown(why) => {
                let why = format!("nobody knows whether it was carried out: {why}");
                self.give_up(step, why, true).await?;
                Ok(true)
            }
        }
    }

    async fn give_up(&self, step: &Step, why: String, doubtful: bool) -> Result<(), RunError> {
        // In doubt a person says how it is before anything goes on, or back.
        let then = if doubtful { OnStepFailure::Stop } else { step.failure() };
        let (step, then) = (step.name.as_str().to_owned(), then.as_str().to_owned());
        self.note(Record::StepGivenUp { step, why, then, doubtful }).await
    }

    /// Takes back what was begun, the last first.
    async fn backward(&self) -> Result<(), RunError> {
        for step in self.state().to_undo(self.runbook) {
            if !self.world.can_undo(step) {
                continue;
            }
            let name = step.name.as_str().to_owned();
            self.note(Record::UndoBegun { step: name.clone() }).await?;
            let record = match self.several(|| self.world.undo(step)).await {
                Ok(note) => Record::Undone { step: name, note },
                Err(failure) => Record::UndoFailed { step: name, why: failure.why },
            };
            self.note(record).await?;
        }
        Ok(())
    }

    /// Takes away what the drill made, and looks whether everything is as it was.
    async fn tear_down(&self) -> Result<(), RunError> {
        if !self.state().torn_down {
            self.note(Record::TeardownBegun).await?;
            let record = match self.several(|| self.world.tear_down()).await {
                Ok(note) => Record::TornDown { note },
                Err(failure) => Record::TeardownFailed { why: failure.why },
            };
            self.note(record).await?;
        }
        let Some(before) = self.state().before else {
            // It was interrupted before it had looked, let alone done anything.
            return self.note(Record::After { evidence: None, differences: Vec::new() }).await;
        };
        let (evidence, differences) = match self.within(LOOK_TIME_MAX, self.world.look(Some(&before))).await {
            Ok((evidence, differences)) => (Some(evidence), differences),
            Err(failure) => (None, vec![format!("it cannot be seen what the drill left: {failure}")]),
        };
        self.note(Record::After { evidence, differences }).await
    }

    async fn several<F: Future<Output = Result<String, StepFailure>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<String, StepFailure> {
        let mut tried = 1;
        loop {
            match self.within(UNDO_TIME_MAX, attempt()).await {
                Err(failure) if tried < UNDO_ATTEMPTS && !failure.is_final => {
                    tried += 1;
                    tokio::time::sleep(UNDO_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, StepFailure>>,
    ) -> Result<T, StepFailure> {
        let late = || StepFailure::passing(format!("it took longer than {} s", time.as_secs()));
        tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(late()))
    }

    fn attempts(&self, step: &str) -> (u32, u32) {
        self.state.lock().steps.get(step).map_or((0, 0), |step| (step.attempts, step.failures))
    }

    fn is_known_not_done(&self, step: &str) -> bool {
        self.state.lock().steps.get(step).is_some_and(|step| step.not_done)
    }

    fn known(&self) -> Known {
        let state = self.state.lock();
        let done = state.steps.iter().filter(|(_, step)| step.standing == Standing::Done);
        Known { notes: done.map(|(name, step)| (name.clone(), step.note.clone())).collect() }
    }

    /// Makes a record durable; only then is it so.
    async fn note(&self, record: Record) -> Result<(), RunError> {
        let _order = self.order.lock().await;
        let entry = Entry { at: self.world.now(), record };
        self.journal.append(&entry).await?;
        self.state.lock().take_in(&entry);
        tracing::info!(record = ?entry.record, "run");
        Ok(())
    }
}

fn backoff(step: &Step, failures: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
    step.backoff.duration().saturating_mul(doubled).min(BACKOFF_MAX)
}
