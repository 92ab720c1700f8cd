//! Visits all chunks that a tree reaches, for checks and garbage collection.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::node::{Item, Node};
use super::seams::{Expected, NodeSource, read_node};
use super::{ChunkRef, Root, TreeError};

/// The most nodes that are read at once.
const READS_MAX: usize = 16;

/// Is told what a walk finds. Parents come before children; there is no other order.
pub trait Visitor: Send {
    /// A node of the tree; whether the walk shall read it and go below it. A visitor that remembers
    /// ids walks shared subtrees once.
    fn node(&mut self, node: &ChunkRef, level: u8) -> bool;

    /// The payload of a value that is a chunk of its own; the walk does not read it.
    fn value(&mut self, key: &[u8], value: &ChunkRef);

    /// A data chunk that an entry keeps alive.
    fn data(&mut self, key: &[u8], chunk: &ChunkRef);

    /// A node could not be read or does not fit; all keys that are lost with it are greater than
    /// `above` and not greater than `last`. `Ok` goes on without it, `Err` ends the walk.
    fn failed(
        &mut self,
        node: &ChunkRef,
        above: Option<&[u8]>,
        last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError>;
}

/// A node to be read, and what its parent says of it.
struct Task {
    node: ChunkRef,
    level: u8,
    above: Option<Bytes>,
    last: Option<Bytes>,
    entries: u64,
}

/// Visits all that `root` reaches. Reads some nodes at once; memory is bounded by the height of the
/// tree, not by its size.
pub async fn walk(root: &Root, source: &dyn NodeSource, visitor: &mut dyn Visitor) -> Result<(), TreeError> {
    let mut stack = Vec::new();
    if let Some((node, level)) = root.top()
        && visitor.node(&node, level)
    {
        stack.push(Task { node, level, above: None, last: None, entries: root.entries });
    }
    while !stack.is_empty() {
        // The newest tasks first, so that the stack grows with the height only.
        let batch = stack.split_off(stack.len().saturating_sub(READS_MAX));
        let mut reads = stream::iter(batch).map(|task| task.read(source)).buffered(READS_MAX);
        while let Some((task, read)) = reads.next().await {
            match read {
                Ok(node) => visit(&node, &task, visitor, &mut stack),
                Err(error) => {
                    visitor.failed(&task.node, task.above.as_deref(), task.last.as_deref(), error)?;
                }
            }
        }
    }
    Ok(())
}

impl Task {
    async fn read(self, source: &dyn NodeSource) -> (Self, Result<Arc<Node>, TreeError>) {
        let expected = Expected {
            level: self.level,
            above: self.above.as_deref(),
            last: self.last.as_deref(),
            entries: self.entries,
        };
        let read = read_node(source, &self.node, expected).await;
        (self, read)
    }
}

fn visit(node: &Node, task: &Task, visitor: &mut dyn Visitor, stack: &mut Vec<Task>) {
    let mut above = task.above.clone();
    for entry in node.entries() {
        match &entry.item {
            Item::Child(child) => {
                let level = node.level().saturating_sub(1);
                if visitor.node(&child.node, level) {
                    let (node, entries, last) = (child.node, child.entries, Some(entry.key.clone()));
                    stack.push(Task { node, level, above, last, entries });
                }
                above = Some(entry.key.clone());
            }
            Item::Value(stored) => {
                if let Some(value) = stored.payload.outlined() {
                    visitor.value(&entry.key, value);
                }
                stored.refs.iter().for_each(|chunk| visitor.data(&entry.key, chunk));
            }
        }
    }
}
