//! Directory entries: one record under the name, one under the cookie.
//!
//! The two stand for the same entry and are written and removed together. A look-up reads the first,
//! a listing walks the second and resumes after any cookie without a scan.
//!
//! ```text
//! under the name      version u8 = 1 | kind u8 | inode u64 | cookie u64
//! under the cookie    version u8 = 1 | kind u8 | inode u64 | name
//! ```

use bytes::Bytes;

use super::{Fields, InodeNumber, Kind, MapError};

const VERSION: u8 = 1;

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file.
    pub inode: InodeNumber,
    /// Its kind, so that a listing need not read it.
    pub kind: Kind,
    /// Where the entry stands in a listing: 3 or more, never given out twice in a directory.
    pub cookie: u64,
}

impl Entry {
    /// The first cookie that an entry can have; "." is 1 and ".." is 2.
    pub const COOKIE_FIRST: u64 = 3;

    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind.code()];
        out.extend_from_slice(&self.inode.0.to_le_bytes());
        out.extend_from_slice(&self.cookie.to_le_bytes());
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("a directory entry", record);
        fields.version(VERSION)?;
        let kind = Kind::from_code(fields.u8()?)?;
        let entry = Self { kind, inode: InodeNumber(fields.u64()?), cookie: fields.u64()? };
        fields.end()?;
        Ok(entry)
    }
}

/// What stands under a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The file.
    pub inode: InodeNumber,
    /// Its kind.
    pub kind: Kind,
    /// Its name in the directory.
    pub name: Bytes,
}

impl Cookie {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind.code()];
        out.extend_from_slice(&self.inode.0.to_le_bytes());
        out.extend_from_slice(&self.name);
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("a directory cookie", record);
        fields.version(VERSION)?;
        let kind = Kind::from_code(fields.u8()?)?;
        let inode = InodeNumber(fields.u64()?);
        Ok(Self { inode, kind, name: Bytes::copy_from_slice(fields.rest()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        let entry = Entry { inode: InodeNumber(9), kind: Kind::Fifo, cookie: 3 };
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        let cookie =
            Cookie { inode: InodeNumber(9), kind: Kind::Fifo, name: Bytes::from_static(b"\xfe name") };
        assert_eq!(Cookie::decode(&cookie.encode()), Ok(cookie));
    }

    #[test]
    fn every_cut_record_is_refused() {
        let record = Entry { inode: InodeNumber(9), kind: Kind::Regular, cookie: 3 }.encode();
        for length in 0..record.len() {
            assert!(Entry::decode(&record[..length]).is_err());
        }
    }
}
