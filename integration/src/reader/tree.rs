//! Trees: maps, frozen.

use super::bytes::{Bytes, hex};
use super::chunks::{Chunks, NODE, Reference, VALUE};
use super::index::{Id, Location};
use super::{In, Read, Refused, expect};

const LEVEL_MAX: u8 = 64;
const ENTRIES_MAX: u64 = 1024;
const KEY_BYTES_MAX: usize = 4096;
const PAYLOAD_BYTES_MAX: u64 = 262_144;
const INLINE_BYTES_MAX: u64 = 1024;
const NODE_BYTES_MAX: usize = 196_608;
const CANONICAL_BYTES_MAX: usize = 65_536;
/// A node that weighs so much ends.
const WEIGHT_END: usize = 49_152;
/// A key with a boundary hash below this ends a node.
const BOUNDARY_BELOW: u64 = 1 << 57;

/// The name of a tree.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) top: Reference,
    pub(super) height: u8,
    pub(super) entries: u64,
}

/// An entry of the map.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) references: Vec<Reference>,
}

/// A payload as it stands in a leaf.
#[derive(Debug)]
enum Payload {
    Here(Vec<u8>),
    Apart { length: usize, chunk: Reference },
}

/// What an entry of a node leads to.
#[derive(Debug)]
enum Below {
    Value { payload: Payload, references: Vec<Reference> },
    Child { entries: u64, child: Reference },
}

#[derive(Debug)]
struct Node {
    level: u8,
    entries: Vec<(Vec<u8>, Below)>,
}

/// What a parent says about a child.
#[derive(Clone, Debug)]
struct Expected {
    level: u8,
    /// All keys lie above this.
    above: Option<Vec<u8>>,
    /// The last key; not known of the root.
    last_key: Option<Vec<u8>>,
    entries: u64,
    /// Whether it is the last node of its level.
    ends_level: bool,
}

/// All entries of a map, in order of keys.
pub(super) fn read(chunks: &mut Chunks<'_>, root: &Root) -> Read<Vec<Entry>> {
    let mut found = Vec::new();
    let Some(level) = root.height.checked_sub(1) else { return Ok(found) };
    let (above, last_key) = (None, None);
    let expected = Expected { level, above, last_key, entries: root.entries, ends_level: true };
    read_below(chunks, &root.top, &expected, &mut found)?;
    Ok(found)
}

fn read_below(
    chunks: &mut Chunks<'_>,
    reference: &Reference,
    expected: &Expected,
    found: &mut Vec<Entry>,
) -> Read<()> {
    let place = format!("node {}", hex(&reference.id));
    let node = parse(&chunks.get(NODE, reference)?).within(&place)?;
    check(chunks, &node, expected).within(&place)?;
    let before = found.len();
    let mut above = expected.above.clone();
    let last = node.entries.len() - 1;
    for (at, (key, below)) in node.entries.into_iter().enumerate() {
        match below {
            Below::Value { payload, references } => {
                let payload = whole(chunks, payload)?;
                found.push(Entry { key, payload, references });
            }
            Below::Child { entries, child } => {
                let ends_level = expected.ends_level && at == last;
                let last_key = Some(key.clone());
                let level = node.level - 1;
                let expected = Expected { level, above, last_key, entries, ends_level };
                read_below(chunks, &child, &expected, found)?;
                above = Some(key);
            }
        }
    }
    expect((found.len() - before) as u64 == expected.entries, "the parent says another number of entries")
        .within(&place)
}

fn whole(chunks: &mut Chunks<'_>, payload: Payload) -> Read<Vec<u8>> {
    match payload {
        Payload::Here(bytes) => Ok(bytes),
        Payload::Apart { length, chunk } => {
            let bytes = chunks.get(VALUE, &chunk)?;
            expect(bytes.len() == length, "a value of another length")?;
            Ok(bytes)
        }
    }
}

/// Checks a node against its parent, and that it ends where it must.
fn check(chunks: &Chunks<'_>, node: &Node, expected: &Expected) -> Read<()> {
    expect(node.level == expected.level, "a node of another level")?;
    let (first, last) = (&node.entries[0].0, &node.entries[node.entries.len() - 1].0);
    expect(expected.above.as_ref().is_none_or(|above| above < first), "a key is too low")?;
    expect(expected.last_key.as_ref().is_none_or(|key| key == last), "another last key")?;
    expect(expected.last_key.is_some() || node.level == 0 || first != last, "a root with one child")?;
    let mut weight = 0;
    for (at, (key, below)) in node.entries.iter().enumerate() {
        weight += weight_of(key, below);
        let by_key =
            (node.level == 0 || at >= 1) && chunks.domain.boundary_hash(node.level, key) < BOUNDARY_BELOW;
        let ends = by_key || at + 1 == ENTRIES_MAX as usize || weight >= WEIGHT_END;
        let is_last = at + 1 == node.entries.len();
        expect(ends == is_last || is_last && expected.ends_level, "a node does not end where it must")?;
    }
    Ok(())
}

fn weight_of(key: &[u8], below: &Below) -> usize {
    12 + key.len()
        + match below {
            Below::Child { .. } => 32,
            Below::Value { payload: Payload::Here(bytes), references } => bytes.len() + 32 * references.len(),
            Below::Value { payload: Payload::Apart { .. }, references } => 32 + 32 * references.len(),
        }
}

fn parse(node: &[u8]) -> Read<Node> {
    expect(node.len() <= NODE_BYTES_MAX, "a node is too long")?;
    let mut bytes = Bytes(node);
    let canonical_bytes = bytes.u32()? as usize;
    expect(canonical_bytes <= CANONICAL_BYTES_MAX, "a canonical part is too long")?;
    let mut node = parse_canonical(Bytes(bytes.take(canonical_bytes)?))?;
    let mut packs: Vec<Id> = Vec::new();
    for _ in 0..bytes.number()? {
        packs.push(bytes.array()?);
    }
    for (_, below) in &mut node.entries {
        for reference in below.references() {
            reference.hint = hint(&mut bytes, &packs)?;
        }
    }
    bytes.end()?;
    Ok(node)
}

impl Below {
    /// The chunks that it names, in the order of the canonical part.
    fn references(&mut self) -> Vec<&mut Reference> {
        match self {
            Self::Child { child, .. } => vec![child],
            Self::Value { payload: Payload::Here(_), references } => references.iter_mut().collect(),
            Self::Value { payload: Payload::Apart { chunk, .. }, references } => {
                std::iter::once(chunk).chain(references).collect()
            }
        }
    }
}

fn hint(bytes: &mut Bytes<'_>, packs: &[Id]) -> Read<Option<Location>> {
    let Some(place) = bytes.number()?.checked_sub(1) else { return Ok(None) };
    let pack = packs.get(place as usize).ok_or_else(|| Refused("a pack that is not listed".into()))?;
    let mut number = || {
        let number = bytes.number()?;
        u32::try_from(number).map_err(|_| Refused("a number of a location is too large".into()))
    };
    Ok(Some(Location {
        pack: *pack,
        frame_offset: number()?,
        frame_bytes: number()?,
        chunk_offset: number()?,
        chunk_bytes: number()?,
    }))
}

/// Parses a canonical part, whose references have no hints.
fn parse_canonical(mut bytes: Bytes<'_>) -> Read<Node> {
    expect(bytes.u8()? == 1, "a node of another version")?;
    let level = bytes.u8()?;
    expect(level <= LEVEL_MAX, "a level is too high")?;
    let count = bytes.number()?;
    expect((1..=ENTRIES_MAX).contains(&count), "no allowed number of entries")?;
    let mut entries: Vec<(Vec<u8>, Below)> = Vec::new();
    for _ in 0..count {
        let before = entries.last().map(|(key, _)| key.as_slice());
        let key = key(&mut bytes, before)?;
        let below = if level == 0 { value(&mut bytes)? } else { child(&mut bytes)? };
        entries.push((key, below));
    }
    bytes.end()?;
    Ok(Node { level, entries })
}

fn key(bytes: &mut Bytes<'_>, before: Option<&[u8]>) -> Read<Vec<u8>> {
    let (shared, rest) = (bytes.number()? as usize, bytes.number()? as usize);
    let rest = bytes.take(rest)?;
    let before_key = before.unwrap_or_default();
    let same = before_key.get(..shared).ok_or_else(|| Refused("shares more than there is".into()))?;
    let longest = before_key.get(shared).is_none_or(|next| rest.first() != Some(next));
    expect(longest, "a key shares less than it could")?;
    let key = [same, rest].concat();
    expect(before.is_none_or(|before| before < key.as_slice()), "keys do not ascend")?;
    expect(key.len() <= KEY_BYTES_MAX, "a key is too long")?;
    Ok(key)
}

fn reference(bytes: &mut Bytes<'_>) -> Read<Reference> {
    Ok(Reference { id: bytes.array()?, hint: None })
}

fn value(bytes: &mut Bytes<'_>) -> Read<Below> {
    let length = bytes.number()?;
    expect(length <= PAYLOAD_BYTES_MAX, "a payload is too long")?;
    let payload = if length <= INLINE_BYTES_MAX {
        Payload::Here(bytes.take(length as usize)?.to_vec())
    } else {
        Payload::Apart { length: length as usize, chunk: reference(bytes)? }
    };
    let count = bytes.u8()?;
    let references = (0..count).map(|_| reference(bytes)).collect::<Read<_>>()?;
    Ok(Below::Value { payload, references })
}

fn child(bytes: &mut Bytes<'_>) -> Read<Below> {
    let entries = bytes.number()?;
    expect(entries > 0, "a child without entries")?;
    Ok(Below::Child { entries, child: reference(bytes)? })
}
