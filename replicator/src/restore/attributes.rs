//! Owner, extended attributes, mode and times of what was restored, in this order: a change of owner
//! takes set-id bits and capabilities away, and writing changes times.

use std::io;
use std::os::fd::AsFd;

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
    futimens, utimensat,
};

use super::folder::Folder;
use crate::frozen::path_text;
use crate::map::{Inode, Kind, Timestamp};

const SET_USER_ID: u16 = 0o4000;
const SET_GROUP_ID: u16 = 0o2000;

/// What this process may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority {
    pub(super) is_root: bool,
    uid: u32,
    gid: u32,
}

/// What was not taken over.
#[derive(Debug, Default)]
pub(super) struct Lapses {
    /// Set-id bits were left out.
    pub(super) set_id_dropped: bool,
    /// What could not be set, and why.
    pub(super) unset: Vec<String>,
}

impl Lapses {
    fn take(&mut self, what: &str, done: rustix::io::Result<()>) {
        if let Err(error) = done {
            self.unset.push(format!("its {what} could not be set: {}", io::Error::from(error)));
        }
    }
}

impl Authority {
    pub(super) fn of_this_process() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self { is_root: uid.is_root(), uid: uid.as_raw(), gid: gid.as_raw() }
    }

    /// Gives an open file or folder its attributes.
    pub(super) fn apply(&self, file: impl AsFd, inode: &Inode, extended: &[(Bytes, Bytes)]) -> Lapses {
        let mut lapses = Lapses::default();
        if self.is_root {
            lapses
                .take("owner", fchown(&file, Some(Uid::from_raw(inode.uid)), Some(Gid::from_raw(inode.gid))));
        }
        for (name, value) in extended {
            let set = fsetxattr(&file, &name[..], value, XattrFlags::empty());
            lapses.take(&format!("extended attribute {}", path_text(name)), set);
        }
        let mode = self.mode(inode, &mut lapses.set_id_dropped);
        lapses.take("mode", fchmod(&file, mode));
        lapses.take("times", futimens(&file, &times(inode)));
        lapses
    }

    /// Gives a file that has no data its attributes, by its name in a folder that is ours alone.
    pub(super) fn apply_by_name(
        &self,
        folder: &Folder,
        name: &[u8],
        inode: &Inode,
        extended: &[(Bytes, Bytes)],
    ) -> Lapses {
        let mut lapses = Lapses::default();
        let owner = (Some(Uid::from_raw(inode.uid)), Some(Gid::from_raw(inode.gid)));
        if self.is_root {
            lapses.take("owner", chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW));
        }
        if !extended.is_empty() {
            lapses
                .unset
                .push("its extended attributes could not be set: its kind takes none here".to_owned());
        }
        // A symbolic link has no mode of its own on Linux.
        if inode.kind != Kind::Symlink {
            let mode = self.mode(inode, &mut lapses.set_id_dropped);
            lapses.take("mode", chmodat(folder, name, mode, AtFlags::empty()));
        }
        lapses.take("times", utimensat(folder, name, &times(inode), AtFlags::SYMLINK_NOFOLLOW));
        lapses
    }

    /// The mode; without set-id bits where the file will have another owner than it had.
    fn mode(&self, inode: &Inode, dropped: &mut bool) -> Mode {
        let mut mode = inode.mode & 0o7777;
        if !self.is_root && inode.kind != Kind::Directory {
            let before = mode;
            if inode.uid != self.uid {
                mode &= !SET_USER_ID;
            }
            if inode.gid != self.gid {
                mode &= !SET_GROUP_ID;
            }
            *dropped |= mode != before;
        }
        Mode::from_raw_mode(u32::from(mode))
    }
}

fn times(inode: &Inode) -> Timestamps {
    let time = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time(inode.times.accessed), last_modification: time(inode.times.modified) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Device, InodeNumber, Times};

    fn program(mode: u16) -> Inode {
        Inode {
            kind: Kind::Regular,
            mode,
            locked: false,
            links: 1,
            uid: 7,
            gid: 8,
            size: 0,
            used: 0,
            device: Device::default(),
            generation: 0,
            change: 0,
            times: Times::default(),
            parent: InodeNumber::ROOT,
            next_cookie: 0,
            entries: 0,
            create_verifier: None,
            target: Bytes::new(),
        }
    }

    #[test]
    fn set_id_bits_never_stand_with_another_owner() {
        let somebody = Authority { is_root: false, uid: 1, gid: 8 };
        let mut dropped = false;
        assert_eq!(somebody.mode(&program(0o6755), &mut dropped).as_raw_mode(), 0o2755);
        assert!(dropped);
        let root = Authority { is_root: true, uid: 0, gid: 0 };
        dropped = false;
        assert_eq!(root.mode(&program(0o6755), &mut dropped).as_raw_mode(), 0o6755);
        assert!(!dropped);
    }
}
