//! What a pack holds, and where.
//!
//! ```text
//! index     = frame count u32 | chunk count u32 | frame rows | chunk rows      (little-endian)
//! frame row = frame bytes u32 | chunk count u32 | kind u8
//! chunk row = chunk id 32 | chunk bytes u32
//! ```
//!
//! Frames lie one after the other from the end of the pack's header on, chunks one after the other in
//! their frame: offsets are sums and are not stored.

use super::layout::PackFooter;
use super::{PACK_BYTES_MAX, PACK_CHUNKS_MAX, PackHeader};
use crate::error::{Cause, Result, bounded, malformed};
use crate::frame::{FRAME_BYTES_MAX, FrameHeader, INDEX_SEQUENCE, PackSeal};
use crate::{ChunkId, ChunkKind, DomainKeys, Location, PackId};

/// Length of a frame row in bytes.
pub(super) const FRAME_ROW_LEN: usize = 9;
/// Length of a chunk row in bytes.
pub(super) const CHUNK_ROW_LEN: usize = ChunkId::LEN + 4;
const COUNTS_LEN: usize = 8;

/// A frame of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedFrame {
    /// Offset in the pack, in bytes.
    pub offset: u32,
    /// Length as stored, in bytes.
    pub bytes: u32,
    /// What all its chunks are.
    pub kind: ChunkKind,
    /// Number of its chunks.
    pub chunks: u32,
}

/// A chunk and the place that it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedChunk {
    /// What it is.
    pub kind: ChunkKind,
    /// Its id.
    pub id: ChunkId,
    /// Where it lies.
    pub location: Location,
}

/// All frames and chunks of one pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackIndex {
    pack: PackId,
    frames: Vec<IndexedFrame>,
    chunks: Vec<(ChunkId, u32)>,
    /// Where the next frame goes.
    end: u32,
}

/// What the tail of a pack gave.
#[derive(Debug)]
pub enum PackTail {
    /// The index was in it.
    Index(PackIndex),
    /// The index is longer: fetch this many bytes of the end of the pack, and try again.
    NeedsBytes(u64),
}

impl PackIndex {
    /// Opens the index of `pack` from the last bytes of its object, [`PACK_TAIL_BYTES`] at first.
    ///
    /// [`PACK_TAIL_BYTES`]: super::PACK_TAIL_BYTES
    pub fn from_tail(keys: &DomainKeys, pack: PackId, tail: &[u8]) -> Result<PackTail> {
        let footer = PackFooter::from_tail(pack, tail)?;
        let Some(start) = tail.len().checked_sub(footer.tail_bytes() as usize) else {
            return Ok(PackTail::NeedsBytes(footer.tail_bytes()));
        };
        let sealed = &tail[start..tail.len() - PackFooter::LEN];
        Self::open(keys, &footer, sealed).map(PackTail::Index)
    }

    /// Opens the sealed index that `footer` points at.
    pub fn open(keys: &DomainKeys, footer: &PackFooter, sealed: &[u8]) -> Result<Self> {
        let seal = PackSeal::new(keys, footer.epoch, footer.pack)?;
        let authenticated = footer.authenticated(seal.repository, seal.domain);
        let mut plaintext = Vec::new();
        seal.cipher
            .open(INDEX_SEQUENCE, &authenticated, sealed, &mut plaintext)
            .map_err(|_| Cause::Seal { what: format!("index of pack {}", footer.pack) })?;
        let index = Self::decode(footer.pack, &plaintext)?;
        if index.end != footer.index_offset {
            let why = format!("its frames end at {}, it lies at {}", index.end, footer.index_offset);
            return Err(malformed("pack index", why));
        }
        Ok(index)
    }

    /// The pack that it describes.
    pub fn pack(&self) -> PackId {
        self.pack
    }

    /// Its frames, in order of offset.
    pub fn frames(&self) -> &[IndexedFrame] {
        &self.frames
    }

    /// Number of its chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Length of all its chunks together, in bytes.
    pub fn plaintext_bytes(&self) -> u64 {
        self.chunks.iter().map(|&(_, bytes)| u64::from(bytes)).sum()
    }

    /// Its chunks, in order of location.
    pub fn chunks(&self) -> impl Iterator<Item = PlacedChunk> + '_ {
        self.chunks_from(0, 0)
    }

    pub(super) fn empty(pack: PackId) -> Self {
        Self { pack, frames: Vec::new(), chunks: Vec::new(), end: PackHeader::LEN as u32 }
    }

    /// Offset at which the next frame is written.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Whether a frame of this many bytes and chunks can be added.
    pub(super) fn check_room(&self, frame_bytes: u64, chunks: usize) -> Result<()> {
        bounded("length of a pack", u64::from(self.end) + frame_bytes, PACK_BYTES_MAX)?;
        bounded("chunks of a pack", (self.chunks.len() + chunks) as u64, PACK_CHUNKS_MAX)
    }

    /// Adds a frame at the end. The caller has checked that there is room.
    pub(super) fn push(&mut self, kind: ChunkKind, bytes: u32, chunks: &[(ChunkId, u32)]) {
        self.frames.push(IndexedFrame { offset: self.end, bytes, kind, chunks: chunks.len() as u32 });
        self.chunks.extend_from_slice(chunks);
        self.end += bytes;
    }

    /// The chunks from this frame on, whose first chunk is this one.
    pub(super) fn chunks_from(&self, frame: usize, chunk: usize) -> impl Iterator<Item = PlacedChunk> + '_ {
        let mut chunks = self.chunks[chunk..].iter();
        self.frames[frame..].iter().flat_map(move |frame| {
            let mut chunk_offset = 0;
            let placed: Vec<_> = chunks
                .by_ref()
                .take(frame.chunks as usize)
                .map(|&(id, chunk_bytes)| {
                    let location = Location {
                        pack: self.pack,
                        frame_offset: frame.offset,
                        frame_bytes: frame.bytes,
                        chunk_offset,
                        chunk_bytes,
                    };
                    chunk_offset += chunk_bytes;
                    PlacedChunk { kind: frame.kind, id, location }
                })
                .collect();
            placed
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let rows = self.frames.len() * FRAME_ROW_LEN + self.chunks.len() * CHUNK_ROW_LEN;
        let mut out = Vec::with_capacity(COUNTS_LEN + rows);
        out.extend_from_slice(&(self.frames.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for frame in &self.frames {
            out.extend_from_slice(&frame.bytes.to_le_bytes());
            out.extend_from_slice(&frame.chunks.to_le_bytes());
            out.push(frame.kind as u8);
        }
        for (id, bytes) in &self.chunks {
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }
        out
    }

    fn decode(pack: PackId, bytes: &[u8]) -> Result<Self> {
        let (counts, rows) = bytes.split_at_checked(COUNTS_LEN).ok_or_else(|| wrong("it is cut short"))?;
        let (frames, chunks) = (number(counts, 0) as usize, number(counts, 4) as usize);
        if frames * FRAME_ROW_LEN + chunks * CHUNK_ROW_LEN != rows.len() {
            return Err(wrong("its counts do not match its length"));
        }
        let (frame_rows, chunk_rows) = rows.split_at(frames * FRAME_ROW_LEN);
        let chunks: Vec<_> = chunk_rows.chunks_exact(CHUNK_ROW_LEN).map(chunk_row).collect();
        let mut index = Self::empty(pack);
        let mut rest = &chunks[..];
        for row in frame_rows.chunks_exact(FRAME_ROW_LEN) {
            let (of_frame, after) = rest
                .split_at_checked(number(row, 4) as usize)
                .ok_or_else(|| wrong("its frames have more chunks than it has"))?;
            index.push_decoded(row, of_frame)?;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(wrong("it has more chunks than its frames"));
        }
        Ok(index)
    }

    fn push_decoded(&mut self, row: &[u8], chunks: &[(ChunkId, u32)]) -> Result<()> {
        let frame_bytes = number(row, 0);
        let kind = ChunkKind::from_number(row[8]).ok_or_else(|| wrong("a frame is of no known kind"))?;
        let plaintext_bytes: u64 = chunks.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
        let empty = chunks.is_empty() || chunks.iter().any(|&(_, bytes)| bytes == 0);
        if empty || plaintext_bytes > FRAME_BYTES_MAX.into() || frame_bytes <= FrameHeader::LEN as u32 {
            return Err(wrong("lengths in it are out of bounds"));
        }
        self.check_room(frame_bytes.into(), chunks.len()).map_err(|error| wrong(&error.to_string()))?;
        self.push(kind, frame_bytes, chunks);
        Ok(())
    }
}

fn wrong(why: &str) -> crate::Error {
    malformed("pack index", why)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn chunk_row(row: &[u8]) -> (ChunkId, u32) {
    let id = ChunkId::from_slice(&row[..ChunkId::LEN]).expect("the field is as long as an id");
    (id, number(row, ChunkId::LEN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_index_round_trips(
            frames in prop::collection::vec((0..3usize, 53..5000u32, prop::collection::vec(1..5000u32, 1..5)), 0..20),
        ) {
            let mut index = PackIndex::empty(PackId::new([7; 32]));
            for (kind, bytes, chunks) in frames {
                let chunks: Vec<_> =
                    chunks.into_iter().map(|length| (ChunkId::new([length as u8; 32]), length)).collect();
                index.push(ChunkKind::ALL[kind], bytes, &chunks);
            }
            let encoded = index.encode();
            prop_assert_eq!(PackIndex::decode(index.pack, &encoded).expect("valid"), index.clone());
            prop_assert_eq!(index.chunks().count(), index.chunk_count());
            for cut in 0..encoded.len() {
                prop_assert!(PackIndex::decode(index.pack, &encoded[..cut]).is_err());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(frames in 0..3u32, chunks in 0..3u32, rest: Vec<u8>) {
            let mut bytes = [frames.to_le_bytes(), chunks.to_le_bytes()].concat();
            bytes.extend(rest);
            let _ = PackIndex::decode(PackId::new([7; 32]), &bytes);
        }
    }
}
