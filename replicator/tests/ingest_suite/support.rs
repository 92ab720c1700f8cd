//! What the tests of ingest, fetch and upload share: keys, data, a folder with packs, stores that
//! hang or are away.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_chunker::{
    ChunkId, ChunkParams, DomainId, DomainKeys, FrameTarget, Location, PackId, RepositoryId, SealEpoch,
    SecretKey,
};
use tidegate_replicator::fetch::{FetchError, Locate};
use tidegate_replicator::ingest::{CutChunk, FinishedPack, FinishedPacks, Ingest, IngestOptions, PackIds};
use tidegate_replicator::repository::pack_name;
use tidegate_replicator::store::{
    Body, Capabilities, ErrorKind, ListPage, MemoryStore, ObjectInfo, ObjectName, PutMode, Store, StoreError,
};
use tidegate_replicator::tree::ChunkRef;

pub(crate) fn keys() -> Arc<DomainKeys> {
    let seals = vec![(SealEpoch(1), SecretKey::new([4; 32]))];
    let root = SecretKey::new([3; 32]);
    let keys = DomainKeys::new(RepositoryId::new([1; 16]), DomainId::new([2; 16]), &root, seals);
    Arc::new(keys.expect("one epoch"))
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Small chunks, so that little data has many.
pub(crate) fn small_chunks() -> ChunkParams {
    ChunkParams::new(256, 1024, 4096).expect("in range")
}

/// Ids 1, 2, 3 and so on below `run`.
pub(crate) fn pack_ids(run: u8) -> PackIds {
    let mut count = 0_u32;
    Box::new(move || {
        count += 1;
        let mut id = [run; 32];
        id[..4].copy_from_slice(&count.to_be_bytes());
        Ok(PackId::new(id))
    })
}

/// A folder of local packs and what is known of them.
pub(crate) struct Packs {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keys: Arc<DomainKeys>,
    pub(crate) known: Arc<FinishedPacks>,
    runs: Mutex<u8>,
}

impl Packs {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, keys: keys(), known: Arc::default(), runs: Mutex::new(0) }
    }

    pub(crate) fn options(&self) -> IngestOptions {
        IngestOptions {
            workers: 2,
            frame_target: FrameTarget::new(16 << 10).expect("in range"),
            pack_bytes_target: 128 << 10,
            ..IngestOptions::new(self.folder.path().to_owned())
        }
    }

    pub(crate) fn start(&self, options: IngestOptions) -> Ingest {
        let mut runs = self.runs.lock();
        *runs += 1;
        let known = Arc::clone(&self.known);
        Ingest::start(Arc::clone(&self.keys), small_chunks(), known, pack_ids(*runs), options)
            .expect("started")
    }

    /// Takes in `data`, and answers its chunks with their places.
    pub(crate) fn take_in(&self, data: &[u8]) -> Vec<ChunkRef> {
        let mut ingest = self.start(self.options());
        let chunks = ingest.cut_data(data).expect("cut");
        ingest.finish().expect("finished");
        self.placed(&chunks)
    }

    pub(crate) fn placed(&self, chunks: &[CutChunk]) -> Vec<ChunkRef> {
        use tidegate_replicator::ingest::Known;
        let place = |chunk: &CutChunk| ChunkRef { id: chunk.id, at: self.known.find(&chunk.id) };
        chunks.iter().map(place).collect()
    }

    pub(crate) fn file_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("readable");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
    }
}

/// Puts finished packs into a store.
pub(crate) async fn put_packs(store: &dyn Store, packs: &[FinishedPack]) {
    for pack in packs {
        let body = Body::Bytes(std::fs::read(&pack.path).expect("readable").into());
        store.put(&pack_name(pack.pack), body, PutMode::Overwrite).await.expect("stored");
    }
}

/// An index that answers from a map, and remembers what was reported to it.
#[derive(Default)]
pub(crate) struct MapIndex {
    pub(crate) places: Mutex<HashMap<ChunkId, Location>>,
    pub(crate) bad: Mutex<Vec<Location>>,
}

#[async_trait]
impl Locate for MapIndex {
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError> {
        Ok(self.places.lock().get(id).copied())
    }

    fn found_bad(&self, _id: &ChunkId, at: &Location) {
        self.bad.lock().push(*at);
    }
}

/// A memory store that can be made to hang, to be slow, or to be away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    pub(crate) away: Arc<AtomicBool>,
    pub(crate) hangs: Arc<AtomicBool>,
    pub(crate) delay_ms: Arc<AtomicU64>,
}

impl Moody {
    async fn mood(&self) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst))).await;
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::new(ErrorKind::Transient, "reach the store"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Moody {
    fn address(&self) -> String {
        "moody:".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.mood().await?;
        self.inner.put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.mood().await?;
        self.inner.get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.mood().await?;
        self.inner.get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.mood().await?;
        self.inner.head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.mood().await?;
        self.inner.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.mood().await?;
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.mood().await?;
        self.inner.delete(name).await
    }
}
