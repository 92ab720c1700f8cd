//! `tidegate restore --to`: writes a share, or a part of it, to a folder of this machine.
//!
//! The work is `tidegate_replicator::restore`; here the moment is found, progress shown, and the outcome
//! said. Nothing is written to the repository, nor to the local state of a gateway.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use tidegate_replicator::frozen::{DomainReader, ReadError};
use tidegate_replicator::repository::Head;
use tidegate_replicator::restore::{Failure as Missing, Plan, RestoreError, RestoreOptions, RestoreSource};

use super::client::segment;
use super::exit::Failure;
use super::format::{bytes, seconds};
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use super::{Context, follow};
use crate::assembly::{AssemblyError, OfflineRepository};
use crate::control::{ControlError, ErrorKind, FilePath, HeadInfo, JobHandle, Moment, Unit};

/// Memory for frames, nodes and index, in bytes.
const MEMORY_BYTES: u64 = 192 << 20;
/// Files that are open at once at most, where the system lets a process open so many.
const FILES_MAX: u64 = 2048;
/// Descriptors for everything else.
const DESCRIPTORS_KEPT: u64 = 256;
/// Failures that are listed for people.
const LISTED_MAX: usize = 50;

/// What was asked for.
pub(super) struct Wanted {
    pub(super) share: String,
    pub(super) path: FilePath,
    pub(super) at: Moment,
    pub(super) to: PathBuf,
    pub(super) dry_run: bool,
}

/// What was done, or in a dry run would be.
#[derive(Debug, Serialize)]
struct Restored {
    share: String,
    path: FilePath,
    /// When the state was frozen.
    frozen: String,
    to: PathBuf,
    dry_run: bool,
    files: u64,
    folders: u64,
    /// Files that an earlier run had restored.
    files_before: u64,
    bytes: u64,
    seconds: f64,
    /// Requests to the store, and what they brought.
    requests: u64,
    bytes_fetched: u64,
    owners_kept: bool,
    set_id_dropped: u64,
    failures: Vec<Missing>,
    /// Attributes that were not taken, beyond those that are named.
    lapses_unnamed: u64,
}

pub(super) async fn run(context: &Context, wanted: Wanted, place: &RepositoryPlace) -> Result<(), Failure> {
    let begun = Instant::now();
    let settings = place.settings(context)?;
    let at = publish_if_live(context, &wanted).await?;
    let offline = OfflineRepository::open(&settings).await?;
    let share = offline.share(&wanted.share).await?;
    let head = offline.head_at(share, &at).await?;
    let source = source(&offline, &head, &wanted.path)?;

    let job = JobHandle::new();
    job.phase("plan the restore", None, Unit::Items);
    let options = RestoreOptions { files_max: files_max(), ..RestoreOptions::default() };
    let planning = Plan::make(&source, &wanted.to, options);
    let plan = watch(&context.terminal, &job, planning).await.map_err(told)?;
    let totals = plan.totals();
    let mut restored = Restored {
        share: wanted.share,
        path: wanted.path,
        frozen: head.frozen_at.to_string(),
        to: wanted.to,
        dry_run: wanted.dry_run,
        files: totals.files,
        folders: totals.folders,
        files_before: totals.files_before,
        bytes: totals.bytes,
        seconds: 0.0,
        requests: 0,
        bytes_fetched: 0,
        owners_kept: false,
        set_id_dropped: 0,
        failures: Vec::new(),
        lapses_unnamed: 0,
    };
    if !restored.dry_run {
        if plan.is_resumed() {
            let before = totals.files_before;
            context.terminal.say(&format!("goes on with an interrupted restore: {before} files are there"));
        }
        job.phase("restore", Some(totals.bytes), Unit::Bytes);
        let watched = Watched(job.clone());
        let report = watch(&context.terminal, &job, plan.execute(&watched)).await.map_err(told)?;
        restored.files = report.files;
        restored.folders = report.folders;
        restored.bytes = report.bytes;
        restored.owners_kept = report.owners_kept;
        restored.set_id_dropped = report.set_id_dropped;
        restored.failures = report.failures;
        restored.lapses_unnamed = report.lapses_unnamed;
    }
    restored.seconds = begun.elapsed().as_secs_f64();
    restored.requests = offline.requests.requests_total();
    restored.bytes_fetched = offline.requests.bytes_down();
    context.terminal.data(&restored, people)?;
    outcome(&restored)
}

/// What clients see now is published first, by the gateway that serves it.
async fn publish_if_live(context: &Context, wanted: &Wanted) -> Result<Moment, Failure> {
    if wanted.at != Moment::Live {
        return Ok(wanted.at.clone());
    }
    let path = format!("/shares/{}/commit", segment(&wanted.share));
    let published: HeadInfo = follow::to_its_end(context, &path, &()).await?;
    Ok(Moment::Head(published.name))
}

fn source(offline: &OfflineRepository, head: &Head, path: &FilePath) -> Result<RestoreSource, Failure> {
    let reader = DomainReader::open(&offline.repository, head.share.domain, MEMORY_BYTES);
    let reader = reader.map_err(AssemblyError::from)?;
    Ok(RestoreSource {
        frozen: reader.frozen(&head.root),
        repository: offline.repository.id().to_string(),
        share: head.share.id.to_string(),
        path: path.names().map(<[u8]>::to_vec).collect(),
    })
}

/// How many files may be held open, each perhaps with its folder; raises the soft limit for it.
fn files_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * FILES_MAX + DESCRIPTORS_KEPT;
    let soft = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
    let raised = Rlimit { current: Some(soft), maximum: limit.maximum };
    let current = limit.current.unwrap_or(wanted);
    let open = if current >= soft || setrlimit(Resource::Nofile, raised).is_err() { current } else { soft };
    (open.saturating_sub(DESCRIPTORS_KEPT) / 2).clamp(1, FILES_MAX) as usize
}

fn people(restored: &Restored) -> String {
    let verb = if restored.dry_run { "would restore" } else { "restored" };
    let mut lines = vec![format!(
        "{verb} {} files and {} folders ({}) of {} as at {} to {}, in {}, with {} requests",
        restored.files,
        restored.folders,
        bytes(restored.bytes),
        restored.path,
        restored.frozen,
        restored.to.display(),
        seconds(restored.seconds as u64),
        restored.requests,
    )];
    if restored.files_before > 0 {
        lines.push(format!("{} files had been restored before", restored.files_before));
    }
    if restored.owners_kept {
        lines.push("owners were not restored: only root can give files away".to_owned());
    }
    if restored.set_id_dropped > 0 {
        lines.push(format!("set-id bits of {} files were left out for that", restored.set_id_dropped));
    }
    let listed = restored.failures.iter().take(LISTED_MAX);
    lines.extend(listed.map(|failure| format!("{}: {}", failure.path, failure.why)));
    if restored.failures.len() > LISTED_MAX {
        lines.push(format!("and {} more; --json lists them all", restored.failures.len() - LISTED_MAX));
    }
    if restored.lapses_unnamed > 0 {
        lines.push(format!("and {} attributes more that were not taken here", restored.lapses_unnamed));
    }
    lines.join("\n")
}

/// What is missing decides how the command ends.
fn outcome(restored: &Restored) -> Result<(), Failure> {
    let count = restored.failures.len();
    if count == 0 {
        return Ok(());
    }
    let damaged = restored.failures.iter().any(|failure| failure.damaged);
    let kind = if damaged { ErrorKind::Damaged } else { ErrorKind::Incomplete };
    let more = match restored.lapses_unnamed {
        0 => String::new(),
        more => format!(", and {more} attributes besides"),
    };
    let error =
        ControlError::new(kind, format!("{count} paths are not as they were, each named above{more}"));
    Err(error.todo("run the same restore again to try only these once more").into())
}

/// A restore that did not come to its end.
fn told(error: RestoreError) -> ControlError {
    let kind = match &error {
        RestoreError::NoSuchPath { .. } => ErrorKind::NotFound,
        RestoreError::NotEmpty { .. } => ErrorKind::Exists,
        RestoreError::NoRoom { .. } => ErrorKind::Full,
        RestoreError::Read(read) if read.is_away() => ErrorKind::StoreAway,
        RestoreError::Read(_) | RestoreError::TooManyFailures { damaged: true, .. } => ErrorKind::Damaged,
        RestoreError::Local { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            ErrorKind::Full
        }
        RestoreError::Local { .. } | RestoreError::TooManyFailures { .. } => ErrorKind::Failed,
        RestoreError::Cancelled => ErrorKind::Cancelled,
    };
    let stopped = matches!(kind, ErrorKind::StoreAway | ErrorKind::Full | ErrorKind::Cancelled);
    let is_asleep = matches!(&error, RestoreError::Read(ReadError::Asleep(_)));
    let error = ControlError::from_source(kind, "restore", &error);
    if is_asleep {
        let todo = "`tidegate thaw --plan SHARE` says what it takes to bring back what sleeps, `tidegate thaw SHARE` does \
                    it; then run the same restore again to go on";
        return error.todo(todo);
    }
    if stopped { error.todo("run the same restore again to go on") } else { error }
}
