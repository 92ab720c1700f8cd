//! `/api/v1/runbooks`: what can be practised, what was, and a drill begun by hand.
//!
//! A drill is a process of its own, as from the command line. Where nothing ends it with the gateway it outlives one that dies;
//! as a service both end together. In either case `tidegate runbook resume` goes on. The job here only follows it: cancelled, or
//! when the gateway stops, it tells the drill to take everything away and end. One drill of a runbook runs at a time.
//! A failover is never begun here: whoever does that sits at the machine that takes over.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FsPath, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use rustix::process::{Pid, Signal, kill_process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::Admin;
use super::error::ApiError;
use super::payload::Payload;
use super::routes::{Answer, Gateway, Who};
use crate::control::{ControlError, ErrorKind, JobHandle, Unit};
use crate::runbook::{Report, Run, Runs, RunsError};
use crate::settings::{Runbook, Settings};

/// What such a job is called.
pub(super) const DRILL: &str = "drill";
/// How long a stop of the gateway waits for drills to take away what they made.
pub(super) const STOP_TIME_MAX: Duration = Duration::from_mins(1);
/// What the kernel adds to the path of a program that was replaced while it runs.
const REPLACED: &str = " (deleted)";
/// How often it is looked how far a drill is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of what a drill says at its end is kept, in bytes.
const SAID_BYTES_MAX: u64 = 4 << 10;
/// The most runs in one answer: the newest.
const RUNS_MAX: usize = 200;

/// A runbook of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct RunbookInfo {
    /// Its name.
    name: String,
    /// What it is for.
    about: String,
    /// The shares that it brings back.
    shares: Vec<String>,
    /// How many steps it has.
    steps: usize,
}

/// Begin a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    /// What is meant.
    mode: RunMode,
}

/// What may be begun here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RunMode {
    /// Practise it on clones, and take everything away again.
    Drill,
}

fn info(runbook: &Runbook) -> RunbookInfo {
    RunbookInfo {
        name: runbook.name.to_string(),
        about: runbook.rules.about.as_ref().map(ToString::to_string).unwrap_or_default(),
        shares: runbook.shares().into_iter().map(str::to_owned).collect(),
        steps: runbook.steps.len(),
    }
}

fn known(settings: &Settings, name: &str) -> Result<(), ControlError> {
    settings.runbook(name).map(drop).ok_or_else(|| {
        let message = format!("the settings have no runbook {name:?}");
        ControlError::new(ErrorKind::NotFound, message).todo("see `tidegate runbook list`")
    })
}

pub(super) async fn list(State(admin): Gateway, Extension(caller): Who) -> Json<Vec<RunbookInfo>> {
    let settings = admin.in_force.settings();
    let mut all: Vec<RunbookInfo> = settings.runbooks.iter().map(info).collect();
    all.retain(|runbook| caller.reaches_all(&runbook.shares));
    Json(all)
}

pub(super) async fn runs(State(admin): Gateway, Path(runbook): Path<String>) -> Answer<Vec<Report>> {
    known(&admin.in_force.settings(), &runbook)?;
    let all = admin.runs();
    let read = blocking(move || {
        let mut found = Vec::new();
        for name in all.names()?.into_iter().rev() {
            // One that cannot be read is told by `tidegate runbook list`.
            let report = all.find(&name).and_then(|folder| Run::report(&folder));
            found.extend(report.ok().filter(|report| report.runbook == runbook));
            if found.len() == RUNS_MAX {
                break;
            }
        }
        Ok(found)
    });
    Ok(Json(read.await?))
}

pub(super) async fn run(
    State(admin): Gateway,
    Path((runbook, name)): Path<(String, String)>,
) -> Answer<Report> {
    let all = admin.runs();
    let wanted = name.clone();
    let report = blocking(move || Run::report(&all.find(&wanted)?)).await?;
    if report.runbook != runbook {
        let message = format!("run {name:?} is none of runbook {runbook:?}");
        return Err(ApiError(ControlError::new(ErrorKind::NotFound, message)));
    }
    Ok(Json(report))
}

pub(super) async fn begin(
    State(admin): Gateway,
    Path(runbook): Path<String>,
    Payload(request): Payload<RunRequest>,
) -> Result<Response, ApiError> {
    known(&admin.in_force.settings(), &runbook)?;
    let RunMode::Drill = request.mode;
    let program = program()
        .map_err(|error| ControlError::from_source(ErrorKind::Failed, "find this program", &error))?;
    let (runs, settings) = (admin.runs(), admin.changes.path().to_owned());
    admin.start(DRILL, runbook, move |_, runbook, job| async move {
        drill(&program, &settings, &runbook, &runs, &job).await
    })
}

impl Admin {
    fn runs(&self) -> Runs {
        Runs::below(self.in_force.settings().gateway.data.as_path())
    }
}

/// This program, or the one that has taken its place on the disk.
fn program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let before = path.to_str().and_then(|path| path.strip_suffix(REPLACED)).map(PathBuf::from);
    Ok(before.filter(|before| before.exists()).unwrap_or(path))
}

/// Runs a drill to its end.
async fn drill(
    program: &FsPath,
    settings: &FsPath,
    runbook: &str,
    runs: &Runs,
    job: &JobHandle,
) -> Result<Report, ControlError> {
    let failed =
        |doing: &str, error: &std::io::Error| ControlError::from_source(ErrorKind::Failed, doing, error);
    let before = names(runs).await?;
    job.phase("begin the drill", None, Unit::Items);
    // A file, and no pipe: what the drill says breaks nothing when nobody listens any more.
    let says = runs.said(runbook);
    let written = said_in(&says).map_err(|error| failed("make a file for what the drill says", &error))?;
    let mut child = Command::new(program)
        .arg("--settings")
        .arg(settings)
        .args(["--quiet", "--json", "runbook", "drill", runbook, "--yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(written)
        .process_group(0)
        .spawn()
        .map_err(|error| failed("begin the drill", &error))?;
    let (status, folder) = follow(&mut child, runbook, runs, &before, job).await?;
    let said = end_of(&says).unwrap_or_default();
    let report = match folder {
        Some(folder) => Some(blocking(move || Run::report(&folder)).await?),
        None => None,
    };
    match report {
        _ if job.is_cancelled() => {
            Err(ControlError::new(ErrorKind::Cancelled, "the drill was ended and taken away"))
        }
        Some(report) if status.success() => Ok(report),
        Some(report) => {
            let message = format!("run {} did not end well: {said}", report.run);
            let todo = format!("see `tidegate runbook report {}`", report.run);
            Err(ControlError::new(ErrorKind::Failed, message).todo(todo))
        }
        None => Err(ControlError::new(ErrorKind::Failed, format!("the drill did not begin: {said}"))),
    }
}

/// Tells how far the drill is until its process ends, and passes on that it is to end.
async fn follow(
    child: &mut Child,
    runbook: &str,
    runs: &Runs,
    before: &[String],
    job: &JobHandle,
) -> Result<(std::process::ExitStatus, Option<PathBuf>), ControlError> {
    let mut folder = None;
    let mut told = false;
    loop {
        tokio::select! {
            ended = child.wait() => {
                let status = ended
                    .map_err(|error| ControlError::from_source(ErrorKind::Failed, "wait for the drill", &error))?;
                if folder.is_none() {
                    folder = begun(runs, runbook, before).await?;
                }
                return Ok((status, folder));
            }
            () = job.cancelled(), if !told => {
                told = true;
                let process = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                if let Some(process) = process && let Err(error) = kill_process(process, Signal::INT) {
                    tracing::warn!(%error, "a drill cannot be told to end");
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                if folder.is_none() {
                    // The drill goes on, whether it can be looked at now or not.
                    folder = begun(runs, runbook, before).await.unwrap_or_else(|error| {
                        tracing::warn!(runbook, %error, "it cannot be seen how far a drill is");
                        None
                    });
                }
                if let Some(folder) = folder.clone() {
                    show(job, blocking(move || Run::report(&folder)).await.ok());
                }
            }
        }
    }
}

fn show(job: &JobHandle, report: Option<Report>) {
    let Some(report) = report else { return };
    let ended = report.steps.iter().filter(|step| step.standing.is_over()).count();
    let now = report.steps.iter().find(|step| step.standing.is_under_way());
    let phase = now.map_or_else(|| format!("run {}", report.run), |step| format!("step {}", step.step));
    job.phase(&phase, Some(report.steps.len() as u64), Unit::Items);
    job.advance(ended as u64);
}

async fn names(runs: &Runs) -> Result<Vec<String>, ControlError> {
    let runs = runs.clone();
    blocking(move || runs.names()).await
}

/// The folder of the run of that runbook that was not there before.
async fn begun(runs: &Runs, runbook: &str, before: &[String]) -> Result<Option<PathBuf>, ControlError> {
    let (runs, runbook, before) = (runs.clone(), runbook.to_owned(), before.to_vec());
    blocking(move || {
        for name in runs.names()?.into_iter().rev().filter(|name| !before.contains(name)) {
            let folder = runs.find(&name)?;
            if Run::report(&folder).is_ok_and(|report| report.runbook == runbook) {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunsError> + Send + 'static,
) -> Result<T, ControlError> {
    let broke = |error| ControlError::new(ErrorKind::Failed, format!("looking at runs broke off: {error}"));
    Ok(tokio::task::spawn_blocking(work).await.map_err(broke)??)
}

/// An empty file for what a drill says, for nobody else to read.
fn said_in(path: &FsPath) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// The end of what it said.
fn end_of(path: &FsPath) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SAID_BYTES_MAX)))?;
    let mut end = Vec::new();
    file.take(SAID_BYTES_MAX).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_a_drill_says_is_kept_and_each_drill_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Runs::below(folder.path()).said("site-b");
        std::io::Write::write_all(
            &mut said_in(&path).expect("made"),
            &[b"x".repeat(9_000), b"why".to_vec()].concat(),
        )
        .expect("written");
        let end = end_of(&path).expect("readable");
        assert!(end.len() as u64 == SAID_BYTES_MAX && end.ends_with("xwhy"), "{end}");
        drop(said_in(&path).expect("made"));
        assert_eq!(end_of(&path).expect("readable"), "");
        assert_eq!(
            Runs::below(folder.path()).names().expect("readable"),
            Vec::<String>::new(),
            "it is no run"
        );
    }
}
