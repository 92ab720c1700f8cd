//! Reads the chunks of one domain straight from the store.

use std::sync::Arc;

use tidegate_chunker::DomainId;

use super::{Frozen, LocateInIndex};
use crate::fetch::{ChunkReader, ReadOptions, RequestCounts, StoreFrames, StoreFramesOptions, TreeReader};
use crate::repository::{Opened, Repository, Result};
use crate::tree::{NodeSource, Root};

/// Parts of the memory budget: opened frames, tree nodes. The rest is for requests in flight and for
/// the index, where hints do not help.
const FRAMES_PART: u64 = 2;
const NODES_PART: u64 = 4;
const INDEX_PART: u64 = 8;
/// Requests in flight, each of at most the bytes that [`StoreFramesOptions`] says.
const REQUESTS_MAX: usize = 8;

/// See the head of this module. Clones share what they keep.
#[derive(Clone)]
pub struct DomainReader {
    /// Chunks of the domain.
    pub chunks: Arc<ChunkReader>,
    /// Nodes of its trees.
    pub nodes: Arc<dyn NodeSource>,
    frames: Arc<StoreFrames>,
}

impl DomainReader {
    /// A reader that keeps about `memory_bytes_max` bytes.
    pub fn open(
        repository: &Arc<Repository<Opened>>,
        domain: DomainId,
        memory_bytes_max: u64,
    ) -> Result<Self> {
        let keys = repository.domain_keys(domain)?;
        let options = StoreFramesOptions { requests_max: REQUESTS_MAX, ..StoreFramesOptions::default() };
        let frames = Arc::new(StoreFrames::new(repository.store().clone(), options));
        let locate = LocateInIndex::new(repository.clone(), domain, memory_bytes_max / INDEX_PART);
        let options = ReadOptions {
            cache_bytes_max: memory_bytes_max / FRAMES_PART,
            fetches_max: REQUESTS_MAX,
            ..ReadOptions::default()
        };
        let chunks = Arc::new(ChunkReader::new(keys, frames.clone(), Arc::new(locate), options));
        let nodes = Arc::new(TreeReader::new(chunks.clone(), memory_bytes_max / NODES_PART));
        Ok(Self { chunks, nodes, frames })
    }

    /// The map of a root.
    pub fn frozen(&self, root: &Root) -> Frozen {
        Frozen { root: *root, nodes: self.nodes.clone(), chunks: self.chunks.clone() }
    }

    /// What was asked of the store for frames so far.
    pub fn counts(&self) -> RequestCounts {
        self.frames.counts()
    }
}
