//! What the system says of a name, in the words of a backup.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, fgetxattr, flistxattr, readlinkat, statx,
};
use rustix::io::Errno;
use tidegate_replicator::backup::{Found, Trust};
use tidegate_replicator::map::{Device, Kind, Times, Timestamp};

/// The greatest list of names, and value, of extended attributes (Linux), in bytes.
const LIST_BYTES_MAX: usize = 64 << 10;
/// Attributes that this program itself gives meaning to.
const OUR_OWN: &[u8] = b"user.tidegate.";

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Looks at an open file.
pub(super) fn look(file: impl AsFd) -> io::Result<Statx> {
    Ok(statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, wanted())?)
}

/// Looks at a name.
pub(super) fn look_at(folder: &OwnedFd, name: &CStr) -> io::Result<Statx> {
    Ok(statx(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, wanted())?)
}

/// The file system, as a number.
pub(super) fn file_system(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

/// What stands under a path; none if it is of no kind that is known.
pub(super) fn found(path: Vec<u8>, stat: &Statx) -> Option<Found> {
    let kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::RegularFile => Kind::Regular,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::BlockDevice => Kind::Block,
        FileType::CharacterDevice => Kind::Character,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => return None,
    };
    Some(Found {
        path,
        kind,
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        device: Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor },
        times: Times {
            accessed: time(stat.stx_atime),
            modified: time(stat.stx_mtime),
            changed: time(stat.stx_ctime),
            born: time(stat.stx_btime),
        },
        number: stat.stx_ino,
        file_system: file_system(stat),
        links: stat.stx_nlink,
        target: Bytes::new(),
        trust: Trust::Attributes,
        only_with_content: false,
    })
}

fn time(time: StatxTimestamp) -> Timestamp {
    Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec.min(999_999_999) }
}

/// Where a symbolic link points.
pub(super) fn target(folder: &OwnedFd, name: &CStr) -> io::Result<Bytes> {
    Ok(Bytes::from(readlinkat(folder, name, Vec::new())?.into_bytes()))
}

/// The extended attributes of an open file; none where its file system has none.
pub(super) fn extended(file: &OwnedFd) -> io::Result<Vec<(Bytes, Bytes)>> {
    let mut names = Vec::new();
    match flistxattr(file, rustix::buffer::spare_capacity(reserve(&mut names, 256))) {
        Ok(_) => {}
        Err(Errno::RANGE) => {
            flistxattr(file, rustix::buffer::spare_capacity(reserve(&mut names, LIST_BYTES_MAX)))?;
        }
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.starts_with(OUR_OWN)) {
        if let Some(value) = value(file, name)? {
            found.push((Bytes::copy_from_slice(name), value));
        }
    }
    Ok(found)
}

/// The value of an extended attribute; none if it has gone, or is not for us.
fn value(file: &OwnedFd, name: &[u8]) -> io::Result<Option<Bytes>> {
    let name = OsStr::from_bytes(name);
    let mut value = Vec::new();
    let mut read = fgetxattr(file, name, rustix::buffer::spare_capacity(reserve(&mut value, 256)));
    if read == Err(Errno::RANGE) {
        read = fgetxattr(file, name, rustix::buffer::spare_capacity(reserve(&mut value, LIST_BYTES_MAX)));
    }
    match read {
        Ok(_) => Ok(Some(Bytes::from(value))),
        Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn reserve(bytes: &mut Vec<u8>, room: usize) -> &mut Vec<u8> {
    bytes.clear();
    bytes.reserve(room);
    bytes
}
