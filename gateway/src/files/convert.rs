//! Between the map's words for files and the view's.

use tidegate_protocols::view::{Attributes, Before, Device, FileKind, Time};
use tidegate_replicator::map::{self, Inode, Kind, Timestamp};

use crate::namespace::Node;

/// The view's kind of a file.
pub(super) fn file_kind(kind: Kind) -> FileKind {
    match kind {
        Kind::Regular => FileKind::Regular,
        Kind::Directory => FileKind::Directory,
        Kind::Symlink => FileKind::Symlink,
        Kind::Block => FileKind::Block,
        Kind::Character => FileKind::Character,
        Kind::Fifo => FileKind::Fifo,
        Kind::Socket => FileKind::Socket,
    }
}

/// The map's kind, for those that MKNOD makes.
pub(super) fn node_kind(kind: FileKind) -> Option<Kind> {
    match kind {
        FileKind::Block => Some(Kind::Block),
        FileKind::Character => Some(Kind::Character),
        FileKind::Fifo => Some(Kind::Fifo),
        FileKind::Socket => Some(Kind::Socket),
        FileKind::Regular | FileKind::Directory | FileKind::Symlink => None,
    }
}

/// The map's device number.
pub(super) fn device(device: Device) -> map::Device {
    map::Device { major: device.major, minor: device.minor }
}

fn time(time: Timestamp) -> Time {
    Time { seconds: time.seconds, nanos: time.nanos }
}

/// The view's attributes of a file.
pub(super) fn attributes(node: &Node, fsid: u64) -> Attributes {
    let inode = &node.inode;
    Attributes {
        kind: file_kind(inode.kind),
        mode: u32::from(inode.mode),
        links: inode.links,
        uid: inode.uid,
        gid: inode.gid,
        size: size(inode),
        used: used(inode),
        device: Device { major: inode.device.major, minor: inode.device.minor },
        fsid,
        file_id: node.number.0,
        generation: inode.generation,
        change: inode.change,
        accessed: time(inode.times.accessed),
        modified: time(inode.times.modified),
        changed: time(inode.times.changed),
        born: time(inode.times.born),
    }
}

/// Attributes from before a change.
pub(super) fn before(inode: &Inode) -> Before {
    Before { size: size(inode), modified: time(inode.times.modified), changed: time(inode.times.changed) }
}

/// A directory shows a size that grows with its entries, as programs expect that show one at all.
fn size(inode: &Inode) -> u64 {
    if inode.kind == Kind::Directory { 4096 + 32 * inode.entries } else { inode.size }
}

fn used(inode: &Inode) -> u64 {
    if inode.kind == Kind::Directory { size(inode) } else { inode.used }
}
