//! The appliance: everything put together, with a life from open to close.
//!
//! ```text
//! NFS ── Files ── Namespace ── Share ── Live (journal, memory layer, RocksDB)
//!                                │           │
//!                                │        Committer ── Ingest ── packs ── Repository ── Store
//!                                └── ChunkReader, TreeReader ── packs, Store
//! ```
//!
//! [`Appliance::open`] takes components, not settings, so that tests put it together from parts; what
//! the settings file says is turned into [`Parts`] and [`ShareConfig`] elsewhere.
//!
//! Order of a start: lock and open the journal; open RocksDB; replay what it lacks; put the ledger of
//! packs in accord with the folder; only then serve. A start needs the store only to open the
//! repository's keys; shares are served from local state while it is away.

mod archive;
mod aside;
mod backend;
mod bin;
mod budget;
mod cache_loop;
mod collect;
mod commit_loop;
mod copies;
mod drill;
mod error;
mod failback;
mod follow;
mod handles;
mod handover;
mod heat;
mod index;
mod locks;
mod moments;
mod newest;
mod promote;
mod registry;
mod rejoin;
mod report;
mod retire;
mod scrub;
mod shares;
mod shredded;
mod snapshots;
mod source_lines;
mod source_run;
mod targets;
mod thaw;
mod thin;
mod warm;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::{RepositoryId, ShareId};
use tidegate_replicator::ingest::IngestOptions;
use tidegate_replicator::repository::{Claimant, InstanceId, Ladder, Opened, Repository};
use tidegate_replicator::store::{Store, StoreGroup};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use archive::{ArchiveConfig, TargetRules};
pub use bin::RemovedShare;
pub use collect::{CollectConfig, Collected, CollectionFigures};
pub use copies::CopyReport;
pub use error::ApplianceError;
pub use failback::FailbackFacts;
pub use handles::Handles;
pub use locks::{LOCKED_UNTIL_TAG, LockConfig, LockReport, locked_until};
pub use rejoin::{Rejoin, Rejoined};
pub use report::{CacheReport, JournalReport, ShareReport};
pub use scrub::{ScrubConfig, ScrubRun, Scrubber};
pub use shares::{AttachPoint, ShareConfig};
pub use snapshots::SnapshotEntry;
pub use source_lines::SourceConfig;
pub use source_run::{INCOMPLETE_TAG, OpenSource, SourceRequest, SourceTaken};
pub use targets::{CopyTarget, Targets};
pub use thaw::ThawRule;
pub(crate) use warm::REQUESTS_MAX as WARM_REQUESTS_MAX;
pub use warm::WarmWhat;

use crate::cache::{DiskCacheBounds, FileSystem, Volume};
use crate::clock::Clock;
use crate::commit::{Committer, CopyingHeads, Plans};
use crate::files::Files;
use crate::journal::{self, Journal, Sequence};
use crate::ledger::Ledger;
use crate::live::{Batch, Database, Limits, Live};
use backend::{Backend, ReaderBounds};
use budget::{DirtyBounds, DirtyBudget};
use copies::Copies;
use locks::LockBook;
use shares::OpenShare;
use thaw::Thawer;

/// Bounds of what the appliance uses, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// Memory of the process, about.
    pub memory_bytes: u64,
    /// What may wait here that no target has.
    pub dirty_bytes: u64,
    /// What is kept on the disk, besides what waits, because it may be read again.
    pub cache_bytes: u64,
}

impl Default for Budgets {
    /// 512 MiB, 10 GiB, 20 GiB.
    fn default() -> Self {
        Self { memory_bytes: 512 << 20, dirty_bytes: 10 << 30, cache_bytes: 20 << 30 }
    }
}

/// What an appliance is put together from.
pub struct Parts {
    /// Folder of the local state.
    pub data: PathBuf,
    /// The repository, opened.
    pub repository: Repository<Opened>,
    /// The targets that it lies on; the repository's store is their group.
    pub targets: Targets,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who claims leases.
    pub claimant: Claimant,
    /// How long a claim settles; should exceed the time that a put and a listing take together.
    pub settle: Duration,
    /// Bounds.
    pub budgets: Budgets,
    /// Which heads are kept beside the newest.
    pub ladder: Ladder,
    /// Whether it is the clone of a drill, which publishes nothing.
    pub drill: bool,
}

/// A gateway that is open.
pub struct Appliance {
    live: Live,
    backend: Backend,
    committer: Committer,
    files: Arc<Files>,
    budget: Arc<DirtyBudget>,
    clock: Arc<dyn Clock>,
    claimant: Claimant,
    settle: Duration,
    shares: Mutex<HashMap<ShareId, Arc<OpenShare>>>,
    /// Shares that are served no more and still hold something of the journal.
    retiring: Mutex<HashMap<ShareId, Arc<OpenShare>>>,
    /// Up to where each share needs the journal no more.
    drained: Mutex<HashMap<ShareId, Sequence>>,
    /// Sources of backup that are known here.
    sources: source_lines::Lines,
    /// Held while the set of shares changes.
    changing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    loops: TaskTracker,
    uploaded_bytes: AtomicU64,
    /// What this gateway is called among those of the repository.
    instance: InstanceId,
    /// Held by whoever collects.
    collecting: tokio::sync::Mutex<()>,
    /// How the last collection ended.
    collected: Mutex<Option<Collected>>,
    /// Cancelled once new data is stored from here.
    index_wanted: CancellationToken,
    /// Cancelled once the target's index has been learned, or cannot be.
    index_done: CancellationToken,
    /// What is known of the heat of shares.
    heat_folder: PathBuf,
    /// Held by whoever warms.
    warming: tokio::sync::Mutex<()>,
    /// The stores of all targets.
    targets: Arc<StoreGroup>,
    copies: Copies,
    /// Where the rounds are that extend locks.
    locks: LockBook,
    /// How packs are archived.
    archive: Mutex<ArchiveConfig>,
    /// Held for writing by whoever writes a pack of a target over, for reading by whoever copies one onto itself.
    heals: tokio::sync::RwLock<()>,
    /// Whoever reads all packs once in a while, if anybody does.
    scrubber: Mutex<Weak<Scrubber>>,
    /// Asks for packs that readers wait for.
    thawer: Arc<Thawer>,
    /// Whether it is the clone of a drill.
    drill: bool,
}

impl fmt::Debug for Appliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliance").finish_non_exhaustive()
    }
}

/// Parts of the memory budget: opened frames, tree nodes, the memory layer, RocksDB's blocks and its
/// memtables, the journal's buffer, frames being made, what a commit knows of each record.
const FRAMES_PART: u64 = 8;
const NODES_PART: u64 = 16;
const PENDING_PART: u64 = 16;
const BLOCKS_PART: u64 = 12;
const MEMTABLES_PART: u64 = 12;
const JOURNAL_PART: u64 = 16;
const INGEST_PART: u64 = 16;
const RECORDS_PART: u64 = 8;
/// What a commit knows of a record of the journal, in bytes: a changed key, its extent, and its chunk.
const RECORD_BYTES: u64 = 512;
/// The index of the cache on disk, and frames on their way there.
const CACHE_INDEX_PART: u64 = 32;
const CACHE_QUEUE_PART: u64 = 32;
/// A segment is at most this part of the dirty budget, so that room comes back in steps.
const SEGMENTS_OF_BUDGET: u64 = 16;
/// Bounds of a journal segment, in bytes.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (8 << 20)..=(64 << 20);
/// How long a stop waits for what goes on in the background, above all for commits.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// Packs that are handed to the store at once. How many of them travel at once is the business of its link.
const UPLOADS_MAX: usize = 32;

impl Appliance {
    /// Opens the local state and everything over it. Serves nothing yet: see [`Appliance::serve`].
    pub async fn open(parts: Parts) -> Result<Arc<Self>, ApplianceError> {
        let repository = Arc::new(parts.repository);
        let keys: Vec<_> = repository.domains().into_iter().map(|(_, domain)| domain.keys.clone()).collect();
        let (data, of_repository, store) = (parts.data, repository.clone(), parts.targets.group.readers());
        let (folder, folder_of_copies, budgets) = (data.clone(), data.clone(), parts.budgets);
        let opening = tokio::task::spawn_blocking(move || {
            let budgets = fit_disk(&folder, budgets);
            open_live(&folder, &budgets).map(|live| (live, budgets))
        });
        let (live, budgets) = opening.await.map_err(|_| ApplianceError::Died)??;
        crate::crash::point("start.replayed");
        // Packs of another repository would look damaged.
        bind(&live, repository.id()).await?;
        let instance = instance(&live).await?;
        let (database, bounds) = (live.database().clone(), reader_bounds(&budgets));
        let opening = tokio::task::spawn_blocking(move || {
            let ledger = Ledger::open(database, data.join("packs"), &keys)?;
            Backend::open(&data, of_repository, store, ledger, bounds)
        });
        let backend = opening.await.map_err(|_| ApplianceError::Died)??;
        let (ledger, keeper) = (backend.ledger.clone(), backend.keeper.clone());
        let (journal, bounds) = (live.journal().clone(), dirty_bounds(&budgets));
        let budget = Arc::new(DirtyBudget::new(journal, ledger.clone(), keeper, bounds));
        let replays = live.database().outcomes()?;
        let files = Arc::new(Files::new(live.journal().verifier(), replays, budget.clone()));
        let ingest = ingest_options(&ledger, &budgets);
        let copying: Arc<CopyingHeads> = Arc::default();
        let by = (parts.clock.clone(), parts.ladder);
        let committer = committer((repository, ledger), ingest, by, copying.clone());
        let appliance = Arc::new(Self {
            live,
            backend,
            committer,
            files,
            budget,
            clock: parts.clock,
            claimant: parts.claimant,
            settle: parts.settle,
            shares: Mutex::default(),
            retiring: Mutex::default(),
            drained: Mutex::default(),
            sources: source_lines::Lines::default(),
            changing: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            loops: TaskTracker::new(),
            uploaded_bytes: AtomicU64::new(0),
            instance,
            collecting: tokio::sync::Mutex::default(),
            collected: Mutex::default(),
            index_wanted: CancellationToken::new(),
            index_done: CancellationToken::new(),
            heat_folder: folder_of_copies.join("heat"),
            warming: tokio::sync::Mutex::default(),
            targets: parts.targets.group.clone(),
            copies: Copies::new(&folder_of_copies, copying),
            locks: LockBook::open(&folder_of_copies),
            archive: Mutex::default(),
            thawer: Arc::default(),
            heals: tokio::sync::RwLock::default(),
            scrubber: Mutex::default(),
            drill: parts.drill,
        });
        appliance.begin(&parts.targets).await?;
        Ok(appliance)
    }

    /// Starts what goes on from the beginning.
    async fn begin(self: &Arc<Self>, targets: &Targets) -> Result<(), ApplianceError> {
        crate::crash::point("start.packs");
        self.drop_left_maps()?;
        self.start_keeper();
        self.promote_at_start(targets).await?;
        self.set_copies(targets).await?;
        if self.drill {
            // Nothing will be sealed, so nobody asks what is there already.
            self.index_done.cancel();
            return Ok(());
        }
        self.start_thawing();
        self.learn_index()
    }

    /// The shares as a file server serves them.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// The repository, on whichever target leads.
    pub fn repository(&self) -> &Arc<Repository<Opened>> {
        &self.backend.repository
    }

    /// The store of the target that leads.
    pub fn lead_store(&self) -> Arc<dyn Store> {
        self.targets.lead()
    }

    /// What this gateway is called among those of the repository, for as long as its local state lives.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Ends the commit loops and makes everything acknowledged durable. Publishes nothing more. The
    /// local state is free for another gateway once the last reference to this one has gone.
    pub async fn close(&self) -> Result<(), ApplianceError> {
        self.stop.cancel();
        self.loops.close();
        // What is on its way to the store may take hours, and goes on after the next start.
        if tokio::time::timeout(STOP_WAIT_MAX, self.loops.wait()).await.is_err() {
            tracing::warn!("a commit was on its way to the store: it is run again after the next start");
        }
        self.keep_heat().await;
        self.live.durable(self.live.journal().appended_sequence()).await?;
        self.backend.close();
        Ok(())
    }

    /// Deletes journal segments that nothing refers to any more, and tells those who wait for room.
    fn shorten_journal(&self) -> Result<(), ApplianceError> {
        let known = registry::load(&self.live)?;
        let drained = self.drained.lock().clone();
        let mut through = Sequence(u64::MAX);
        for record in &known {
            through = through.min(drained.get(&record.id()?).copied().unwrap_or_default());
        }
        self.budget.note_drained(through);
        let removable = |segment: &journal::SegmentInfo| segment.sealed && segment.last <= through;
        if self.live.journal().segments().iter().any(removable) {
            let flushed = self.live.flush()?;
            let freed = self.live.journal().remove_through(flushed.min(through))?;
            tracing::debug!(freed, "shortened the journal");
        }
        self.budget.relief.notify_waiters();
        Ok(())
    }
}

/// Refuses local state of another repository: ids and packs of the two would mix.
async fn bind(live: &Live, given: RepositoryId) -> Result<(), ApplianceError> {
    match registry::repository(live)? {
        Some(local) if local == given => Ok(()),
        Some(local) => Err(ApplianceError::OtherRepository { local, given }),
        None => {
            let batch = Batch { changes: vec![registry::bind(given)] };
            live.submit_durably(batch, bytes::Bytes::new()).await?;
            Ok(())
        }
    }
}

/// The id of this gateway, which is made with the local state.
async fn instance(live: &Live) -> Result<InstanceId, ApplianceError> {
    if let Some(instance) = registry::instance(live)? {
        return Ok(instance);
    }
    let instance = InstanceId::new(shares::random_bytes()?);
    let batch = Batch { changes: vec![registry::bind_instance(instance)] };
    live.submit_durably(batch, bytes::Bytes::new()).await?;
    Ok(instance)
}

/// The budgets that the disk under the local state can keep. Where its size cannot be told the settings
/// stand.
fn fit_disk(data: &std::path::Path, budgets: Budgets) -> Budgets {
    let there = std::fs::create_dir_all(data).and_then(|()| FileSystem::of(data).room());
    there.map_or(budgets, |room| budgets.fit(room))
}

fn ingest_options(ledger: &Ledger, budgets: &Budgets) -> IngestOptions {
    IngestOptions {
        memory_bytes_max: budgets.memory_bytes / INGEST_PART,
        ..IngestOptions::new(ledger.folder().to_path_buf())
    }
}

fn dirty_bounds(budgets: &Budgets) -> DirtyBounds {
    DirtyBounds {
        bytes_max: budgets.dirty_bytes,
        records_max: (budgets.memory_bytes / RECORDS_PART / RECORD_BYTES).max(1),
    }
}

fn reader_bounds(budgets: &Budgets) -> ReaderBounds {
    let memory = budgets.memory_bytes;
    ReaderBounds {
        frames_bytes: memory / FRAMES_PART,
        nodes_bytes: memory / NODES_PART,
        disk: DiskCacheBounds {
            cache_bytes: budgets.cache_bytes,
            index_bytes: memory / CACHE_INDEX_PART,
            queue_bytes: memory / CACHE_QUEUE_PART,
        },
    }
}

/// What publishes the heads of all shares.
fn committer(
    (repository, ledger): (Arc<Repository<Opened>>, Arc<Ledger>),
    ingest: IngestOptions,
    (clock, ladder): (Arc<dyn Clock>, Ladder),
    copying: Arc<CopyingHeads>,
) -> Committer {
    Committer {
        plans: Plans::new(repository.clone(), ledger.clone()),
        repository,
        ledger,
        clock,
        ingest,
        uploads_max: UPLOADS_MAX,
        ladder,
        copying,
        uploading: tokio::sync::Mutex::default(),
    }
}

fn open_live(data: &std::path::Path, budgets: &Budgets) -> Result<Live, ApplianceError> {
    let memory = budgets.memory_bytes;
    let segment_bytes =
        (budgets.dirty_bytes / SEGMENTS_OF_BUDGET).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
    let options = journal::Options {
        segment_bytes,
        buffer_bytes: (memory / JOURNAL_PART).min(segment_bytes / 2) as usize,
        ..journal::Options::default()
    };
    let (journal, replay) = Journal::open(&data.join("journal"), options)?;
    let limits = Limits {
        pending_bytes_max: (memory / PENDING_PART) as usize,
        block_cache_bytes: (memory / BLOCKS_PART) as usize,
        memtable_bytes: (memory / MEMTABLES_PART) as usize,
        ..Limits::default()
    };
    let database =
        Arc::new(Database::open(&data.join("meta"), limits.block_cache_bytes, limits.memtable_bytes)?);
    Ok(Live::open(journal, &replay, database, limits)?)
}
