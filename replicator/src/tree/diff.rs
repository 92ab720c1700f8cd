//! What differs between two maps.
//!
//! Two fronts go through the trees in order of keys. Where both stand before the same node, both pass
//! it unread: equal ids are equal content. Else the front whose node cannot be passed opens it. The
//! cost follows the number of nodes that differ, not the size of the maps.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};

use super::node::{Child, Entry, Node, Stored};
use super::seams::{NodeSource, read_node, read_root, read_value};
use super::{Root, TreeError, Value};

/// A key that two maps do not agree on. At least one of the values is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key.
    pub key: Bytes,
    /// Its value in the first map.
    pub before: Option<Value>,
    /// Its value in the second map.
    pub after: Option<Value>,
}

/// Streams the changes from one map to another in order of keys. Values are compared by payload and
/// ids of references; hints do not count. Both trees must be of one domain. Ends after an error.
pub fn diff(
    before: &Root,
    after: &Root,
    source: Arc<dyn NodeSource>,
) -> impl Stream<Item = Result<Change, TreeError>> + Send + use<> {
    let difference = Difference {
        source,
        roots: (before.id != after.id).then_some((*before, *after)),
        before: Front::default(),
        after: Front::default(),
    };
    stream::try_unfold(difference, |mut difference| async move {
        Ok(difference.next().await?.map(|change| (change, difference)))
    })
}

struct Difference {
    source: Arc<dyn NodeSource>,
    /// Until they have been read, and if they differ.
    roots: Option<(Root, Root)>,
    before: Front,
    after: Front,
}

/// A place in a tree: the nodes from the root down whose next entry has not been passed.
#[derive(Default)]
struct Front(Vec<Frame>);

struct Frame {
    node: Arc<Node>,
    above: Option<Bytes>,
    next: usize,
}

/// What to do next.
enum Move {
    Pass,
    OpenBefore,
    OpenAfter,
    OpenBoth,
    Gone(Entry),
    New(Entry),
    Changed(Entry, Entry),
}

impl Difference {
    async fn next(&mut self) -> Result<Option<Change>, TreeError> {
        if let Some((before, after)) = self.roots {
            let source = &*self.source;
            let (before, after) = futures::try_join!(read_root(source, &before), read_root(source, &after))?;
            self.before.enter(before, None);
            self.after.enter(after, None);
            self.roots = None;
        }
        while let Some(step) = self.decide() {
            let source = &*self.source;
            match step {
                Move::OpenBefore => self.before.open(source).await?,
                Move::OpenAfter => self.after.open(source).await?,
                Move::OpenBoth => {
                    futures::try_join!(self.before.open(source), self.after.open(source))?;
                }
                Move::Pass => {
                    self.before.pass();
                    self.after.pass();
                }
                Move::Gone(entry) => {
                    let value = value_of(source, &entry).await?;
                    self.before.pass();
                    return Ok(Some(Change { key: entry.key, before: value, after: None }));
                }
                Move::New(entry) => {
                    let value = value_of(source, &entry).await?;
                    self.after.pass();
                    return Ok(Some(Change { key: entry.key, before: None, after: value }));
                }
                Move::Changed(old, new) => {
                    let (before, after) = futures::try_join!(value_of(source, &old), value_of(source, &new))?;
                    self.before.pass();
                    self.after.pass();
                    return Ok(Some(Change { key: old.key, before, after }));
                }
            }
        }
        Ok(None)
    }

    fn decide(&self) -> Option<Move> {
        let (old, new) = match (self.before.entry(), self.after.entry()) {
            (None, None) => return None,
            (Some((old, _)), None) => return Some(alone(old, Move::OpenBefore, Move::Gone)),
            (None, Some((new, _))) => return Some(alone(new, Move::OpenAfter, Move::New)),
            (Some(old), Some(new)) => (old, new),
        };
        let ((old, old_above), (new, new_above)) = (old, new);
        Some(match (old.item.child(), new.item.child()) {
            (None, None) => compare(old, new),
            (Some(one), Some(other)) if one.node.id == other.node.id => Move::Pass,
            // What lies wholly before the other front has no counterpart there.
            _ if lies_before(old, new_above) => alone(old, Move::OpenBefore, Move::Gone),
            _ if lies_before(new, old_above) => alone(new, Move::OpenAfter, Move::New),
            (Some(_), None) => Move::OpenBefore,
            (None, Some(_)) => Move::OpenAfter,
            (Some(_), Some(_)) => match self.before.level().cmp(&self.after.level()) {
                Ordering::Greater => Move::OpenBefore,
                Ordering::Less => Move::OpenAfter,
                Ordering::Equal => Move::OpenBoth,
            },
        })
    }
}

/// The move for an entry that has no counterpart: open it if it is a node, else report it.
fn alone(entry: &Entry, open: Move, report: fn(Entry) -> Move) -> Move {
    if entry.item.child().is_some() { open } else { report(entry.clone()) }
}

/// Whether all of the entry, and what is below it, lies before everything above `above`.
fn lies_before(entry: &Entry, above: Option<&Bytes>) -> bool {
    above.is_some_and(|above| entry.key <= above)
}

fn compare(old: &Entry, new: &Entry) -> Move {
    match old.key.cmp(&new.key) {
        Ordering::Less => Move::Gone(old.clone()),
        Ordering::Greater => Move::New(new.clone()),
        Ordering::Equal => {
            let same = |one: &Stored, other: &Stored| one.same_content(other);
            match (old.item.value(), new.item.value()) {
                (Some(one), Some(other)) if same(one, other) => Move::Pass,
                _ => Move::Changed(old.clone(), new.clone()),
            }
        }
    }
}

async fn value_of(source: &dyn NodeSource, entry: &Entry) -> Result<Option<Value>, TreeError> {
    match entry.item.value() {
        Some(stored) => read_value(source, stored).await.map(Some),
        None => Ok(None),
    }
}

impl Front {
    fn enter(&mut self, node: Option<Arc<Node>>, above: Option<Bytes>) {
        self.0.extend(node.map(|node| Frame { node, above, next: 0 }));
    }

    /// The entry that the front stands before, and the key that everything there is above.
    fn entry(&self) -> Option<(&Entry, Option<&Bytes>)> {
        let frame = self.0.last()?;
        Some((&frame.node.entries()[frame.next], frame.above_next()))
    }

    /// The level of the node that the front is in.
    fn level(&self) -> u8 {
        self.0.last().map_or(0, |frame| frame.node.level())
    }

    /// Reads the child that the front stands before and goes into it.
    async fn open(&mut self, source: &dyn NodeSource) -> Result<(), TreeError> {
        let Some(frame) = self.0.last() else { return Ok(()) };
        let (child, expected): (&Child, _) =
            frame.node.expected_child(frame.next, frame.above.as_ref().map(|above| &above[..]))?;
        let node = read_node(source, &child.node, expected).await?;
        let above = frame.above_next().cloned();
        self.pass();
        self.enter(Some(node), above);
        Ok(())
    }

    /// Goes past the entry that the front stands before, and leaves nodes that are used up.
    fn pass(&mut self) {
        if let Some(frame) = self.0.last_mut() {
            frame.next += 1;
        }
        while self.0.last().is_some_and(|frame| frame.next == frame.node.entries().len()) {
            self.0.pop();
        }
    }
}

impl Frame {
    fn above_next(&self) -> Option<&Bytes> {
        match self.next.checked_sub(1) {
            Some(before) => Some(&self.node.entries()[before].key),
            None => self.above.as_ref(),
        }
    }
}
