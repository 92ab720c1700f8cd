//! A check from beginning to end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_chunker::DomainId;

use super::control::Away;
use super::data::{Damage, Sample};
use super::finding::{CheckReport, Finding};
use crate::collect::VoidPacks;
use crate::frozen::{DomainReader, ReadError, with_causes};
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};

/// What is checked, and within which bounds.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Names or ids of shares; none for all.
    pub shares: Vec<String>,
    /// Frames to open, if any.
    pub read_data: Option<Sample>,
    /// What is noted of packs and nodes, and what is kept of what was read, in bytes: about.
    pub memory_bytes_max: u64,
}

impl Default for CheckOptions {
    /// All shares, no frames, 256 MiB.
    fn default() -> Self {
        Self { shares: Vec::new(), read_data: None, memory_bytes_max: 256 << 20 }
    }
}

/// Why a check did not come to its end. Says nothing about the repository.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store did not answer.
    #[error("the check could not be finished: {0}")]
    Away(String),
    /// There is no such share.
    #[error("the repository has no share {share:?}")]
    NoShare {
        /// What was asked for.
        share: String,
    },
    /// The repository could not be asked.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was asked to stop.
    #[error("the check was stopped")]
    Cancelled,
}

impl From<ReadError> for CheckError {
    fn from(error: ReadError) -> Self {
        Self::Away(error.to_string())
    }
}

/// A check that runs.
pub(super) struct Run<'a> {
    pub(super) repository: Arc<Repository<Opened>>,
    pub(super) options: &'a CheckOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) report: CheckReport,
    /// What collections have condemned and moved.
    pub(super) void: VoidPacks,
    readers: Mutex<HashMap<DomainId, DomainReader>>,
}

/// Checks a repository. Only reads.
pub async fn check(
    repository: &Arc<Repository<Opened>>,
    options: &CheckOptions,
    observer: &dyn Observer,
) -> Result<CheckReport, CheckError> {
    let (repository, report, readers) = (repository.clone(), CheckReport::default(), Mutex::default());
    let void = VoidPacks::default();
    let mut run = Run { repository, options, observer, report, void, readers };
    observer.phase("read key slots, domains, heads, snapshots and heartbeats");
    run.slots_and_domains().await?;
    let roots = run.roots().await?;
    run.plans().await?;
    run.heartbeats().await?;
    observer.phase("read the ends of packs");
    let mut book = run.packs().await?;
    observer.phase("walk the trees");
    let mut reached = run.reach(&roots, &mut book).await?;
    observer.phase("compare the index");
    run.index(&mut book, &mut reached).await?;
    // A collection that runs meanwhile has taken out of the index what its plan condemns.
    run.plans().await?;
    run.judge_packs(&book);
    run.judge_reached(&roots, &reached).await?;
    observer.phase("hold the maps against their rules");
    run.invariants(&roots, &reached).await?;
    if let Some(sample) = options.read_data {
        observer.phase("open frames");
        run.report.seed = Some(sample.seed).filter(|_| sample.per_million < Sample::ALL);
        run.data(&roots, &book, sample).await?;
    }
    Ok(run.report)
}

/// Says who refers to what is missing or damaged: each finding names an object, and share, moment and path as far as they
/// are known; those without a share only repeat what was given. Only reads.
pub async fn name_users(
    repository: &Arc<Repository<Opened>>,
    damage: Vec<Damage>,
    memory_bytes_max: u64,
    observer: &dyn Observer,
) -> Result<CheckReport, CheckError> {
    let options = CheckOptions { memory_bytes_max, ..CheckOptions::default() };
    let (repository, report, readers) = (repository.clone(), CheckReport::default(), Mutex::default());
    let void = VoidPacks::default();
    let mut run = Run { repository, options: &options, observer, report, void, readers };
    observer.phase("walk the trees");
    let roots = run.roots().await?;
    run.name_damage(&roots, damage).await?;
    Ok(run.report)
}

/// The report on a repository that does not open, if that is because of damage.
pub fn unopened(error: &RepositoryError) -> Option<CheckReport> {
    match error {
        RepositoryError::Damaged { .. }
        | RepositoryError::Missing { .. }
        | RepositoryError::NoRepository { .. } => {
            let mut report = CheckReport::default();
            report.add(Finding::of_error("config", error));
            Some(report)
        }
        RepositoryError::AlreadyThere { .. }
        | RepositoryError::NotEmpty { .. }
        | RepositoryError::WrongKey { .. }
        | RepositoryError::NewerFormat { .. }
        | RepositoryError::Invalid(_)
        | RepositoryError::Local { .. }
        | RepositoryError::Store(_) => None,
    }
}

impl Run<'_> {
    /// Reads what collections have condemned and moved, as far as it is not known.
    pub(super) async fn plans(&mut self) -> Result<(), Away> {
        let repository = self.repository.clone();
        match self.void.refresh(&repository).await {
            Ok(()) => Ok(()),
            Err(error) => self.note("plans/", None, error),
        }
    }

    /// The reader of a domain.
    pub(super) fn reader(&self, domain: DomainId) -> Result<DomainReader, RepositoryError> {
        if let Some(reader) = self.readers.lock().get(&domain) {
            return Ok(reader.clone());
        }
        let memory = self.options.memory_bytes_max / 2;
        let reader = DomainReader::open(&self.repository, domain, memory)?;
        let mut readers = self.readers.lock();
        // One domain after the other: what another reader kept is let go.
        readers.clear();
        readers.insert(domain, reader.clone());
        Ok(reader)
    }

    pub(super) fn checkpoint(&self) -> Result<(), CheckError> {
        if self.observer.is_cancelled() { Err(CheckError::Cancelled) } else { Ok(()) }
    }
}

impl CheckError {
    /// What happened, with all causes.
    pub fn text(&self) -> String {
        with_causes(self)
    }
}
