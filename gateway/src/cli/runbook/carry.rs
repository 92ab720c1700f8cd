//! Carrying a run on: from its beginning, or from where its journal says that it is.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::Context;
use super::super::exit::Failure;
use super::super::serve::Signals;
use super::super::terminal::failed;
use super::{runs, shown};
use crate::control::{ControlError, ErrorKind};
use crate::runbook::{
    Approval, Engine, Entry, FileJournal, Journal, Mode, Outcome, Record, Run, Runs, RunsError, Site, State,
    TakenUp,
};
use crate::settings::{MomentText, Runbook, runbooks_to_toml};

/// Begins a run, and carries it to its end.
pub(super) async fn begin(
    context: &Context,
    runbook: Runbook,
    mode: Mode,
    at: Option<MomentText>,
) -> Result<(), Failure> {
    let (runs, settings) = (runs(context)?, context.settings()?);
    let (name, folder) = runs.make(Timestamp::now())?;
    let journal = FileJournal::create(&Run::journal(&folder)).map_err(RunsError::from)?;
    let begun = Entry {
        at: Timestamp::now(),
        record: Record::Begun {
            run: name,
            mode,
            runbook: runbooks_to_toml([&runbook]),
            at: at.as_ref().map(ToString::to_string),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: crate::assembly::host_name(),
            repository: settings.lead().address.to_string(),
        },
    };
    journal.append(&begun).await.map_err(RunsError::from)?;
    let run = Run::of(&folder, std::slice::from_ref(&begun))?;
    context.terminal.say(&format!("run {} begins", run.name));
    carry(context, &runs, run, (&journal, State::of([&begun])), None).await
}

/// Goes on with a run.
pub(super) async fn resume(
    context: &Context,
    run: &str,
    done: &[String],
    again: &[String],
) -> Result<(), Failure> {
    let runs = runs(context)?;
    let folder = runs.find(run)?;
    let (journal, entries) = FileJournal::open(&Run::journal(&folder)).map_err(RunsError::from)?;
    let (run, state) = (Run::of(&folder, &entries)?, State::of(&entries));
    let taken_up = TakenUp::of(&run.runbook, run.mode, &state, done, again)
        .map_err(|why| ControlError::new(ErrorKind::Invalid, why))?;
    context.terminal.say(&format!("run {} goes on", run.name));
    carry(context, &runs, run, (&journal, state), Some(taken_up)).await
}

async fn carry(
    context: &Context,
    runs: &Runs,
    run: Run,
    (journal, state): (&FileJournal, State),
    taken_up: Option<TakenUp>,
) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| failed("find this program", &error))?;
    let terminal = context.terminal.clone();
    let tell = Box::new(move |text: &str| terminal.say(text));
    let site = Site::new(run, program, context.file.clone(), context.settings()?, tell);
    site.knows(state.before.as_ref());
    let stop = CancellationToken::new();
    let (runbook, mode) = (site.run.runbook.clone(), site.run.mode);
    let engine = Engine::new(&runbook, mode, &site, journal, state, stop.clone());
    let mut signals = Signals::new()?;
    let carrying = async {
        if let Some(taken_up) = taken_up {
            engine.take_up(taken_up).await?;
        }
        engine.run().await
    };
    tokio::pin!(carrying);
    let ended = loop {
        tokio::select! {
            ended = &mut carrying => break ended,
            () = signals.told_to_stop() => {
                context.terminal.say("told to stop; once more to leave at once, for `tidegate runbook resume`");
                if stop.is_cancelled() {
                    let message = format!("run {} was left where it was", site.run.name);
                    return Err(ControlError::new(ErrorKind::Cancelled, message).into());
                }
                stop.cancel();
            }
        }
    };
    let report = Run::report(&site.run.folder)?;
    let past = runs.reports(Some(&report.runbook))?;
    site.run.write_report(&report, &past)?;
    context.terminal.data(&report, shown::report)?;
    judge(ended?, &site.run)
}

fn judge(outcome: Outcome, run: &Run) -> Result<(), Failure> {
    let name = &run.name;
    let resume = format!("see `tidegate runbook report {name}`; then `tidegate runbook resume {name}`");
    let (kind, message) = match outcome {
        Outcome::Done => return Ok(()),
        Outcome::Failed if run.mode.is_drill() => (ErrorKind::Failed, "the drill failed, and is torn down"),
        Outcome::Failed => (ErrorKind::Failed, "a step failed for good; nothing further was begun"),
        Outcome::RolledBack => (ErrorKind::Failed, "a step failed for good; what was done was taken back"),
        Outcome::Interrupted => (ErrorKind::Cancelled, "the run was interrupted"),
        Outcome::Left => {
            (ErrorKind::Incomplete, "the drill left something, or the repository is not as it was")
        }
    };
    let error = ControlError::new(kind, message);
    Err(match outcome {
        Outcome::Failed | Outcome::Interrupted if !run.mode.is_drill() => error.todo(resume),
        Outcome::Left => error.todo(resume),
        _ => error.todo(format!("see `tidegate runbook report {name}`")),
    }
    .into())
}

/// Says that a step may go on.
pub(super) fn approve(
    context: &Context,
    run: &str,
    step: &str,
    at: Option<MomentText>,
) -> Result<(), Failure> {
    use crate::settings::Action;
    let folder = runs(context)?.find(run)?;
    let (run, state, _) = Run::state(&folder)?;
    let invalid = |what: String| Failure::from(ControlError::new(ErrorKind::Invalid, what));
    let found = run.runbook.step(step).filter(|step| matches!(step.action, Action::Approve | Action::Choose));
    let found = found
        .ok_or_else(|| invalid(format!("run {} has no step {step:?} that waits for a person", run.name)))?;
    if at.is_some() && found.action != Action::Choose {
        return Err(invalid(format!("step {step:?} does not choose a moment: leave --at out")));
    }
    if state.standing(step).lets_go_on() {
        return Err(ControlError::new(ErrorKind::Exists, format!("step {step:?} has gone on already")).into());
    }
    let by =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "somebody".into());
    let approval = Approval { by, at: Timestamp::now(), moment: at.map(|at| at.to_string()) };
    Run::approve(&folder, step, &approval)?;
    context.terminal.data(&approval, |_| format!("step {step} of run {} may go on", run.name))
}
