//! A frame that has been opened, and the chunks of it whose digests have been checked.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidegate_chunker::{
    AuthenticatedPiece, ChunkId, Decompressor, DomainKeys, Error, Location, OpenFrame, VerifiedChunk,
};

use super::{Fetched, Origin};

/// What a chunk that has been checked costs in memory besides its bytes.
const CHECKED_BYTES: u64 = 128;
/// Smaller chunks are digested anew each time: that takes a microsecond, and remembering that it was
/// done would weigh more than the chunk is worth.
const REMEMBERED_BYTES_MIN: u64 = 4096;

/// See the head of this module. The digest of a chunk is computed once while its frame is kept.
pub(super) struct Opened {
    frame: OpenFrame,
    origin: Origin,
    checked: Mutex<HashMap<ChunkId, VerifiedChunk>>,
}

impl Opened {
    /// Opens a frame. It may have been copied from another pack, so none is expected: that it is the
    /// right one is known when a chunk of it has the right digest. Takes about a millisecond a MiB.
    pub(super) fn open(
        fetched: &Fetched,
        keys: &DomainKeys,
        decompressor: &mut Decompressor,
    ) -> Result<Self, Error> {
        let frame = fetched.frame.open(keys, None, decompressor)?;
        Ok(Self { frame, origin: fetched.origin, checked: Mutex::default() })
    }

    /// Where it was had before it was kept here.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// What keeping it costs in bytes at most: its plaintext, and what is remembered of its chunks.
    pub(super) fn weight(&self) -> u64 {
        let plaintext = self.frame.plaintext_bytes() as u64;
        plaintext + (plaintext / REMEMBERED_BYTES_MIN + 1) * CHECKED_BYTES
    }

    /// The chunk at `location`, if its digest is `id`.
    pub(super) fn chunk(
        &self,
        keys: &DomainKeys,
        location: &Location,
        id: ChunkId,
    ) -> Result<VerifiedChunk, Error> {
        if let Some(chunk) = self.checked.lock().get(&id) {
            return Ok(chunk.clone());
        }
        let chunk = self.frame.chunk(keys, location, id)?;
        if chunk.as_bytes().len() as u64 >= REMEMBERED_BYTES_MIN {
            self.checked.lock().insert(id, chunk.clone());
        }
        Ok(chunk)
    }

    /// The piece at `location`, whose digest its reader checks.
    pub(super) fn piece(&self, location: &Location) -> Result<AuthenticatedPiece, Error> {
        self.frame.piece(location)
    }
}
