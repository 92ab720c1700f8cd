//! Who may do what: POSIX permission bits, the sticky bit, set-id bits.
//!
//! Source: IEEE Std 1003.1-2017, "File Access Permissions" and the pages of chmod, chown, unlink and
//! rename; where it leaves a choice, what Linux does. Network specials (a file's owner may read and
//! write it whatever its bits say, since his open cannot be seen) follow RFC 1813 section 4.4.

use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Inode, Kind};

/// Permission to read; the bit of "others".
pub const READ: u16 = 4;
/// Permission to write; the bit of "others".
pub const WRITE: u16 = 2;
/// Permission to execute or to search; the bit of "others".
pub const EXECUTE: u16 = 1;

/// Set-user-id.
pub(super) const SET_UID: u16 = 0o4000;
/// Set-group-id.
pub(super) const SET_GID: u16 = 0o2000;
/// Sticky.
pub(super) const STICKY: u16 = 0o1000;

/// Who acts, after squashing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Further groups.
    pub gids: Vec<u32>,
}

impl Credentials {
    /// The superuser.
    pub const ROOT: Self = Self { uid: 0, gid: 0, gids: Vec::new() };

    /// Whether this is the superuser.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether this is the owner of the file, or the superuser.
    pub fn owns(&self, inode: &Inode) -> bool {
        self.is_root() || self.uid == inode.uid
    }

    /// Whether this is a member of the group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.gids.contains(&gid)
    }

    /// Whether the permission bits grant everything in `wanted`.
    pub fn may(&self, inode: &Inode, wanted: u16) -> bool {
        if self.is_root() {
            let executable = inode.kind == Kind::Directory || inode.mode & 0o111 != 0;
            return wanted & EXECUTE == 0 || executable;
        }
        let class = match () {
            () if self.uid == inode.uid => inode.mode >> 6,
            () if self.in_group(inode.gid) => inode.mode >> 3,
            () => inode.mode,
        };
        class & wanted == wanted
    }

    /// Refuses what the permission bits do not grant.
    pub fn require(&self, inode: &Inode, wanted: u16) -> Result<(), FsError> {
        if self.may(inode, wanted) { Ok(()) } else { Err(FsError::Access) }
    }

    /// Refuses the removal or replacement of `child` in a sticky `directory` by strangers.
    pub fn require_sticky(&self, directory: &Inode, child: &Inode) -> Result<(), FsError> {
        let stranger = !self.owns(directory) && !self.owns(child);
        if directory.mode & STICKY != 0 && stranger { Err(FsError::Access) } else { Ok(()) }
    }
}

/// The mode after somebody gave the file to another owner or group, or, other than the superuser, wrote to it or
/// changed its length: a program that others run as its owner must not change under them. As on Linux set-group-id stays
/// where the group does not execute the file, if the caller is in the group or the superuser.
pub(super) fn without_set_ids(inode: &Inode, caller: &Credentials) -> u16 {
    if inode.kind == Kind::Directory {
        return inode.mode;
    }
    let group_executes = inode.mode & 0o010 != 0;
    let of_group = caller.is_root() || caller.in_group(inode.gid);
    let gone = if of_group && !group_executes { SET_UID } else { SET_UID | SET_GID };
    inode.mode & !gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::tests::inode;

    fn user(uid: u32, gid: u32) -> Credentials {
        Credentials { uid, gid, gids: vec![100] }
    }

    #[test]
    fn the_first_matching_class_decides_alone() {
        let file = Inode { uid: 1, gid: 100, mode: 0o077, ..inode(Kind::Regular) };
        assert!(!user(1, 1).may(&file, READ), "the owner has no bits, though his group has");
        assert!(user(2, 2).may(&file, READ | WRITE | EXECUTE));
        assert!(user(3, 3).may(&file, READ));
    }

    #[test]
    fn root_may_everything_but_execute_what_nobody_may() {
        let file = Inode { uid: 1, mode: 0, ..inode(Kind::Regular) };
        assert!(Credentials::ROOT.may(&file, READ | WRITE));
        assert!(!Credentials::ROOT.may(&file, EXECUTE));
        assert!(Credentials::ROOT.may(&Inode { kind: Kind::Directory, ..file }, EXECUTE));
    }

    #[test]
    fn a_sticky_directory_keeps_strangers_from_files_of_others() {
        let directory = Inode { uid: 1, mode: 0o1777, ..inode(Kind::Directory) };
        let file = Inode { uid: 2, ..inode(Kind::Regular) };
        assert_eq!(user(3, 3).require_sticky(&directory, &file), Err(FsError::Access));
        assert_eq!(user(2, 3).require_sticky(&directory, &file), Ok(()));
        assert_eq!(user(1, 3).require_sticky(&directory, &file), Ok(()));
    }

    #[test]
    fn set_group_id_stays_on_files_that_the_group_does_not_execute_for_members_of_it() {
        let file = Inode { gid: 7, mode: 0o6745, ..inode(Kind::Regular) };
        let program = Inode { mode: 0o6755, ..file.clone() };
        for caller in [user(1, 7), Credentials::ROOT] {
            assert_eq!(without_set_ids(&file, &caller), 0o2745);
            assert_eq!(without_set_ids(&program, &caller), 0o755);
        }
        assert_eq!(without_set_ids(&file, &user(1, 8)), 0o745);
        let directory = Inode { mode: 0o2755, ..inode(Kind::Directory) };
        assert_eq!(without_set_ids(&directory, &user(1, 8)), 0o2755);
    }
}
