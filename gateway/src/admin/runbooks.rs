//! `/api/v1/runbooks`: what can be practised, what was, and a drill begun by hand.
//!
//! A drill is a process of its own, as from the command line: it outlives a gateway that dies, and goes on with
//! `tidegate runbook resume`. The job here only follows it: cancelled, it tells the drill to take everything away and end.
//! A failover is never begun here: whoever does that sits at the machine that takes over.

use std::path::{Path as FsPath, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use rustix::process::{Pid, Signal, kill_process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::Admin;
use super::error::ApiError;
use super::payload::Payload;
use super::routes::{Answer, Gateway, Who};
use crate::control::{ControlError, ErrorKind, JobHandle, Unit};
use crate::runbook::{Report, Run, Runs, RunsError};
use crate::settings::{Runbook, Settings};

/// How often it is looked how far a drill is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of what a drill says at its end is kept, in bytes.
const SAID_BYTES_MAX: usize = 4 << 10;
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
    all.retain(|runbook| caller.shares.is_none() || runbook.shares.iter().all(|share| caller.reaches(share)));
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
    let program = std::env::current_exe()
        .map_err(|error| ControlError::from_source(ErrorKind::Failed, "find this program", &error))?;
    let (runs, settings) = (admin.runs(), admin.changes.path().to_owned());
    admin.start("drill", runbook, move |_, runbook, job| async move {
        drill(&program, &settings, &runbook, &runs, &job).await
    })
}

impl Admin {
    fn runs(&self) -> Runs {
        Runs::below(self.in_force.settings().gateway.data.as_path())
    }
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
    let mut child = Command::new(program)
        .arg("--settings")
        .arg(settings)
        .args(["--quiet", "--json", "runbook", "drill", runbook, "--yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed("begin the drill", &error))?;
    let said = tokio::spawn(last_of(child.stderr.take()));
    let (status, folder) = follow(&mut child, runbook, runs, &before, job).await?;
    let said = said.await.unwrap_or_default();
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
                    folder = begun(runs, runbook, before).await?;
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

/// The end of what a process says.
async fn last_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 1 << 10]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..length]);
        let surplus = kept.len().saturating_sub(SAID_BYTES_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
