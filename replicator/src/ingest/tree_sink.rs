//! An ingest as the place where a tree puts its nodes.
//!
//! The tree is built by async code and an ingest blocks, so nodes are gathered and put together on a
//! blocking thread. Bound: [`GATHERED_BYTES_MAX`] and one node.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_chunker::{ChunkId, ChunkKind, Location};

use super::{Ingest, IngestError};
use crate::tree::{NodeKind, NodeSink, TreeError};

/// Bytes of nodes that are gathered before they are put.
const GATHERED_BYTES_MAX: usize = 1 << 20;

/// Puts tree chunks into an [`Ingest`]. See the head of this module.
pub struct TreeSink {
    /// Gone only after a put was cancelled or has died.
    ingest: Option<Ingest>,
    gathered: Vec<(ChunkKind, ChunkId, Bytes)>,
    gathered_bytes: usize,
    /// Put since the last settling.
    unsettled: Vec<ChunkId>,
}

impl TreeSink {
    /// Puts into this run.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest: Some(ingest), gathered: Vec::new(), gathered_bytes: 0, unsettled: Vec::new() }
    }

    /// Puts what is gathered, and gives the run back.
    pub async fn into_ingest(mut self) -> Result<Ingest, TreeError> {
        self.put_gathered(|_| Ok(())).await?;
        self.ingest.ok_or_else(interrupted)
    }

    /// Puts what is gathered, then does `work`, on a blocking thread.
    async fn put_gathered<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Ingest) -> Result<T, IngestError> + Send + 'static,
    ) -> Result<T, TreeError> {
        let mut ingest = self.ingest.take().ok_or_else(interrupted)?;
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let putting = crate::blocking::spawn_blocking(move || {
            let put =
                gathered.iter().try_for_each(|(kind, id, bytes)| ingest.put(*kind, *id, bytes).map(drop));
            let done = put.and_then(|()| work(&mut ingest));
            (ingest, done)
        });
        let (ingest, done) = putting.await.map_err(|error| TreeError::source("store tree chunks", error))?;
        self.ingest = Some(ingest);
        done.map_err(|error| TreeError::source("store tree chunks", error))
    }
}

#[async_trait]
impl NodeSink for TreeSink {
    async fn put(&mut self, kind: NodeKind, id: ChunkId, encoded: Bytes) -> Result<(), TreeError> {
        let kind = match kind {
            NodeKind::Node => ChunkKind::Node,
            NodeKind::Value => ChunkKind::Value,
        };
        self.gathered_bytes += encoded.len();
        self.gathered.push((kind, id, encoded));
        self.unsettled.push(id);
        if self.gathered_bytes < GATHERED_BYTES_MAX {
            return Ok(());
        }
        self.put_gathered(|_| Ok(())).await
    }

    async fn settle(&mut self) -> Result<HashMap<ChunkId, Location>, TreeError> {
        let unsettled = std::mem::take(&mut self.unsettled);
        self.put_gathered(move |ingest| {
            ingest.settle()?;
            Ok(unsettled.into_iter().filter_map(|id| Some((id, ingest.location(&id)?))).collect())
        })
        .await
    }
}

fn interrupted() -> TreeError {
    TreeError::source("store tree chunks", "an earlier call was interrupted")
}
