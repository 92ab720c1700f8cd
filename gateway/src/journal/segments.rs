//! The table of segment files.
//!
//! Owns which segments there are, their open files and indexes, and their deletion.
//!
//! Promises: the segment in use is never deleted, so the highest id is always on disk and ids are
//! never used again. Segments go oldest first, and the folder is synced after each: what a crash leaves
//! is a run of ids without gaps. A file is removed from the folder before it leaves the table; who has
//! it open reads on, who comes later is told `Gone`.
//!
//! Memory: per segment one entry and an index (see [`super::index`]); open files are bounded by
//! `open_files`, the longest open is closed first.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::{Disk, LogFile};
use super::format::{self, HEAD_BYTES, SegmentHead};
use super::index::Index;
use super::{JournalError, Position, Sequence, read};
use crate::crash;

/// A segment, as [`Journal::segments`](super::Journal::segments) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its id.
    pub id: u64,
    /// The sequence of its first record, or that the first will have.
    pub first: Sequence,
    /// The sequence of its last record; one below `first` while it has none. For the segment in use:
    /// of what has been written to the file.
    pub last: Sequence,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it is closed for writing.
    pub sealed: bool,
}

struct Entry {
    head: SegmentHead,
    last: Sequence,
    bytes: u64,
    sealed: bool,
    file: Option<Arc<dyn LogFile>>,
    index: Option<Index>,
}

impl Entry {
    fn info(&self) -> SegmentInfo {
        SegmentInfo {
            id: self.head.segment,
            first: self.head.first,
            last: self.last,
            bytes: self.bytes,
            sealed: self.sealed,
        }
    }
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    /// Sealed segments whose file is open, in the order in which they were opened.
    opened: VecDeque<u64>,
}

pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    open_files: usize,
    table: Mutex<Table>,
    /// Held while segments are deleted.
    removal: Mutex<()>,
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, open_files: usize) -> Self {
        Self { disk, open_files, table: Mutex::default(), removal: Mutex::new(()) }
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Takes in a segment from an earlier life of the journal.
    pub(super) fn add_sealed(&self, head: SegmentHead, last: Sequence, bytes: u64) {
        let entry = Entry { head, last, bytes, sealed: true, file: None, index: None };
        self.table.lock().entries.insert(head.segment, entry);
    }

    /// Takes in the segment that is written from now on.
    pub(super) fn add_active(&self, head: SegmentHead, file: Arc<dyn LogFile>) {
        let entry = Entry {
            head,
            last: head.first.previous(),
            bytes: HEAD_BYTES as u64,
            sealed: false,
            file: Some(file),
            index: Some(Index::default()),
        };
        self.table.lock().entries.insert(head.segment, entry);
    }

    /// Records were written to the segment in use: their starts, the last one, and where it ends.
    pub(super) fn grow(&self, id: u64, starts: impl Iterator<Item = u64>, last: Sequence, bytes: u64) {
        let mut table = self.table.lock();
        let Some(entry) = table.entries.get_mut(&id) else { return };
        (entry.last, entry.bytes) = (last, bytes);
        if let Some(index) = &mut entry.index {
            starts.for_each(|start| index.add(start));
        }
    }

    /// The segment in use is closed for writing.
    pub(super) fn seal(&self, id: u64) {
        let mut table = self.table.lock();
        if let Some(entry) = table.entries.get_mut(&id) {
            entry.sealed = true;
        }
        table.note_open(id, self.open_files);
    }

    pub(super) fn list(&self) -> Vec<SegmentInfo> {
        self.table.lock().entries.values().map(Entry::info).collect()
    }

    /// Payload from a file, verified. At least one byte.
    pub(super) fn read(&self, position: Position, bytes: u64) -> Result<Bytes, JournalError> {
        let place = self.find(position, bytes)?;
        read::payload(&place, position, bytes)
    }

    /// As [`Self::read`], without waiting for the disk: `None` when that takes more than a look into
    /// memory. What is wrong is told by the other.
    pub(super) fn read_cached(&self, position: Position, bytes: u64) -> Option<Bytes> {
        let end = position.offset.checked_add(bytes)?;
        let place = {
            let table = self.table.lock();
            let entry = table.entries.get(&position.segment).filter(|entry| end <= entry.bytes)?;
            let start = entry.index.as_ref()?.before(position.offset)?;
            let path = self.disk.path(&format::file_name(position.segment));
            read::Place { file: entry.file.clone()?, path, head: entry.head, start, may_wait: false }
        };
        read::payload(&place, position, bytes).ok()
    }

    /// Opens what is needed to read at `position`.
    fn find(&self, position: Position, bytes: u64) -> Result<read::Place, JournalError> {
        let id = position.segment;
        let (segment, file, index_is_there) = {
            let table = self.table.lock();
            let entry = table.entries.get(&id).ok_or(JournalError::Gone { position })?;
            (entry.info(), entry.file.clone().map(|file| (file, entry.head)), entry.index.is_some())
        };
        if position.offset.checked_add(bytes).is_none_or(|end| end > segment.bytes) {
            return Err(JournalError::NoSuchPayload { position, bytes });
        }
        let (file, head) = match file {
            Some(open) => open,
            None => self.open(position)?,
        };
        if !index_is_there {
            let built = Index::build(file.clone(), head, segment.bytes).map_err(self.context("read", id))?;
            self.with_entry(id, |entry| entry.index = Some(built));
        }
        let start = self
            .with_entry(id, |entry| entry.index.as_ref().and_then(|index| index.before(position.offset)))
            .ok_or(JournalError::Gone { position })?
            .ok_or(JournalError::NoSuchPayload { position, bytes })?;
        let path = self.disk.path(&format::file_name(id));
        Ok(read::Place { file, path, head, start, may_wait: true })
    }

    /// Opens the file of a sealed segment and keeps it.
    fn open(&self, position: Position) -> Result<(Arc<dyn LogFile>, SegmentHead), JournalError> {
        let id = position.segment;
        let file = match self.disk.open(&format::file_name(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(JournalError::Gone { position }),
            opened => opened.map_err(self.context("open", id)),
        }?;
        let mut table = self.table.lock();
        let entry = table.entries.get_mut(&id).ok_or(JournalError::Gone { position })?;
        entry.file = Some(file.clone());
        let head = entry.head;
        table.note_open(id, self.open_files);
        Ok((file, head))
    }

    fn with_entry<T>(&self, id: u64, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.table.lock().entries.get_mut(&id).map(look)
    }

    pub(super) fn remove_through(&self, sequence: Sequence) -> Result<u64, JournalError> {
        let _one_at_a_time = self.removal.lock();
        let mut freed = 0;
        while let Some(oldest) = self.oldest_removable(sequence) {
            let name = format::file_name(oldest.id);
            self.disk.remove(&name).map_err(self.context("delete", oldest.id))?;
            crash::point("journal.segment.removed");
            self.disk.sync().map_err(self.context("sync the folder after deleting", oldest.id))?;
            let mut table = self.table.lock();
            table.entries.remove(&oldest.id);
            table.opened.retain(|id| *id != oldest.id);
            freed += oldest.bytes;
        }
        Ok(freed)
    }

    fn oldest_removable(&self, sequence: Sequence) -> Option<SegmentInfo> {
        let oldest = self.table.lock().entries.first_key_value()?.1.info();
        (oldest.sealed && oldest.last <= sequence).then_some(oldest)
    }

    fn context(&self, doing: &'static str, id: u64) -> impl FnOnce(io::Error) -> JournalError {
        JournalError::io(doing, self.disk.path(&format::file_name(id)))
    }
}

impl Table {
    /// Counts the file of a sealed segment as open, and closes the longest open ones over the bound.
    fn note_open(&mut self, id: u64, open_files: usize) {
        if !self.opened.contains(&id) {
            self.opened.push_back(id);
        }
        while self.opened.len() > open_files {
            let closed = self.opened.pop_front().and_then(|id| self.entries.get_mut(&id));
            if let Some(entry) = closed {
                entry.file = None;
            }
        }
    }
}
