//! Hands finished nodes and long payloads to the sink, children before parents.
//!
//! A leaf can be encoded only when the long payloads that it refers to have locations. Such leaves
//! wait, at most [`WAITING_MAX`] of them; then the sink is asked to settle.

use std::collections::{HashMap, HashSet};

use tidegate_chunker::{ChunkId, Location};

use super::node::{Entry, Payload, Stored, canonical, encode};
use super::{ChunkRef, INLINE_BYTES_MAX, NodeKind, NodeSink, TreeError, TreeKeys, Value};

/// The most leaves that wait for locations.
const WAITING_MAX: usize = 64;

pub(super) struct Writer<'a> {
    sink: &'a mut dyn NodeSink,
    keys: &'a dyn TreeKeys,
    /// Long payloads that were put and not settled yet.
    unsettled: HashSet<ChunkId>,
    waiting: Vec<Waiting>,
    /// Where the chunks of the level at work lie.
    locations: HashMap<ChunkId, Location>,
}

struct Waiting {
    id: ChunkId,
    canonical: Vec<u8>,
    entries: Vec<Entry>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(sink: &'a mut dyn NodeSink, keys: &'a dyn TreeKeys) -> Self {
        let (unsettled, waiting, locations) = Default::default();
        Self { sink, keys, unsettled, waiting, locations }
    }

    pub(super) fn keys(&self) -> &'a dyn TreeKeys {
        self.keys
    }

    /// Makes of a value what a leaf keeps; puts its payload if that is long.
    pub(super) async fn store(&mut self, value: Value) -> Result<Stored, TreeError> {
        let Value { payload, refs } = value;
        if payload.len() <= INLINE_BYTES_MAX {
            return Ok(Stored { payload: Payload::Inline(payload), refs });
        }
        let (id, bytes) = (self.keys.value_id(&payload), payload.len() as u32);
        self.sink.put(NodeKind::Value, id, payload).await?;
        self.unsettled.insert(id);
        Ok(Stored { payload: Payload::Outlined { value: ChunkRef::new(id), bytes }, refs })
    }

    /// Takes a finished node.
    pub(super) async fn node(
        &mut self,
        id: ChunkId,
        canonical: Vec<u8>,
        entries: Vec<Entry>,
    ) -> Result<(), TreeError> {
        let mut entries = entries;
        self.hint(&mut entries);
        if !self.must_wait(&entries) {
            return self.sink.put(NodeKind::Node, id, encode(&canonical, &entries)).await;
        }
        self.waiting.push(Waiting { id, canonical, entries });
        if self.waiting.len() >= WAITING_MAX {
            self.put_waiting().await?;
        }
        Ok(())
    }

    /// Puts all that waits; tells where the chunks lie that were put since the last call.
    pub(super) async fn settle(&mut self) -> Result<HashMap<ChunkId, Location>, TreeError> {
        if !self.waiting.is_empty() {
            self.put_waiting().await?;
        }
        self.collect_locations().await?;
        Ok(std::mem::take(&mut self.locations))
    }

    async fn put_waiting(&mut self) -> Result<(), TreeError> {
        self.collect_locations().await?;
        for mut node in std::mem::take(&mut self.waiting) {
            self.hint(&mut node.entries);
            let encoded = encode(&node.canonical, &node.entries);
            self.sink.put(NodeKind::Node, node.id, encoded).await?;
        }
        Ok(())
    }

    fn must_wait(&self, entries: &[Entry]) -> bool {
        let mut references = entries.iter().flat_map(Entry::references);
        !self.unsettled.is_empty() && references.any(|reference| self.unsettled.contains(&reference.id))
    }

    /// Fills in the locations that are known by now.
    fn hint(&self, entries: &mut [Entry]) {
        if self.locations.is_empty() {
            return;
        }
        for reference in entries.iter_mut().flat_map(Entry::references_mut) {
            if let Some(at) = self.locations.get(&reference.id) {
                reference.at = Some(*at);
            }
        }
    }

    async fn collect_locations(&mut self) -> Result<(), TreeError> {
        self.locations.extend(self.sink.settle().await?);
        self.unsettled.clear();
        Ok(())
    }
}

/// The id and the canonical part of a node.
pub(super) fn identify(keys: &dyn TreeKeys, level: u8, entries: &[Entry]) -> (ChunkId, Vec<u8>) {
    let canonical = canonical(level, entries);
    (keys.node_id(&canonical), canonical)
}
