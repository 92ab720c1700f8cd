//! Edits, and the steps that they become on each level.

use std::collections::btree_map;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::node::{Child, Item};
use super::writer::Writer;
use super::{KEY_BYTES_MAX, TreeError, Value};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The key holds this value from now on.
    Put(Bytes, Value),
    /// The key is gone, if it was there.
    Delete(Bytes),
}

impl Edit {
    /// The key that changes.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// A change of one entry of a level.
pub(super) struct Step {
    pub(super) key: Bytes,
    /// What the key holds from now on, if anything.
    pub(super) item: Option<Item>,
}

/// The steps of one level, in order of keys.
pub(super) enum Steps<'a, E> {
    /// Of the leaves: what the caller wants.
    Edits { edits: &'a mut E, taken: u64, before: Option<Bytes> },
    /// Of inner nodes: what became of the nodes below.
    Nodes(btree_map::IntoIter<Bytes, Option<Child>>),
}

impl<E: Stream<Item = Result<Edit, TreeError>> + Unpin> Steps<'_, E> {
    /// Takes the next step. Long payloads are written on the way.
    pub(super) async fn next(&mut self, writer: &mut Writer<'_>) -> Result<Option<Step>, TreeError> {
        match self {
            Self::Nodes(nodes) => {
                Ok(nodes.next().map(|(key, child)| Step { key, item: child.map(Item::Child) }))
            }
            Self::Edits { edits, taken, before } => {
                let Some(edit) = edits.next().await.transpose()? else { return Ok(None) };
                if let Some(what) = broken_rule(&edit, before.as_ref()) {
                    return Err(TreeError::BadEdit { position: *taken, what });
                }
                *taken += 1;
                *before = Some(edit.key().clone());
                let (key, item) = match edit {
                    Edit::Delete(key) => (key, None),
                    Edit::Put(key, value) => (key, Some(Item::Value(writer.store(value).await?))),
                };
                Ok(Some(Step { key, item }))
            }
        }
    }
}

fn broken_rule(edit: &Edit, before: Option<&Bytes>) -> Option<&'static str> {
    if edit.key().len() > KEY_BYTES_MAX {
        return Some("the key is longer than 4 KiB");
    }
    if before.is_some_and(|before| before >= edit.key()) {
        return Some("keys must ascend strictly");
    }
    match edit {
        Edit::Put(_, value) => value.broken_rule(),
        Edit::Delete(_) => None,
    }
}
