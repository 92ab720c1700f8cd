//! Extents: where the data of a file lies.
//!
//! An extent covers `[start, end)` of a file and stands under its end. Extents of a file do not
//! overlap; what no extent covers is a hole and reads as zeros. Its data is a piece of a chunk, or
//! (in a live map only) a piece of the journal.
//!
//! ```text
//! payload   version u8 = 1 | source u8 | length u64 | then
//!   source 1, chunk:    offset in the chunk u32 | length of the chunk u32; the chunk is the value's
//!                       only reference
//!   source 2, journal:  segment u64 | offset in the segment u64
//! ```
//!
//! Relation: `length >= 1`, and for a chunk `offset + length <= length of the chunk`.

use std::ops::Range;

use bytes::Bytes;

use super::{Fields, MapError};
use crate::tree::{ChunkRef, Value};

const VERSION: u8 = 1;
const SOURCE_CHUNK: u8 = 1;
const SOURCE_JOURNAL: u8 = 2;

/// A place in the journal: a segment and the offset of a byte of payload in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalPiece {
    /// The segment's id.
    pub segment: u64,
    /// Offset in the segment file, in bytes.
    pub offset: u64,
}

/// Where the bytes of an extent are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a chunk of the repository.
    Chunk {
        /// Which chunk, and where it was last seen.
        chunk: ChunkRef,
        /// Length of the whole chunk in bytes.
        chunk_bytes: u32,
        /// Where in the chunk the extent starts.
        offset: u32,
    },
    /// In the local journal.
    Journal(JournalPiece),
}

/// A covered range of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Past the last byte.
    pub end: u64,
    /// Where the bytes are.
    pub source: Source,
}

impl Extent {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// The piece of the extent within `range`; `None` when they do not meet.
    pub fn slice(&self, range: &Range<u64>) -> Option<Self> {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        if start >= end {
            return None;
        }
        let skipped = start - self.start;
        let source = match &self.source {
            Source::Chunk { chunk, chunk_bytes, offset } => {
                Source::Chunk { chunk: *chunk, chunk_bytes: *chunk_bytes, offset: offset + skipped as u32 }
            }
            Source::Journal(piece) => {
                Source::Journal(JournalPiece { segment: piece.segment, offset: piece.offset + skipped })
            }
        };
        Some(Self { start, end, source })
    }

    /// The value that stands under [`Extent::end`].
    pub fn to_value(&self) -> Value {
        let mut payload = Vec::with_capacity(26);
        let (tag, refs) = match &self.source {
            Source::Chunk { chunk, .. } => (SOURCE_CHUNK, vec![*chunk]),
            Source::Journal(_) => (SOURCE_JOURNAL, Vec::new()),
        };
        payload.extend_from_slice(&[VERSION, tag]);
        payload.extend_from_slice(&self.length().to_le_bytes());
        match &self.source {
            Source::Chunk { chunk_bytes, offset, .. } => {
                payload.extend_from_slice(&offset.to_le_bytes());
                payload.extend_from_slice(&chunk_bytes.to_le_bytes());
            }
            Source::Journal(piece) => {
                payload.extend_from_slice(&piece.segment.to_le_bytes());
                payload.extend_from_slice(&piece.offset.to_le_bytes());
            }
        }
        Value { payload: Bytes::from(payload), refs }
    }

    /// The extent whose value stands under `end`.
    pub fn from_value(end: u64, value: &Value) -> Result<Self, MapError> {
        let mut fields = Fields::new("an extent", &value.payload);
        fields.version(VERSION)?;
        let tag = fields.u8()?;
        let length = fields.u64()?;
        if length == 0 || length > end {
            return Err(fields.error("its length does not fit its end"));
        }
        let source = match (tag, value.refs.as_slice()) {
            (SOURCE_CHUNK, [chunk]) => {
                let (offset, chunk_bytes) = (fields.u32()?, fields.u32()?);
                if u64::from(offset).saturating_add(length) > u64::from(chunk_bytes) {
                    return Err(fields.error("it reaches past its chunk"));
                }
                Source::Chunk { chunk: *chunk, chunk_bytes, offset }
            }
            (SOURCE_JOURNAL, []) => {
                Source::Journal(JournalPiece { segment: fields.u64()?, offset: fields.u64()? })
            }
            _ => return Err(fields.error("its source is unknown or has the wrong number of chunks")),
        };
        fields.end()?;
        Ok(Self { start: end - length, end, source })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_chunker::ChunkId;

    use super::*;

    fn chunk_extent() -> Extent {
        let chunk = ChunkRef { id: ChunkId::new([3; 32]), at: None };
        Extent { start: 100, end: 200, source: Source::Chunk { chunk, chunk_bytes: 150, offset: 50 } }
    }

    #[test]
    fn extents_round_trip() {
        let journal = Source::Journal(JournalPiece { segment: 4, offset: 4096 });
        for extent in [chunk_extent(), Extent { start: 0, end: 1, source: journal }] {
            assert_eq!(Extent::from_value(extent.end, &extent.to_value()), Ok(extent));
        }
    }

    #[test]
    fn a_slice_names_the_same_bytes() {
        let slice = chunk_extent().slice(&(150..400)).expect("they meet");
        assert_eq!((slice.start, slice.end), (150, 200));
        assert!(matches!(slice.source, Source::Chunk { offset: 100, .. }));
        assert_eq!(chunk_extent().slice(&(200..400)), None);
    }

    #[test]
    fn an_extent_past_its_chunk_or_before_its_file_is_refused() {
        let mut extent = chunk_extent();
        extent.source = Source::Chunk {
            chunk: ChunkRef { id: ChunkId::new([3; 32]), at: None },
            chunk_bytes: 100,
            offset: 50,
        };
        assert!(Extent::from_value(200, &extent.to_value()).is_err());
        assert!(Extent::from_value(50, &chunk_extent().to_value()).is_err());
    }
}
