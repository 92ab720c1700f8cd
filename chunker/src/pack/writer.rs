//! Writing a pack.
//!
//! Two ways, which mix:
//!
//! * **Inline.** [`PackWriter::push`] gathers chunks of each kind into a frame of their own and seals it
//!   on the calling thread when it is full.
//! * **With workers.** [`PackWriter::next_slot`] gives the right to seal one frame, on any thread;
//!   [`PackWriter::append`] takes what came of it. Frames may come back in any order, and a slot that
//!   never comes back leaves no hole in the file: a frame gets its place when it is appended. The writer
//!   keeps nothing of a frame but its index rows, so whoever bounds the slots in flight bounds the memory.
//!
//! Either way locations are known when the frame has been appended, and [`PackWriter::take_placed`] tells
//! them: a tree writer pushes leaves, flushes, and encodes the parents with the leaves' locations in them.

use std::io::Write;
use std::sync::Arc;

use super::index::{PackIndex, PlacedChunk};
use super::{PackFooter, PackHeader};
use crate::aead::TAG_LEN;
use crate::error::{Cause, Result, misuse};
use crate::frame::{INDEX_SEQUENCE, PackSeal, UnverifiedFrame};
use crate::{
    ChunkGroup, ChunkId, ChunkKind, CompressionLevel, Compressor, DomainKeys, FrameHeader, FrameSlot,
    FrameTarget, PackId, Padding, SealedFrame,
};

/// How a pack is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackOptions {
    /// How much plaintext [`PackWriter::push`] gathers into a frame.
    pub frame_target: FrameTarget,
    /// How hard [`PackWriter::push`] compresses.
    pub level: CompressionLevel,
    /// How all frames are padded.
    pub padding: Padding,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct PackSummary {
    /// The pack's id.
    pub pack: PackId,
    /// Length of the whole pack, in bytes.
    pub bytes: u64,
    /// All frames and chunks.
    pub index: PackIndex,
}

/// Writes one pack to `W`. A writer that was refused by `W` is of no more use (`Output`, then `Misuse`).
pub struct PackWriter<W: Write> {
    out: W,
    seal: Arc<PackSeal>,
    options: PackOptions,
    index: PackIndex,
    /// One open group for each kind, in the order of [`ChunkKind::ALL`].
    groups: [ChunkGroup; 3],
    /// Made when the first group is sealed here.
    compressor: Option<Compressor>,
    next_sequence: u32,
    /// Frames and chunks that were told by [`PackWriter::take_placed`].
    told: (usize, usize),
    /// Whether `out` may hold a piece of a frame.
    broken: bool,
}

impl<W: Write> PackWriter<W> {
    /// Begins a pack under the current epoch of `keys` and writes its header.
    ///
    /// `pack` must be random and never have been used before, not even for a pack that was given up.
    pub fn create(out: W, keys: &DomainKeys, pack: PackId, options: PackOptions) -> Result<Self> {
        let seal = Arc::new(PackSeal::new(keys, keys.current_epoch(), pack)?);
        let header = PackHeader { pack, epoch: seal.epoch }.to_bytes();
        let mut writer = Self {
            out,
            seal,
            options,
            index: PackIndex::empty(pack),
            groups: ChunkKind::ALL.map(ChunkGroup::new),
            compressor: None,
            next_sequence: 0,
            told: (0, 0),
            broken: false,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// The pack's id.
    pub fn pack(&self) -> PackId {
        self.seal.pack
    }

    /// Length of what was written, in bytes: header and frames, without open groups.
    pub fn written_bytes(&self) -> u64 {
        self.index.end().into()
    }

    /// Length of the chunks that wait in open groups, in bytes.
    pub fn open_bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.plaintext().len() as u64).sum()
    }

    /// Adds a chunk, and seals the chunks of its kind before it if the frame would grow over its target.
    ///
    /// `LimitExceeded` when the pack is full: finish it, and push the chunk to the next one.
    pub fn push(&mut self, kind: ChunkKind, id: ChunkId, plaintext: &[u8]) -> Result<()> {
        let at = kind as usize - 1;
        self.check_room(frame_bytes_max(plaintext.len()), 1)?;
        if !self.groups[at].has_room(plaintext.len(), self.options.frame_target) {
            self.seal_group(at)?;
        }
        self.groups[at].push(id, plaintext)
    }

    /// Seals what waits in open groups. Afterwards the location of every pushed chunk is known. The bytes
    /// are not durable.
    pub fn flush(&mut self) -> Result<()> {
        (0..self.groups.len()).try_for_each(|at| self.seal_group(at))
    }

    /// The right to seal the next frame.
    pub fn next_slot(&mut self) -> Result<FrameSlot> {
        FrameSlot::next(&self.seal, &mut self.next_sequence, self.options.padding)
    }

    /// Writes a frame that was sealed with a slot of this pack; `Misuse` for a frame of another pack.
    pub fn append(&mut self, frame: &SealedFrame) -> Result<()> {
        if frame.header.pack != self.seal.pack {
            return Err(misuse("a sealed frame is appended to the pack whose slot it has"));
        }
        self.check_room(frame.bytes.len() as u64, frame.chunks.len())?;
        self.append_bytes(frame.header.kind, &frame.bytes, &frame.chunks)
    }

    /// Copies a frame of another pack of this domain as it is, with id and length of each of its chunks in
    /// order. For compaction: the frame keeps its origin and opens under it.
    ///
    /// Who reads it back names no expected origin. The lengths must add up to the frame's (`Misuse`).
    pub fn copy_frame(&mut self, frame: &UnverifiedFrame, chunks: &[(ChunkId, u32)]) -> Result<()> {
        let listed: u64 = chunks.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
        let empty = chunks.iter().any(|&(_, bytes)| bytes == 0);
        if empty || listed != u64::from(frame.header().plaintext_bytes) {
            return Err(misuse("the chunks of a copied frame add up to its plaintext, and none is empty"));
        }
        self.check_room(frame.as_bytes().len() as u64, chunks.len())?;
        self.append_bytes(frame.header().kind, frame.as_bytes(), chunks)
    }

    /// Where the chunks are that were written since the last call, in order of location.
    pub fn take_placed(&mut self) -> Vec<PlacedChunk> {
        let placed = self.index.chunks_from(self.told.0, self.told.1).collect();
        self.told = (self.index.frames().len(), self.index.chunk_count());
        placed
    }

    /// Seals open groups, writes index and footer, and flushes `W`. The caller makes it durable.
    pub fn finish(mut self) -> Result<(W, PackSummary)> {
        self.flush()?;
        let mut tail = self.index.encode();
        let footer = PackFooter {
            pack: self.seal.pack,
            epoch: self.seal.epoch,
            index_offset: self.index.end(),
            index_bytes: (tail.len() + TAG_LEN) as u32,
        };
        let authenticated = footer.authenticated(self.seal.repository, self.seal.domain);
        self.seal.cipher.seal(INDEX_SEQUENCE, &authenticated, &mut tail, 0);
        tail.extend_from_slice(&footer.to_bytes());
        self.write(&tail)?;
        self.out.flush().map_err(|source| Cause::Output { pack: self.seal.pack, source })?;
        let summary = PackSummary { pack: self.seal.pack, bytes: footer.pack_bytes(), index: self.index };
        Ok((self.out, summary))
    }

    fn seal_group(&mut self, at: usize) -> Result<()> {
        if self.groups[at].is_empty() {
            return Ok(());
        }
        let slot = self.next_slot()?;
        let compressor = self.compressor.get_or_insert_with(|| Compressor::new(self.options.level));
        let frame = slot.seal(&self.groups[at], compressor)?;
        self.append_bytes(frame.header.kind, &frame.bytes, &frame.chunks)?;
        if let Some(compressor) = &mut self.compressor {
            frame.recycle(compressor);
        }
        self.groups[at].clear();
        Ok(())
    }

    /// Refuses what would leave no room for the open groups, so that sealing these never fails for want
    /// of room and a full pack can always be finished.
    fn check_room(&self, frame_bytes: u64, chunks: usize) -> Result<()> {
        let open = self.groups.iter().filter(|group| !group.is_empty());
        let (bytes, count) = open.fold((frame_bytes, chunks), |(bytes, count), group| {
            (bytes + frame_bytes_max(group.plaintext().len()), count + group.chunks().len())
        });
        self.index.check_room(bytes, count)
    }

    fn append_bytes(&mut self, kind: ChunkKind, bytes: &[u8], chunks: &[(ChunkId, u32)]) -> Result<()> {
        self.write(bytes)?;
        self.index.push(kind, bytes.len() as u32, chunks);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.broken {
            return Err(misuse("a pack whose output has failed takes no more"));
        }
        self.out.write_all(bytes).map_err(|source| {
            self.broken = true;
            Cause::Output { pack: self.seal.pack, source }.into()
        })
    }
}

/// The most that a frame with this plaintext may take: stored, and padded by at most an eighth.
fn frame_bytes_max(plaintext_bytes: usize) -> u64 {
    (FrameHeader::LEN + TAG_LEN + plaintext_bytes + plaintext_bytes / 8) as u64
}

#[cfg(test)]
mod tests;
