//! The index: which chunks there are, and in which packs they lie.
//!
//! ```text
//! index/<level>-<id>
//! level 0       what one commit wrote
//! level 1, 2    what merges left over that did not fill an object
//! level 3       full objects, and what is left of the last merges: never merged again
//! ```
//!
//! The index is a set of facts, spread over objects in any way: a fact may be in two of them, and the order
//! of objects means nothing. It holds nothing that the packs do not say themselves: [`rebuild`] makes it
//! from their ends alone. Nobody looks chunks up in the store one by one; a gateway reads the whole index
//! once, object by object, into its own local index, and then only what is new.
//!
//! **Merging** keeps the number of objects small. When a level has more than [`INDEX_LEVEL_OBJECTS_MAX`]
//! objects, they are read, merged and written again, full ones first; the last object of a merge names
//! the objects that the merge replaces, and only when it is durable are those deleted.
//!
//! | crash after | leaves | a reader sees | afterwards |
//! |---|---|---|---|
//! | some of the merged objects | facts twice | every fact | merged again |
//! | the last of them | facts twice | every fact | merged again |
//! | some deletions | facts twice | every fact | the next merge of the level above deletes the rest |
//!
//! Two merges at once do the same work twice and lose nothing. A reader whose object is deleted under it
//! lists again and finds the merged one, which was there before the deletion.
//!
//! Bounds: [`INDEX_ENTRIES_MAX`] entries and [`OBJECT_BYTES_MAX`] bytes per object; a merge holds its input,
//! at most [`MERGE_INPUTS_MAX`] objects, in memory.

mod codec;
mod merge;
mod read;
mod rebuild;
mod write;

use tidegate_chunker::{ChunkId, ChunkKind, DomainId, Location, ObjectKind, PackId, PlacedChunk};

pub use self::codec::IndexObject;
pub use self::merge::MergeReport;
pub use self::read::IndexReader;
pub use self::rebuild::RebuildReport;

/// Most entries of an index object: about 1.7 MiB.
pub const INDEX_ENTRIES_MAX: usize = 32_768;
/// Most objects of a level, other than the last, before it is merged.
pub const INDEX_LEVEL_OBJECTS_MAX: usize = 16;
/// Most objects that are merged at once.
const MERGE_INPUTS_MAX: usize = 2 * INDEX_LEVEL_OBJECTS_MAX;
/// The level that is never merged.
const LEVEL_LAST: u8 = 3;
/// Greatest length of an index object's payload, in bytes.
const OBJECT_BYTES_MAX: u64 = 8 << 20;
/// What index objects are.
const KIND: ObjectKind = ObjectKind::Index;

/// A fact: this chunk lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// The domain whose keys name and seal the chunk.
    pub domain: DomainId,
    /// Which chunk.
    pub chunk: ChunkId,
    /// What it is.
    pub kind: ChunkKind,
    /// Where it lies.
    pub location: Location,
}

impl IndexEntry {
    /// What a pack says of one of its chunks.
    pub fn new(domain: DomainId, placed: PlacedChunk) -> Self {
        Self { domain, chunk: placed.id, kind: placed.kind, location: placed.location }
    }

    /// Entries are sorted by this: by chunk, and by location where a chunk lies in several places.
    fn sort_key(&self) -> (ChunkId, PackId, u32, u32, DomainId, ChunkKind, u32, u32) {
        let Location { pack, frame_offset, frame_bytes, chunk_offset, chunk_bytes } = self.location;
        (self.chunk, pack, frame_offset, chunk_offset, self.domain, self.kind, frame_bytes, chunk_bytes)
    }
}

impl Ord for IndexEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl PartialOrd for IndexEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
