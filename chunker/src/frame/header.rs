//! The header of a frame, and frames as they come from outside.

use bytes::Bytes;

use super::FRAME_BYTES_MAX;
use crate::aead::TAG_LEN;
use crate::compress::Encoding;
use crate::error::{Cause, Result, bounded, malformed};
use crate::{ChunkKind, DomainId, PackId, RepositoryId, SealEpoch};

/// The version of the frame format that this program writes, and the newest that it reads.
const FRAME_VERSION: u8 = 1;

/// Sequence that no frame has: it seals the index of the pack.
pub(crate) const INDEX_SEQUENCE: u32 = u32::MAX;

/// Header and what is authenticated with it: the ids of repository and domain.
pub(super) const AAD_LEN: usize = FrameHeader::LEN + RepositoryId::LEN + DomainId::LEN;

/// What a frame says of itself. Taken from bytes, nothing of it is trustworthy before the frame opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the plaintext is encoded.
    pub encoding: Encoding,
    /// What all its chunks are.
    pub kind: ChunkKind,
    /// The epoch whose secret gives the key.
    pub epoch: SealEpoch,
    /// The nonce: which frame of its pack it was, in the order in which slots were handed out.
    pub sequence: u32,
    /// Length of all chunks together, in bytes.
    pub plaintext_bytes: u32,
    /// Length of ciphertext and tag, in bytes.
    pub sealed_bytes: u32,
    /// The pack that it was sealed for.
    pub pack: PackId,
}

impl FrameHeader {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 20 + PackId::LEN;

    /// Length of the whole frame in bytes.
    pub fn frame_bytes(&self) -> u32 {
        Self::LEN as u32 + self.sealed_bytes
    }

    /// Encodes the header.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&[FRAME_VERSION, self.encoding as u8, self.kind as u8, 0]);
        let numbers = [self.epoch.0, self.sequence, self.plaintext_bytes, self.sealed_bytes];
        for (field, number) in out[4..20].chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        out[20..].copy_from_slice(self.pack.as_bytes());
        out
    }

    /// Decodes the header at the start of `bytes`, for walking the frames of a pack. All lengths in it
    /// are within their limits; `Damaged` or `Unsupported` otherwise.
    pub fn from_prefix(bytes: &[u8]) -> Result<Self> {
        let Some((header, _)) = bytes.split_first_chunk::<{ Self::LEN }>() else {
            return Err(malformed("frame", format!("{} bytes are less than a header", bytes.len())));
        };
        let [version, encoding, kind, reserved, ..] = *header;
        if version != FRAME_VERSION {
            return Err(wrong_version(version));
        }
        if reserved != 0 {
            return Err(malformed("frame", "its reserved byte is not zero"));
        }
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut pack = [0; PackId::LEN];
        pack.copy_from_slice(&header[20..]);
        let header = Self {
            encoding: Encoding::from_number(encoding)
                .ok_or_else(|| malformed("frame", format!("no encoding has number {encoding}")))?,
            kind: ChunkKind::from_number(kind)
                .ok_or_else(|| malformed("frame", format!("no kind of chunk has number {kind}")))?,
            epoch: SealEpoch(number(4)),
            sequence: number(8),
            plaintext_bytes: number(12),
            sealed_bytes: number(16),
            pack: PackId::new(pack),
        };
        header.check_limits()?;
        Ok(header)
    }

    fn check_limits(&self) -> Result<()> {
        if self.sequence == INDEX_SEQUENCE {
            return Err(malformed("frame", "its sequence is that of a pack index"));
        }
        if self.plaintext_bytes == 0 || self.sealed_bytes <= TAG_LEN as u32 {
            return Err(malformed("frame", "it is empty"));
        }
        bounded("plaintext of a frame", self.plaintext_bytes.into(), FRAME_BYTES_MAX.into())
            .and(bounded("ciphertext of a frame", self.sealed_bytes.into(), sealed_bytes_max().into()))
            .map_err(|error| malformed("frame", error.to_string()))
    }

    /// What is authenticated with the ciphertext.
    pub(super) fn authenticated(&self, repository: RepositoryId, domain: DomainId) -> [u8; AAD_LEN] {
        let mut out = [0; AAD_LEN];
        out[..Self::LEN].copy_from_slice(&self.to_bytes());
        out[Self::LEN..Self::LEN + RepositoryId::LEN].copy_from_slice(repository.as_bytes());
        out[Self::LEN + RepositoryId::LEN..].copy_from_slice(domain.as_bytes());
        out
    }
}

/// A frame as it came from disk or store: shaped like one, and otherwise unknown.
#[derive(Clone, Debug)]
pub struct UnverifiedFrame {
    header: FrameHeader,
    bytes: Bytes,
}

impl UnverifiedFrame {
    /// Takes bytes that should be exactly one frame.
    pub fn new(bytes: Bytes) -> Result<Self> {
        let header = FrameHeader::from_prefix(&bytes)?;
        if bytes.len() != header.frame_bytes() as usize {
            let why = format!("it has {} bytes, its header says {}", bytes.len(), header.frame_bytes());
            return Err(malformed("frame", why));
        }
        Ok(Self { header, bytes })
    }

    /// What it says of itself.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// All its bytes, for copying it as it is.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Ciphertext and tag.
    pub(super) fn sealed(&self) -> &[u8] {
        &self.bytes[FrameHeader::LEN..]
    }
}

/// Stored plaintext, padded at most to the next power of two, which the limit itself is; and the tag.
fn sealed_bytes_max() -> u32 {
    const { assert!(FRAME_BYTES_MAX.is_power_of_two()) };
    FRAME_BYTES_MAX + TAG_LEN as u32
}

fn wrong_version(found: u8) -> crate::Error {
    if found == 0 {
        return malformed("frame", "version 0 does not exist");
    }
    Cause::Version { what: "frame", found: found.into(), known: FRAME_VERSION.into() }.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            encoding: Encoding::Zstd,
            kind: ChunkKind::Node,
            epoch: SealEpoch(7),
            sequence: 8,
            plaintext_bytes: 9,
            sealed_bytes: 30,
            pack: PackId::new([3; 32]),
        }
    }

    #[test]
    fn a_header_round_trips() {
        assert_eq!(FrameHeader::from_prefix(&header().to_bytes()).expect("valid"), header());
    }

    #[test]
    fn headers_out_of_limits_are_refused() {
        let good = header();
        for wrong in [
            FrameHeader { plaintext_bytes: 0, ..good },
            FrameHeader { plaintext_bytes: FRAME_BYTES_MAX + 1, ..good },
            FrameHeader { sealed_bytes: TAG_LEN as u32, ..good },
            FrameHeader { sealed_bytes: FRAME_BYTES_MAX + TAG_LEN as u32 + 1, ..good },
            FrameHeader { sequence: INDEX_SEQUENCE, ..good },
        ] {
            let error = FrameHeader::from_prefix(&wrong.to_bytes()).expect_err("refused");
            assert_eq!(error.kind(), crate::ErrorKind::Damaged);
        }
    }

    #[test]
    fn a_newer_version_says_so() {
        let mut bytes = header().to_bytes();
        bytes[0] = 2;
        let error = FrameHeader::from_prefix(&bytes).expect_err("newer");
        assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, mut prefix in prop::collection::vec(0..4u8, 52)) {
            let _ = FrameHeader::from_prefix(&bytes);
            prefix.extend(&bytes);
            let _ = UnverifiedFrame::new(prefix.into());
        }
    }
}
