//! A share: a served namespace, as a live map with locks and counters.
//!
//! Owns what belongs to one share while it is served. The namespace ([`crate::namespace`]) works on
//! it; the commit loop ([`crate::commit`]) carries it to the repository. Not here: protocols, export
//! rules, the repository itself.

mod base;
mod extents;
mod inodes;
mod locks;
mod moved;
mod open_files;
mod quota;
mod read;
mod sleep;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidegate_chunker::{ChunkParams, DomainKeys, ShareId};
use tidegate_replicator::fetch::{ChunkReader, FetchError, FetchErrorKind};
use tidegate_replicator::map::MapError;
use tidegate_replicator::tree::TreeError;

pub use base::Base;
pub use extents::{cut_out, extents_meeting};
pub use inodes::InodeNumbers;
pub use locks::InodeLocks;
pub use moved::MovedData;
pub use open_files::OpenFiles;
pub use quota::{Account, Limits, OverSince, Quota, QuotaReport, Resource, Standing};
pub use read::{FrozenMap, LiveMap, MapRead};
pub(crate) use read::{layered_get, layered_scan};
pub use sleep::{Sleepers, Waker};
pub use transaction::Transaction;

use crate::cache::ReadAhead;
use crate::clock::Clock;
use crate::heat::{HeatedNodes, Meter};
use crate::journal::JournalError;
use crate::live::{Live, LiveError, Usage};
use crate::locking::LockTable;

/// What can go wrong below the namespace.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The local part failed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The tree failed: damaged, missing, or unreachable (see [`ShareError::is_passing`]).
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Data could not be read back.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A record of the map does not decode.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The change would make the share use more than its quota leaves.
    #[error("the quota of the share leaves no more {}", .resource.as_str())]
    OverQuota {
        /// Of what.
        resource: Resource,
    },
    /// A record is longer than a tree of the repository takes.
    #[error("a record of {bytes} bytes is longer than the repository takes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl From<JournalError> for ShareError {
    fn from(error: JournalError) -> Self {
        Self::Live(error.into())
    }
}

impl ShareError {
    /// Whether the trouble is that something far away cannot be reached now, or that the disk has no
    /// room now: "try later".
    pub fn is_passing(&self) -> bool {
        let unreachable = |fetch: &FetchError| match fetch.kind() {
            FetchErrorKind::Unreachable | FetchErrorKind::Asleep => true,
            FetchErrorKind::Missing | FetchErrorKind::Damaged | FetchErrorKind::Unopened => false,
        };
        match self {
            Self::Fetch(fetch) => unreachable(fetch),
            Self::Tree(TreeError::Source { source, .. }) => {
                source.downcast_ref::<FetchError>().is_some_and(unreachable)
            }
            Self::Live(LiveError::Journal(JournalError::NoSpace { .. })) => true,
            Self::Tree(_) | Self::Live(_) | Self::Map(_) | Self::OverQuota { .. } | Self::TooLong { .. } => {
                false
            }
        }
    }
}

/// A share that is served.
pub struct Share {
    id: ShareId,
    /// Random for each incarnation: the generation of inodes made in it.
    incarnation: u64,
    map: LiveMap,
    chunks: Arc<ChunkReader>,
    keys: Arc<DomainKeys>,
    chunk_params: ChunkParams,
    clock: Arc<dyn Clock>,
    account: Account,
    locks: InodeLocks,
    numbers: InodeNumbers,
    /// Held by a rename that moves a directory to another: so that two cannot make a ring.
    directory_moves: tokio::sync::Mutex<()>,
    read_ahead: ReadAhead,
    heat: Arc<Meter>,
    open_files: OpenFiles,
    lock_table: LockTable,
    moved: MovedData,
    sleepers: Sleepers,
    /// Set while a bucket is being removed, under the lock of the root directory: nothing comes into it any more.
    closed: AtomicBool,
    /// Grows with every change of what clients have set of the bucket.
    settings_generation: AtomicU64,
}

impl Share {
    /// Opens the share over its map, of which RocksDB holds everything. It has no quota yet.
    pub fn open(
        id: ShareId,
        incarnation: u64,
        map: LiveMap,
        chunks: Arc<ChunkReader>,
        (keys, chunk_params): (Arc<DomainKeys>, ChunkParams),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ShareError> {
        let account = Account::open(&map.live, map.map)?;
        let numbers = InodeNumbers::open(&map.live, map.map)?;
        let (locks, directory_moves) = (InodeLocks::default(), tokio::sync::Mutex::default());
        let read_ahead = ReadAhead::default();
        let heat = Arc::new(Meter::new(clock.clone()));
        let map = LiveMap { nodes: Arc::new(HeatedNodes::new(map.nodes, heat.clone())), ..map };
        Ok(Self {
            id,
            incarnation,
            map,
            chunks,
            keys,
            chunk_params,
            clock,
            account,
            locks,
            numbers,
            directory_moves,
            read_ahead,
            heat,
            open_files: OpenFiles::default(),
            lock_table: LockTable::default(),
            moved: MovedData::default(),
            sleepers: Sleepers::default(),
            closed: AtomicBool::new(false),
            settings_generation: AtomicU64::new(0),
        })
    }

    /// Its name in the repository.
    pub fn id(&self) -> ShareId {
        self.id
    }

    /// The generation of inodes made now.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its live map.
    pub fn map(&self) -> &LiveMap {
        &self.map
    }

    /// The live maps of the gateway.
    pub fn live(&self) -> &Live {
        &self.map.live
    }

    /// What its files use, counting every change that is visible.
    pub fn usage(&self) -> Usage {
        self.account.used()
    }

    /// What its files use and may use.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The time.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Where data in chunks is read.
    pub fn chunks(&self) -> &Arc<ChunkReader> {
        &self.chunks
    }

    /// The keys of its domain.
    pub fn keys(&self) -> &Arc<DomainKeys> {
        &self.keys
    }

    /// How its data is cut.
    pub fn chunk_params(&self) -> ChunkParams {
        self.chunk_params
    }

    /// Locks of its inodes.
    pub fn locks(&self) -> &InodeLocks {
        &self.locks
    }

    /// Which of its files somebody has open.
    pub fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    /// What clients have locked, and how they have files open. Empty after a restart.
    pub fn lock_table(&self) -> &LockTable {
        &self.lock_table
    }

    /// Files that got data of others while a commit is under way.
    pub fn moved(&self) -> &MovedData {
        &self.moved
    }

    /// Who is told of packs that reads met asleep.
    pub fn sleepers(&self) -> &Sleepers {
        &self.sleepers
    }

    /// Lets no object in any more; whoever calls holds the lock of the root directory.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets objects in again.
    pub fn reopen(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// Whether objects are let in no more, for who holds the lock of the root directory.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Notes that what clients have set of the bucket has changed here.
    pub fn note_settings_changed(&self) {
        self.settings_generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Another number whenever what clients have set of the bucket may be other here. What comes from another gateway
    /// does not count.
    pub fn settings_generation(&self) -> u64 {
        self.settings_generation.load(Ordering::Acquire)
    }

    /// Numbers for new inodes.
    pub fn numbers(&self) -> &InodeNumbers {
        &self.numbers
    }

    /// Follows sequential readers.
    pub(crate) fn read_ahead(&self) -> &ReadAhead {
        &self.read_ahead
    }

    /// What is used of it.
    pub fn heat(&self) -> &Arc<Meter> {
        &self.heat
    }

    /// The lock of moves of directories between directories.
    pub fn directory_moves(&self) -> &tokio::sync::Mutex<()> {
        &self.directory_moves
    }
}
