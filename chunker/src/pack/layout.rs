//! The first and the last bytes of a pack.

use std::ops::Range;

use super::{PACK_BYTES_MAX, PACK_CHUNKS_MAX};
use crate::aead::TAG_LEN;
use crate::error::{Cause, Result, malformed};
use crate::{DomainId, PackId, RepositoryId, SealEpoch};

/// How much of the end of a pack to fetch first, in bytes: the footer and most indexes fit.
pub const PACK_TAIL_BYTES: u64 = 64 << 10;

/// The last byte is the version.
const HEADER_MAGIC: [u8; 8] = *b"TGPACK\0\x01";
const FOOTER_MAGIC: [u8; 8] = *b"TGPKEND\x01";
const VERSION_AT: usize = 7;

/// Greatest length of a sealed index: a row for each chunk, at worst with a frame of its own.
const INDEX_BYTES_MAX: u32 =
    PACK_CHUNKS_MAX as u32 * (super::index::FRAME_ROW_LEN + super::index::CHUNK_ROW_LEN) as u32 + 1024;

/// The first bytes of a pack. Only tools that walk a pack without its index need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    /// The pack's id.
    pub pack: PackId,
    /// The epoch under which the pack is sealed.
    pub epoch: SealEpoch,
}

impl PackHeader {
    /// Length of the encoding in bytes: where the first frame begins.
    pub const LEN: usize = 16 + PackId::LEN;

    /// Encodes the header.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&HEADER_MAGIC);
        out[8..12].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[16..].copy_from_slice(self.pack.as_bytes());
        let checksum = Self::checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Decodes the header at the start of `bytes`.
    pub fn from_prefix(bytes: &[u8]) -> Result<Self> {
        let Some((header, _)) = bytes.split_first_chunk::<{ Self::LEN }>() else {
            return Err(malformed("pack", format!("{} bytes are less than a header", bytes.len())));
        };
        check_magic("pack header", &header[..8], HEADER_MAGIC)?;
        if number(header, 12) != Self::checksum(header) {
            return Err(Cause::Checksum { what: "pack header" }.into());
        }
        Ok(Self { pack: pack_id(&header[16..]), epoch: SealEpoch(number(header, 8)) })
    }

    fn checksum(header: &[u8; Self::LEN]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
    }
}

/// The last bytes of a pack: where its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackFooter {
    pub(super) pack: PackId,
    pub(super) epoch: SealEpoch,
    pub(super) index_offset: u32,
    pub(super) index_bytes: u32,
}

impl PackFooter {
    /// Length of the encoding in bytes.
    pub const LEN: usize = PackId::LEN + 24;

    /// Length of what is authenticated with the index, in bytes.
    const AAD_LEN: usize = Self::CHECKED_LEN + RepositoryId::LEN + DomainId::LEN;

    /// Length of what the checksum covers, in bytes.
    const CHECKED_LEN: usize = PackId::LEN + 12;

    /// Decodes the footer at the end of `tail`, the last bytes of a pack. Refuses (`Damaged`) the footer of
    /// another pack than `pack`, and one whose lengths are out of bounds.
    pub fn from_tail(pack: PackId, tail: &[u8]) -> Result<Self> {
        let Some((_, footer)) = tail.split_last_chunk::<{ Self::LEN }>() else {
            return Err(malformed("pack", format!("{} bytes are less than a footer", tail.len())));
        };
        check_magic("pack footer", &footer[Self::CHECKED_LEN + 4..], FOOTER_MAGIC)?;
        if number(footer, Self::CHECKED_LEN) != crc32c::crc32c(&footer[..Self::CHECKED_LEN]) {
            return Err(Cause::Checksum { what: "pack footer" }.into());
        }
        let read = Self {
            pack: pack_id(&footer[..PackId::LEN]),
            epoch: SealEpoch(number(footer, PackId::LEN)),
            index_offset: number(footer, PackId::LEN + 4),
            index_bytes: number(footer, PackId::LEN + 8),
        };
        read.check(pack)?;
        Ok(read)
    }

    /// Where the sealed index lies in the pack, in bytes.
    pub fn index_range(&self) -> Range<u64> {
        let start = u64::from(self.index_offset);
        start..start + u64::from(self.index_bytes)
    }

    /// Length of the whole pack in bytes. An object of another length is damaged.
    pub fn pack_bytes(&self) -> u64 {
        self.index_range().end + Self::LEN as u64
    }

    /// How many bytes at the end of the pack are index and footer.
    pub fn tail_bytes(&self) -> u64 {
        u64::from(self.index_bytes) + Self::LEN as u64
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..Self::CHECKED_LEN].copy_from_slice(&self.checked());
        let checksum = crc32c::crc32c(&out[..Self::CHECKED_LEN]);
        out[Self::CHECKED_LEN..Self::CHECKED_LEN + 4].copy_from_slice(&checksum.to_le_bytes());
        out[Self::CHECKED_LEN + 4..].copy_from_slice(&FOOTER_MAGIC);
        out
    }

    /// What is authenticated with the index.
    pub(super) fn authenticated(self, repository: RepositoryId, domain: DomainId) -> [u8; Self::AAD_LEN] {
        let mut out = [0; Self::AAD_LEN];
        out[..Self::CHECKED_LEN].copy_from_slice(&self.checked());
        out[Self::CHECKED_LEN..Self::CHECKED_LEN + RepositoryId::LEN].copy_from_slice(repository.as_bytes());
        out[Self::CHECKED_LEN + RepositoryId::LEN..].copy_from_slice(domain.as_bytes());
        out
    }

    fn checked(self) -> [u8; Self::CHECKED_LEN] {
        let mut out = [0; Self::CHECKED_LEN];
        out[..PackId::LEN].copy_from_slice(self.pack.as_bytes());
        let numbers = [self.epoch.0, self.index_offset, self.index_bytes];
        for (field, number) in out[PackId::LEN..].chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    fn check(&self, expected: PackId) -> Result<()> {
        if self.pack != expected {
            let why = format!("its footer is that of pack {}, its name is {expected}", self.pack);
            return Err(malformed("pack", why));
        }
        let offsets = PackHeader::LEN as u64..=PACK_BYTES_MAX;
        let lengths = TAG_LEN as u32 + 1..=INDEX_BYTES_MAX;
        if !offsets.contains(&self.index_offset.into()) || !lengths.contains(&self.index_bytes) {
            let why =
                format!("its index of {} bytes at {} is out of bounds", self.index_bytes, self.index_offset);
            return Err(malformed("pack", why));
        }
        Ok(())
    }
}

fn check_magic(what: &'static str, found: &[u8], expected: [u8; 8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let version = found[VERSION_AT];
    if found[..VERSION_AT] == expected[..VERSION_AT] && version > expected[VERSION_AT] {
        let known = expected[VERSION_AT].into();
        return Err(Cause::Version { what, found: version.into(), known }.into());
    }
    Err(Cause::Magic { what: what.into() }.into())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn pack_id(bytes: &[u8]) -> PackId {
    PackId::from_slice(bytes).expect("the field is as long as an id")
}

const _: () = assert!(
    PACK_BYTES_MAX + INDEX_BYTES_MAX as u64 + PackFooter::LEN as u64 <= u32::MAX as u64,
    "offsets and lengths fit their fields"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_header_round_trips_and_every_flipped_bit_shows() {
        let header = PackHeader { pack: PackId::new([3; 32]), epoch: SealEpoch(9) };
        let bytes = header.to_bytes();
        assert_eq!(PackHeader::from_prefix(&bytes).expect("valid"), header);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(PackHeader::from_prefix(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_footer_round_trips_and_every_flipped_bit_shows() {
        let pack = PackId::new([3; 32]);
        let footer = PackFooter { pack, epoch: SealEpoch(9), index_offset: 1000, index_bytes: 100 };
        let bytes = footer.to_bytes();
        assert_eq!(PackFooter::from_tail(pack, &bytes).expect("valid"), footer);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(PackFooter::from_tail(pack, &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_pack_and_a_foreign_file_are_told_apart() {
        let mut bytes = PackHeader { pack: PackId::new([3; 32]), epoch: SealEpoch(9) }.to_bytes();
        bytes[VERSION_AT] = 2;
        assert_eq!(PackHeader::from_prefix(&bytes).expect_err("newer").kind(), ErrorKind::Unsupported);
        bytes[0] = b'X';
        assert_eq!(PackHeader::from_prefix(&bytes).expect_err("foreign").kind(), ErrorKind::Foreign);
    }

    #[test]
    fn an_index_out_of_bounds_is_refused_before_it_is_fetched() {
        let pack = PackId::new([3; 32]);
        for (index_offset, index_bytes) in [(0, 100), (u32::MAX, 100), (1000, 16), (1000, u32::MAX)] {
            let footer = PackFooter { pack, epoch: SealEpoch(9), index_offset, index_bytes };
            let error = PackFooter::from_tail(pack, &footer.to_bytes()).expect_err("out of bounds");
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }
}
