//! The seams of the tree: keys, reading, writing.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_chunker::{ChunkId, DomainKeys, Location};

use super::node::{Child, Node, Payload, Stored};
use super::{ChunkRef, Root, TreeError, Value};

/// The keyed functions of one domain. Equal inputs give equal outputs, for ever.
pub trait TreeKeys: Send + Sync {
    /// The id of the node with this canonical part.
    fn node_id(&self, canonical: &[u8]) -> ChunkId;

    /// The id of the outlined value with this payload.
    fn value_id(&self, payload: &[u8]) -> ChunkId;

    /// Decides whether a node of this level may end at this key.
    fn boundary_hash(&self, level: u8, key: &[u8]) -> u64;
}

impl TreeKeys for DomainKeys {
    fn node_id(&self, canonical: &[u8]) -> ChunkId {
        self.node_id(canonical)
    }

    fn value_id(&self, payload: &[u8]) -> ChunkId {
        self.chunk_id(payload)
    }

    fn boundary_hash(&self, level: u8, key: &[u8]) -> u64 {
        self.boundary_hash(level, key)
    }
}

/// Reads tree chunks: from memory, disk or store.
#[async_trait]
pub trait NodeSource: Send + Sync {
    /// Reads a node. [`Node::open`] must have checked its bytes against the reference's id.
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<Node>, TreeError>;

    /// Reads the payload of an outlined value, checked against [`TreeKeys::value_id`].
    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError>;
}

/// What a tree chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A node.
    Node,
    /// The payload of a value that is too long for its leaf.
    Value,
}

/// Takes the tree chunks that [`apply`](super::apply) makes.
#[async_trait]
pub trait NodeSink: Send {
    /// Takes an encoded node or an outlined payload. The same chunk may come more than once, and may
    /// be one that is already stored durably: then there is nothing to store.
    async fn put(&mut self, kind: NodeKind, id: ChunkId, encoded: Bytes) -> Result<(), TreeError>;

    /// Tells where the chunks lie that were put since the last call, so that their parents can hint at
    /// them. A chunk may be left out; its parents then carry no hint. Called at least once a level.
    async fn settle(&mut self) -> Result<HashMap<ChunkId, Location>, TreeError>;
}

/// What a parent, or the root, says of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) level: u8,
    /// All keys are greater.
    pub(super) above: Option<&'a [u8]>,
    /// The last key.
    pub(super) last: Option<&'a [u8]>,
    pub(super) entries: u64,
}

/// Reads a node and checks it against what its parent says of it.
pub(super) async fn read_node(
    source: &dyn NodeSource,
    reference: &ChunkRef,
    expected: Expected<'_>,
) -> Result<Arc<Node>, TreeError> {
    let node = source.node(reference).await?;
    check_node(&node, reference, expected)?;
    Ok(node)
}

/// Reads the root node, unless the map is empty.
pub(super) async fn read_root(source: &dyn NodeSource, root: &Root) -> Result<Option<Arc<Node>>, TreeError> {
    let Some((reference, level)) = root.top() else { return Ok(None) };
    let expected = Expected { level, above: None, last: None, entries: root.entries };
    read_node(source, &reference, expected).await.map(Some)
}

impl Node {
    /// The child at this place of an inner node, and what the node says of it; `above` is the bound of
    /// the node itself.
    pub(super) fn expected_child<'a>(
        &'a self,
        place: usize,
        above: Option<&'a [u8]>,
    ) -> Result<(&'a Child, Expected<'a>), TreeError> {
        let entry = &self.entries()[place];
        let child = entry.item.child().ok_or(TreeError::Damaged {
            id: self.id(),
            what: "a leaf lies where its parent says a node is",
        })?;
        let before = place.checked_sub(1).map(|before| &self.entries()[before].key[..]);
        let expected = Expected {
            level: self.level().saturating_sub(1),
            above: before.or(above),
            last: Some(&entry.key),
            entries: child.entries,
        };
        Ok((child, expected))
    }
}

/// Checks a node against what its parent says of it.
pub(super) fn check_node(node: &Node, reference: &ChunkRef, expected: Expected<'_>) -> Result<(), TreeError> {
    let wrong = |what| Err(TreeError::Damaged { id: reference.id, what });
    if node.id() != reference.id {
        wrong("another node was read in its place")
    } else if node.level() != expected.level {
        wrong("its level is not what its parent says")
    } else if expected.above.is_some_and(|above| node.first_key() <= above) {
        wrong("its keys overlap the node before")
    } else if expected.last.is_some_and(|last| node.last_key() != last) {
        wrong("its last key is not what its parent says")
    } else if node.entries_below() != expected.entries {
        wrong("it has not as many entries as its parent says")
    } else {
        Ok(())
    }
}

/// Makes a value whole again: reads its payload if that is a chunk of its own.
pub(super) async fn read_value(source: &dyn NodeSource, stored: &Stored) -> Result<Value, TreeError> {
    let payload = match &stored.payload {
        Payload::Inline(payload) => payload.clone(),
        Payload::Outlined { value, bytes } => {
            let payload = source.value(value).await?;
            if payload.len() != *bytes as usize {
                let what = "its length is not what its leaf says";
                return Err(TreeError::Damaged { id: value.id, what });
            }
            payload
        }
    };
    Ok(Value { payload, refs: stored.refs.clone() })
}
