//! A walk along one level of a tree, from left to right, that skips what need not be read.

use std::sync::Arc;

use bytes::Bytes;

use super::node::Node;
use super::ranges::Ranges;
use super::seams::{NodeSource, read_node, read_root};
use super::{Root, TreeError};

/// Stands before a node of its level. Reads only nodes on the way to what it is asked for, and
/// passes unread over every subtree that the ranges delete wholly.
pub(super) struct Path<'a> {
    source: &'a dyn NodeSource,
    ranges: &'a Ranges,
    level: u8,
    /// The root, until it has been read.
    root: Option<Root>,
    frames: Vec<Frame>,
    /// The last key of the node that was given last.
    passed: Option<Bytes>,
    /// Whether a subtree was passed over because it is deleted wholly.
    dropped: bool,
}

/// An inner node on the way from the root.
struct Frame {
    node: Arc<Node>,
    /// All keys in and below the node are greater.
    above: Option<Bytes>,
    /// The next child to look at.
    next: usize,
}

impl<'a> Path<'a> {
    pub(super) fn new(source: &'a dyn NodeSource, root: &Root, level: u8, ranges: &'a Ranges) -> Self {
        let root = (root.height > level).then_some(*root);
        Self { source, ranges, level, root, frames: Vec::new(), passed: None, dropped: false }
    }

    /// The last key of the node that was given last.
    pub(super) fn passed(&self) -> Option<&Bytes> {
        self.passed.as_ref()
    }

    /// Whether a subtree was passed over because it is deleted wholly.
    pub(super) fn dropped(&self) -> bool {
        self.dropped
    }

    /// Gives the next node that is not deleted wholly.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<Node>>, TreeError> {
        self.advance(None).await
    }

    /// Gives the next node that may hold `key` and is not deleted wholly, or one right of it; if `key`
    /// is greater than all keys, the last node of the level, unless it was given already.
    pub(super) async fn seek(&mut self, key: &[u8]) -> Result<Option<Arc<Node>>, TreeError> {
        self.advance(Some(key)).await
    }

    async fn advance(&mut self, target: Option<&[u8]>) -> Result<Option<Arc<Node>>, TreeError> {
        if let Some(root) = self.root {
            let node = read_root(self.source, &root).await?;
            self.root = None;
            if let Some(node) = node
                && let Some(found) = self.enter(node, None)
            {
                return Ok(Some(found));
            }
        }
        while let Some(place) = self.choose(target) {
            let frame = self.frames.last().expect("a place was chosen in the last frame");
            let (child, expected) = frame.node.expected_child(place, frame.above.as_deref())?;
            let node = read_node(self.source, &child.node, expected).await?;
            let above = frame.above_child(place);
            self.frames.last_mut().expect("see above").next = place + 1;
            if let Some(found) = self.enter(node, above) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Stands before the node's first child, or gives the node if it is of the path's level.
    fn enter(&mut self, node: Arc<Node>, above: Option<Bytes>) -> Option<Arc<Node>> {
        if node.level() == self.level {
            self.passed = Some(node.last_key().clone());
            return Some(node);
        }
        self.frames.push(Frame { node, above, next: 0 });
        None
    }

    /// Leaves frames that are used up; chooses a child in the last one that is left.
    fn choose(&mut self, target: Option<&[u8]>) -> Option<usize> {
        while let Some(mut frame) = self.frames.pop() {
            let count = frame.node.entries().len();
            if let Some(target) = target {
                let rightmost = self.frames.iter().all(Frame::is_used_up);
                let place = frame.node.lower_bound(target);
                frame.next = frame.next.max(if rightmost { place.min(count - 1) } else { place });
            }
            while !frame.is_used_up() && frame.is_covered(self.ranges) {
                frame.next += 1;
                self.dropped = true;
            }
            if !frame.is_used_up() {
                let place = frame.next;
                self.frames.push(frame);
                return Some(place);
            }
        }
        None
    }
}

impl Frame {
    fn is_used_up(&self) -> bool {
        self.next >= self.node.entries().len()
    }

    /// Whether the ranges delete all of the next child.
    fn is_covered(&self, ranges: &Ranges) -> bool {
        let last = &self.node.entries()[self.next].key;
        ranges.cover(self.above_child(self.next).as_deref(), last)
    }

    /// All keys below this child are greater.
    fn above_child(&self, place: usize) -> Option<Bytes> {
        match place.checked_sub(1) {
            Some(before) => Some(self.node.entries()[before].key.clone()),
            None => self.above.clone(),
        }
    }
}
