//! The map of a share: what its keys and values say.

use std::collections::BTreeMap;

use super::bytes::{Bytes, hex};
use super::chunks::Reference;
use super::tree::Entry;
use super::{In, Read, Refused, expect, refuse};

const NAME_BYTES_MAX: usize = 1024;
const NANOSECONDS_END: u32 = 1_000_000_000;

/// Kinds of files.
pub(super) const REGULAR: u8 = 1;
pub(super) const DIRECTORY: u8 = 2;
pub(super) const SYMLINK: u8 = 5;

/// A point in time: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whole seconds, also before 1970.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

/// Attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// 1 regular, 2 directory, 3 block device, 4 character device, 5 symbolic link, 6 socket, 7 named pipe.
    pub kind: u8,
    /// The low twelve bits.
    pub mode: u16,
    /// Names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that are not holes.
    pub used: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// The life of the inode.
    pub generation: u64,
    /// Counts changes.
    pub change: u64,
    /// When it was accessed, modified, changed, born.
    pub times: [Moment; 4],
    /// Where `..` leads, for directories.
    pub parent: u64,
    /// The cookie that the next name gets.
    pub next_cookie: u64,
    /// Names in the directory.
    pub entries: u64,
    /// Of an exclusive create; empty without one.
    pub verifier: Vec<u8>,
    /// Where a symbolic link leads.
    pub target: Vec<u8>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: u8,
    pub(super) inode: u64,
    pub(super) cookie: u64,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) chunk: Reference,
    pub(super) chunk_offset: u32,
    pub(super) chunk_bytes: u32,
}

/// Everything of one inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) attributes: Option<Attributes>,
    pub(super) names: BTreeMap<Vec<u8>, Name>,
    /// By cookie: kind, inode, name.
    pub(super) cookies: BTreeMap<u64, (u8, u64, Vec<u8>)>,
    pub(super) extents: Vec<Extent>,
    pub(super) extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A whole share.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// Files without a name that were open.
    pub(super) orphans: Vec<u64>,
}

impl Map {
    /// Adds an entry.
    pub(super) fn add(&mut self, entry: Entry) -> Read<()> {
        let place = format!("key {}", hex(&entry.key));
        self.add_within(entry).within(&place)
    }

    fn add_within(&mut self, entry: Entry) -> Read<()> {
        let mut key = Bytes(&entry.key);
        let (number, tag) = (u64::from_be_bytes(key.array()?), key.u8()?);
        expect(tag == b'e' || entry.references.is_empty(), "references where there are none")?;
        if number == 0 {
            return match tag {
                b'o' => {
                    self.orphans.push(u64::from_be_bytes(key.array()?));
                    key.end()
                }
                // Uploads in parts, whose bytes are no file yet; versions that their keys do not lead to; settings.
                b'p' | b'u' | b'b' | b'n' | b'v' => Ok(()),
                _ => refuse("an unknown key of the share"),
            };
        }
        let inode = self.inodes.entry(number).or_default();
        match tag {
            b'a' => {
                key.end()?;
                inode.attributes = Some(attributes(&entry.payload)?);
            }
            b'c' => {
                let cookie = u64::from_be_bytes(key.array()?);
                key.end()?;
                inode.cookies.insert(cookie, by_cookie(&entry.payload)?);
            }
            b'd' => {
                expect((1..=NAME_BYTES_MAX).contains(&key.0.len()), "a name of no allowed length")?;
                inode.names.insert(key.0.to_vec(), by_name(&entry.payload)?);
            }
            b'e' => {
                let end = u64::from_be_bytes(key.array()?);
                key.end()?;
                inode.extents.push(extent(end, entry)?);
            }
            b'x' => {
                inode.extended.insert(key.0.to_vec(), entry.payload);
            }
            _ => return refuse("an unknown key of an inode"),
        }
        Ok(())
    }
}

fn moment(bytes: &mut Bytes<'_>) -> Read<Moment> {
    let moment = Moment { seconds: bytes.i64()?, nanoseconds: bytes.u32()? };
    expect(moment.nanoseconds < NANOSECONDS_END, "more nanoseconds than a second has")?;
    Ok(moment)
}

fn attributes(payload: &[u8]) -> Read<Attributes> {
    let mut bytes = Bytes(payload);
    expect(bytes.u8()? == 1, "attributes of another version")?;
    let kind = bytes.u8()?;
    expect((1..=7).contains(&kind), "an unknown kind of file")?;
    // Bit 15 says that there may be a lock.
    let mode = bytes.u16()? & !(1 << 15);
    expect(mode < 1 << 12, "a mode of more than twelve bits")?;
    let read = Attributes {
        kind,
        mode,
        links: bytes.u32()?,
        uid: bytes.u32()?,
        gid: bytes.u32()?,
        size: bytes.u64()?,
        used: bytes.u64()?,
        device: (bytes.u32()?, bytes.u32()?),
        generation: bytes.u64()?,
        change: bytes.u64()?,
        times: [moment(&mut bytes)?, moment(&mut bytes)?, moment(&mut bytes)?, moment(&mut bytes)?],
        parent: bytes.u64()?,
        next_cookie: bytes.u64()?,
        entries: bytes.u64()?,
        verifier: {
            let length = bytes.u8()?;
            expect(length == 0 || length == 8, "a verifier of another length")?;
            bytes.take(length as usize)?.to_vec()
        },
        target: bytes.0.to_vec(),
    };
    expect(kind == SYMLINK || read.target.is_empty(), "a target of what is no link")?;
    let is_directory = kind == DIRECTORY;
    expect(is_directory || (read.next_cookie, read.entries) == (0, 0), "cookies of what is no directory")?;
    Ok(read)
}

fn by_name(payload: &[u8]) -> Read<Name> {
    let mut bytes = Bytes(payload);
    expect(bytes.u8()? == 1, "an entry of another version")?;
    let name = Name { kind: bytes.u8()?, inode: bytes.u64()?, cookie: bytes.u64()? };
    bytes.end()?;
    expect(name.cookie >= 3, "a cookie below 3")?;
    Ok(name)
}

fn by_cookie(payload: &[u8]) -> Read<(u8, u64, Vec<u8>)> {
    let mut bytes = Bytes(payload);
    expect(bytes.u8()? == 1, "an entry of another version")?;
    Ok((bytes.u8()?, bytes.u64()?, bytes.0.to_vec()))
}

fn extent(end: u64, entry: Entry) -> Read<Extent> {
    let mut bytes = Bytes(&entry.payload);
    expect(bytes.u8()? == 1, "an extent of another version")?;
    expect(bytes.u8()? == 1, "an extent of another source")?;
    let (length, chunk_offset, chunk_bytes) = (bytes.u64()?, bytes.u32()?, bytes.u32()?);
    bytes.end()?;
    let Ok([chunk]) = <[Reference; 1]>::try_from(entry.references) else {
        return refuse("an extent has one reference");
    };
    let start = end.checked_sub(length).ok_or_else(|| Refused("an extent begins below 0".into()))?;
    expect(length > 0, "an extent of nothing")?;
    let in_chunk = u64::from(chunk_offset) + length <= u64::from(chunk_bytes);
    expect(in_chunk, "an extent beyond its chunk")?;
    Ok(Extent { start, end, chunk, chunk_offset, chunk_bytes })
}
