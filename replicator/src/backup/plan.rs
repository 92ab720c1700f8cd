//! Compares the sorted list of a source with the base, folder by folder.
//!
//! Both come in order of names, so a folder is a merge: a name that only the base has is gone, one that only the source
//! has is new, and one that both have keeps its number if the kind is the same. Attributes of folders are written
//! when all that is in them has been seen. What must be read is put on a list.

use super::before::Names;
use super::error::BackupError;
use super::found::Found;
use super::gone::Making;
use super::inodes::{instead, is_unchanged, of_file, of_folder};
use super::links::{FileName, Links, Ticket};
use super::list::Listing;
use super::source::checkpoint;
use super::take::WantedList;
use crate::map::{Entry, Inode, InodeNumber, Kind};

/// Between so many names it is looked whether to stop.
const NAMES_BETWEEN_LOOKS: u64 = 256;

/// A folder on the way.
struct Level {
    found: Found,
    /// None as long as nothing in a folder was needed that is only there for what is in it.
    made: Option<Made>,
}

/// A folder that will be in the map.
struct Made {
    number: InodeNumber,
    parent: InodeNumber,
    /// What it was, under the same number.
    before: Option<Inode>,
    /// The names that it had and that have not been passed.
    names: Names,
    next_cookie: u64,
    entries: u64,
    folders: u32,
}

impl Made {
    fn new(number: InodeNumber, parent: InodeNumber, before: Option<Inode>) -> Self {
        let names = if before.is_some() { Names::of(number) } else { Names::default() };
        let next_cookie = before.as_ref().map_or(0, |inode| inode.next_cookie).max(Entry::COOKIE_FIRST);
        Self { number, parent, before, names, next_cookie, entries: 0, folders: 0 }
    }
}

/// See the head of this module.
pub(super) struct Planner<'p, 'a> {
    making: &'p mut Making<'a>,
    wanted: &'p mut WantedList,
    links: &'p mut Links,
    rescan: bool,
    levels: Vec<Level>,
    /// What lies in folders that were not listed, because they are gone by now.
    astray: u64,
}

impl<'p, 'a> Planner<'p, 'a> {
    pub(super) fn new(
        making: &'p mut Making<'a>,
        wanted: &'p mut WantedList,
        links: &'p mut Links,
        rescan: bool,
    ) -> Self {
        Self { making, wanted, links, rescan, levels: Vec::new(), astray: 0 }
    }

    /// Goes through the whole list.
    pub(super) fn run(mut self, mut listing: Listing) -> Result<(), BackupError> {
        let total = self.making.report.names;
        self.making.observer.phase("compare with the run before", Some(total), false);
        let mut passed = 0;
        while let Some(found) = listing.next()? {
            passed += 1;
            if passed % NAMES_BETWEEN_LOOKS == 0 {
                checkpoint(self.making.observer)?;
                self.making.observer.advanced(NAMES_BETWEEN_LOOKS);
            }
            self.visit(found)?;
        }
        while let Some(level) = self.levels.pop() {
            self.leave(level)?;
        }
        if self.astray > 0 {
            tracing::debug!(names = self.astray, "names whose folder had gone were passed over");
        }
        Ok(())
    }

    fn visit(&mut self, found: Found) -> Result<(), BackupError> {
        let Some(folder) = found.folder() else {
            if self.levels.is_empty() && found.kind == Kind::Directory {
                self.levels.push(Level { found, made: None });
                return self.make(0);
            }
            return Ok(());
        };
        while let Some(level) = self.levels.last()
            && level.found.path != folder
            && self.levels.len() > 1
        {
            if let Some(level) = self.levels.pop() {
                self.leave(level)?;
            }
        }
        if self.levels.last().is_none_or(|level| level.found.path != folder) {
            self.astray += 1;
            return Ok(());
        }
        if found.kind == Kind::Directory {
            let is_needed = !found.only_with_content;
            self.levels.push(Level { found, made: None });
            return if is_needed { self.make(self.levels.len() - 1) } else { Ok(()) };
        }
        self.make(self.levels.len() - 1)?;
        self.file(&found)
    }

    /// Sees to it that a folder will be in the map, and those above it.
    fn make(&mut self, at: usize) -> Result<(), BackupError> {
        let first = self.levels.iter().position(|level| level.made.is_none()).unwrap_or(at + 1);
        for at in first..=at {
            let found = self.levels[at].found.clone();
            if at == 0 {
                let before = self.making.before.inode(InodeNumber::ROOT)?;
                let before = before.filter(|inode| inode.kind == Kind::Directory);
                if before.is_none() {
                    self.making.inodes += 1;
                }
                self.levels[at].made = Some(Made::new(InodeNumber::ROOT, InodeNumber::ROOT, before));
                continue;
            }
            let (folder, cookie, before) = self.place(at - 1, &found)?;
            let going_on = before.filter(|entry| entry.kind == Kind::Directory);
            let (number, inode) = match (going_on, &before) {
                (Some(entry), _) => (entry.inode, Some(self.making.before.inode_of(&entry)?)),
                (None, other) => {
                    other.iter().try_for_each(|entry| self.making.release(entry))?;
                    (self.making.new_number(), None)
                }
            };
            let entry = Entry { inode: number, kind: Kind::Directory, cookie };
            self.making.put_name(folder, found.name(), entry, before.as_ref())?;
            self.levels[at].made = Some(Made::new(number, folder, inode));
        }
        Ok(())
    }

    /// Counts a name in a folder: gives the folder, the place in it, and what the base has there. What the base has
    /// before it is gone.
    fn place(&mut self, at: usize, found: &Found) -> Result<(InodeNumber, u64, Option<Entry>), BackupError> {
        let Some(made) = self.levels[at].made.as_mut() else {
            return Ok((InodeNumber::ROOT, Entry::COOKIE_FIRST, None));
        };
        let mut before = None;
        while let Some((name, _)) = self.making.before.peek_name(&mut made.names)?
            && name[..] <= *found.name()
        {
            let Some((name, entry)) = self.making.before.next_name(&mut made.names)? else { break };
            if name[..] == *found.name() {
                before = Some(entry);
                break;
            }
            self.making.name_is_gone(made.number, &name, &entry)?;
        }
        self.making.count(found);
        made.entries += 1;
        made.folders += u32::from(found.kind == Kind::Directory);
        let cookie = before.map_or(made.next_cookie, |entry| entry.cookie);
        if before.is_none() {
            made.next_cookie += 1;
        }
        Ok((made.number, cookie, before))
    }

    /// A name that is no folder, in the last level.
    fn file(&mut self, found: &Found) -> Result<(), BackupError> {
        let (folder, cookie, mut before) = self.place(self.levels.len() - 1, found)?;
        let stood = before;
        if let Some(entry) = before.filter(|entry| entry.kind == Kind::Directory) {
            self.making.release(&entry)?;
            before = None;
        }
        let name = FileName { folder, cookie, name: found.name().to_vec() };
        let inode = before.map(|entry| self.making.before.inode_of(&entry)).transpose()?;
        if found.links > 1 || inode.as_ref().is_some_and(|inode| inode.links > 1) {
            return self.links.put_aside(&name, before.as_ref(), found);
        }
        let going_on = inode.filter(|inode| inode.kind == found.kind);
        let (number, going_on) = match (before, going_on) {
            (Some(entry), Some(inode)) => (entry.inode, Some(inode)),
            (other, _) => {
                other.iter().try_for_each(|entry| self.making.release(entry))?;
                (self.making.new_number(), None)
            }
        };
        let entry = Entry { inode: number, kind: found.kind, cookie };
        self.making.put_name(folder, &name.name, entry, stood.as_ref())?;
        if going_on.as_ref().is_some_and(|inode| !self.rescan && is_unchanged(found, inode)) {
            self.making.report.not_read += u64::from(found.kind == Kind::Regular);
            return Ok(());
        }
        let is_new = going_on.is_none();
        if found.kind == Kind::Regular {
            return self.wanted.push(found, &Ticket { number, is_new, names: vec![name] });
        }
        if let Some(inode) = instead(of_file(found, folder, 1), going_on.as_ref()) {
            self.making.report.changed += u64::from(!is_new);
            self.making.put_inode(number, &inode)?;
        }
        Ok(())
    }

    /// All that is in a folder has been seen.
    fn leave(&mut self, level: Level) -> Result<(), BackupError> {
        let Level { found, made: Some(mut made) } = level else { return Ok(()) };
        while let Some((name, entry)) = self.making.before.next_name(&mut made.names)? {
            self.making.name_is_gone(made.number, &name, &entry)?;
        }
        let counts = (made.entries, made.folders, made.next_cookie);
        let inode = of_folder(&found, made.parent, counts);
        let before = made.before.as_ref();
        if before.is_none_or(|before| self.rescan || found.times.changed != before.times.changed) {
            let ticket = Ticket { number: made.number, is_new: before.is_none(), names: Vec::new() };
            self.wanted.push(&found, &ticket)?;
        }
        if let Some(inode) = instead(inode, before) {
            self.making.report.changed += u64::from(before.is_some());
            self.making.put_inode(made.number, &inode)?;
        }
        Ok(())
    }
}
