//! Everything that a root reaches, as ranges of packs.
//!
//! Walks the tree from the left, depth first. For tree nodes the level above the leaves says where they all lie, so no
//! leaf is read. Frames are gathered, sorted, and put together where they are neighbours, a batch at a time; a frame that
//! several batches name is here when it comes again.
//!
//! Chunks without a hint, which only a damaged or very old tree has, are left to whoever reads them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::Stream;

use super::PackRange;
use crate::fetch::FrameAt;
use crate::repository::HOT_RANGE_BYTES_MAX;
use crate::tree::{ChunkRef, NodeSource, Root, TreeError};

/// Frames that are put in order together.
const BATCH_FRAMES: usize = 8_192;
/// Bytes between two frames that are rather taken along than left out: less than a request costs on a slow link.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// What of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tree nodes.
    Nodes,
    /// File data, and values outside the nodes.
    Data,
}

struct Walk {
    nodes: Arc<dyn NodeSource>,
    part: Part,
    /// Nodes to be read, the next at the end, each with the levels below it.
    open: Vec<(ChunkRef, u8)>,
    frames: BTreeSet<FrameAt>,
    ready: VecDeque<PackRange>,
}

/// The ranges that hold this part of the map of `root`. An error of the tree ends it.
pub fn reach(
    root: &Root,
    nodes: Arc<dyn NodeSource>,
    part: Part,
) -> impl Stream<Item = Result<PackRange, TreeError>> + Send + use<> {
    let mut walk = Walk { nodes, part, open: Vec::new(), frames: BTreeSet::new(), ready: VecDeque::new() };
    if let Some(level) = root.height.checked_sub(1) {
        let top = ChunkRef { id: root.id, at: root.at };
        if part == Part::Nodes {
            walk.note(&top);
        }
        walk.open.push((top, level));
    }
    futures::stream::try_unfold(walk, |mut walk| async move {
        walk.go_on().await?;
        Ok::<_, TreeError>(walk.ready.pop_front().map(|range| (range, walk)))
    })
}

impl Walk {
    /// Reads on until a range is ready, or nothing is left.
    async fn go_on(&mut self) -> Result<(), TreeError> {
        while self.ready.is_empty() {
            let Some((node, level)) = self.open.pop() else {
                self.put_together();
                return Ok(());
            };
            self.pass(&node, level).await?;
            if self.frames.len() >= BATCH_FRAMES {
                self.put_together();
            }
        }
        Ok(())
    }

    async fn pass(&mut self, reference: &ChunkRef, level: u8) -> Result<(), TreeError> {
        let is_needed = level > 0 || self.part == Part::Data;
        if !is_needed {
            return Ok(());
        }
        let node = self.nodes.node(reference).await?;
        if level == 0 {
            node.refs().for_each(|chunk| self.note(&chunk));
            return Ok(());
        }
        let children: Vec<ChunkRef> = node.children().copied().collect();
        if self.part == Part::Nodes {
            for child in &children {
                self.note(child);
            }
        }
        if level > 1 || self.part == Part::Data {
            self.open.extend(children.into_iter().rev().map(|child| (child, level - 1)));
        }
        Ok(())
    }

    fn note(&mut self, chunk: &ChunkRef) {
        self.frames.extend(chunk.at.as_ref().map(FrameAt::from));
    }

    fn put_together(&mut self) {
        for frame in std::mem::take(&mut self.frames) {
            let range = frame.range();
            match self.ready.back_mut() {
                Some(last)
                    if last.pack == frame.pack
                        && range.start <= last.range.end + GAP_BYTES_MAX
                        && range.end.saturating_sub(last.range.start) <= u64::from(HOT_RANGE_BYTES_MAX) =>
                {
                    last.range.end = last.range.end.max(range.end);
                }
                _ => self.ready.push_back(PackRange { pack: frame.pack, range }),
            }
        }
    }
}
