//! The repository as the shares of a gateway use it: opened, with a reader for each domain.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, DomainId, DomainKeys, Location};
use tidegate_replicator::fetch::{
    ChunkReader, FetchError, FetchErrorKind, FrameSource, Layered, LocalFrames, Locate, ReadOptions,
    StoreFrames, StoreFramesOptions, TreeReader,
};
use tidegate_replicator::repository::{Opened, Repository, RepositoryError};
use tidegate_replicator::store::Store;
use tidegate_replicator::tree::NodeSource;

use crate::ledger::Ledger;

/// What the readers of one domain share.
#[derive(Clone)]
pub(crate) struct DomainReader {
    pub(crate) keys: Arc<DomainKeys>,
    pub(crate) chunks: Arc<ChunkReader>,
    pub(crate) nodes: Arc<dyn NodeSource>,
}

/// Bounds of what is kept in memory, in bytes, for each domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderBounds {
    pub(crate) frames_bytes: u64,
    pub(crate) nodes_bytes: u64,
}

/// See the head of this module.
pub(crate) struct Backend {
    pub(crate) repository: Arc<Repository<Opened>>,
    pub(crate) ledger: Arc<Ledger>,
    source: Arc<dyn FrameSource>,
    bounds: ReaderBounds,
    readers: Mutex<HashMap<DomainId, DomainReader>>,
}

impl Backend {
    pub(crate) fn new(
        repository: Arc<Repository<Opened>>,
        store: Arc<dyn Store>,
        ledger: Arc<Ledger>,
        bounds: ReaderBounds,
    ) -> Self {
        let local: Arc<dyn FrameSource> = Arc::new(LocalFrames::new(ledger.folder().to_path_buf()));
        let remote: Arc<dyn FrameSource> = Arc::new(StoreFrames::new(store, StoreFramesOptions::default()));
        let source = Arc::new(Layered::new(local, remote));
        Self { repository, ledger, source, bounds, readers: Mutex::default() }
    }

    /// The reader of a domain.
    pub(crate) fn reader(&self, domain: DomainId) -> Result<DomainReader, RepositoryError> {
        if let Some(reader) = self.readers.lock().get(&domain) {
            return Ok(reader.clone());
        }
        let keys = self.repository.domain_keys(domain)?;
        let locate = Arc::new(LocateInLedger { ledger: self.ledger.clone() });
        let options = ReadOptions { cache_bytes_max: self.bounds.frames_bytes, ..ReadOptions::default() };
        let chunks = Arc::new(ChunkReader::new(keys.clone(), self.source.clone(), locate, options));
        let nodes: Arc<dyn NodeSource> = Arc::new(TreeReader::new(chunks.clone(), self.bounds.nodes_bytes));
        let reader = DomainReader { keys, chunks, nodes };
        self.readers.lock().insert(domain, reader.clone());
        Ok(reader)
    }
}

/// The ledger as the index of a reader.
struct LocateInLedger {
    ledger: Arc<Ledger>,
}

#[async_trait]
impl Locate for LocateInLedger {
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError> {
        self.ledger.find(id).map_err(|error| {
            FetchError::new(FetchErrorKind::Unreachable, "look a chunk up in the local index")
                .caused_by(error)
        })
    }
}
