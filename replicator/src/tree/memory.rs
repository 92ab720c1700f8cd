//! Tree chunks kept in memory, for tests, benches and small tools.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackId};

use super::{ChunkRef, Node, NodeKind, NodeSink, NodeSource, TreeError, TreeKeys};

/// A source and a sink at once; clones share the chunks. Keeps chunks encoded, opens them on every
/// read, and counts. Locations are made up, all in one pack of zeros.
#[derive(Clone)]
pub struct MemoryNodes {
    keys: Arc<dyn TreeKeys>,
    chunks: Arc<Mutex<Chunks>>,
    reads: Arc<AtomicU64>,
}

#[derive(Default)]
struct Chunks {
    by_id: HashMap<ChunkId, Bytes>,
    unsettled: HashMap<ChunkId, Location>,
    next_offset: u32,
    puts: u64,
}

impl MemoryNodes {
    /// An empty store of chunks under these keys.
    pub fn new(keys: Arc<dyn TreeKeys>) -> Self {
        Self { keys, chunks: Arc::default(), reads: Arc::default() }
    }

    /// How many chunks were read so far, outlined payloads included.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many chunks were put so far, repeated ones included.
    pub fn puts(&self) -> u64 {
        self.chunks.lock().puts
    }

    /// The encoded chunk, if it was put.
    pub fn encoded(&self, id: &ChunkId) -> Option<Bytes> {
        self.chunks.lock().by_id.get(id).cloned()
    }

    /// Puts, replaces (to play damage) or removes a chunk.
    pub fn set(&self, id: ChunkId, encoded: Option<Bytes>) {
        let mut chunks = self.chunks.lock();
        match encoded {
            Some(encoded) => chunks.by_id.insert(id, encoded),
            None => chunks.by_id.remove(&id),
        };
    }

    fn read(&self, id: ChunkId) -> Result<Bytes, TreeError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.encoded(&id).ok_or(TreeError::Missing { id })
    }
}

#[async_trait]
impl NodeSource for MemoryNodes {
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<Node>, TreeError> {
        let encoded = self.read(reference.id)?;
        Node::open(&*self.keys, reference.id, encoded).map(Arc::new)
    }

    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError> {
        let payload = self.read(reference.id)?;
        if self.keys.value_id(&payload) == reference.id {
            Ok(payload)
        } else {
            Err(TreeError::Damaged { id: reference.id, what: "its content does not match its id" })
        }
    }
}

#[async_trait]
impl NodeSink for MemoryNodes {
    async fn put(&mut self, _kind: NodeKind, id: ChunkId, encoded: Bytes) -> Result<(), TreeError> {
        let mut chunks = self.chunks.lock();
        let bytes = encoded.len() as u32;
        let at = Location {
            pack: PackId::new([0; 32]),
            frame_offset: chunks.next_offset,
            frame_bytes: bytes,
            chunk_offset: 0,
            chunk_bytes: bytes,
        };
        chunks.next_offset = chunks.next_offset.wrapping_add(bytes);
        chunks.puts += 1;
        chunks.unsettled.insert(id, at);
        chunks.by_id.insert(id, encoded);
        Ok(())
    }

    async fn settle(&mut self) -> Result<HashMap<ChunkId, Location>, TreeError> {
        Ok(std::mem::take(&mut self.chunks.lock().unsettled))
    }
}
