//! Opening frames, and taking chunks out of them.

use std::ops::Deref;

use bytes::Bytes;

use super::{FrameHeader, PackSeal, UnverifiedFrame};
use crate::compress::{Decompressor, Encoding, check_padding};
use crate::error::{Cause, Error, Result, malformed};
use crate::{ChunkId, ChunkKind, DomainKeys, Location, PackId};

impl UnverifiedFrame {
    /// Decrypts, authenticates and decompresses the frame.
    ///
    /// With an `origin`, a frame that was sealed for another pack is refused (`Damaged`) before any
    /// work is done: give it wherever the frame is read from its own pack.
    pub fn open(
        &self,
        keys: &DomainKeys,
        origin: Option<PackId>,
        decompressor: &mut Decompressor,
    ) -> Result<OpenFrame> {
        let header = *self.header();
        if let Some(expected) = origin.filter(|&expected| expected != header.pack) {
            let why = format!("it was sealed for pack {}, expected one of pack {expected}", header.pack);
            return Err(malformed("frame", why));
        }
        let seal = PackSeal::new(keys, header.epoch, header.pack)?;
        let plaintext = match header.encoding {
            Encoding::Stored => self.open_stored(&seal)?,
            Encoding::Zstd => {
                self.decrypt(&seal, &mut decompressor.scratch)?;
                decompressor.decode_scratch(header.plaintext_bytes as usize)?
            }
        };
        Ok(OpenFrame { header, plaintext: plaintext.into() })
    }

    fn open_stored(&self, seal: &PackSeal) -> Result<Vec<u8>> {
        let mut plaintext = Vec::new();
        self.decrypt(seal, &mut plaintext)?;
        let (_, padding) = plaintext
            .split_at_checked(self.header().plaintext_bytes as usize)
            .ok_or_else(|| malformed("frame", "it is stored and shorter than its plaintext"))?;
        check_padding(padding)?;
        plaintext.truncate(self.header().plaintext_bytes as usize);
        Ok(plaintext)
    }

    fn decrypt(&self, seal: &PackSeal, plaintext: &mut Vec<u8>) -> Result<()> {
        let header = self.header();
        let authenticated = header.authenticated(seal.repository, seal.domain);
        seal.cipher.open(header.sequence, &authenticated, self.sealed(), plaintext).map_err(|_| {
            let what = format!("frame {} of pack {}", header.sequence, header.pack);
            Cause::Seal { what }.into()
        })
    }
}

/// The plaintext of a frame that somebody with the keys has sealed. That it holds the chunks that a
/// reader looks for is not yet known.
#[derive(Clone)]
pub struct OpenFrame {
    header: FrameHeader,
    plaintext: Bytes,
}

impl OpenFrame {
    /// What all its chunks are.
    pub fn kind(&self) -> ChunkKind {
        self.header.kind
    }

    /// The header, now authentic.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Length of its plaintext in bytes: what keeping it in memory costs.
    pub fn plaintext_bytes(&self) -> usize {
        self.plaintext.len()
    }

    /// The chunk of file data, or the large value, that `location` says is here, if its digest is `id`;
    /// `Damaged` otherwise. The bytes are shared with the frame, not copied.
    ///
    /// Only offset and length of the location are used: a frame may have been copied elsewhere.
    pub fn chunk(&self, keys: &DomainKeys, location: &Location, id: ChunkId) -> Result<VerifiedChunk> {
        let bytes = self.slice(location.chunk_offset, location.chunk_bytes)?;
        if keys.chunk_id(&bytes) != id {
            return Err(Cause::Digest { offset: location.chunk_offset, bytes: location.chunk_bytes }.into());
        }
        Ok(VerifiedChunk { id, bytes })
    }

    /// The piece that `location` says is here, without a check of its digest: for tree nodes, whose
    /// ids cover a part of them that the tree layer knows.
    pub fn piece(&self, location: &Location) -> Result<AuthenticatedPiece> {
        self.slice(location.chunk_offset, location.chunk_bytes).map(AuthenticatedPiece)
    }

    fn slice(&self, offset: u32, bytes: u32) -> Result<Bytes> {
        let (start, end) = (offset as usize, offset as usize + bytes as usize);
        if end > self.plaintext.len() || bytes == 0 {
            return Err(self.outside(offset, bytes));
        }
        Ok(self.plaintext.slice(start..end))
    }

    fn outside(&self, offset: u32, bytes: u32) -> Error {
        let held = self.plaintext.len();
        malformed("location", format!("{bytes} bytes at offset {offset} of a frame that holds {held}"))
    }
}

impl std::fmt::Debug for OpenFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFrame").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Bytes that somebody with the keys has sealed, and whose digest is not checked.
#[derive(Clone)]
pub struct AuthenticatedPiece(Bytes);

impl AuthenticatedPiece {
    /// The bytes, shared with the frame.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for AuthenticatedPiece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A chunk whose digest is its id.
#[derive(Clone)]
pub struct VerifiedChunk {
    id: ChunkId,
    bytes: Bytes,
}

impl VerifiedChunk {
    /// Its id.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// Its bytes, shared with the frame.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its bytes, shared with the frame.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for VerifiedChunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for VerifiedChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedChunk").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
