//! Keys of the map: big-endian, so that byte order is the order of numbers, and everything of one
//! inode lies together.
//!
//! ```text
//! <inode u64> 'a'                 attributes
//! <inode u64> 'c' <cookie u64>    name in a directory, by its cookie (what a listing walks)
//! <inode u64> 'd' <name>          entry of a directory, by its name
//! <inode u64> 'e' <end u64>       extent, by the offset just past its last byte
//! <inode u64> 'x' <name>          extended attribute
//! <0 u64>     'b' <name>          what clients have set of a bucket: one part of it
//! <0 u64>     'n' <key>           the version `null` of a key that does not lead to it
//! <0 u64>     'o' <inode u64>     a file without a name that is still open
//! <0 u64>     'p' <upload u64> <number u16>    part of an upload
//! <0 u64>     'u' <key> 0 <upload u64>         an upload in parts: by the key of its object, then by age
//! <0 u64>     'v' <key> 0 <not order u64>      a version that its key does not lead to: by key, the newest first
//! ```
//!
//! An extent stands under its end and not under its start, so that the extent that covers an offset
//! is the first one *after* it: every look-up in a live map, a memory layer or a tree is then a seek
//! forward.

use std::ops::Range;

use bytes::Bytes;

use super::MapError;

/// Names a file within a share; never given out twice. Zero stands for the share itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNumber(pub u64);

impl InodeNumber {
    /// The share itself: lists that belong to no file.
    pub const SHARE: Self = Self(0);
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// A key of the map, decoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Attributes of an inode.
    Attributes(InodeNumber),
    /// A directory's entry by cookie.
    Cookie(InodeNumber, u64),
    /// A directory's entry by name.
    Entry(InodeNumber, Bytes),
    /// The extent of a file that ends before this offset.
    Extent(InodeNumber, u64),
    /// An extended attribute.
    ExtendedAttribute(InodeNumber, Bytes),
    /// What clients have set of a bucket: the part of that name.
    BucketPart(Bytes),
    /// The version `null` of an object's key, where the key does not lead to it: says its order.
    NullVersion(Bytes),
    /// An open file without a name.
    Orphan(InodeNumber),
    /// A part of an upload: the upload's number, the part's number.
    Part(InodeNumber, u16),
    /// An upload in parts: the key of the object that it will make, which holds no NUL, and the upload's
    /// number, which is drawn from those of inodes.
    Upload(Bytes, InodeNumber),
    /// A version of an object: its key, which holds no NUL, and its order, which is drawn from the numbers of
    /// inodes when the version is made. Higher ones come first.
    Version(Bytes, u64),
}

impl Key {
    /// The longest name in the flat directory of a bucket of objects, in bytes.
    pub const OBJECT_NAME_BYTES_MAX: usize = 1024;

    /// The longest key in bytes: that of an upload or of a version.
    pub const BYTES_MAX: usize = 8 + 1 + Self::OBJECT_NAME_BYTES_MAX + 1 + 8;

    /// The inode that the key belongs to.
    pub fn inode(&self) -> InodeNumber {
        match self {
            Self::Attributes(inode)
            | Self::Cookie(inode, _)
            | Self::Entry(inode, _)
            | Self::Extent(inode, _)
            | Self::ExtendedAttribute(inode, _) => *inode,
            Self::BucketPart(_)
            | Self::NullVersion(_)
            | Self::Orphan(_)
            | Self::Part(..)
            | Self::Upload(..)
            | Self::Version(..) => InodeNumber::SHARE,
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Attributes(_) => b'a',
            Self::Cookie(..) => b'c',
            Self::Entry(..) => b'd',
            Self::Extent(..) => b'e',
            Self::ExtendedAttribute(..) => b'x',
            Self::BucketPart(_) => b'b',
            Self::NullVersion(_) => b'n',
            Self::Orphan(_) => b'o',
            Self::Part(..) => b'p',
            Self::Upload(..) => b'u',
            Self::Version(..) => b'v',
        }
    }

    /// Encodes the key.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = prefix(self.inode(), self.tag());
        match self {
            Self::Attributes(_) => {}
            Self::Cookie(_, number) | Self::Extent(_, number) | Self::Orphan(InodeNumber(number)) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Entry(_, name)
            | Self::ExtendedAttribute(_, name)
            | Self::BucketPart(name)
            | Self::NullVersion(name) => out.extend_from_slice(name),
            Self::Part(upload, number) => {
                out.extend_from_slice(&upload.0.to_be_bytes());
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Upload(key, upload) => {
                out.extend_from_slice(key);
                out.push(0);
                out.extend_from_slice(&upload.0.to_be_bytes());
            }
            Self::Version(key, order) => {
                out.extend_from_slice(key);
                out.push(0);
                out.extend_from_slice(&(!order).to_be_bytes());
            }
        }
        out
    }

    /// Decodes a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let error = |why| MapError { what: "a key", why };
        let Some((inode, [tag, rest @ ..])) = bytes.split_first_chunk::<8>() else {
            return Err(error("it is too short"));
        };
        let inode = InodeNumber(u64::from_be_bytes(*inode));
        let number = || -> Result<u64, MapError> {
            rest.try_into().map(u64::from_be_bytes).map_err(|_| error("its number is not eight bytes"))
        };
        let name = || Bytes::copy_from_slice(rest);
        let key = match (tag, inode) {
            (b'a', _) if rest.is_empty() => Self::Attributes(inode),
            (b'c', _) => Self::Cookie(inode, number()?),
            (b'd', _) => Self::Entry(inode, name()),
            (b'e', _) => Self::Extent(inode, number()?),
            (b'x', _) => Self::ExtendedAttribute(inode, name()),
            (b'b', InodeNumber::SHARE) => Self::BucketPart(name()),
            (b'n', InodeNumber::SHARE) => Self::NullVersion(name()),
            (b'o', InodeNumber::SHARE) => Self::Orphan(InodeNumber(number()?)),
            (b'p', InodeNumber::SHARE) => match rest.split_first_chunk::<8>() {
                Some((upload, &[high, low])) => {
                    Self::Part(InodeNumber(u64::from_be_bytes(*upload)), u16::from_be_bytes([high, low]))
                }
                _ => return Err(error("it is not that of a part")),
            },
            (b'u', InodeNumber::SHARE) => match rest.split_last_chunk::<8>() {
                Some(([key @ .., 0], upload)) => {
                    Self::Upload(Bytes::copy_from_slice(key), InodeNumber(u64::from_be_bytes(*upload)))
                }
                _ => return Err(error("it is not that of an upload")),
            },
            (b'v', InodeNumber::SHARE) => match rest.split_last_chunk::<8>() {
                Some(([key @ .., 0], order)) => {
                    Self::Version(Bytes::copy_from_slice(key), !u64::from_be_bytes(*order))
                }
                _ => return Err(error("it is not that of a version")),
            },
            _ => return Err(error("its kind is unknown")),
        };
        Ok(key)
    }
}

/// All keys of an inode.
pub fn inode_range(inode: InodeNumber) -> Range<Vec<u8>> {
    inode.0.to_be_bytes().to_vec()..(inode.0 + 1).to_be_bytes().to_vec()
}

/// All keys of one kind of an inode, from a first one on: `from` is what follows the kind.
pub fn kind_range(inode: InodeNumber, tag: u8, from: &[u8]) -> Range<Vec<u8>> {
    let mut start = prefix(inode, tag);
    start.extend_from_slice(from);
    start..prefix(inode, tag + 1)
}

/// The keys of the versions of an object's key that come after one order, from the newest on; of all without.
pub fn versions_range(key: &[u8], after: Option<u64>) -> Range<Vec<u8>> {
    let key = Bytes::copy_from_slice(key);
    let start = match after {
        Some(order) => [&Key::Version(key.clone(), order).encode()[..], &[0]].concat(),
        None => Key::Version(key.clone(), u64::MAX).encode(),
    };
    let end = [&Key::Version(key, 0).encode()[..], &[0]].concat();
    start..end
}

/// The keys of the parts of an upload whose numbers are above `after`.
pub fn parts_range(upload: InodeNumber, after: u16) -> Range<Vec<u8>> {
    let start = [&Key::Part(upload, after).encode()[..], &[0]].concat();
    let end = [&Key::Part(upload, u16::MAX).encode()[..], &[0]].concat();
    start..end
}

fn prefix(inode: InodeNumber, tag: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&inode.0.to_be_bytes());
    out.push(tag);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_round_trips() {
        let inode = InodeNumber(0x0102_0304_0506_0708);
        let name = Bytes::from_static(b"\xff/name");
        for key in [
            Key::Attributes(inode),
            Key::Cookie(inode, 3),
            Key::Entry(inode, name.clone()),
            Key::Extent(inode, u64::MAX),
            Key::ExtendedAttribute(inode, name),
            Key::Orphan(inode),
            Key::Part(inode, 10_000),
            Key::Upload(Bytes::from_static(b"a/b"), inode),
            Key::BucketPart(Bytes::from_static(b"policy")),
            Key::NullVersion(Bytes::from_static(b"a/b")),
            Key::Version(Bytes::from_static(b"a/b"), 7),
        ] {
            assert_eq!(Key::decode(&key.encode()), Ok(key));
        }
    }

    #[test]
    fn keys_of_one_inode_lie_together_in_order() {
        let range = inode_range(InodeNumber(7));
        for key in [Key::Attributes(InodeNumber(7)), Key::ExtendedAttribute(InodeNumber(7), Bytes::new())] {
            assert!(range.contains(&key.encode()));
        }
        assert!(!range.contains(&Key::Attributes(InodeNumber(8)).encode()));
        let extents = kind_range(InodeNumber(7), b'e', &5u64.to_be_bytes());
        assert!(!extents.contains(&Key::Extent(InodeNumber(7), 4).encode()));
        assert!(extents.contains(&Key::Extent(InodeNumber(7), 5).encode()));
        assert!(extents.contains(&Key::Extent(InodeNumber(7), u64::MAX).encode()));
    }

    #[test]
    fn uploads_stand_by_key_and_then_by_age_and_parts_by_number() {
        let upload =
            |key: &'static [u8], number| Key::Upload(Bytes::from_static(key), InodeNumber(number)).encode();
        assert!(upload(b"a", u64::MAX) < upload(b"a!", 0));
        assert!(upload(b"a", 1) < upload(b"a", 256));
        let version = |key: &'static [u8], order| Key::Version(Bytes::from_static(key), order).encode();
        assert!(version(b"a", 0) < version(b"a!", u64::MAX));
        assert!(version(b"a", 256) < version(b"a", 1), "the newest comes first");
        let parts = parts_range(InodeNumber(7), 1);
        assert!(!parts.contains(&Key::Part(InodeNumber(7), 1).encode()));
        assert!(parts.contains(&Key::Part(InodeNumber(7), 2).encode()));
        assert!(parts.contains(&Key::Part(InodeNumber(7), u16::MAX).encode()));
        assert!(!parts.contains(&Key::Part(InodeNumber(8), 2).encode()));
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        for bytes in [&b""[..], b"1234567", b"12345678", b"12345678?", b"12345678c123", b"12345678o12345678"]
        {
            assert!(Key::decode(bytes).is_err());
        }
    }
}
