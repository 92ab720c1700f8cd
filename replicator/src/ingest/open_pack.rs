//! A pack that frames are being written to.
//!
//! The cutting thread takes slots, each for a group of chunks; sealing threads bring the frames. A
//! frame gets its place when it is brought, so frames lie nearly, not exactly, in the order of the
//! input. A closed pack gives no more slots, and is complete when the last frame has come.
//!
//! Invariant: what is written and what is reserved for frames still to come is together at most the
//! size that packs are closed at, or there is only one frame.

use std::path::Path;

use parking_lot::Mutex;
use tidegate_chunker::{
    ChunkGroup, DomainKeys, Error, FrameHeader, FrameSlot, PACK_CHUNKS_MAX, PackId, PackOptions, PackWriter,
    PlacedChunk, SealedFrame,
};

use super::IngestError;
use super::pack_file::PackFile;

/// Where one pack is written.
pub(super) type FileWriter = PackWriter<PackFile>;

/// See the head of this module.
pub(super) struct OpenPack {
    /// Counts the packs of a run.
    pub(super) ordinal: u64,
    bytes_max: u64,
    state: Mutex<State>,
}

struct State {
    /// Gone when the pack is complete.
    writer: Option<FileWriter>,
    closed: bool,
    slots_given: u64,
    frames_awaited: u64,
    bytes_reserved: u64,
    chunks: u64,
}

/// The right to seal one frame, and what was reserved for it.
pub(super) struct Reservation {
    pub(super) slot: FrameSlot,
    pub(super) bytes: u64,
}

impl OpenPack {
    /// Begins pack number `ordinal` of the run in `folder`, to be closed at `bytes_max` bytes.
    pub(super) fn create(
        folder: &Path,
        keys: &DomainKeys,
        (id, ordinal): (PackId, u64),
        bytes_max: u64,
        options: PackOptions,
    ) -> Result<Self, IngestError> {
        let doing = || format!("begin a pack in {}", folder.display());
        let file = PackFile::create(folder, &id).map_err(|error| IngestError::local(doing(), error))?;
        let writer = PackWriter::create(file, keys, id, options)
            .map_err(|error| IngestError::local(doing(), error))?;
        let state = State {
            writer: Some(writer),
            closed: false,
            slots_given: 0,
            frames_awaited: 0,
            bytes_reserved: 0,
            chunks: 0,
        };
        Ok(Self { ordinal, bytes_max, state: Mutex::new(state) })
    }

    /// A slot for this group; `None` when the pack is full.
    pub(super) fn reserve(&self, group: &ChunkGroup) -> Result<Option<Reservation>, Error> {
        let bytes = frame_bytes_max(group.plaintext().len());
        let mut state = self.state.lock();
        let chunks = state.chunks + group.chunks().len() as u64;
        let bytes_reserved = state.bytes_reserved + bytes;
        let first = state.slots_given == 0;
        let Some(writer) = &mut state.writer else { return Ok(None) };
        let fits = writer.written_bytes() + bytes_reserved <= self.bytes_max && chunks <= PACK_CHUNKS_MAX;
        if !first && !fits {
            return Ok(None);
        }
        let slot = writer.next_slot()?;
        state.slots_given += 1;
        state.frames_awaited += 1;
        state.bytes_reserved = bytes_reserved;
        state.chunks = chunks;
        Ok(Some(Reservation { slot, bytes }))
    }

    /// Writes the frame for which so much was reserved, and tells where its chunks are. When it was the
    /// last of a closed pack, the pack comes out.
    pub(super) fn append(
        &self,
        frame: &SealedFrame,
        bytes_reserved: u64,
    ) -> Result<(Vec<PlacedChunk>, Option<FileWriter>), Error> {
        let mut state = self.state.lock();
        let mut placed = Vec::new();
        if let Some(writer) = &mut state.writer {
            writer.append(frame)?;
            placed = writer.take_placed();
        }
        state.bytes_reserved -= bytes_reserved;
        state.frames_awaited -= 1;
        Ok((placed, state.take_if_complete()))
    }

    /// Gives no more slots. When no frame is awaited, the pack comes out.
    pub(super) fn close(&self) -> Option<FileWriter> {
        let mut state = self.state.lock();
        state.closed = true;
        state.take_if_complete()
    }
}

impl State {
    fn take_if_complete(&mut self) -> Option<FileWriter> {
        if self.closed && self.frames_awaited == 0 { self.writer.take() } else { None }
    }
}

/// The most that a frame of this plaintext takes: header, tag, and an eighth for padding.
fn frame_bytes_max(plaintext_bytes: usize) -> u64 {
    const TAG_BYTES: u64 = 16;
    plaintext_bytes as u64 + plaintext_bytes as u64 / 8 + FrameHeader::LEN as u64 + TAG_BYTES
}
