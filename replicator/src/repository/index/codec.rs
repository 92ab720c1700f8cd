//! The payload of an index object.
//!
//! ```text
//! payload  = version u32 (1) | replaced u32 | packs u32 | entries u32
//!          | replaced names | pack rows | entry rows                      (numbers little-endian)
//! name     = level u8 | id 16
//! pack row = pack id 32 | domain id 16
//! entry    = chunk id 32 | kind u8 | pack u32 | frame offset u32 | frame bytes u32
//!          | chunk offset u32 | chunk bytes u32
//! ```
//!
//! `pack` is the number of a pack row. Entries rise strictly by chunk id, pack id, frame offset, chunk
//! offset, so that a chunk is found by bisection. Counts come first, so that the length is checked before
//! anything is taken from the rest. Entries stay encoded in memory: 53 bytes each.

use std::collections::BTreeMap;

use tidegate_chunker::{ChunkId, ChunkKind, DomainId, Location, PackId};

use super::{INDEX_ENTRIES_MAX, IndexEntry, MERGE_INPUTS_MAX};
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{IndexId, IndexName};
use crate::store::ObjectName;

const VERSION: u32 = 1;
const HEADER_LEN: usize = 16;
const NAME_LEN: usize = 17;
const PACK_LEN: usize = PackId::LEN + DomainId::LEN;
const ROW_LEN: usize = ChunkId::LEN + 21;

/// A full object with as many packs as entries fits.
const _: () = assert!(
    HEADER_LEN + MERGE_INPUTS_MAX * NAME_LEN + INDEX_ENTRIES_MAX * (PACK_LEN + ROW_LEN)
        <= super::OBJECT_BYTES_MAX as usize
);

/// An index object, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexObject {
    replaces: Vec<IndexName>,
    packs: Vec<(PackId, DomainId)>,
    rows: Vec<u8>,
}

impl IndexObject {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.rows.len() / ROW_LEN
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The objects that the merge which ended with this one has made superfluous.
    pub fn replaces(&self) -> &[IndexName] {
        &self.replaces
    }

    /// The packs that it names.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.packs.iter().map(|(pack, _)| *pack)
    }

    /// Its entries, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = IndexEntry> + '_ {
        self.rows.chunks_exact(ROW_LEN).map(|row| self.entry(row))
    }

    /// All places where it says that a chunk lies.
    pub fn find(&self, chunk: ChunkId) -> impl Iterator<Item = IndexEntry> + '_ {
        let (rows, _) = self.rows.as_chunks::<ROW_LEN>();
        let start = rows.partition_point(|row| row[..ChunkId::LEN] < chunk.as_bytes()[..]);
        let found = rows[start..].iter().take_while(move |row| row[..ChunkId::LEN] == chunk.as_bytes()[..]);
        found.map(|row| self.entry(row))
    }

    pub(super) fn entry_at(&self, at: usize) -> Option<IndexEntry> {
        let row = self.rows.get(at * ROW_LEN..(at + 1) * ROW_LEN)?;
        Some(self.entry(row))
    }

    /// Encodes entries, which rise strictly and are at most [`INDEX_ENTRIES_MAX`].
    pub(super) fn encode(entries: &[IndexEntry], replaces: &[IndexName]) -> Vec<u8> {
        debug_assert!(entries.is_sorted_by(|one, next| one < next) && entries.len() <= INDEX_ENTRIES_MAX);
        let mut packs: BTreeMap<(PackId, DomainId), u32> = BTreeMap::new();
        for entry in entries {
            packs.insert((entry.location.pack, entry.domain), 0);
        }
        for (number, place) in packs.values_mut().enumerate() {
            *place = number as u32;
        }
        let length = replaces.len() * NAME_LEN + packs.len() * PACK_LEN + entries.len() * ROW_LEN;
        let mut out = Vec::with_capacity(HEADER_LEN + length);
        for number in [VERSION, replaces.len() as u32, packs.len() as u32, entries.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for name in replaces {
            out.push(name.level);
            out.extend_from_slice(name.id.as_bytes());
        }
        for (pack, domain) in packs.keys() {
            out.extend_from_slice(pack.as_bytes());
            out.extend_from_slice(domain.as_bytes());
        }
        for entry in entries {
            put_row(&mut out, entry, packs[&(entry.location.pack, entry.domain)]);
        }
        out
    }

    /// Decodes what [`IndexObject::encode`] made; `Damaged` under `name` for anything else.
    pub(super) fn decode(name: &ObjectName, payload: &[u8]) -> Result<Self> {
        let damaged = |why: &str| RepositoryError::damaged(name, why);
        let (header, rest) = payload
            .split_first_chunk::<HEADER_LEN>()
            .ok_or_else(|| damaged("it is shorter than its counts"))?;
        let version = number(header, 0);
        if version != VERSION {
            let why = format!("its version is {version}, known is {VERSION}");
            return Err(RepositoryError::NewerFormat { object: name.to_string(), why });
        }
        let [replaced, packs, entries] = [4, 8, 12].map(|at| number(header, at) as usize);
        if replaced > MERGE_INPUTS_MAX || entries > INDEX_ENTRIES_MAX || packs > entries {
            return Err(damaged("its counts are out of bounds"));
        }
        if rest.len() != replaced * NAME_LEN + packs * PACK_LEN + entries * ROW_LEN {
            return Err(damaged("its counts do not match its length"));
        }
        let (names, rest) = rest.split_at(replaced * NAME_LEN);
        let (packs, rows) = rest.split_at(packs * PACK_LEN);
        let object = Self {
            replaces: names.chunks_exact(NAME_LEN).map(index_name).collect(),
            packs: packs.chunks_exact(PACK_LEN).map(pack_row).collect(),
            rows: rows.to_vec(),
        };
        object.check_rows().map_err(damaged)?;
        Ok(object)
    }

    fn check_rows(&self) -> std::result::Result<(), &'static str> {
        for row in self.rows.chunks_exact(ROW_LEN) {
            if ChunkKind::from_number(row[ChunkId::LEN]).is_none() {
                return Err("an entry is of no known kind");
            }
            if number(row, ChunkId::LEN + 1) as usize >= self.packs.len() {
                return Err("an entry names a pack that it does not list");
            }
        }
        if !self.entries().is_sorted_by(|one, next| one < next) {
            return Err("its entries are out of order");
        }
        Ok(())
    }

    /// Reads a row that was checked.
    fn entry(&self, row: &[u8]) -> IndexEntry {
        let field = |at: usize| number(row, ChunkId::LEN + 1 + 4 * at);
        let (pack, domain) = self.packs[field(0) as usize];
        IndexEntry {
            domain,
            chunk: ChunkId::from_slice(&row[..ChunkId::LEN]).expect("the field is as long as an id"),
            kind: ChunkKind::from_number(row[ChunkId::LEN])
                .expect("kinds were checked when the object was read"),
            location: Location {
                pack,
                frame_offset: field(1),
                frame_bytes: field(2),
                chunk_offset: field(3),
                chunk_bytes: field(4),
            },
        }
    }
}

fn put_row(out: &mut Vec<u8>, entry: &IndexEntry, pack: u32) {
    let Location { frame_offset, frame_bytes, chunk_offset, chunk_bytes, .. } = entry.location;
    out.extend_from_slice(entry.chunk.as_bytes());
    out.push(entry.kind as u8);
    for number in [pack, frame_offset, frame_bytes, chunk_offset, chunk_bytes] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn index_name(bytes: &[u8]) -> IndexName {
    IndexName {
        level: bytes[0],
        id: IndexId::new(bytes[1..].try_into().expect("the field is as long as an id")),
    }
}

fn pack_row(bytes: &[u8]) -> (PackId, DomainId) {
    let (pack, domain) = bytes.split_at(PackId::LEN);
    let pack = PackId::from_slice(pack).expect("the field is as long as an id");
    (pack, DomainId::from_slice(domain).expect("the field is as long as an id"))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
