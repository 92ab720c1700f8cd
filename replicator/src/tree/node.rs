//! Nodes: the chunks that a tree is made of, and their bytes.
//!
//! ```text
//! u32 LE  length of the canonical part
//! ------- canonical part: what the node's id is made of -----------------------------------------
//! u8      1, the version
//! u8      level: 0 for a leaf, else one more than the children's
//! number  entries, 1 to 1,024
//! per entry, keys strictly ascending:
//!   number  how many bytes the key shares with the one before: as many as it can, 0 for the first
//!   number  how many bytes follow of the key
//!   ...     those bytes
//!   in a leaf:
//!     number  length of the payload
//!     ...     the payload, up to 1,024 bytes; of a longer one its 32-byte id
//!     u8      references
//!     n * 32  their ids
//!   in an inner node (its key is the last key below the child):
//!     number  entries of the map below the child, at least 1
//!     32      the child's id
//! ------- hints ---------------------------------------------------------------------------------
//!         for every id of the canonical part, in that order (see codec.rs)
//! ```
//!
//! Ids come before hints because only they are the content: two trees that differ only in where
//! their chunks lie are the same tree. `shared` is as long as possible, numbers have one form, so a
//! list of entries has exactly one canonical part.
//!
//! Bounds, enforced on reading: an entry may follow in a node only while the entries before it weigh
//! less than [`WEIGHT_MAX`], and no entry weighs more than [`ENTRY_WEIGHT_MAX`]; so a node has at
//! most [`CANONICAL_BYTES_MAX`] canonical bytes and its keys take no more in memory.

use bytes::{Bytes, BytesMut};
use tidegate_chunker::ChunkId;

use super::codec::{Malformed, Reader, put_hints, put_ids, put_number};
use super::split::{ENTRIES_MAX, WEIGHT_MAX};
use super::value::same_ids;
use super::{
    ChunkRef, INLINE_BYTES_MAX, KEY_BYTES_MAX, NODE_BYTES_MAX, PAYLOAD_BYTES_MAX, REFS_MAX, TreeError,
    TreeKeys,
};

const VERSION: u8 = 1;

/// The highest level. Inner nodes but the last of a level have two children or more, so the levels
/// above 2^64 leaves are 64.
pub(super) const LEVEL_MAX: u8 = 64;

/// More than the framing of an entry takes: three numbers of at most three bytes and a count.
const FRAMING_WEIGHT: usize = 12;

/// The heaviest entry: longest key, longest inline payload, most references.
pub(super) const ENTRY_WEIGHT_MAX: usize =
    FRAMING_WEIGHT + KEY_BYTES_MAX + INLINE_BYTES_MAX + REFS_MAX * ChunkId::LEN;

/// No canonical part is longer.
pub(super) const CANONICAL_BYTES_MAX: usize = 64 * 1024;

/// No hint takes more: a place in the list of packs, four numbers, a pack of its own.
const HINT_BYTES_MAX: usize = 2 + 4 * 5 + 32;

const _: () = assert!(WEIGHT_MAX + ENTRY_WEIGHT_MAX + 4 <= CANONICAL_BYTES_MAX);
const _: () =
    assert!(4 + CANONICAL_BYTES_MAX + 2 + CANONICAL_BYTES_MAX / 32 * HINT_BYTES_MAX <= NODE_BYTES_MAX);

/// A node that was read, and matched its id.
#[derive(Debug)]
pub struct Node {
    id: ChunkId,
    level: u8,
    entries: Vec<Entry>,
    below: u64,
}

/// An entry of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Bytes,
    pub(super) item: Item,
}

/// What an entry holds: a value in a leaf, a child in an inner node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Value(Stored),
    Child(Child),
}

/// A value as a leaf keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) payload: Payload,
    pub(super) refs: Vec<ChunkRef>,
}

/// Payloads over [`INLINE_BYTES_MAX`] are chunks of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Inline(Bytes),
    Outlined { value: ChunkRef, bytes: u32 },
}

/// A node one level below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) node: ChunkRef,
    /// Entries of the map below it.
    pub(super) entries: u64,
}

impl Node {
    /// Opens the bytes of node `id`: checks the id against the canonical part, and all lengths.
    pub fn open(keys: &dyn TreeKeys, id: ChunkId, bytes: Bytes) -> Result<Self, TreeError> {
        let damaged = |Malformed(what)| TreeError::Damaged { id, what };
        let (canonical, hints) = divide(bytes).map_err(damaged)?;
        if keys.node_id(&canonical) != id {
            return Err(damaged(Malformed("its content does not match its id")));
        }
        let mut node = decode(id, canonical).map_err(damaged)?;
        node.read_hints(hints).map_err(damaged)?;
        Ok(node)
    }

    /// The node's id.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// 0 for a leaf, else one more than its children's level.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many entries of the map are in or below the node.
    pub fn entries_below(&self) -> u64 {
        self.below
    }

    /// About how many bytes of memory the node takes, for caches.
    pub fn memory_bytes(&self) -> usize {
        let entry = |entry: &Entry| size_of::<Entry>() + entry.weight() * 3;
        size_of::<Self>() + self.entries.iter().map(entry).sum::<usize>()
    }

    /// The nodes below an inner node, in order; nothing for a leaf.
    pub fn children(&self) -> impl Iterator<Item = &ChunkRef> {
        self.entries.iter().filter_map(|entry| entry.item.child().map(|child| &child.node))
    }

    /// The chunks that the values of a leaf refer to, and values that are chunks themselves; nothing for an inner node.
    pub fn refs(&self) -> impl Iterator<Item = ChunkRef> {
        let stored = self.entries.iter().filter_map(|entry| match &entry.item {
            Item::Value(stored) => Some(stored),
            Item::Child(_) => None,
        });
        stored.flat_map(|stored| stored.refs.iter().chain(stored.payload.outlined()).copied())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place of the first entry that is not below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|entry| entry.key < key)
    }

    pub(super) fn first_key(&self) -> &Bytes {
        &self.entries[0].key
    }

    pub(super) fn last_key(&self) -> &Bytes {
        &self.entries[self.entries.len() - 1].key
    }

    fn read_hints(&mut self, hints: Bytes) -> Result<(), Malformed> {
        let mut reader = Reader(hints);
        let mut references: Vec<_> = self.entries.iter_mut().flat_map(Entry::references_mut).collect();
        reader.hints(&mut references)?;
        reader.finish()
    }
}

impl Entry {
    /// What the entry counts towards [`WEIGHT_MAX`]: at least its bytes in the canonical part.
    pub(super) fn weight(&self) -> usize {
        let item = match &self.item {
            Item::Value(stored) => stored.payload.weight() + stored.refs.len() * ChunkId::LEN,
            Item::Child(_) => ChunkId::LEN,
        };
        FRAMING_WEIGHT + self.key.len() + item
    }

    /// The references that have hints, in the order of the format.
    pub(super) fn references(&self) -> impl Iterator<Item = &ChunkRef> + Clone {
        let (first, rest) = match &self.item {
            Item::Child(child) => (Some(&child.node), &[][..]),
            Item::Value(stored) => (stored.payload.outlined(), &stored.refs[..]),
        };
        first.into_iter().chain(rest)
    }

    /// As [`Entry::references`].
    pub(super) fn references_mut(&mut self) -> impl Iterator<Item = &mut ChunkRef> {
        let (first, rest) = match &mut self.item {
            Item::Child(child) => (Some(&mut child.node), &mut [][..]),
            Item::Value(Stored { payload: Payload::Outlined { value, .. }, refs }) => {
                (Some(value), &mut refs[..])
            }
            Item::Value(stored) => (None, &mut stored.refs[..]),
        };
        first.into_iter().chain(rest)
    }
}

impl Item {
    pub(super) fn child(&self) -> Option<&Child> {
        match self {
            Self::Child(child) => Some(child),
            Self::Value(_) => None,
        }
    }

    pub(super) fn value(&self) -> Option<&Stored> {
        match self {
            Self::Value(stored) => Some(stored),
            Self::Child(_) => None,
        }
    }

    /// How many entries of the map the item stands for.
    pub(super) fn entries(&self) -> u64 {
        self.child().map_or(1, |child| child.entries)
    }
}

impl Stored {
    /// Whether both are the same value, whatever the hints say.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        let payloads = match (&self.payload, &other.payload) {
            (Payload::Inline(one), Payload::Inline(other)) => one == other,
            (Payload::Outlined { value: one, .. }, Payload::Outlined { value: other, .. }) => {
                one.id == other.id
            }
            _ => false,
        };
        payloads && same_ids(&self.refs, &other.refs)
    }
}

impl Payload {
    fn weight(&self) -> usize {
        match self {
            Self::Inline(payload) => payload.len(),
            Self::Outlined { .. } => ChunkId::LEN,
        }
    }

    pub(super) fn outlined(&self) -> Option<&ChunkRef> {
        match self {
            Self::Inline(_) => None,
            Self::Outlined { value, .. } => Some(value),
        }
    }
}

/// The canonical part of a node with these entries.
pub(super) fn canonical(level: u8, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + entries.iter().map(Entry::weight).sum::<usize>());
    out.extend_from_slice(&[VERSION, level]);
    put_number(&mut out, entries.len() as u64);
    let mut before: &[u8] = &[];
    for entry in entries {
        let shared = before.iter().zip(&entry.key).take_while(|(one, other)| one == other).count();
        put_number(&mut out, shared as u64);
        put_number(&mut out, (entry.key.len() - shared) as u64);
        out.extend_from_slice(&entry.key[shared..]);
        put_item(&mut out, &entry.item);
        before = &entry.key;
    }
    out
}

fn put_item(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Child(child) => {
            put_number(out, child.entries);
            out.extend_from_slice(child.node.id.as_bytes());
        }
        Item::Value(Stored { payload, refs }) => {
            match payload {
                Payload::Inline(payload) => {
                    put_number(out, payload.len() as u64);
                    out.extend_from_slice(payload);
                }
                Payload::Outlined { value, bytes } => {
                    put_number(out, u64::from(*bytes));
                    out.extend_from_slice(value.id.as_bytes());
                }
            }
            out.push(refs.len() as u8);
            put_ids(out, refs);
        }
    }
}

/// The bytes of the node with this canonical part, which was made of these entries.
pub(super) fn encode(canonical: &[u8], entries: &[Entry]) -> Bytes {
    let mut out = Vec::with_capacity(canonical.len() + canonical.len() / 2);
    out.extend_from_slice(&(canonical.len() as u32).to_le_bytes());
    out.extend_from_slice(canonical);
    put_hints(&mut out, entries.iter().flat_map(Entry::references));
    out.into()
}

/// Divides a node's bytes into canonical part and hints.
fn divide(bytes: Bytes) -> Result<(Bytes, Bytes), Malformed> {
    if bytes.len() > NODE_BYTES_MAX {
        return Err(Malformed("it is longer than any node"));
    }
    let mut reader = Reader(bytes);
    let length = reader.take(4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > CANONICAL_BYTES_MAX {
        return Err(Malformed("its canonical part is longer than any"));
    }
    Ok((reader.take(length)?, reader.0))
}

fn decode(id: ChunkId, canonical: Bytes) -> Result<Node, Malformed> {
    let mut reader = Reader(canonical);
    if reader.byte()? != VERSION {
        return Err(Malformed("its version is unknown"));
    }
    let level = reader.byte()?;
    if level > LEVEL_MAX {
        return Err(Malformed("its level is out of range"));
    }
    let count = reader.number(ENTRIES_MAX as u64)? as usize;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let (mut weight, mut below) = (0, 0_u64);
    for _ in 0..count {
        if weight >= WEIGHT_MAX {
            return Err(Malformed("it has more bytes than a node may"));
        }
        let key = read_key(&mut reader, entries.last().map(|entry| &entry.key))?;
        let item = if level == 0 { read_value(&mut reader)? } else { read_child(&mut reader)? };
        let entry = Entry { key, item };
        weight += entry.weight();
        below = below.checked_add(entry.item.entries()).ok_or(Malformed("its counts overflow"))?;
        entries.push(entry);
    }
    reader.finish()?;
    if entries.is_empty() { Err(Malformed("it is empty")) } else { Ok(Node { id, level, entries, below }) }
}

/// Reads a key, which must lie above the one before.
fn read_key(reader: &mut Reader, before: Option<&Bytes>) -> Result<Bytes, Malformed> {
    let shared = reader.number(before.map_or(0, Bytes::len) as u64)? as usize;
    let rest = reader.number((KEY_BYTES_MAX - shared) as u64)? as usize;
    let rest = reader.take(rest)?;
    let Some(before) = before else { return Ok(rest) };
    let ascends = match (before.get(shared), rest.first()) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(next)) => next > before,
    };
    if !ascends {
        return Err(Malformed("its keys are out of order or not in their shortest form"));
    }
    if shared == 0 {
        return Ok(rest);
    }
    let mut key = BytesMut::with_capacity(shared + rest.len());
    key.extend_from_slice(&before[..shared]);
    key.extend_from_slice(&rest);
    Ok(key.freeze())
}

fn read_value(reader: &mut Reader) -> Result<Item, Malformed> {
    let bytes = reader.number(PAYLOAD_BYTES_MAX as u64)?;
    let payload = if bytes <= INLINE_BYTES_MAX as u64 {
        Payload::Inline(reader.take(bytes as usize)?)
    } else {
        Payload::Outlined { value: ChunkRef::new(reader.id()?), bytes: bytes as u32 }
    };
    let count = reader.byte()?;
    let refs = (0..count).map(|_| reader.id().map(ChunkRef::new)).collect::<Result<_, _>>()?;
    Ok(Item::Value(Stored { payload, refs }))
}

fn read_child(reader: &mut Reader) -> Result<Item, Malformed> {
    let entries = reader.number(u64::MAX)?;
    if entries == 0 {
        return Err(Malformed("a child has no entries"));
    }
    Ok(Item::Child(Child { node: ChunkRef::new(reader.id()?), entries }))
}
