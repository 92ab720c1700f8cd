//! What came of a run: made from its journal, at any time.
//!
//! *RTO* is counted from the beginning of the run: to the first byte that a client was served, and to the end of the last
//! check. *RPO* is the age of the newest head when the run began, by the store's clock; where production could still be
//! asked, what it had acknowledged after that head is named beside it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::evidence::ShareEvidence;
use super::runs::Run;
use super::state::{Entry, Mode, Record, Standing, State, Undo};
use crate::settings::Step;

/// An objective, and what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// What the runbook or the share promises, in milliseconds; none if nothing.
    pub objective_ms: Option<u64>,
    /// What it was, in milliseconds; none if it did not come so far.
    pub measured_ms: Option<u64>,
}

impl Objective {
    /// Whether it was kept; none where there is nothing to compare.
    pub fn is_kept(&self) -> Option<bool> {
        Some(self.measured_ms? <= self.objective_ms?)
    }
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    /// Its name.
    pub step: String,
    /// What it does.
    pub action: String,
    /// The steps before it.
    pub after: Vec<String>,
    /// Where it is.
    pub standing: Standing,
    /// Attempts that began.
    pub attempts: u32,
    /// When it began, in milliseconds after the beginning of the run.
    pub began_ms: Option<u64>,
    /// How long it took, pauses between attempts included, in milliseconds.
    pub took_ms: Option<u64>,
    /// How long it was expected to take, in milliseconds.
    pub expected_ms: Option<u64>,
    /// What it said, or why it failed.
    pub note: String,
    /// Whether it was taken back.
    pub undo: Undo,
}

/// See the head of this module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this form: it rises when a field goes or changes its meaning.
    pub version: u32,
    /// The run.
    pub run: String,
    /// What was run.
    pub runbook: String,
    /// What it is for.
    pub about: String,
    /// Whether it was meant.
    pub mode: Mode,
    /// How it ended; none while it goes on.
    pub outcome: Option<Outcome>,
    /// The machine that ran it.
    pub host: String,
    /// Where the repository lies.
    pub repository: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// From the beginning to the first byte that a client was served.
    pub rto_first_byte: Objective,
    /// From the beginning to the end of the last check.
    pub rto_checked: Objective,
    /// The age of the oldest of the newest heads at the beginning.
    pub rpo: Objective,
    /// The shares.
    pub shares: Vec<ShareEvidence>,
    /// The steps, in the order of the runbook.
    pub steps: Vec<StepReport>,
    /// Of a drill: what lay in the repository before, in objects and bytes.
    pub repository_before: Option<(u64, u64)>,
    /// Of a drill: the same afterwards.
    pub repository_after: Option<(u64, u64)>,
    /// Of a drill: objects that production published meanwhile.
    pub published_meanwhile: u64,
    /// Of a drill: whether everything was taken away; none as long as it is not known.
    pub torn_down: Option<bool>,
    /// Of a drill: how the repository differs from before; empty when it does not.
    pub differences: Vec<String>,
    /// What else happened, in order: resumptions, undoing, teardown.
    pub events: Vec<(Timestamp, String)>,
}

impl Report {
    /// Of a run whose journal says so far what `entries` are.
    pub fn of(run: &Run, entries: &[Entry]) -> Self {
        let state = State::of(entries);
        let began = entries.first().map(|entry| entry.at).unwrap_or_default();
        let (mut host, mut repository) = (String::new(), String::new());
        if let Some(Entry { record: Record::Begun { host: by, repository: at, .. }, .. }) = entries.first() {
            (host, repository) = (by.clone(), at.clone());
        }
        let since = |time: Timestamp| milliseconds(began, time);
        let shares = state.before.as_ref().map(|before| before.shares.clone()).unwrap_or_default();
        let rto = run.runbook.rules.rto.map(|span| span.duration().as_millis() as u64);
        let listed = |evidence: &super::Evidence| evidence.objects.zip(evidence.bytes);
        let after = entries.iter().rev().find_map(|entry| match &entry.record {
            Record::After { evidence, .. } => evidence.as_ref(),
            _ => None,
        });
        let drill = run.mode.is_drill();
        Self {
            version: 1,
            run: run.name.clone(),
            runbook: run.runbook.name.to_string(),
            about: run.runbook.rules.about.as_ref().map(ToString::to_string).unwrap_or_default(),
            mode: run.mode,
            outcome: state.outcome,
            host,
            repository,
            began,
            ended: entries.last().filter(|_| state.outcome.is_some()).map(|entry| entry.at),
            rto_first_byte: Objective { objective_ms: rto, measured_ms: state.first_byte.map(since) },
            rto_checked: Objective { objective_ms: rto, measured_ms: checked(run, &state).map(since) },
            rpo: rpo(run, &shares),
            shares,
            steps: run.runbook.steps.iter().map(|step| step_report(step, &state, &since)).collect(),
            repository_before: state.before.as_ref().and_then(listed),
            repository_after: after.and_then(listed),
            published_meanwhile: after.map_or(0, |evidence| evidence.grown),
            torn_down: (drill && state.outcome.is_some())
                .then_some(state.torn_down || state.before.is_none()),
            differences: state.compared.unwrap_or_default(),
            events: entries.iter().filter_map(event).collect(),
        }
    }
}

fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or_default()
}

/// When the last check passed; none while one has not, or when there is none.
fn checked(run: &Run, state: &State) -> Option<Timestamp> {
    let mut last = None;
    for step in run.runbook.steps.iter().filter(|step| step.action.is_check()) {
        let state = state.steps.get(step.name.as_str())?;
        match state.standing {
            Standing::Skipped => {}
            Standing::Done => last = last.max(state.ended),
            _ => return None,
        }
    }
    last
}

/// The share whose newest head was the oldest, for its objective.
fn rpo(run: &Run, shares: &[ShareEvidence]) -> Objective {
    let whole = run.runbook.rules.rpo.map(|span| span.duration().as_millis() as u64);
    let of =
        |share: &ShareEvidence| Objective { objective_ms: whole.or(share.rpo_ms), measured_ms: share.age_ms };
    let slack = |objective: &Objective| {
        let (allowed, measured) = (objective.objective_ms.unwrap_or(u64::MAX), objective.measured_ms);
        i128::from(allowed) - i128::from(measured.unwrap_or_default())
    };
    shares.iter().map(of).min_by_key(slack).unwrap_or_default()
}

fn step_report(step: &Step, state: &State, since: &impl Fn(Timestamp) -> u64) -> StepReport {
    let known = state.steps.get(step.name.as_str()).cloned().unwrap_or_default();
    StepReport {
        step: step.name.to_string(),
        action: step.action.to_string(),
        after: step.after.iter().map(ToString::to_string).collect(),
        standing: known.standing,
        attempts: known.attempts,
        began_ms: known.began.map(since),
        took_ms: known.began.zip(known.ended).map(|(began, ended)| milliseconds(began, ended)),
        expected_ms: step.expect.map(|span| span.duration().as_millis() as u64),
        note: known.note,
        undo: known.undo,
    }
}

fn event(entry: &Entry) -> Option<(Timestamp, String)> {
    let text = match &entry.record {
        Record::Resumed => "a process took the run up again".to_owned(),
        Record::Interrupted => "the run was interrupted".to_owned(),
        Record::StepReopened { step, why, .. } => format!("step {step} is tried again: {why}"),
        Record::StepFailed { step, why } => format!("step {step} failed: {why}"),
        Record::StepGivenUp { step, then, .. } => format!("step {step} is given up; then: {then}"),
        Record::Undone { step, note } => format!("step {step} was taken back: {note}"),
        Record::UndoFailed { step, why } => format!("step {step} could not be taken back: {why}"),
        Record::TornDown { note } => format!("torn down: {note}"),
        Record::TeardownFailed { why } => format!("the teardown failed: {why}"),
        Record::Ended { outcome } => format!("ended: {}", outcome.as_str()),
        Record::Begun { .. }
        | Record::Before { .. }
        | Record::After { .. }
        | Record::StepBegun { .. }
        | Record::StepDone { .. }
        | Record::StepSkipped { .. }
        | Record::UndoBegun { .. }
        | Record::TeardownBegun => return None,
    };
    Some((entry.at, text))
}
