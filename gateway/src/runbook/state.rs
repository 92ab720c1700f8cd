//! What a journal says: where a run is. Pure: entries in, state out.
//!
//! | record | what is true once it is durable |
//! |---|---|
//! | `step-begun` | the step may have had its effect |
//! | `step-done` | it has had it |
//! | `step-failed` | an attempt has ended without success; what it did nobody knows |
//! | `step-given-up` | it is not tried again in this life of the run |
//! | `undo-begun`, `undone` | as for steps |
//! | `torn-down` | nothing is left of a drill but its journal and its report |
//!
//! A step that was begun and neither done nor given up was under way when the run died: it is looked at again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::settings::{OnStepFailure, Runbook};

/// Whether it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Practised on clones, and torn down.
    Drill,
    /// Done: the other site is lost.
    Failover,
    /// Done: back to a site that had been lost.
    Failback,
}

impl Mode {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Failover => "failover",
            Self::Failback => "failback",
        }
    }

    /// Whether it leaves nothing behind.
    pub const fn is_drill(self) -> bool {
        matches!(self, Self::Drill)
    }
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub record: Record,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first record: what is run. The runbook goes with it, so that a change of the settings changes no run.
    Begun {
        /// The name of the run.
        run: String,
        /// Whether it is meant.
        mode: Mode,
        /// The runbook, as TOML.
        runbook: String,
        /// The moment that is attached where the runbook lets no person choose; none for what the runbook says.
        // The entry has an `at` of its own, beside which this one stands.
        #[serde(rename = "moment")]
        at: Option<String>,
        /// The version of the program.
        version: String,
        /// The name of this machine.
        host: String,
        /// The address of the repository.
        repository: String,
    },
    /// What lay in the repository before the first step.
    Before {
        /// See there.
        evidence: Evidence,
    },
    /// What lay there after the teardown of a drill, or why it could not be seen.
    After {
        /// See there.
        evidence: Option<Evidence>,
        /// How it differs from before, other than by what production itself published; empty when it does not.
        differences: Vec<String>,
    },
    /// A process took the run up again.
    Resumed,
    /// It was told to stop.
    Interrupted,
    /// An attempt at a step begins.
    StepBegun {
        /// Which.
        step: String,
        /// From 1.
        attempt: u32,
    },
    /// A step is done.
    StepDone {
        /// Which.
        step: String,
        /// What it says, for people, and for steps after it.
        note: String,
        /// Whether a client was served a byte.
        first_byte: bool,
    },
    /// An attempt failed.
    StepFailed {
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// A step does nothing in this run.
    StepSkipped {
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// A step is not tried again.
    StepGivenUp {
        /// Which.
        step: String,
        /// Why.
        why: String,
        /// What follows: `stop`, `continue` or `roll-back`.
        then: String,
        /// Whether nobody knows if it was carried out.
        doubtful: bool,
    },
    /// A step that was given up is tried again.
    StepReopened {
        /// Which.
        step: String,
        /// Who said so, or why.
        why: String,
        /// Whether a person said that it was not carried out.
        #[serde(default)]
        not_done: bool,
    },
    /// A step begins to be taken back.
    UndoBegun {
        /// Which.
        step: String,
    },
    /// A step was taken back.
    Undone {
        /// Which.
        step: String,
        /// What was done, for people.
        note: String,
    },
    /// A step could not be taken back.
    UndoFailed {
        /// Which.
        step: String,
        /// Why.
        why: String,
    },
    /// The teardown of a drill begins.
    TeardownBegun,
    /// Nothing is left of the drill.
    TornDown {
        /// What was taken away, for people.
        note: String,
    },
    /// Something is left.
    TeardownFailed {
        /// Why.
        why: String,
    },
    /// The run has ended, for now if it can be resumed.
    Ended {
        /// How.
        outcome: super::Outcome,
    },
}

/// Where a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It has not begun.
    #[default]
    Waiting,
    /// An attempt is under way, or was when the run died.
    Running,
    /// An attempt failed, and another follows.
    Between,
    /// Done.
    Done,
    /// It does nothing in this run.
    Skipped,
    /// It failed for good, and the run goes on.
    PassedOver,
    /// It failed for good, and the run does not go on.
    Failed,
}

impl Standing {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Between => "failed, again",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::PassedOver => "failed, passed over",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more becomes of it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::PassedOver | Self::Failed)
    }

    /// Whether it goes on now.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Between)
    }

    /// Whether steps that wait for it may begin.
    pub const fn lets_go_on(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::PassedOver)
    }
}

/// Where the undoing of a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Nobody has begun it.
    #[default]
    Not,
    /// It is under way, or was when the run died.
    Running,
    /// Done.
    Done,
    /// It failed.
    Failed,
}

/// What is known of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Where it is.
    pub standing: Standing,
    /// Attempts that have begun.
    pub attempts: u32,
    /// Attempts that failed since it was last opened.
    pub failures: u32,
    /// How many steps had begun before it; none if it has not.
    pub order: Option<usize>,
    /// When the first attempt began.
    pub began: Option<Timestamp>,
    /// When it was done, skipped or given up.
    pub ended: Option<Timestamp>,
    /// What it said, or why it failed.
    pub note: String,
    /// Whether nobody knows if it was carried out.
    pub doubtful: bool,
    /// Whether a person said that it was not.
    pub not_done: bool,
    /// Whether it was taken back.
    pub undo: Undo,
}

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// By the name of the step.
    pub steps: BTreeMap<String, StepState>,
    /// What lay in the repository before.
    pub before: Option<Evidence>,
    /// When a client was first served a byte.
    pub first_byte: Option<Timestamp>,
    /// Whether a step said that the run stops, or is rolled back.
    pub halted: Option<OnStepFailure>,
    /// Whether it was told to stop, or died: a drill is only torn down from then on.
    pub interrupted: bool,
    /// Whether the teardown is done.
    pub torn_down: bool,
    /// Whether it was looked at what the drill left.
    pub compared: Option<Vec<String>>,
    /// How it ended; none while it goes on.
    pub outcome: Option<super::Outcome>,
    begun: usize,
}

impl State {
    /// The state after all entries.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut state = Self::default();
        for entry in entries {
            state.take_in(entry);
        }
        state
    }

    /// The state after one more entry.
    pub fn take_in(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Begun { .. } | Record::TeardownBegun | Record::TeardownFailed { .. } => {}
            Record::Before { evidence } => self.before = Some(evidence.clone()),
            Record::After { differences, .. } => self.compared = Some(differences.clone()),
            Record::Resumed => (self.outcome, self.interrupted) = (None, false),
            Record::Interrupted => self.interrupted = true,
            Record::TornDown { .. } => self.torn_down = true,
            Record::Ended { outcome } => self.outcome = Some(*outcome),
            Record::UndoBegun { step } => self.step(step).undo = Undo::Running,
            Record::Undone { step, .. } => self.step(step).undo = Undo::Done,
            Record::UndoFailed { step, .. } => self.step(step).undo = Undo::Failed,
            record => self.take_in_step(entry.at, record),
        }
    }

    fn take_in_step(&mut self, at: Timestamp, record: &Record) {
        match record {
            Record::StepBegun { step, attempt } => {
                let begun = self.begun;
                let step = self.step(step);
                step.standing = Standing::Running;
                step.attempts = *attempt;
                step.not_done = false;
                step.began.get_or_insert(at);
                if step.order.is_none() {
                    step.order = Some(begun);
                    self.begun += 1;
                }
            }
            Record::StepDone { step, note, first_byte } => {
                self.end(step, Standing::Done, at, note);
                if *first_byte {
                    self.first_byte.get_or_insert(at);
                }
            }
            Record::StepFailed { step, why } => {
                let step = self.step(step);
                step.standing = Standing::Between;
                step.failures += 1;
                step.note.clone_from(why);
            }
            Record::StepSkipped { step, why } => self.end(step, Standing::Skipped, at, why),
            Record::StepGivenUp { step, why, then, doubtful } => {
                // What is not known is written by a later version: the safe thing is to stop.
                let then = then.parse().unwrap_or(OnStepFailure::Stop);
                let passes = then == OnStepFailure::Continue;
                let standing = if passes { Standing::PassedOver } else { Standing::Failed };
                self.end(step, standing, at, why);
                self.step(step).doubtful = *doubtful;
                if !passes && self.halted != Some(OnStepFailure::RollBack) {
                    self.halted = Some(then);
                }
            }
            Record::StepReopened { step, not_done, .. } => {
                let step = self.step(step);
                step.not_done = *not_done;
                step.standing = if step.order.is_some() { Standing::Between } else { Standing::Waiting };
                (step.failures, step.ended, step.doubtful) = (0, None, false);
                self.halted = None;
            }
            _ => {}
        }
    }

    fn step(&mut self, name: &str) -> &mut StepState {
        self.steps.entry(name.to_owned()).or_default()
    }

    fn end(&mut self, step: &str, standing: Standing, at: Timestamp, note: &str) {
        let step = self.step(step);
        (step.standing, step.ended) = (standing, Some(at));
        note.clone_into(&mut step.note);
    }

    /// Where a step is.
    pub fn standing(&self, step: &str) -> Standing {
        self.steps.get(step).map_or(Standing::Waiting, |step| step.standing)
    }

    /// The steps that may begin now, or go on, in the order of the runbook.
    pub fn ready<'r>(&self, runbook: &'r Runbook) -> Vec<&'r crate::settings::Step> {
        if self.halted.is_some() || self.interrupted {
            return Vec::new();
        }
        let open = |name: &str| {
            matches!(self.standing(name), Standing::Waiting | Standing::Running | Standing::Between)
        };
        let ready = |step: &&crate::settings::Step| {
            open(step.name.as_str())
                && step.after.iter().all(|name| self.standing(name.as_str()).lets_go_on())
        };
        runbook.steps.iter().filter(ready).collect()
    }

    /// The steps that have begun and are not taken back, the last to begin first.
    pub fn to_undo<'r>(&self, runbook: &'r Runbook) -> Vec<&'r crate::settings::Step> {
        let begun = |step: &'r crate::settings::Step| {
            let state = self.steps.get(step.name.as_str())?;
            let order = state.order.filter(|_| !matches!(state.undo, Undo::Done))?;
            Some((order, step))
        };
        let mut steps: Vec<_> = runbook.steps.iter().filter_map(begun).collect();
        steps.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// Whether every step lets go on.
    pub fn is_through(&self, runbook: &Runbook) -> bool {
        runbook.steps.iter().all(|step| self.standing(step.name.as_str()).lets_go_on())
    }
}
