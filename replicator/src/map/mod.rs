//! The map: the sorted key space of a share.
//!
//! Owns the keys and the values of everything that a share holds: attributes, directory entries,
//! extents, extended attributes, uploads in parts, versions of objects, settings of buckets. Live, the map stands in the gateway's RocksDB; frozen, it
//! is a tree of chunks. Both hold the same bytes under the same keys (but for extents whose data
//! still lies in the journal, which never reach a tree), so this codec is part of the repository
//! format: `docs/format.md`, section "Map".
//!
//! Decoding is total: any bytes give a value or a [`MapError`], never a panic.

mod entry;
mod extent;
mod inode;
mod key;
mod object;

pub use entry::{Cookie, Entry};
pub use extent::{Extent, JournalPiece, Source};
pub use inode::{Device, Inode, Kind, Times, Timestamp};
pub use key::{InodeNumber, Key, inode_range, kind_range, parts_range, versions_range};
pub use object::{
    ObjectChecksum, ObjectMetadata, ObjectRecord, ObjectRetention, PART_CHECKSUMS_ATTRIBUTE,
    PART_SIZES_ATTRIBUTE, PartChecksums, PartRecord, RECORD_ATTRIBUTE, UploadRecord, VersionRecord,
    decode_part_sizes, encode_part_sizes,
};

/// A key or value of a map that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of the map does not decode: {why}")]
pub struct MapError {
    /// Which kind of record.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Takes fixed-size little-endian fields off the front of a record.
struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(what: &'static str, record: &'a [u8]) -> Self {
        Self { what, rest: record }
    }

    fn error(&self, why: &'static str) -> MapError {
        MapError { what: self.what, why }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MapError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error("it is too short"));
        };
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, MapError> {
        Ok(self.take::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, MapError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, MapError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, MapError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn version(&mut self, newest: u8) -> Result<(), MapError> {
        match self.u8()? {
            version if version == newest => Ok(()),
            _ => Err(self.error("its version is unknown; a newer program may read it")),
        }
    }

    fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn end(self) -> Result<(), MapError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("bytes follow its end")) }
    }
}
