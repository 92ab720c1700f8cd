//! The repository as the shares of a gateway use it: opened, with a reader for each domain, behind the
//! cache on disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, DomainId, DomainKeys, Location};
use tidegate_protocols::waits::{Wait, waited};
use tidegate_replicator::fetch::{
    ChunkReader, FetchError, FetchErrorKind, FrameSource, Layered, LocalFrames, Locate, Origin, ReadOptions,
    RequestCounts, StoreFrames, StoreFramesOptions, TreeReader,
};
use tidegate_replicator::frozen::LocateInIndex;
use tidegate_replicator::repository::{Opened, Repository, RepositoryError};
use tidegate_replicator::store::Store;
use tidegate_replicator::tree::NodeSource;

use super::{ApplianceError, CacheReport};
use crate::cache::{
    DiskCache, DiskCacheBounds, FileSystem, GatheredFrames, Keeper, PackFrames, Policy, Tally, Volume,
};
use crate::ledger::Ledger;

/// What the readers of one domain share.
#[derive(Clone)]
pub(crate) struct DomainReader {
    pub(crate) keys: Arc<DomainKeys>,
    pub(crate) chunks: Arc<ChunkReader>,
    pub(crate) nodes: Arc<dyn NodeSource>,
}

/// The part of the memory for nodes that the index of the repository may take, where it is asked.
const INDEX_PART: u64 = 4;

/// Bounds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderBounds {
    /// Opened frames in memory, for each domain.
    pub(crate) frames_bytes: u64,
    /// Tree nodes in memory, for each domain.
    pub(crate) nodes_bytes: u64,
    /// The cache on disk.
    pub(crate) disk: DiskCacheBounds,
}

/// See the head of this module.
pub(crate) struct Backend {
    pub(crate) repository: Arc<Repository<Opened>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) keeper: Arc<Keeper>,
    disk: Arc<DiskCache>,
    store: Arc<StoreFrames>,
    tally: Arc<Tally>,
    source: Arc<dyn FrameSource>,
    bounds: ReaderBounds,
    readers: Mutex<HashMap<DomainId, DomainReader>>,
}

impl Backend {
    /// Opens the cache in `<data>/cache`. Blocks.
    pub(crate) fn open(
        data: &Path,
        repository: Arc<Repository<Opened>>,
        store: Arc<dyn Store>,
        ledger: Arc<Ledger>,
        bounds: ReaderBounds,
    ) -> Result<Self, ApplianceError> {
        let volume: Arc<dyn Volume> = Arc::new(FileSystem::of(data));
        let policy = Arc::new(Mutex::new(Policy::new(bounds.disk.cache_bytes)));
        let folder = data.join("cache");
        let disk = DiskCache::open(&folder, policy.clone(), volume.clone(), bounds.disk)
            .map_err(|source| ApplianceError::Cache { folder, source })?;
        let disk = Arc::new(disk);
        let packs = Arc::new(LocalFrames::new(ledger.folder().to_path_buf()));
        let keeper = Keeper::open(
            ledger.clone(),
            packs.clone(),
            disk.clone(),
            policy.clone(),
            (volume, bounds.disk.cache_bytes),
        )?;
        let tally: Arc<Tally> = Arc::default();
        let store = Arc::new(StoreFrames::new(store, StoreFramesOptions::default()));
        let near = Arc::new(PackFrames { packs, policy, tally: tally.clone() });
        let far = GatheredFrames { disk: disk.clone(), store: store.clone(), tally: tally.clone() };
        let source = Arc::new(Layered::new(near, Arc::new(far)));
        let (keeper, readers) = (Arc::new(keeper), Mutex::default());
        Ok(Self { repository, ledger, keeper, disk, store, tally, source, bounds, readers })
    }

    /// The reader of a domain.
    pub(crate) fn reader(&self, domain: DomainId) -> Result<DomainReader, RepositoryError> {
        if let Some(reader) = self.readers.lock().get(&domain) {
            return Ok(reader.clone());
        }
        let keys = self.repository.domain_keys(domain)?;
        let index = LocateInIndex::new(self.repository.clone(), domain, self.bounds.nodes_bytes / INDEX_PART);
        let locate = Arc::new(LocateInLedger { ledger: self.ledger.clone(), index });
        let options = ReadOptions { cache_bytes_max: self.bounds.frames_bytes, ..ReadOptions::default() };
        let chunks = ChunkReader::new(keys.clone(), self.source.clone(), locate, options);
        let chunks = Arc::new(chunks.telling(|origin, time| waited(wait_of(origin), time)));
        let nodes: Arc<dyn NodeSource> = Arc::new(TreeReader::new(chunks.clone(), self.bounds.nodes_bytes));
        let reader = DomainReader { keys, chunks, nodes };
        self.readers.lock().insert(domain, reader.clone());
        Ok(reader)
    }

    /// What was gathered from the store.
    pub(crate) fn gathered(&self) -> &Arc<DiskCache> {
        &self.disk
    }

    /// What the caches hold and did.
    pub(crate) fn report(&self) -> CacheReport {
        let readers: Vec<_> = self.readers.lock().values().cloned().collect();
        let in_memory: u64 = readers.iter().map(|reader| reader.chunks.counts().hits).sum();
        let RequestCounts { requests, bytes } = self.store.counts();
        CacheReport {
            disk_bytes: self.keeper.bytes(),
            disk_bytes_max: self.keeper.bytes_max(),
            memory_bytes: readers.iter().map(|reader| reader.chunks.cached_bytes()).sum(),
            memory_bytes_max: self.bounds.frames_bytes * readers.len() as u64,
            hits: in_memory + self.tally.hits.load(Ordering::Relaxed),
            misses: self.tally.misses.load(Ordering::Relaxed),
            store_requests: requests,
            store_bytes: bytes,
        }
    }

    /// Seals the files of the cache; it keeps nothing more. Blocks.
    pub(crate) fn close(&self) {
        self.disk.close();
    }
}

/// What a call waits for when it waits for a frame.
fn wait_of(origin: Origin) -> Wait {
    match origin {
        Origin::Here => Wait::Cache,
        Origin::Store => Wait::Store,
    }
}

/// The ledger as the index of a reader. Where that leads to a pack which a collection condemned, and so may have
/// emptied, or to a place where the chunk was not found, the index of the repository answers; and where it knows
/// nothing any more of a chunk that was looked for in vain: somebody may have stored it anew.
struct LocateInLedger {
    ledger: Arc<Ledger>,
    index: LocateInIndex,
}

#[async_trait]
impl Locate for LocateInLedger {
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError> {
        let known = self.ledger.find(id).map_err(|error| {
            FetchError::new(FetchErrorKind::Unreachable, "look a chunk up in the local index")
                .caused_by(error)
        })?;
        match known {
            Some(at) if self.ledger.is_void(&at.pack) || self.index.is_bad(id, &at) => {}
            None if self.index.was_bad(id) => {}
            known => return Ok(known),
        }
        let found = self.index.locate(id).await?;
        if let Some(at) = found.filter(|at| !self.ledger.is_void(&at.pack)) {
            // The next reader need not search. Should it not be kept, he searches.
            let _ = self.ledger.learn_remote([(*id, at)]);
        }
        Ok(found)
    }

    fn found_bad(&self, id: &ChunkId, at: &Location) {
        self.index.found_bad(id, at);
    }
}
