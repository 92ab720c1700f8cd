//! Attributes of an inode, as they stand in the map.
//!
//! ```text
//!   0  version u8 = 1      1  kind u8            2  mode u16 (low twelve bits; bit 15: locked)
//!   4  links u32           8  uid u32           12  gid u32
//!  16  size u64           24  used u64          32  major u32   36  minor u32
//!  40  generation u64     48  change u64
//!  56  accessed, modified, changed, born: each seconds i64, nanoseconds u32
//! 104  parent u64        112  next cookie u64  120  entries u64 (both of directories; else 0)
//! 128  verifier length u8 (0 or 8), verifier, then the target of a symbolic link
//! ```
//!
//! Not here: names (a file may have several) and data (extents).

use bytes::Bytes;

use super::{Fields, InodeNumber, MapError};

const VERSION: u8 = 1;
/// The bits of a mode.
const MODE_BITS: u16 = 0o7777;
/// Stands above them.
const LOCKED: u16 = 1 << 15;

/// The types of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device node.
    Block,
    /// A character device node.
    Character,
    /// A named pipe.
    Fifo,
    /// A local socket.
    Socket,
}

impl Kind {
    /// The code in records: that of RFC 1813 (ftype3).
    pub fn code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::Block => 3,
            Self::Character => 4,
            Self::Symlink => 5,
            Self::Socket => 6,
            Self::Fifo => 7,
        }
    }

    /// The kind of a code.
    pub fn from_code(code: u8) -> Result<Self, MapError> {
        Ok(match code {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::Block,
            4 => Self::Character,
            5 => Self::Symlink,
            6 => Self::Socket,
            7 => Self::Fifo,
            _ => return Err(MapError { what: "a file type", why: "its code is unknown" }),
        })
    }
}

/// Seconds and nanoseconds since 1970-01-01 UTC; nanoseconds are below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds added to them.
    pub nanos: u32,
}

/// The four times of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Last read, as far as it is kept.
    pub accessed: Timestamp,
    /// Last change of data.
    pub modified: Timestamp,
    /// Last change of data or attributes.
    pub changed: Timestamp,
    /// When it was made.
    pub born: Timestamp,
}

/// Major and minor number of a device node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Attributes of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Whether it is, or was, under object lock: then its record says until when.
    pub locked: bool,
    /// How many names it has; a directory has two and one for each directory in it.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that are not holes.
    pub used: u64,
    /// For device nodes; zero otherwise.
    pub device: Device,
    /// The incarnation in which it was made: part of its handle.
    pub generation: u64,
    /// Grows with every change of data or attributes.
    pub change: u64,
    /// Its times.
    pub times: Times,
    /// Where ".." leads, for a directory. For other files the directory of the name that was made or
    /// moved last: where to look for a name first, no more.
    pub parent: InodeNumber,
    /// The cookie of the next entry, for a directory.
    pub next_cookie: u64,
    /// How many entries a directory has.
    pub entries: u64,
    /// The verifier of the exclusive create that made it (RFC 1813 section 3.3.8).
    pub create_verifier: Option<[u8; 8]>,
    /// Where a symbolic link points; empty otherwise.
    pub target: Bytes,
}

impl Inode {
    /// Encodes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(137 + self.target.len());
        out.extend_from_slice(&[VERSION, self.kind.code()]);
        let mode = self.mode & MODE_BITS | if self.locked { LOCKED } else { 0 };
        out.extend_from_slice(&mode.to_le_bytes());
        for number in [self.links, self.uid, self.gid] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.size, self.used] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.device.major.to_le_bytes());
        out.extend_from_slice(&self.device.minor.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.change.to_le_bytes());
        for time in [self.times.accessed, self.times.modified, self.times.changed, self.times.born] {
            out.extend_from_slice(&time.seconds.to_le_bytes());
            out.extend_from_slice(&time.nanos.to_le_bytes());
        }
        for number in [self.parent.0, self.next_cookie, self.entries] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let verifier = self.create_verifier.as_ref().map_or(&[][..], |verifier| &verifier[..]);
        out.push(verifier.len() as u8);
        out.extend_from_slice(verifier);
        out.extend_from_slice(&self.target);
        out
    }

    /// Decodes the record.
    pub fn decode(record: &[u8]) -> Result<Self, MapError> {
        let mut fields = Fields::new("an inode", record);
        fields.version(VERSION)?;
        let kind = Kind::from_code(fields.u8()?)?;
        let mode = fields.u16()?;
        Ok(Self {
            kind,
            mode: mode & MODE_BITS,
            locked: mode & LOCKED != 0,
            links: fields.u32()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
            size: fields.u64()?,
            used: fields.u64()?,
            device: Device { major: fields.u32()?, minor: fields.u32()? },
            generation: fields.u64()?,
            change: fields.u64()?,
            times: Times {
                accessed: timestamp(&mut fields)?,
                modified: timestamp(&mut fields)?,
                changed: timestamp(&mut fields)?,
                born: timestamp(&mut fields)?,
            },
            parent: InodeNumber(fields.u64()?),
            next_cookie: fields.u64()?,
            entries: fields.u64()?,
            create_verifier: match fields.u8()? {
                0 => None,
                8 => Some(fields.take()?),
                _ => return Err(fields.error("its verifier is neither absent nor eight bytes")),
            },
            target: Bytes::copy_from_slice(fields.rest()),
        })
    }
}

fn timestamp(fields: &mut Fields<'_>) -> Result<Timestamp, MapError> {
    let time = Timestamp { seconds: i64::from_le_bytes(fields.take()?), nanos: fields.u32()? };
    if time.nanos < 1_000_000_000 {
        Ok(time)
    } else {
        Err(fields.error("it has a second too many nanoseconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Inode {
        Inode {
            kind: Kind::Symlink,
            mode: 0o777,
            locked: true,
            links: 1,
            uid: 1,
            gid: 2,
            size: 3,
            used: 0,
            device: Device { major: 8, minor: 1 },
            generation: 5,
            change: 6,
            times: Times { born: Timestamp { seconds: -1, nanos: 999_999_999 }, ..Times::default() },
            parent: InodeNumber(0),
            next_cookie: 0,
            entries: 0,
            create_verifier: Some(*b"verifier"),
            target: Bytes::from_static(b"a/b"),
        }
    }

    #[test]
    fn an_inode_round_trips_with_and_without_its_optional_parts() {
        let with = link();
        assert_eq!(Inode::decode(&with.encode()), Ok(with.clone()));
        let without = Inode { create_verifier: None, target: Bytes::new(), locked: false, ..with };
        assert_eq!(Inode::decode(&without.encode()), Ok(without.clone()));
        assert_eq!(without.encode().len(), 129);
    }

    #[test]
    fn every_cut_record_is_refused() {
        let record = Inode { target: Bytes::new(), ..link() }.encode();
        for length in 0..record.len() {
            assert!(Inode::decode(&record[..length]).is_err(), "{length}");
        }
    }
}
