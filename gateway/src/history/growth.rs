//! By how much a share grows in the course of a restore, counted before it is carried out.
//!
//! An upper bound: what has other names is taken to stay when one of them goes.

use tidegate_replicator::map::Kind;

use crate::control::{ControlError, ErrorKind};
use crate::namespace::Node;
use crate::share::Share;

/// Counts in the order in which the restore will change things.
#[derive(Debug, Default)]
pub(super) struct Growth {
    bytes: i64,
    inodes: i64,
    /// The most that each of them came to.
    bytes_most: i64,
    inodes_most: i64,
}

impl Growth {
    /// A file or directory will be made.
    pub(super) fn comes(&mut self, node: &Node) {
        self.add(node.inode.used.cast_signed(), 1);
    }

    /// A name will go, and with its last name what it stands for.
    pub(super) fn goes(&mut self, node: &Node) {
        if node.inode.kind == Kind::Directory || node.inode.links == 1 {
            self.add(-node.inode.used.cast_signed(), -1);
        }
    }

    /// A file will get the data of another.
    pub(super) fn becomes(&mut self, live: &Node, source: &Node) {
        self.add(source.inode.used.cast_signed() - live.inode.used.cast_signed(), 0);
    }

    fn add(&mut self, bytes: i64, inodes: i64) {
        self.bytes += bytes;
        self.inodes += inodes;
        self.bytes_most = self.bytes_most.max(self.bytes);
        self.inodes_most = self.inodes_most.max(self.inodes);
    }

    /// Refuses what the quota leaves no room for.
    pub(super) fn check(&self, share: &Share) -> Result<(), ControlError> {
        let (bytes, inodes) = (self.bytes_most.unsigned_abs(), self.inodes_most.unsigned_abs());
        let Some(resource) = share.account().refuses(bytes, inodes, share.clock().utc()) else {
            return Ok(());
        };
        let what = resource.as_str();
        let message =
            format!("the quota of the share leaves too few {what} for this restore; nothing was changed");
        let todo = "raise the quota of the share, or remove files, then try again";
        Err(ControlError::new(ErrorKind::Full, message).todo(todo))
    }
}
