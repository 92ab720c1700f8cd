//! What a source has under a path.

use std::io;

use bytes::Bytes;

use super::record::{Parts, Record};
use crate::map::{Device, Kind, Times, Timestamp};

/// Whether what a source says of a file tells that it has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Same number, size, times and attributes: same content.
    Attributes,
    /// Only its content does, so it is always read; while that and the size stay, its times do too. Without a byte of it
    /// there is nothing.
    Content,
}

/// See the head of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its names from the top of the source, each after a slash but the first; empty for the top itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; only of regular files and symbolic links.
    pub size: u64,
    /// Of device nodes.
    pub device: Device,
    /// Its times.
    pub times: Times,
    /// Its number at the source.
    pub number: u64,
    /// The file system that the number is of.
    pub file_system: u64,
    /// How many names it has there.
    pub links: u32,
    /// Where a symbolic link points.
    pub target: Bytes,
    /// What tells that it has not changed.
    pub trust: Trust,
    /// A folder that is only there for what is in it: without anything it is left out.
    pub only_with_content: bool,
}

impl Found {
    /// The name in its folder.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The path of its folder; none for the top.
    pub fn folder(&self) -> Option<&[u8]> {
        if self.path.is_empty() {
            return None;
        }
        let end = self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(&self.path[..end])
    }

    /// Sorts paths so that what is in a folder follows it, and comes before what stands after the folder.
    pub(super) fn sort_key(path: &[u8]) -> Vec<u8> {
        path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Record::default()
            .bytes(&self.path)
            .u8(self.kind.code())
            .u32(u32::from(self.mode))
            .u32(self.uid)
            .u32(self.gid)
            .u64(self.size)
            .u32(self.device.major)
            .u32(self.device.minor);
        for time in [self.times.accessed, self.times.modified, self.times.changed, self.times.born] {
            out = out.u64(time.seconds.cast_unsigned()).u32(time.nanos);
        }
        let trust = u8::from(self.trust == Trust::Content);
        let out = out.u64(self.number).u64(self.file_system).u32(self.links).bytes(&self.target);
        out.u8(trust).u8(u8::from(self.only_with_content)).0
    }

    pub(super) fn decode(parts: &mut Parts<'_>) -> io::Result<Self> {
        let path = parts.bytes()?.to_vec();
        let kind = Kind::from_code(parts.u8()?).map_err(io::Error::other)?;
        let (mode, uid, gid, size) = (parts.u32()? as u16, parts.u32()?, parts.u32()?, parts.u64()?);
        let device = Device { major: parts.u32()?, minor: parts.u32()? };
        let times = Times {
            accessed: time(parts)?,
            modified: time(parts)?,
            changed: time(parts)?,
            born: time(parts)?,
        };
        let (number, file_system, links) = (parts.u64()?, parts.u64()?, parts.u32()?);
        let target = Bytes::copy_from_slice(parts.bytes()?);
        let trust = if parts.u8()? == 0 { Trust::Attributes } else { Trust::Content };
        let only_with_content = parts.u8()? != 0;
        Ok(Self {
            path,
            kind,
            mode,
            uid,
            gid,
            size,
            device,
            times,
            number,
            file_system,
            links,
            target,
            trust,
            only_with_content,
        })
    }
}

fn time(parts: &mut Parts<'_>) -> io::Result<Timestamp> {
    Ok(Timestamp { seconds: parts.u64()?.cast_signed(), nanos: parts.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &[u8]) -> Found {
        let time = |seconds| Timestamp { seconds, nanos: 7 };
        Found {
            path: path.to_vec(),
            kind: Kind::Symlink,
            mode: 0o6755,
            uid: 1,
            gid: 2,
            size: 3,
            device: Device { major: 4, minor: 5 },
            times: Times { accessed: time(-6), modified: time(7), changed: time(8), born: time(9) },
            number: 10,
            file_system: 11,
            links: 12,
            target: Bytes::from_static(b"\xff/x"),
            trust: Trust::Content,
            only_with_content: true,
        }
    }

    #[test]
    fn what_is_written_down_reads_the_same_and_every_cut_is_refused() {
        let found = found(b"a/\xfe");
        let record = found.encode();
        assert_eq!(Found::decode(&mut Parts(&record)).expect("whole"), found);
        for length in 0..record.len() {
            assert!(Found::decode(&mut Parts(&record[..length])).is_err(), "{length}");
        }
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_that_before_its_neighbours() {
        let mut paths: Vec<&[u8]> = vec![b"a.b", b"a/z", b"a", b"", b"a/b/c", b"a/b", b"a/b-c", b"\xff"];
        paths.sort_by_key(|path| Found::sort_key(path));
        let sorted: Vec<&[u8]> = vec![b"", b"a", b"a/b", b"a/b/c", b"a/b-c", b"a/z", b"a.b", b"\xff"];
        assert_eq!(paths, sorted);
    }

    #[test]
    fn names_and_folders_are_parts_of_the_path() {
        for (path, name, folder) in [
            (&b""[..], &b""[..], None),
            (b"a", b"a", Some(&b""[..])),
            (b"a/b", b"b", Some(&b"a"[..])),
            (b"a/b/c", b"c", Some(&b"a/b"[..])),
        ] {
            let found = found(path);
            assert_eq!((found.name(), found.folder()), (name, folder));
        }
    }
}
