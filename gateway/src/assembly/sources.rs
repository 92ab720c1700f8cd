//! Sources of the settings over an appliance: how each is opened, and what became of its last run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tidegate_replicator::backup::{LeftOut, Options, Source as Reads, SourceError};
use tidegate_replicator::repository::NewSnapshot;
use tokio::sync::Semaphore;

use super::moments::snapshot_info;
use crate::appliance::{Appliance, OpenSource, SnapshotEntry, SourceConfig, SourceRequest, SourceTaken};
use crate::clock::{Clock, SystemClock};
use crate::control::{
    ControlError, ErrorKind, JobHandle, PathTrouble, SourceDetails, SourceRun, SourceRunRequest,
    SourceStatus, Unit,
};
use crate::policy::Place;
use crate::settings::{self, RepositoryAddress, Settings, SourceKind};
use crate::source::{
    CommandSource, DeviceSource, FolderOptions, FolderSource, Selection, SshOptions, SshSource,
};

/// Sources that are saved at once.
const RUNS_AT_ONCE: usize = 2;
/// The program for `ssh`, unless another is set.
const SSH: &str = "/usr/bin/ssh";
/// What a run does before it has a place.
const WAITS: &str = "wait for other sources";
/// The name of the file of a command.
const OUTPUT: &str = "output";

/// See the head of this module.
pub struct ApplianceSources {
    appliance: Arc<Appliance>,
    settings: Mutex<Arc<Settings>>,
    places: Arc<Semaphore>,
    running: Mutex<BTreeSet<String>>,
    last: Mutex<HashMap<String, SourceRun>>,
}

/// Says that a source is being saved, until that has ended in whatever way.
struct Running<'s>(&'s ApplianceSources, String);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.1);
    }
}

impl ApplianceSources {
    /// The sources of these settings.
    pub fn new(appliance: Arc<Appliance>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            appliance,
            settings: Mutex::new(settings),
            places: Arc::new(Semaphore::new(RUNS_AT_ONCE)),
            running: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// Takes other settings. Runs that are under way end as they began.
    pub fn set(&self, settings: Arc<Settings>) {
        *self.settings.lock() = settings;
    }

    /// Whether the settings have a source of that name.
    pub fn has(&self, name: &str) -> bool {
        self.settings.lock().source(name).is_some()
    }

    /// All sources, by the order of the settings.
    pub fn statuses(&self) -> Vec<SourceStatus> {
        let settings = self.settings.lock().clone();
        settings.sources.iter().map(|source| self.status(&settings, source)).collect()
    }

    /// One source, and its snapshots.
    pub async fn details(&self, name: &str) -> Result<SourceDetails, ControlError> {
        let settings = self.settings.lock().clone();
        let source = settings.source(name).ok_or_else(|| no_source(name))?;
        let status = self.status(&settings, source);
        // One that was never saved has none.
        let saved = self.appliance.knows_source(name).map_err(ControlError::from)?;
        let entries = if saved { self.appliance.snapshots(name).await? } else { Vec::new() };
        Ok(SourceDetails { status, snapshots: entries.iter().rev().map(snapshot_info).collect() })
    }

    fn status(&self, settings: &Settings, source: &settings::Source) -> SourceStatus {
        let name = source.name.as_str();
        let saves = |policy: &&settings::Policy| policy.sources.contains(&source.name);
        SourceStatus {
            name: name.to_owned(),
            what: source.what(),
            policies: settings.policies.iter().filter(saves).map(|policy| policy.name.to_string()).collect(),
            running: self.running.lock().contains(name),
            last_run: self.last.lock().get(name).cloned(),
        }
    }

    /// Waits until a source can be read, and holds the place for a run of a policy that reads so many.
    pub(super) async fn ready(&self, sources: usize, job: &JobHandle) -> Result<Place, ControlError> {
        job.phase(WAITS, None, Unit::Items);
        unless_cancelled(job, Place::wait(&self.places, sources)).await
    }

    /// Saves a source. What it lacks is in what is told of the run.
    pub async fn run(
        &self,
        name: &str,
        request: &SourceRunRequest,
        policy: Option<String>,
        job: &JobHandle,
    ) -> Result<(SnapshotEntry, SourceRun), ControlError> {
        self.run_in(None, name, request, policy, job).await
    }

    /// The same, in the place of the run that asks for it, if that has one.
    pub(super) async fn run_in(
        &self,
        place: Option<&Place>,
        name: &str,
        request: &SourceRunRequest,
        policy: Option<String>,
        job: &JobHandle,
    ) -> Result<(SnapshotEntry, SourceRun), ControlError> {
        let settings = self.settings.lock().clone();
        let source = settings.source(name).ok_or_else(|| no_source(name))?;
        if !self.running.lock().insert(name.to_owned()) {
            let error = ControlError::new(ErrorKind::Busy, format!("source {name:?} is being saved now"));
            return Err(error.todo(format!("see `tidegate source show {name}`")));
        }
        let _running = Running(self, name.to_owned());
        job.phase(WAITS, None, Unit::Items);
        let none = Place::none(&self.places);
        let _turn = unless_cancelled(job, place.unwrap_or(&none).turn()).await?;
        let began = Timestamp::now();
        let label = policy.clone().unwrap_or_default();
        let new = NewSnapshot { label, policy, tags: request.tags.clone() };
        let taken = self.appliance.save_source(&asked(&settings, source, request, new), job).await;
        let run =
            SourceRun { source: name.to_owned(), began, ended: Timestamp::now(), ..SourceRun::default() };
        match taken {
            Ok(taken) => {
                let run = told(run, &taken);
                self.last.lock().insert(name.to_owned(), run.clone());
                Ok((taken.entry, run))
            }
            Err(error) => {
                // A command that was killed for it says so in its own words.
                let error = job.checkpoint().err().unwrap_or_else(|| error.into());
                if error.kind != ErrorKind::Cancelled {
                    tracing::warn!(source = name, %error, "a source was not saved");
                }
                self.last.lock().insert(name.to_owned(), SourceRun { error: Some(error.to_string()), ..run });
                Err(match error.kind {
                    ErrorKind::Exists | ErrorKind::Superseded => error
                        .todo(format!("`tidegate source run {name} --take-over` goes on with it from here")),
                    _ => error,
                })
            }
        }
    }
}

/// What is waited for, unless the job is cancelled before it comes.
async fn unless_cancelled<T>(job: &JobHandle, waited: impl Future<Output = T>) -> Result<T, ControlError> {
    tokio::select! {
        came = waited => Ok(came),
        () = job.cancelled() => Err(ControlError::new(ErrorKind::Cancelled, "the job was cancelled")),
    }
}

fn no_source(name: &str) -> ControlError {
    let error = ControlError::new(ErrorKind::NotFound, format!("there is no source {name:?}"));
    error.todo("`tidegate source list` shows all sources")
}

fn told(run: SourceRun, taken: &SourceTaken) -> SourceRun {
    let SourceTaken { entry, report, statistics } = taken;
    let paths = |paths: &[LeftOut]| {
        let one = |left: &LeftOut| PathTrouble { path: left.path.clone(), why: left.why.clone() };
        paths.iter().map(one).collect()
    };
    SourceRun {
        snapshot: Some(entry.id.to_string()),
        names: report.names,
        new: report.new,
        changed: report.changed,
        gone: report.gone,
        bytes_read: report.bytes_read,
        bytes_new: statistics.bytes_unique,
        bytes_stored: statistics.bytes_compressed,
        bytes_uploaded: statistics.bytes_uploaded,
        left_out: report.left_out,
        torn: report.torn,
        left_out_paths: paths(&report.left_out_paths),
        torn_paths: paths(&report.torn_paths),
        ..run
    }
}

fn asked(
    settings: &Settings,
    source: &settings::Source,
    request: &SourceRunRequest,
    new: NewSnapshot,
) -> SourceRequest {
    let config = SourceConfig {
        name: source.name.as_str().to_owned(),
        own_key: source.own_key,
        settings: settings::table_to_toml(source).into(),
    };
    SourceRequest {
        config,
        open: opener(settings, source),
        options: Options {
            rescan: source.rescan || request.rescan,
            allow_empty: source.allow_empty || request.allow_empty,
        },
        new,
        take_over: request.take_over,
        nice: u8::try_from(source.nice).unwrap_or(19),
    }
}

/// How a source of the settings is opened.
fn opener(settings: &Settings, source: &settings::Source) -> OpenSource {
    let source = source.clone();
    let mut never = vec![settings.gateway.data.as_path().to_path_buf()];
    never.extend(settings.targets.iter().filter_map(|target| match &target.address {
        RepositoryAddress::File(path) => Some(path.as_path().to_path_buf()),
        RepositoryAddress::S3 { .. } => None,
    }));
    Arc::new(move |job| open(&source, &never, job))
}

fn open(
    source: &settings::Source,
    never: &[std::path::PathBuf],
    job: &JobHandle,
) -> Result<Box<dyn Reads>, SourceError> {
    let now = SystemClock.now();
    let selection = Selection { include: source.include.clone(), exclude: source.exclude.clone() };
    let job = job.clone();
    let cancelled: crate::source::Cancelled = Arc::new(move || job.is_cancelled());
    match source.kind() {
        Some(SourceKind::Folder(folder)) => Ok(Box::new(FolderSource::open(FolderOptions {
            folder: folder.as_path().to_path_buf(),
            selection,
            one_file_system: source.one_file_system,
            never: never.to_vec(),
            readers: source.readers as usize,
            now,
        })?)),
        Some(SourceKind::Device(path)) => {
            Ok(Box::new(DeviceSource::open(path.as_path().to_path_buf(), now)?))
        }
        Some(SourceKind::Command) => Ok(Box::new(CommandSource {
            command: source.command.iter().map(ToString::to_string).collect(),
            file_name: source.file_name.as_ref().map_or(OUTPUT, |name| name.as_str()).to_owned(),
            timeout: source.timeout.duration(),
            now,
            cancelled,
        })),
        Some(SourceKind::Ssh(host)) => Ok(Box::new(SshSource::new(SshOptions {
            program: source.ssh_program.as_ref().map_or_else(|| SSH.to_owned(), ToString::to_string),
            arguments: source.ssh_options.iter().map(ToString::to_string).collect(),
            host: host.to_string(),
            paths: source.paths.iter().map(|path| path.as_path().to_path_buf()).collect(),
            selection,
            one_file_system: source.one_file_system,
            timeout: source.timeout.duration(),
            cancelled,
        }))),
        None => Err(SourceError::new("the settings do not say what the source is")),
    }
}

/// What a policy is told of a snapshot of a source.
pub(super) fn policy_request(tags: &BTreeMap<String, String>) -> SourceRunRequest {
    SourceRunRequest { tags: tags.clone(), ..SourceRunRequest::default() }
}
