//! What a source says of a file, as the attributes that stand in the map.

use bytes::Bytes;

use super::found::{Found, Trust};
use crate::map::{Entry, Inode, InodeNumber, Kind, Times};

/// Whether nothing says that the file has changed since its attributes were written down.
pub(super) fn is_unchanged(found: &Found, before: &Inode) -> bool {
    found.trust == Trust::Attributes
        && found.kind == before.kind
        && found.number == before.generation
        && found.times.modified == before.times.modified
        && found.times.changed == before.times.changed
        && (found.kind != Kind::Regular || found.size == before.size)
        && (found.mode, found.uid, found.gid) == (before.mode, before.uid, before.gid)
        && (!is_device(found.kind) || found.device == before.device)
        && (found.kind != Kind::Symlink || found.target == before.target)
}

/// The attributes of a file that is no folder, under as many names as it has here.
pub(super) fn of_file(found: &Found, parent: InodeNumber, links: u32) -> Inode {
    let size = match found.kind {
        Kind::Regular => found.size,
        Kind::Symlink => found.target.len() as u64,
        Kind::Directory | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => 0,
    };
    Inode { links, size, ..plain(found, parent) }
}

/// The attributes of a folder.
pub(super) fn of_folder(
    found: &Found,
    parent: InodeNumber,
    (entries, folders, next_cookie): (u64, u32, u64),
) -> Inode {
    let links = folders.saturating_add(2);
    Inode { links, entries, next_cookie: next_cookie.max(Entry::COOKIE_FIRST), ..plain(found, parent) }
}

fn plain(found: &Found, parent: InodeNumber) -> Inode {
    Inode {
        kind: found.kind,
        mode: found.mode & 0o7777,
        locked: false,
        links: 1,
        uid: found.uid,
        gid: found.gid,
        size: 0,
        used: 0,
        device: if is_device(found.kind) { found.device } else { crate::map::Device::default() },
        generation: found.number,
        change: 1,
        times: found.times,
        parent,
        next_cookie: 0,
        entries: 0,
        create_verifier: None,
        target: if found.kind == Kind::Symlink { found.target.clone() } else { Bytes::new() },
    }
}

fn is_device(kind: Kind) -> bool {
    matches!(kind, Kind::Block | Kind::Character)
}

/// What is to stand in the map instead of what stood there; none when that says the same. When a file was last read is no
/// difference, for reading it makes one.
pub(super) fn instead(new: Inode, before: Option<&Inode>) -> Option<Inode> {
    let Some(before) = before else { return Some(new) };
    let same = Inode {
        change: before.change,
        times: Times { accessed: before.times.accessed, ..new.times },
        ..new.clone()
    };
    (same != *before).then(|| Inode { change: before.change.wrapping_add(1), ..new })
}
