//! `tidegate runbook`: list, check, preview, practise, carry out, resume, approve, report.
//!
//! A run is carried on by this process; when it dies, `resume` goes on. Ctrl-C ends a drill with its teardown, and
//! stops a failover where it is.

mod carry;
mod shown;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::exit::Failure;
use super::format::things_are;
use super::place::Place;
use crate::assembly::{AssemblyError, OfflineRepository};
use crate::control::{ControlError, ErrorKind};
use crate::runbook::{Mode, Planned, Run, RunError, Runs, RunsError, checks, find_carried, preview};
use crate::settings::{MomentText, Runbook, Settings, add_runbook};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the runbooks of the settings and of the repository, and the runs that there were.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Look whether what a runbook needs is there: shares, programs, notifiers, secrets.
    Check {
        /// The runbook.
        runbook: String,
        #[command(flatten)]
        place: Place,
    },
    /// Show what a run would do, in which order, and do nothing.
    DryRun {
        /// The runbook.
        runbook: String,
        /// As if it were a drill.
        #[arg(long)]
        drill: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Practise a runbook on clones, from the repository alone, and take everything away again.
    Drill(Begin),
    /// Carry a runbook out: its shares are taken over, whoever leads them.
    Failover(Begin),
    /// Carry a runbook out to come back to a site that had been lost.
    Failback(Begin),
    /// Go on with a run that died, was interrupted or failed; a drill is torn down.
    Resume {
        /// The run, or an end of its name that no other has.
        run: String,
        /// Say that a step of which nobody knows was carried out; may be repeated.
        #[arg(long, value_name = "STEP")]
        done: Vec<String>,
        /// Say that a step of which nobody knows was not carried out, and may be; may be repeated.
        #[arg(long, value_name = "STEP")]
        again: Vec<String>,
    },
    /// Say that a step that waits for a person may go on.
    Approve {
        /// The run, or an end of its name that no other has.
        run: String,
        /// The step.
        step: String,
        /// With a step that chooses: the moment.
        #[arg(long)]
        at: Option<MomentText>,
    },
    /// Show what came of a run.
    Report {
        /// The run, or an end of its name that no other has; without it the newest.
        run: Option<String>,
        /// Write the page to a file, instead of showing a summary.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Show the series of past runs: how long they took, and what they would have lost.
    History {
        /// The runbook; without it all.
        runbook: Option<String>,
    },
}

/// What a run begins with.
#[derive(Debug, Args)]
pub(super) struct Begin {
    /// The runbook.
    runbook: String,
    /// The moment from which shares go on, where the runbook lets nobody choose: head, head:NAME, snapshot:ID or at:TIME.
    #[arg(long)]
    at: Option<MomentText>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { place } => list(context, &place).await,
        Command::Check { runbook, place } => check(context, &runbook, &place).await,
        Command::DryRun { runbook, drill, place } => {
            let settings = place.prepare(context)?.settings;
            let runbook = find(&settings, &runbook).await?;
            let mode = if drill { Mode::Drill } else { Mode::Failover };
            let planned: Vec<Planned> = preview(&runbook, mode);
            context.terminal.data(&planned, |planned| shown::planned(planned))
        }
        Command::Drill(begin) => start(context, begin, Mode::Drill).await,
        Command::Failover(begin) => start(context, begin, Mode::Failover).await,
        Command::Failback(begin) => start(context, begin, Mode::Failback).await,
        Command::Resume { run, done, again } => carry::resume(context, &run, &done, &again).await,
        Command::Approve { run, step, at } => carry::approve(context, &run, &step, at),
        Command::Report { run, html } => report(context, run.as_deref(), html),
        Command::History { runbook } => history(context, runbook.as_deref()),
    }
}

impl From<RunsError> for ControlError {
    fn from(error: RunsError) -> Self {
        let kind = match &error {
            RunsError::NoSuchRun { .. } => ErrorKind::NotFound,
            RunsError::Journal(crate::runbook::JournalError::Busy { .. }) => ErrorKind::Busy,
            RunsError::Journal(crate::runbook::JournalError::Damaged { .. }) => ErrorKind::Damaged,
            RunsError::Journal(_) | RunsError::Disk { .. } | RunsError::Unreadable { .. } => {
                ErrorKind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RunError> for ControlError {
    fn from(error: RunError) -> Self {
        Self::new(ErrorKind::Failed, error.to_string())
    }
}

/// The runs of this machine.
pub(super) fn runs(context: &Context) -> Result<Runs, Failure> {
    Ok(Runs::below(context.settings()?.gateway.data.as_path()))
}

/// A runbook of the settings, or else of the newest heads.
async fn find(settings: &Settings, name: &str) -> Result<Runbook, Failure> {
    if let Some(runbook) = settings.runbook(name) {
        return Ok(runbook.clone());
    }
    let carried = in_repository(settings).await?;
    let found = carried.into_iter().find(|runbook| runbook.name.as_str() == name);
    found.ok_or_else(|| {
        let message = format!("neither the settings nor the heads of the repository have a runbook {name:?}");
        ControlError::new(ErrorKind::NotFound, message).todo("see `tidegate runbook list`").into()
    })
}

async fn in_repository(settings: &Settings) -> Result<Vec<Runbook>, Failure> {
    let offline = OfflineRepository::open(settings).await?;
    Ok(find_carried(&offline.repository).await.map_err(AssemblyError::from)?)
}

/// A runbook or a run in a list.
#[derive(Debug, Serialize)]
struct Listed {
    runbooks: Vec<ListedRunbook>,
    runs: Vec<ListedRun>,
}

#[derive(Debug, Serialize)]
struct ListedRunbook {
    name: String,
    about: String,
    shares: Vec<String>,
    steps: usize,
    /// `settings`, or `repository` where only heads have it.
    from: &'static str,
}

#[derive(Debug, Serialize)]
struct ListedRun {
    run: String,
    runbook: String,
    mode: &'static str,
    /// How it ended; `running`, or `died`.
    outcome: &'static str,
}

async fn list(context: &Context, place: &Place) -> Result<(), Failure> {
    let settings = place.prepare(context)?.settings;
    let listed = |from| {
        move |runbook: &Runbook| ListedRunbook {
            name: runbook.name.to_string(),
            about: runbook.rules.about.as_ref().map(ToString::to_string).unwrap_or_default(),
            shares: runbook.shares().into_iter().map(str::to_owned).collect(),
            steps: runbook.steps.len(),
            from,
        }
    };
    let mut runbooks: Vec<_> = settings.runbooks.iter().map(listed("settings")).collect();
    match in_repository(&settings).await {
        Ok(carried) => {
            let others = carried.iter().filter(|runbook| settings.runbook(runbook.name.as_str()).is_none());
            runbooks.extend(others.map(listed("repository")));
        }
        Err(failure) => context.terminal.say(&format!("the repository is not asked: {}", failure.error)),
    }
    let all = Runs::below(settings.gateway.data.as_path());
    let mut listed = Vec::new();
    for name in all.names()? {
        let (run, state, runs) = match Run::state(&all.find(&name)?) {
            Ok(found) => found,
            Err(error) => {
                context.terminal.say(&error.to_string());
                continue;
            }
        };
        let outcome = match state.outcome {
            Some(outcome) => outcome.as_str(),
            None if runs => "running",
            None => "died",
        };
        let (runbook, mode) = (run.runbook.name.to_string(), run.mode.as_str());
        listed.push(ListedRun { run: name, runbook, mode, outcome });
    }
    context.terminal.data(&Listed { runbooks, runs: listed }, shown::listed)
}

async fn check(context: &Context, name: &str, place: &Place) -> Result<(), Failure> {
    let settings = place.prepare(context)?.settings;
    let runbook = find(&settings, name).await?;
    let offline = OfflineRepository::open(&settings).await?;
    let shares = offline.repository.shares().await.map_err(AssemblyError::from)?;
    let shares: Vec<String> =
        shares.into_iter().filter_map(|share| Some(share.newest.ok()??.head.share.name)).collect();
    let found = checks(&runbook, &settings, &shares).await;
    let wrong = found.iter().filter(|check| check.problem.is_some()).count();
    context.terminal.data(&found, |found| shown::checks(found))?;
    if wrong == 0 {
        return Ok(());
    }
    Err(ControlError::new(ErrorKind::Incomplete, format!("{} missing or wrong", things_are(wrong))).into())
}

async fn start(context: &Context, begin: Begin, mode: Mode) -> Result<(), Failure> {
    let prepared = begin.place.prepare(context)?;
    let runbook = find(&prepared.settings, &begin.runbook).await?;
    if !mode.is_drill() {
        let shares = runbook.shares().join(", ");
        let question =
            format!("Shares {shares} are taken over: whoever leads them now does so no more. Go on?");
        context.terminal.confirm(begin.yes, &question)?;
    }
    prepared.write(context)?;
    if !mode.is_drill() && prepared.settings.runbook(runbook.name.as_str()).is_none() {
        // This site's heads carry it on.
        context.file.edit(|document| add_runbook(document, &runbook))?;
    }
    carry::begin(context, runbook, mode, begin.at).await
}

fn report(context: &Context, run: Option<&str>, html: Option<PathBuf>) -> Result<(), Failure> {
    let runs = runs(context)?;
    let name = match run {
        Some(run) => run.to_owned(),
        None => runs.names()?.pop().ok_or_else(|| {
            ControlError::new(ErrorKind::NotFound, "there was no run yet")
                .todo("see `tidegate runbook drill --help`")
        })?,
    };
    let folder = runs.find(&name)?;
    let report = Run::report(&folder)?;
    if let Some(path) = html {
        let past = runs.reports(Some(&report.runbook))?;
        let page = crate::runbook::report_page(&report, &past);
        std::fs::write(&path, page).map_err(|error| super::terminal::failed("write the page", &error))?;
        context.terminal.say(&format!("the page is in {}", path.display()));
        return Ok(());
    }
    context.terminal.data(&report, shown::report)
}

/// The series of past runs, oldest first.
pub(super) fn history(context: &Context, runbook: Option<&str>) -> Result<(), Failure> {
    let reports = runs(context)?.reports(runbook)?;
    context.terminal.data(&reports, |reports| shown::history(reports))
}
