//! Where runs lie: a folder each, below the data folder of this machine's gateway.
//!
//! ```text
//! <data>/runbooks/<run>/journal            what happened (`journal`)
//!                       report.json        what came of it, written again and again until the end
//!                       report.html
//!                       approvals/<step>   what people said
//!                       started/           a file for each thing that the run has started: the gateway, machines
//!                       listing            of a drill: what lay in the repository before
//!                       scratch/           of a drill: settings, local state and log of its gateway; gone at its end
//! <data>/runbooks/drill-<runbook>.log      what the last drill that was begun over the API said
//! ```
//!
//! The name of a run is the time at which it began and some chance, so names sort as runs began.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::journal::{FileJournal, JournalError};
use super::report::Report;
use super::state::{Entry, Mode, Record, State};
use crate::settings::{MomentText, Runbook, runbooks_from_toml};

/// The most runs that are looked at.
const RUNS_MAX: usize = 10_000;
/// The longest report and approval, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why runs cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The disk.
    #[error("failed to {doing} {path}: {source}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is none of that name.
    #[error("there is no run {run:?} in {folder}; `tidegate runbook list` shows those that there are")]
    NoSuchRun {
        /// As it was given.
        run: String,
        /// Where runs lie.
        folder: PathBuf,
    },
    /// What a journal begins with is not readable to this version.
    #[error("the journal of run {run} begins with nothing that this version can carry out: {why}")]
    Unreadable {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who, as the machine knows them.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// With a `choose` step: the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
}

/// A run as its journal begins.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it is meant.
    pub mode: Mode,
    /// What is run.
    pub runbook: Runbook,
    /// The moment that is attached where nobody chooses.
    pub at: Option<MomentText>,
}

/// See the head of this module.
#[derive(Clone, Debug)]
pub struct Runs {
    folder: PathBuf,
}

impl Runs {
    /// Those below a data folder.
    pub fn below(data: &Path) -> Self {
        Self { folder: data.join("runbooks") }
    }

    /// The file with what the last drill of a runbook that was begun over the API said.
    pub fn said(&self, runbook: &str) -> PathBuf {
        self.folder.join(format!("drill-{runbook}.log"))
    }

    /// The names of all runs, oldest first.
    pub fn names(&self) -> Result<Vec<String>, RunsError> {
        let failed = |source| RunsError::Disk { doing: "list", path: self.folder.clone(), source };
        let listed = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in listed.take(RUNS_MAX) {
            let entry = entry.map_err(failed)?;
            if entry.path().join("journal").exists() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A folder for a new run.
    pub fn make(&self, now: Timestamp) -> Result<(String, PathBuf), RunsError> {
        let mut chance = [0; 4];
        getrandom::fill(&mut chance).map_err(|error| RunsError::Disk {
            doing: "get chance for",
            path: self.folder.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        let name = format!("{}-{:08x}", now.strftime("%Y%m%dT%H%M%SZ"), u32::from_be_bytes(chance));
        let folder = self.folder.join(&name);
        fs::create_dir_all(folder.join("approvals")).map_err(|source| RunsError::Disk {
            doing: "make",
            path: folder.clone(),
            source,
        })?;
        Ok((name, folder))
    }

    /// The folder of a run: by its whole name, or by an end or a beginning of it that no other run has.
    pub fn find(&self, wanted: &str) -> Result<PathBuf, RunsError> {
        let names = self.names()?;
        let missing = || RunsError::NoSuchRun { run: wanted.to_owned(), folder: self.folder.clone() };
        if names.iter().any(|name| name == wanted) {
            return Ok(self.folder.join(wanted));
        }
        let mut like = names.iter().filter(|name| name.starts_with(wanted) || name.ends_with(wanted));
        match (like.next(), like.next()) {
            (Some(name), None) if !wanted.is_empty() => Ok(self.folder.join(name)),
            _ => Err(missing()),
        }
    }

    /// The report of a run, as it lies beside the journal.
    pub fn kept_report(&self, run: &str) -> io::Result<Report> {
        read_report(&self.folder.join(run))
    }

    /// The reports of all runs that have one, oldest first; of one runbook if it is named.
    pub fn reports(&self, runbook: Option<&str>) -> Result<Vec<Report>, RunsError> {
        let mut reports = Vec::new();
        for name in self.names()? {
            let Ok(report) = self.kept_report(&name) else { continue };
            if runbook.is_none_or(|runbook| report.runbook == runbook) {
                reports.push(report);
            }
        }
        Ok(reports)
    }
}

impl Run {
    /// The run that a journal begins.
    pub fn of(folder: &Path, entries: &[Entry]) -> Result<Self, RunsError> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let unreadable = |why: String| RunsError::Unreadable { run: name.clone(), why };
        let Some(Entry { record: Record::Begun { mode, runbook, at, .. }, .. }) = entries.first() else {
            return Err(unreadable("the first record is missing".to_owned()));
        };
        let runbooks = runbooks_from_toml(runbook).map_err(|error| unreadable(error.to_string()))?;
        let [runbook] = <[Runbook; 1]>::try_from(runbooks)
            .map_err(|_| unreadable("it does not have exactly one runbook".to_owned()))?;
        let at = at.as_deref().map(str::parse).transpose().map_err(unreadable)?;
        Ok(Self { name: name.clone(), folder: folder.to_owned(), mode: *mode, runbook, at })
    }

    /// Its journal.
    pub fn journal(folder: &Path) -> PathBuf {
        folder.join("journal")
    }

    /// The report of a run, as its journal says it is now.
    pub fn report(folder: &Path) -> Result<Report, RunsError> {
        let (entries, _) = FileJournal::read(&Self::journal(folder))?;
        let run = Self::of(folder, &entries)?;
        Ok(Report::of(&run, &entries))
    }

    /// Where a run is, and whether a process goes on with it.
    pub fn state(folder: &Path) -> Result<(Self, State, bool), RunsError> {
        let (entries, runs) = FileJournal::read(&Self::journal(folder))?;
        Ok((Self::of(folder, &entries)?, State::of(&entries), runs))
    }

    /// Keeps the report beside the journal, with the reports of earlier runs in its plot.
    pub fn write_report(&self, report: &Report, past: &[Report]) -> Result<(), RunsError> {
        let json = serde_json::to_string_pretty(report).expect("strings, numbers and times can be written");
        let page = super::page::page(report, past);
        for (name, text) in [("report.json", json), ("report.html", page)] {
            let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
            let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
            written.map_err(|source| RunsError::Disk { doing: "write", path, source })?;
        }
        Ok(())
    }

    /// What a person said about a step, if somebody did.
    pub fn approval(&self, step: &str) -> Option<Approval> {
        let path = self.folder.join("approvals").join(step);
        let text = fs::read_to_string(path).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps what a person says about a step. The first word counts.
    pub fn approve(folder: &Path, step: &str, approval: &Approval) -> Result<(), RunsError> {
        let path = folder.join("approvals").join(step);
        let new = folder.join("approvals").join(format!(".{step}.{}", std::process::id()));
        let json = serde_json::to_string(approval).expect("strings and times can be written");
        let failed = |source| RunsError::Disk { doing: "write", path: path.clone(), source };
        fs::write(&new, json).map_err(failed)?;
        let linked = fs::hard_link(&new, &path);
        let removed = fs::remove_file(&new);
        linked.and(removed).map_err(failed)
    }
}

fn read_report(folder: &Path) -> io::Result<Report> {
    let path = folder.join("report.json");
    if fs::metadata(&path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("the report is too long"));
    }
    serde_json::from_str(&fs::read_to_string(path)?).map_err(io::Error::other)
}
