//! Makes a new tree of an old one and edits.
//!
//! Works level by level, leaves first. On each level the old entries and the steps (edits of keys on
//! the leaves, replaced children above) are merged and cut into nodes again. What is cut starts at the
//! beginning of the old node that a step touches, and stops where an old node and a new one end at the
//! same entry: from there on the old nodes are what a cut from scratch would give, because ends depend
//! only on what follows the end before. So the outcome is, bit for bit, the tree of the edited map.
//!
//! Order of writes: all nodes of a level, then [`NodeSink::settle`], then the level above, which hints
//! at where they lie. After a failure at any step the chunks put so far are garbage and the base is
//! untouched; running again with the same input puts the same chunks.
//!
//! When a map shrinks so much that its tree loses levels, the top nodes of the level pass, one entry
//! each, have been put already: a few small chunks that nothing refers to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use futures::Stream;
use tidegate_chunker::{ChunkId, Location};

use super::edits::{Edit, Step, Steps};
use super::node::{Child, Entry, Node};
use super::path::Path;
use super::ranges::Ranges;
use super::split::Splitter;
use super::writer::{Writer, identify};
use super::{ChunkRef, NodeSink, NodeSource, Root, TreeError, TreeKeys};

/// Deletes `ranges` from the map of `base`, then carries out `edits`; gives the root of the outcome.
///
/// Ranges must be sorted, disjoint and not empty; edits must come with strictly ascending keys
/// ([`TreeError::BadEdit`]). Subtrees that a range deletes wholly are not read. `source` must be able to
/// read the nodes of `base`, but not what is put into `sink` meanwhile.
pub async fn apply<E>(
    base: &Root,
    ranges: &[Range<Bytes>],
    mut edits: E,
    source: &dyn NodeSource,
    sink: &mut dyn NodeSink,
    keys: &dyn TreeKeys,
) -> Result<Root, TreeError>
where
    E: Stream<Item = Result<Edit, TreeError>> + Send + Unpin,
{
    let ranges = Ranges::new(ranges)?;
    let mut writer = Writer::new(sink, keys);
    let mut steps = Steps::Edits { edits: &mut edits, taken: 0, before: None };
    let mut lasts = Vec::new();
    for level in 0.. {
        let path = Path::new(source, base, level, &ranges);
        let mut outcome = Pass::new(path, &ranges, level, steps, &mut writer).run().await?;
        if outcome.changes.is_empty() && !outcome.dropped {
            return Ok(*base);
        }
        outcome.hint(&writer.settle().await?);
        lasts.push(outcome.last.take());
        // From the old root's level upwards no old node is left outside the changes.
        if level + 1 >= base.height {
            let mut nodes = outcome.changes.values().flatten();
            match (nodes.next(), nodes.next()) {
                (None, _) => return Ok(Root::EMPTY),
                (Some(only), None) => return lower(*only, level, &lasts, source).await,
                (Some(_), Some(_)) => {}
            }
        }
        steps = Steps::Nodes(outcome.changes.into_iter());
    }
    unreachable!("each level is at most half as long as the one below")
}

/// The root of a tree whose only node on `level` is this: the lowest node that is alone on its level.
async fn lower(
    mut only: Child,
    mut level: u8,
    lasts: &[Option<Last>],
    source: &dyn NodeSource,
) -> Result<Root, TreeError> {
    while level > 0 {
        let child = match &lasts[usize::from(level)] {
            Some(last) if last.id == only.node.id => last.only_child,
            _ => only_child(source.node(&only.node).await?.entries()),
        };
        let Some(child) = child else { break };
        only = child;
        level -= 1;
    }
    Ok(Root { id: only.node.id, at: only.node.at, height: level + 1, entries: only.entries })
}

fn only_child(entries: &[Entry]) -> Option<Child> {
    if let [only] = entries { only.item.child().copied() } else { None }
}

/// What became of the nodes of a level.
struct Outcome {
    /// By last key: the node that lies there from now on, or none. Only what differs from before.
    changes: BTreeMap<Bytes, Option<Child>>,
    /// Whether ranges deleted nodes that do not appear among the changes. The same ranges delete them
    /// from their parents: a node whose last key is deleted is deleted itself, or made anew.
    dropped: bool,
    /// The last node that was made.
    last: Option<Last>,
}

/// The last node that a pass made. If the level has one node only and it is new, it is this one.
struct Last {
    id: ChunkId,
    /// Its child, if it has no other.
    only_child: Option<Child>,
}

impl Outcome {
    fn hint(&mut self, locations: &HashMap<ChunkId, Location>) {
        for child in self.changes.values_mut().flatten() {
            if let Some(at) = locations.get(&child.node.id) {
                child.node.at = Some(*at);
            }
        }
    }
}

/// The work on one level.
struct Pass<'a, 'w, E> {
    level: u8,
    ranges: &'a Ranges,
    path: Path<'a>,
    steps: Steps<'a, E>,
    /// The step that comes next, once it has been taken.
    ahead: Option<Step>,
    splitter: Splitter<'a>,
    writer: &'w mut Writer<'a>,
    /// Old nodes that were cut anew and end at or after the node at work: last key and id.
    replaced: VecDeque<(Bytes, ChunkId)>,
    outcome: Outcome,
}

impl<'a, 'w, E: Stream<Item = Result<Edit, TreeError>> + Unpin> Pass<'a, 'w, E> {
    fn new(
        path: Path<'a>,
        ranges: &'a Ranges,
        level: u8,
        steps: Steps<'a, E>,
        writer: &'w mut Writer<'a>,
    ) -> Self {
        let splitter = Splitter::new(writer.keys(), level);
        let outcome = Outcome { changes: BTreeMap::new(), dropped: false, last: None };
        Self { level, ranges, path, steps, ahead: None, splitter, writer, replaced: VecDeque::new(), outcome }
    }

    async fn run(mut self) -> Result<Outcome, TreeError> {
        loop {
            self.look_ahead().await?;
            let old = if self.splitter.at_end() {
                // Old and new agree here: nothing changes before the next key that is touched.
                let Some(touched) = self.next_touched() else { break };
                self.path.seek(&touched).await?
            } else {
                self.path.next().await?
            };
            let Some(old) = old else {
                self.append_rest().await?;
                break;
            };
            self.merge(&old).await?;
        }
        if let Some(entries) = self.splitter.finish() {
            self.close(entries).await?;
        }
        self.outcome.dropped = self.path.dropped();
        Ok(self.outcome)
    }

    /// Merges an old node with the steps up to its last key.
    async fn merge(&mut self, old: &Node) -> Result<(), TreeError> {
        self.replaced.push_back((old.last_key().clone(), old.id()));
        self.outcome.changes.insert(old.last_key().clone(), None);
        for entry in old.entries() {
            while let Some(step) = self.take_step(|key| *key < entry.key).await? {
                self.carry_out(step).await?;
            }
            if let Some(step) = self.take_step(|key| *key == entry.key).await? {
                self.carry_out(step).await?;
            } else if !self.ranges.contain(&entry.key) {
                self.push(entry.clone()).await?;
            }
        }
        Ok(())
    }

    /// Carries out the steps that lie behind all old nodes.
    async fn append_rest(&mut self) -> Result<(), TreeError> {
        while let Some(step) = self.take_step(|_| true).await? {
            self.carry_out(step).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, step: Step) -> Result<(), TreeError> {
        match step.item {
            Some(item) => self.push(Entry { key: step.key, item }).await,
            None => Ok(()),
        }
    }

    async fn push(&mut self, entry: Entry) -> Result<(), TreeError> {
        match self.splitter.push(entry) {
            Some(entries) => self.close(entries).await,
            None => Ok(()),
        }
    }

    /// Finishes a node; one that was there before is no change, unless its parent's ranges delete it.
    async fn close(&mut self, entries: Vec<Entry>) -> Result<(), TreeError> {
        let key = entries[entries.len() - 1].key.clone();
        let (id, canonical) = identify(self.writer.keys(), self.level, &entries);
        self.outcome.last = Some(Last { id, only_child: only_child(&entries) });
        while self.replaced.front().is_some_and(|(old, _)| *old < key) {
            self.replaced.pop_front();
        }
        if self.replaced.front() == Some(&(key.clone(), id)) && !self.ranges.contain(&key) {
            self.outcome.changes.remove(&key);
            return Ok(());
        }
        let below = entries.iter().map(|entry| entry.item.entries()).sum();
        self.outcome.changes.insert(key, Some(Child { node: ChunkRef::new(id), entries: below }));
        self.writer.node(id, canonical, entries).await
    }

    /// The first key at or after the nodes passed that a step or a range touches.
    fn next_touched(&self) -> Option<Bytes> {
        let step = self.ahead.as_ref().map(|step| &step.key);
        let range = match self.path.passed() {
            Some(passed) => self.ranges.ending_after(passed),
            None => self.ranges.first(),
        };
        let range = range.map(|range| &range.start);
        step.into_iter().chain(range).min().cloned()
    }

    async fn look_ahead(&mut self) -> Result<(), TreeError> {
        if self.ahead.is_none() {
            self.ahead = self.steps.next(self.writer).await?;
        }
        Ok(())
    }

    /// Takes the next step if its key is as wanted.
    async fn take_step(&mut self, wanted: impl Fn(&Bytes) -> bool) -> Result<Option<Step>, TreeError> {
        self.look_ahead().await?;
        Ok(self.ahead.take_if(|step| wanted(&step.key)))
    }
}
