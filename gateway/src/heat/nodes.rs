//! Tree nodes, with note taken of which are read.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_replicator::repository::HotKind;
use tidegate_replicator::tree::{ChunkRef, Node, NodeSource, TreeError};

use super::Meter;

/// Tells a [`Meter`] what is read of another source.
pub(crate) struct HeatedNodes {
    nodes: Arc<dyn NodeSource>,
    meter: Arc<Meter>,
}

impl HeatedNodes {
    /// Reads from `nodes`.
    pub(crate) fn new(nodes: Arc<dyn NodeSource>, meter: Arc<Meter>) -> Self {
        Self { nodes, meter }
    }

    fn note(&self, reference: &ChunkRef) {
        if let Some(at) = &reference.at {
            self.meter.note(at, HotKind::Nodes);
        }
    }
}

#[async_trait]
impl NodeSource for HeatedNodes {
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<Node>, TreeError> {
        self.note(reference);
        self.nodes.node(reference).await
    }

    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError> {
        self.note(reference);
        self.nodes.value(reference).await
    }
}
