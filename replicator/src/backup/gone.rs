//! What a run makes, and what it takes away: the state that all its steps share.
//!
//! A file of the base that had several names goes when none of them is left. That is found out by a join on the local
//! disk: each name that left says so ([`Making::drop_name`]), and so does whoever goes on with the number
//! ([`Making::claim`]).

use std::collections::HashSet;

use bytes::Bytes;

use super::before::{Before, Names};
use super::edits::Edits;
use super::error::BackupError;
use super::found::Found;
use super::report::Report;
use super::sorter::Sorter;
use super::source::{Observer, checkpoint};
use crate::map::{Cookie, Entry, Inode, InodeNumber, Key, Kind};
use crate::tree::Value;

const CLAIMED: u8 = 0;
const DROPPED: u8 = 1;

/// See the head of this module.
pub(super) struct Making<'a> {
    pub(super) before: Before<'a>,
    pub(super) edits: Edits,
    pub(super) next_inode: u64,
    /// By how much the sum of all files' data has grown.
    pub(super) bytes: i64,
    /// By how much the number of inodes has grown.
    pub(super) inodes: i64,
    /// Names that keep the source from being empty: all but those of its frame, and of contents without a byte.
    pub(super) things: u64,
    /// See [`Source::frame`](super::source::Source::frame).
    pub(super) frame: HashSet<Vec<u8>>,
    pub(super) report: Report,
    pub(super) observer: &'a dyn Observer,
    pub(super) claims: Sorter,
}

impl Making<'_> {
    pub(super) fn new_number(&mut self) -> InodeNumber {
        let number = InodeNumber(self.next_inode);
        self.next_inode += 1;
        self.inodes += 1;
        self.report.new += 1;
        number
    }

    /// Counts a name that the source has.
    pub(super) fn count(&mut self, found: &Found) {
        let is_frame = found.kind == Kind::Directory && self.frame.contains(&found.path);
        self.things += u64::from(!is_frame);
    }

    pub(super) fn put_inode(&mut self, number: InodeNumber, inode: &Inode) -> Result<(), BackupError> {
        let value = Value::plain(inode.encode());
        self.edits.put(&Key::Attributes(number), &value).map_err(edits_failed())
    }

    /// Writes a name down, unless it stands there so.
    pub(super) fn put_name(
        &mut self,
        folder: InodeNumber,
        name: &[u8],
        entry: Entry,
        before: Option<&Entry>,
    ) -> Result<(), BackupError> {
        if before == Some(&entry) {
            return Ok(());
        }
        let name = Bytes::copy_from_slice(name);
        let by_cookie = Cookie { inode: entry.inode, kind: entry.kind, name: name.clone() };
        let (entry_value, cookie_value) = (Value::plain(entry.encode()), Value::plain(by_cookie.encode()));
        self.edits.put(&Key::Entry(folder, name), &entry_value).map_err(edits_failed())?;
        self.edits.put(&Key::Cookie(folder, entry.cookie), &cookie_value).map_err(edits_failed())
    }

    /// Takes a name away that the folder has been counted with.
    pub(super) fn take_name_back(
        &mut self,
        folder: InodeNumber,
        name: &[u8],
        cookie: u64,
    ) -> Result<(), BackupError> {
        let name = Key::Entry(folder, Bytes::copy_from_slice(name)).encode();
        self.edits.delete(&name).map_err(edits_failed())?;
        self.edits.delete(&Key::Cookie(folder, cookie).encode()).map_err(edits_failed())?;
        self.things = self.things.saturating_sub(1);
        self.edits.fewer(folder).map_err(edits_failed())
    }

    /// A name of the base is gone: it, and what only it led to.
    pub(super) fn name_is_gone(
        &mut self,
        folder: InodeNumber,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), BackupError> {
        let name = Key::Entry(folder, Bytes::copy_from_slice(name)).encode();
        self.edits.delete(&name).map_err(edits_failed())?;
        self.edits.delete(&Key::Cookie(folder, entry.cookie).encode()).map_err(edits_failed())?;
        self.release(entry)
    }

    /// A name of the base leads to something else now: what only it led to is gone.
    pub(super) fn release(&mut self, entry: &Entry) -> Result<(), BackupError> {
        let inode = self.before.inode_of(entry)?;
        if inode.kind == Kind::Directory {
            return self.folder_is_gone(entry.inode, inode);
        }
        if inode.links > 1 { self.drop_name(entry.inode) } else { self.inode_is_gone(entry.inode, &inode) }
    }

    /// Takes a folder of the base away with everything below it.
    fn folder_is_gone(&mut self, number: InodeNumber, inode: Inode) -> Result<(), BackupError> {
        let mut levels = vec![(number, inode, Names::of(number))];
        while let Some((_, _, names)) = levels.last_mut() {
            checkpoint(self.observer)?;
            let Some((_, entry)) = self.before.next_name(names)? else {
                if let Some((number, inode, _)) = levels.pop() {
                    self.inode_is_gone(number, &inode)?;
                }
                continue;
            };
            let inode = self.before.inode_of(&entry)?;
            if inode.kind == Kind::Directory {
                levels.push((entry.inode, inode, Names::of(entry.inode)));
            } else if inode.links > 1 {
                self.drop_name(entry.inode)?;
            } else {
                self.inode_is_gone(entry.inode, &inode)?;
            }
        }
        Ok(())
    }

    /// Takes an inode of the base away, with all that it has.
    pub(super) fn inode_is_gone(&mut self, number: InodeNumber, inode: &Inode) -> Result<(), BackupError> {
        let edits = &mut self.edits;
        self.before.keys_of(number, |key| edits.delete(key).map_err(edits_failed()))?;
        self.bytes -= inode.used as i64;
        self.inodes -= 1;
        self.report.gone += 1;
        Ok(())
    }

    /// A name of a file of the base that has, or had, several is gone.
    pub(super) fn drop_name(&mut self, number: InodeNumber) -> Result<(), BackupError> {
        self.claims.push(&number.0.to_be_bytes(), &[DROPPED]).map_err(claims_failed())
    }

    /// Somebody goes on with the number of a file of the base that has, or had, several names.
    pub(super) fn claim(&mut self, number: InodeNumber) -> Result<(), BackupError> {
        self.claims.push(&number.0.to_be_bytes(), &[CLAIMED]).map_err(claims_failed())
    }

    /// Takes files away whose names are all gone.
    pub(super) fn settle_claims(&mut self, spare: Sorter) -> Result<(), BackupError> {
        let mut claims = std::mem::replace(&mut self.claims, spare).finish().map_err(claims_failed())?;
        let mut next = claims.next().map_err(claims_failed())?;
        while let Some((key, first)) = next.take() {
            checkpoint(self.observer)?;
            let mut claimed = first == [CLAIMED];
            loop {
                match claims.next().map_err(claims_failed())? {
                    Some((same, record)) if same == key => claimed |= record == [CLAIMED],
                    other => {
                        next = other;
                        break;
                    }
                }
            }
            let number = key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            if !claimed && let Some(inode) = self.before.inode(InodeNumber(number))? {
                self.inode_is_gone(InodeNumber(number), &inode)?;
            }
        }
        Ok(())
    }
}

fn claims_failed() -> impl FnOnce(std::io::Error) -> BackupError {
    BackupError::local("sort the names of files that have several")
}

/// For `map_err` of edits.
pub(super) fn edits_failed() -> impl FnOnce(std::io::Error) -> BackupError {
    BackupError::local("write down the changes of this run")
}
