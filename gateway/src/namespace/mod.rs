//! The namespace: files and directories of a share, as POSIX has them.
//!
//! Owns what an operation means: which keys of the map it reads and changes, whether the caller may,
//! and which times, counters and link counts move with it. Works on a [`Share`] for changes and on any
//! [`MapRead`] for questions, so a snapshot answers like a live share. Speaks the vocabulary of
//! [`tidegate_protocols::view`], but knows nothing of handles, exports or wires.
//!
//! Invariants of the map, which every transaction keeps:
//! * a name has exactly one entry and one cookie record, which agree;
//! * `links` of a file is the number of its entries; of a directory, two and one for each directory
//!   in it; an inode with no links has no keys, unless an orphan record says that it is open;
//! * `entries` of a directory is the number of its entries; every cookie in it is below `next_cookie`;
//! * extents of a file do not overlap and end at or before its size; `used` is the sum of their lengths
//!   (an upper bound after a very long file was cut, see [`data`]);
//! * every change of an inode adds to `change` and sets `changed`.
//!
//! Order in each change: lock the inodes, read, decide, submit one transaction, unlock, wait until it
//! is durable, answer. A crash before the record is durable leaves no trace; after it, everything.

mod attributes;
mod create;
pub mod data;
mod extended;
mod listing;
pub mod locked;
mod lookup;
pub mod objects;
mod open;
mod permission;
mod punch;
mod remove;
mod rename;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tidegate_protocols::view::{FsError, NAME_BYTES_MAX};
use tidegate_protocols::waits::{Wait, waiting};
use tidegate_replicator::map::{Entry, Inode, InodeNumber, Key, Kind, Timestamp};
use tidegate_replicator::tree::Value;

pub use create::NewFile;
pub use extended::{
    EXTENDED_LIST_BYTES_MAX, EXTENDED_NAME_BYTES_MAX, EXTENDED_TOTAL_BYTES_MAX, EXTENDED_VALUE_BYTES_MAX,
    ExtendedAttributes, SetHow,
};
pub use listing::{Listed, ListedEntry};
pub use open::OpenFile;
pub use permission::{Credentials, EXECUTE, READ, WRITE};

use crate::clock::Clock;
use crate::journal::Sequence;
use crate::share::{MapRead, Share, ShareError, Transaction};

/// Offsets beyond this are refused: the largest signed 64-bit number, as on Linux.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

impl From<ShareError> for FsError {
    /// Where an error of the share ends: it is logged here, and the client gets its kind.
    fn from(error: ShareError) -> Self {
        if error.is_passing() {
            tracing::debug!(%error, "a call has to wait for the store");
            return Self::TryLater;
        }
        if let ShareError::OverQuota { resource } = error {
            tracing::debug!(resource = resource.as_str(), "a change does not fit the quota");
            return Self::Quota;
        }
        if let ShareError::TooLong { bytes } = error {
            tracing::warn!(bytes, "a record is longer than the repository takes");
            return Self::FileTooBig;
        }
        tracing::error!(error = &error as &dyn std::error::Error, "a file operation failed");
        Self::Io
    }
}

/// An inode with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: InodeNumber,
    /// Its attributes.
    pub inode: Inode,
}

/// An inode before and after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    /// Just before.
    pub before: Inode,
    /// Just after.
    pub after: Node,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was made, linked or found in its place.
    pub object: Option<Node>,
    /// The inode changed: the directory, for changes of names.
    pub first: Around,
    /// The target directory of a rename or link.
    pub second: Option<Around>,
}

/// Encodes an outcome so that it can be noted beside the change, for a repetition of the call.
pub type NoteOutcome<'a> = &'a (dyn Fn(&Outcome) -> ([u8; 16], Bytes) + Send + Sync);

/// Who wants a change, and how to note its outcome.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who.
    pub credentials: &'a Credentials,
    /// Set when the call may be repeated.
    pub note: Option<NoteOutcome<'a>>,
    /// Set when the caller waits for a bounded time: becomes true when the change is handed to the journal,
    /// and is not to be given up any more.
    pub submitted: Option<&'a AtomicBool>,
}

impl Context<'static> {
    /// Of the gateway itself.
    pub const ROOT: Self = Self { credentials: &Credentials::ROOT, note: None, submitted: None };
}

impl<'a> Context<'a> {
    /// Of a caller who does not repeat and waits as long as it takes.
    pub const fn new(credentials: &'a Credentials) -> Self {
        Self { credentials, note: None, submitted: None }
    }
}

/// Questions about a map, live or frozen.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What is asked.
    pub map: &'a dyn MapRead,
}

impl Reader<'_> {
    /// An inode; [`FsError::Stale`] when there is none.
    pub async fn node(&self, number: InodeNumber) -> Result<Node, FsError> {
        let value = self.map.get(&Key::Attributes(number)).await?.ok_or(FsError::Stale)?;
        let inode = Inode::decode(&value.payload).map_err(ShareError::from)?;
        Ok(Node { number, inode })
    }

    /// The inodes of these numbers, read together; none for one that is not there, and none at all if
    /// one of them cannot be read now.
    pub async fn nodes(&self, numbers: impl Iterator<Item = InodeNumber>) -> Vec<Option<Node>> {
        let keys: Vec<_> = numbers.map(Key::Attributes).collect();
        let values = self.map.get_many(&keys).await.unwrap_or_default();
        let node = |(key, value): (&Key, Option<Value>)| {
            let inode = Inode::decode(&value?.payload).ok()?;
            Some(Node { number: key.inode(), inode })
        };
        keys.iter().zip(values.into_iter().chain(std::iter::repeat(None))).map(node).collect()
    }

    /// An inode that must be a directory.
    pub async fn directory(&self, number: InodeNumber) -> Result<Node, FsError> {
        let node = self.node(number).await?;
        if node.inode.kind == Kind::Directory { Ok(node) } else { Err(FsError::NotDirectory) }
    }

    /// The entry of a name, if there is one.
    pub async fn entry(&self, directory: InodeNumber, name: &[u8]) -> Result<Option<Entry>, FsError> {
        let key = Key::Entry(directory, Bytes::copy_from_slice(name));
        let value = self.map.get(&key).await?;
        let entry = value.map(|value| Entry::decode(&value.payload)).transpose();
        Ok(entry.map_err(ShareError::from)?)
    }
}

/// Changes of a share's files.
#[derive(Clone)]
pub struct Namespace {
    share: Arc<Share>,
    clock: Arc<dyn Clock>,
}

impl Namespace {
    /// The namespace of a share.
    pub fn new(share: Arc<Share>, clock: Arc<dyn Clock>) -> Self {
        Self { share, clock }
    }

    /// The share.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Questions about the live map.
    pub fn reader(&self) -> Reader<'_> {
        Reader { map: self.share.map() }
    }

    /// Makes the root directory of a share that is still empty. Owned by the superuser, mode 0755.
    pub async fn create_root(&self) -> Result<(), FsError> {
        let _locks = self.share.locks().lock(&[InodeNumber::ROOT]).await;
        if self.share.map().get(&Key::Attributes(InodeNumber::ROOT)).await?.is_some() {
            return Ok(());
        }
        let root =
            Inode { parent: InodeNumber::ROOT, ..self.new_inode(Kind::Directory, 0o755, &Credentials::ROOT) };
        let mut transaction = Transaction::default();
        transaction.put_inode(InodeNumber::ROOT, &root);
        transaction.use_more(0, 1);
        let sequence = transaction.submit(&self.share, Bytes::new()).await?;
        self.durable(sequence).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn new_inode(&self, kind: Kind, mode: u16, owner: &Credentials) -> Inode {
        let now = self.now();
        let directory = kind == Kind::Directory;
        Inode {
            kind,
            mode,
            locked: false,
            links: if directory { 2 } else { 1 },
            uid: owner.uid,
            gid: owner.gid,
            size: 0,
            used: 0,
            device: tidegate_replicator::map::Device::default(),
            generation: self.share.incarnation(),
            change: 1,
            times: tidegate_replicator::map::Times { accessed: now, modified: now, changed: now, born: now },
            parent: InodeNumber(0),
            next_cookie: if directory { Entry::COOKIE_FIRST } else { 0 },
            entries: 0,
            create_verifier: None,
            target: Bytes::new(),
        }
    }

    async fn durable(&self, sequence: Sequence) -> Result<(), FsError> {
        let durable = waiting(Wait::Journal, self.share.live().durable(sequence));
        Ok(durable.await.map_err(ShareError::from)?)
    }

    /// Submits under the locks that the caller gives up here, then waits for the disk without them.
    async fn finish(
        &self,
        context: Context<'_>,
        locks: Vec<tokio::sync::MutexGuard<'_, ()>>,
        mut transaction: Transaction,
        outcome: Outcome,
    ) -> Result<Outcome, FsError> {
        if let Some(note) = context.note {
            let (retry, encoded) = note(&outcome);
            transaction.note_outcome(retry, encoded);
        }
        // While it waits for room, the time of the call bounds it.
        let sequence = transaction.submit_noting(&self.share, Bytes::new(), context.submitted).await?;
        drop(locks);
        self.durable(sequence).await?;
        Ok(outcome)
    }
}

/// Refuses what cannot be a name: nothing, a slash, a NUL, more than 255 bytes.
pub fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.is_empty() || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        Err(FsError::Invalid)
    } else if name.len() > NAME_BYTES_MAX {
        Err(FsError::NameTooLong)
    } else {
        Ok(())
    }
}

/// Notes that an inode's attributes change.
fn touch(inode: &mut Inode, now: Timestamp) {
    inode.change += 1;
    inode.times.changed = now;
}

/// Notes that the content of a file or directory changes. Whoever created it exclusively knows by then that he did: a
/// further CREATE is not a repetition of his.
fn touch_content(inode: &mut Inode, now: Timestamp) {
    touch(inode, now);
    inode.times.modified = now;
    inode.create_verifier = None;
}

#[cfg(test)]
pub(crate) mod tests {
    use tidegate_replicator::map::{Device, Times};

    use super::*;

    /// An inode for tests of single functions.
    pub(crate) fn inode(kind: Kind) -> Inode {
        Inode {
            kind,
            mode: 0o644,
            locked: false,
            links: 1,
            uid: 0,
            gid: 0,
            size: 0,
            used: 0,
            device: Device::default(),
            generation: 1,
            change: 1,
            times: Times::default(),
            parent: InodeNumber(0),
            next_cookie: 0,
            entries: 0,
            create_verifier: None,
            target: Bytes::new(),
        }
    }

    #[test]
    fn names_with_a_slash_or_nul_or_of_256_bytes_are_refused() {
        assert_eq!(check_name(b"a\xff b"), Ok(()));
        assert_eq!(check_name(&[b'n'; 255]), Ok(()));
        assert_eq!(check_name(&[b'n'; 256]), Err(FsError::NameTooLong));
        for name in [&b""[..], b"a/b", b"a\0"] {
            assert_eq!(check_name(name), Err(FsError::Invalid));
        }
    }
}
