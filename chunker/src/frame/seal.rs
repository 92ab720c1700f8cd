//! Sealing frames: pure, and so fit for any worker thread.

use std::sync::Arc;

use super::header::INDEX_SEQUENCE;
use super::{FRAME_BYTES_MAX, FrameHeader};
use crate::aead::{Cipher, TAG_LEN};
use crate::error::{Result, bounded, misuse};
use crate::{ChunkGroup, ChunkId, Compressor, DomainId, DomainKeys, PackId, RepositoryId, SealEpoch};

/// Whether the length of a sealed frame may tell how well its content compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// No padding: lengths are exact.
    #[default]
    None,
    /// Padmé: lengths are rounded up so that only the position of their highest bit and as many bits
    /// below as it takes to write that position are free. Costs at most 12 % of a frame.
    Padme,
}

impl Padding {
    /// The length that encoded bytes of this length are padded to.
    fn padded(self, bytes: usize) -> usize {
        match self {
            Self::None => bytes,
            Self::Padme => {
                let Some(exponent) = bytes.checked_ilog2().filter(|&exponent| exponent > 0) else {
                    return bytes;
                };
                let fixed_bits = exponent - (exponent.ilog2() + 1);
                bytes.next_multiple_of(1 << fixed_bits)
            }
        }
    }
}

/// What all frames of one pack are sealed with.
pub(crate) struct PackSeal {
    pub(crate) pack: PackId,
    pub(crate) epoch: SealEpoch,
    pub(crate) repository: RepositoryId,
    pub(crate) domain: DomainId,
    pub(crate) cipher: Cipher,
}

impl PackSeal {
    pub(crate) fn new(keys: &DomainKeys, epoch: SealEpoch, pack: PackId) -> Result<Self> {
        Ok(Self {
            pack,
            epoch,
            repository: keys.repository(),
            domain: keys.domain(),
            cipher: Cipher::new(&keys.pack_key(epoch, pack)?),
        })
    }
}

/// The right to seal one frame of one pack, once.
///
/// A slot that is dropped leaves a gap in the sequence, which harms nothing.
pub struct FrameSlot {
    seal: Arc<PackSeal>,
    sequence: u32,
    padding: Padding,
}

impl FrameSlot {
    /// The slot after the last one that was handed out for this pack.
    pub(crate) fn next(seal: &Arc<PackSeal>, next_sequence: &mut u32, padding: Padding) -> Result<Self> {
        let sequence = *next_sequence;
        bounded("frames of a pack", sequence.into(), u64::from(INDEX_SEQUENCE) - 1)?;
        *next_sequence += 1;
        Ok(Self { seal: Arc::clone(seal), sequence, padding })
    }

    /// Compresses and seals a group, which must not be empty (`Misuse`).
    pub fn seal(self, group: &ChunkGroup, compressor: &mut Compressor) -> Result<SealedFrame> {
        if group.is_empty() {
            return Err(misuse("a frame holds at least one chunk"));
        }
        let mut bytes = compressor.take_frame_buffer();
        let (encoding, encoded) = compressor.encode(group.plaintext());
        let padded_bytes = self.padding.padded(encoded.len());
        let header = FrameHeader {
            encoding,
            kind: group.kind(),
            epoch: self.seal.epoch,
            sequence: self.sequence,
            plaintext_bytes: group.plaintext().len() as u32,
            sealed_bytes: (padded_bytes + TAG_LEN) as u32,
            pack: self.seal.pack,
        };
        bytes.resize(header.frame_bytes() as usize, 0);
        let (head, sealed) = bytes.split_at_mut(FrameHeader::LEN);
        head.copy_from_slice(&header.to_bytes());
        let authenticated = header.authenticated(self.seal.repository, self.seal.domain);
        self.seal.cipher.seal_into(self.sequence, &authenticated, encoded, sealed);
        Ok(SealedFrame { header, bytes, chunks: group.chunks().to_vec() })
    }
}

/// A frame ready to be appended to its pack, and the list of its chunks.
pub struct SealedFrame {
    pub(crate) header: FrameHeader,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<(ChunkId, u32)>,
}

impl SealedFrame {
    /// What it says of itself.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// All its bytes: header, ciphertext, tag.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Id and length in bytes of each of its chunks, in order.
    pub fn chunks(&self) -> &[(ChunkId, u32)] {
        &self.chunks
    }

    /// Gives its memory to the next frame that is sealed with this compressor: memory that the system
    /// hands out anew for each frame costs as much as encrypting it.
    pub fn recycle(self, compressor: &mut Compressor) {
        compressor.give_frame_buffer(self.bytes);
    }
}

const _: () = assert!(FRAME_BYTES_MAX < u32::MAX / 2, "lengths of frames fit their fields");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_grows_a_frame_by_at_most_an_eighth_and_never_shrinks_it() {
        for bytes in (0..5000).chain((0..24).map(|bits| (1 << bits) + 1)) {
            assert_eq!(Padding::None.padded(bytes), bytes);
            let padded = Padding::Padme.padded(bytes);
            assert!(padded >= bytes && padded <= bytes + bytes / 8, "{bytes} to {padded}");
        }
        assert_eq!(Padding::Padme.padded(FRAME_BYTES_MAX as usize), FRAME_BYTES_MAX as usize);
        assert_eq!(Padding::Padme.padded(1_000_001), 1_015_808);
    }
}
