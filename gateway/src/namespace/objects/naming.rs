//! Giving names to files and taking them away, under the locks that this needs.
//!
//! Whoever changes a name holds the locks of its directory, of the file that has it, and, in the flat directory of
//! a bucket that keeps versions, of those versions that may go. They are looked up before, to know what to lock,
//! and again after.

use bytes::Bytes;
use tidegate_protocols::objects::ObjectError;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Cookie, Entry, InodeNumber, Key, Kind, ObjectRecord, encode_part_sizes};
use tokio::sync::MutexGuard;

use super::versions::{Beneath, Which};
use super::{Description, Held, Namespace, Place, Unnamed, has_lock, record_key, sizes_key, sums_key};
use crate::namespace::permission::{EXECUTE, SET_GID, WRITE};
use crate::namespace::{Credentials, Node, touch_content};
use crate::share::Transaction;

/// The locks and the state under which a name is given, taken or described.
pub(super) struct Locked<'a> {
    pub(super) locks: Vec<MutexGuard<'a, ()>>,
    pub(super) parent: Node,
    pub(super) existing: Option<(Entry, Held)>,
    /// The versions that the name does not lead to, where there may be any.
    pub(super) beneath: Beneath,
}

impl Namespace {
    /// Locks a directory, the file that has a name in it, and further inodes; checks that the caller may
    /// change the name. `chosen` is a version that the caller wants to change.
    pub(super) async fn lock_name(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        further: &[InodeNumber],
        chosen: Option<Which>,
    ) -> Result<Locked<'_>, ObjectError> {
        place.check()?;
        let reader = self.reader();
        loop {
            let seen = reader.entry(place.directory, place.name).await?;
            let beneath = reader.beneath(place, chosen).await?;
            let inodes: Vec<_> = further
                .iter()
                .copied()
                .chain([place.directory])
                .chain(seen.map(|entry| entry.inode))
                .chain(beneath.files())
                .collect();
            let locks = self.share.locks().lock(&inodes).await;
            let parent = reader.directory(place.directory).await?;
            credentials.require(&parent.inode, EXECUTE)?;
            if reader.entry(place.directory, place.name).await? != seen
                || reader.beneath(place, chosen).await? != beneath
            {
                continue;
            }
            credentials.require(&parent.inode, WRITE)?;
            if place.flat && self.share.is_closed() {
                return Err(ObjectError::NoSuchBucket);
            }
            let existing = match seen {
                None => None,
                Some(entry) => {
                    let held = reader.held(entry.inode).await?;
                    credentials.require_sticky(&parent.inode, &held.node.inode)?;
                    Some((entry, held))
                }
            };
            return Ok(Locked { locks, parent, existing, beneath });
        }
    }

    /// Puts into a transaction what gives a file its name.
    pub(super) async fn name_unnamed(
        &self,
        transaction: &mut Transaction,
        file: &Unnamed,
        place: Place<'_>,
        locked: &Locked<'_>,
        description: Description,
    ) -> Result<Held, ObjectError> {
        let number = file.number();
        let mut inode = self.reader().node(number).await?.inode;
        let pushed = self.push_version(transaction, place, locked).await?;
        let mut parent = locked.parent.clone();
        match &locked.existing {
            None => parent = self.add_name(transaction, parent, place.name, number, Kind::Regular),
            Some((_, held)) if held.node.inode.kind == Kind::Directory => {
                return Err(FsError::IsDirectory.into());
            }
            Some((entry, held)) => {
                self.lead_elsewhere(transaction, &mut parent, place, entry, number);
                // A link's bits say nothing of what may be done.
                if held.node.inode.kind == Kind::Regular {
                    inode.mode = held.node.inode.mode & 0o777;
                }
                if !pushed.keeps {
                    self.require_unlocked(&held.node).await?;
                    self.drop_link(transaction, held.node.clone());
                }
            }
        }
        if parent.inode.mode & SET_GID != 0 {
            inode.gid = parent.inode.gid;
        }
        inode.links = 1;
        inode.parent = place.directory;
        inode.used += file.shared;
        inode.locked = has_lock(&description.record);
        touch_content(&mut inode, self.now());
        let record = ObjectRecord {
            change: inode.change,
            order: pushed.order,
            null: pushed.null,
            ..description.record
        };
        transaction.delete(&Key::Orphan(number));
        transaction.put(&record_key(number), record.encode());
        if !description.part_runs.is_empty() {
            transaction.put(&sizes_key(number), encode_part_sizes(&description.part_runs));
        }
        if let Some(sums) = &description.part_checksums {
            transaction.put(&sums_key(number), sums.encode());
        }
        transaction.put_inode(place.directory, &parent.inode);
        transaction.put_inode(number, &inode);
        transaction.use_more(file.shared as i64, 0);
        Ok(Held { node: Node { number, inode }, record: Some(record) })
    }

    /// Lets a name lead to another file. It was there and stays: under its cookie, so that listings see it once.
    pub(super) fn lead_elsewhere(
        &self,
        transaction: &mut Transaction,
        parent: &mut Node,
        place: Place<'_>,
        entry: &Entry,
        number: InodeNumber,
    ) {
        let name = Bytes::copy_from_slice(place.name);
        let new = Entry { inode: number, kind: Kind::Regular, cookie: entry.cookie };
        transaction.put(&Key::Entry(place.directory, name.clone()), new.encode());
        let record = Cookie { inode: number, kind: Kind::Regular, name };
        transaction.put(&Key::Cookie(place.directory, entry.cookie), record.encode());
        touch_content(&mut parent.inode, self.now());
    }
}
