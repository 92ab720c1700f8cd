//! Tree nodes and outlined values, read through a [`ChunkReader`].
//!
//! Opened nodes are kept in memory, bounded by bytes and not swept out by a scan: inner nodes of live
//! shares are asked for all the time and so stay.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_chunker::ChunkId;

use super::frame_cache::FrameCache;
use super::{ChunkReader, FetchError, FetchErrorKind};
use crate::tree::{ChunkRef, Node, NodeSource, TreeError};

/// See the head of this module.
pub struct TreeReader {
    chunks: Arc<ChunkReader>,
    nodes: FrameCache<ChunkId, Arc<Node>>,
}

impl TreeReader {
    /// Reads nodes through `chunks`, and keeps at most `nodes_bytes_max` bytes of them.
    pub fn new(chunks: Arc<ChunkReader>, nodes_bytes_max: u64) -> Self {
        Self { chunks, nodes: FrameCache::new(nodes_bytes_max) }
    }
}

#[async_trait]
impl NodeSource for TreeReader {
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<Node>, TreeError> {
        if let Some(node) = self.nodes.get(&reference.id) {
            return Ok(node);
        }
        let open = |bytes| Node::open(&**self.chunks.keys(), reference.id, bytes);
        let node =
            self.chunks.read_node(reference, open).await.map_err(|error| tree_error(reference, error))?;
        let node = Arc::new(node);
        self.nodes.insert(reference.id, Arc::clone(&node), node.memory_bytes() as u64);
        Ok(node)
    }

    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError> {
        let value = self.chunks.read(reference).await.map_err(|error| tree_error(reference, error))?;
        Ok(value.into_bytes())
    }
}

fn tree_error(reference: &ChunkRef, error: FetchError) -> TreeError {
    match error.kind() {
        FetchErrorKind::Missing => TreeError::Missing { id: reference.id },
        FetchErrorKind::Damaged => {
            TreeError::Damaged { id: reference.id, what: "no copy that can be had here is what was written" }
        }
        FetchErrorKind::Unopened | FetchErrorKind::Unreachable | FetchErrorKind::Asleep => {
            TreeError::source("read a tree chunk", error)
        }
    }
}
