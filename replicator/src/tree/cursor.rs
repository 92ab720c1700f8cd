//! Reads a map in order.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::node::Node;
use super::seams::{NodeSource, check_node, read_node, read_root, read_value};
use super::{ChunkRef, Root, TreeError, Value};
use crate::store::Traffic;

/// The most leaves that are read ahead.
const AHEAD_MAX: usize = 16;

/// Stands before an entry of a map and gives entries in order.
///
/// The longer a cursor goes on without seeking, the more leaves it reads ahead, up to 16, never
/// beyond its upper bound; a short scan reads nothing in vain. Needs a tokio runtime. After an error
/// the cursor stands where it stood, and may be asked again.
pub struct Cursor {
    source: Arc<dyn NodeSource>,
    root: Root,
    until: Option<Bytes>,
    /// Where to go before the next entry is given, if the cursor is not there.
    pending: Option<Bytes>,
    /// Inner nodes from the root to the leaf, each with the place of the child that is on the way.
    frames: Vec<Frame>,
    leaf: Option<Arc<Node>>,
    place: usize,
    reach: usize,
    /// Leaves being read, by place in the last frame: consecutive, right of the leaf.
    ahead: VecDeque<Ahead>,
}

struct Frame {
    node: Arc<Node>,
    above: Option<Bytes>,
    place: usize,
}

/// A leaf that is being read; reading ends when this is dropped.
struct Ahead {
    place: usize,
    task: JoinHandle<Result<Arc<Node>, TreeError>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cursor {
    /// A cursor before the first entry. Reads nothing yet.
    pub fn new(root: &Root, source: Arc<dyn NodeSource>) -> Self {
        Self {
            source,
            root: *root,
            until: None,
            pending: Some(Bytes::new()),
            frames: Vec::new(),
            leaf: None,
            place: 0,
            reach: 0,
            ahead: VecDeque::new(),
        }
    }

    /// Ends the map before this key.
    #[must_use]
    pub fn until(mut self, bound: impl Into<Bytes>) -> Self {
        self.until = Some(bound.into());
        self
    }

    /// Goes to the first entry whose key is `key` or greater. Reads nothing if that lies in the leaf
    /// at hand.
    pub async fn seek(&mut self, key: &[u8]) -> Result<(), TreeError> {
        if self.pending.is_none()
            && let Some(leaf) = &self.leaf
            && *leaf.first_key() <= key
            && *leaf.last_key() >= key
        {
            self.place = leaf.lower_bound(key);
            return Ok(());
        }
        self.pending = Some(Bytes::copy_from_slice(key));
        self.settle().await
    }

    /// Gives the next entry; `None` at the end of the map or at the upper bound.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Value)>, TreeError> {
        self.settle().await?;
        loop {
            let Some(leaf) = &self.leaf else { return Ok(None) };
            if let Some(entry) = leaf.entries().get(self.place) {
                if self.until.as_ref().is_some_and(|until| entry.key >= until) {
                    return Ok(None);
                }
                let Some(stored) = entry.item.value() else { return Ok(None) };
                let value = read_value(&*self.source, stored).await?;
                self.place += 1;
                return Ok(Some((entry.key.clone(), value)));
            }
            if !self.next_leaf().await? {
                return Ok(None);
            }
        }
    }

    /// Goes where a seek wants the cursor.
    async fn settle(&mut self) -> Result<(), TreeError> {
        let Some(key) = self.pending.clone() else { return Ok(()) };
        self.leaf = None;
        self.reach = 0;
        self.ahead.clear();
        self.frames.clear();
        if let Some(root) = read_root(&*self.source, &self.root).await? {
            self.descend(root, None, &key).await?;
        }
        self.pending = None;
        Ok(())
    }

    /// Goes on from a node to the leaf with the first entry at or after `key`, if there is one.
    async fn descend(
        &mut self,
        mut node: Arc<Node>,
        mut above: Option<Bytes>,
        key: &[u8],
    ) -> Result<(), TreeError> {
        let depth = self.frames.len();
        while node.level() > 0 {
            let place = node.lower_bound(key);
            if place == node.entries().len() {
                self.frames.truncate(depth);
                return Ok(());
            }
            let frame = Frame { node, above, place };
            let below = match frame.read_child(&*self.source).await {
                Ok(below) => below,
                Err(error) => {
                    self.frames.truncate(depth);
                    return Err(error);
                }
            };
            above = frame.above_child(place);
            self.frames.push(frame);
            node = below;
        }
        self.place = node.lower_bound(key);
        self.leaf = Some(node);
        Ok(())
    }

    /// Goes to the beginning of the next leaf; false if there is none, or none before the bound.
    async fn next_leaf(&mut self) -> Result<bool, TreeError> {
        let Some(depth) = self.frames.iter().rposition(Frame::has_next) else { return Ok(false) };
        let frame = &self.frames[depth];
        let last = frame.node.entries()[frame.place].key.clone();
        if self.until.as_ref().is_some_and(|until| last >= until) {
            return Ok(false);
        }
        if depth + 1 == self.frames.len() {
            let leaf = self.next_sibling().await?;
            self.frames[depth].place += 1;
            (self.leaf, self.place) = (Some(leaf), 0);
            return Ok(true);
        }
        let mut next = Frame { node: frame.node.clone(), above: frame.above.clone(), place: frame.place + 1 };
        let below = next.read_child(&*self.source).await?;
        std::mem::swap(&mut self.frames[depth], &mut next);
        let left = self.frames.split_off(depth + 1);
        if let Err(error) = self.descend(below, Some(last), &[]).await {
            self.frames[depth] = next;
            self.frames.extend(left);
            return Err(error);
        }
        self.ahead.clear();
        Ok(true)
    }

    /// Reads the next leaf below the last frame, and starts reading those after it.
    async fn next_sibling(&mut self) -> Result<Arc<Node>, TreeError> {
        self.read_ahead();
        let frame = self.frames.last().expect("the caller found a frame");
        let place = frame.place + 1;
        if self.ahead.front().is_some_and(|ahead| ahead.place == place) {
            let mut ahead = self.ahead.pop_front().expect("the front was looked at");
            // A reader that was cancelled, as at shutdown, is replaced by reading here.
            if let Ok(read) = (&mut ahead.task).await {
                let leaf = read?;
                let (child, expected) = frame.node.expected_child(place, None)?;
                check_node(&leaf, &child.node, expected)?;
                return Ok(leaf);
            }
        }
        let (child, expected) = frame.node.expected_child(place, None)?;
        read_node(&*self.source, &child.node, expected).await
    }

    /// Starts reading leaves, twice as many as last time.
    fn read_ahead(&mut self) {
        let frame = self.frames.last().expect("the caller found a frame");
        let next = frame.place + 1;
        while self.ahead.front().is_some_and(|ahead| ahead.place < next) {
            self.ahead.pop_front();
        }
        let first = self.ahead.back().map_or(next, |last| last.place + 1);
        let end = (next + self.reach).min(frame.node.entries().len());
        for place in first..end {
            let above = &frame.node.entries()[place - 1].key;
            let Some(child) = frame.node.entries()[place].item.child() else { break };
            if self.until.as_ref().is_some_and(|until| above >= until) {
                break;
            }
            let (source, reference): (_, ChunkRef) = (self.source.clone(), child.node);
            let task = tokio::spawn(Traffic::carry(async move { source.node(&reference).await }));
            self.ahead.push_back(Ahead { place, task });
        }
        self.reach = (self.reach * 2).clamp(1, AHEAD_MAX);
    }
}

impl Frame {
    fn has_next(&self) -> bool {
        self.place + 1 < self.node.entries().len()
    }

    fn above_child(&self, place: usize) -> Option<Bytes> {
        match place.checked_sub(1) {
            Some(before) => Some(self.node.entries()[before].key.clone()),
            None => self.above.clone(),
        }
    }

    /// Reads the child that is on the way.
    async fn read_child(&self, source: &dyn NodeSource) -> Result<Arc<Node>, TreeError> {
        let (child, expected) = self.node.expected_child(self.place, self.above.as_deref())?;
        read_node(source, &child.node, expected).await
    }
}
