//! Reads what was found to be new or to look changed, and writes down what the map then says of it.
//!
//! A file that changes while it is read is read again, [`ATTEMPTS_MAX`] times in all, then kept as torn as it came, with a
//! time of change that makes the next run read it again. One that cannot be read is taken out of the folders that it was
//! written into, also when that is found out only after it was taken in; one that has gone since it was listed is taken out
//! without a word. Chunks are compared with those of the base, so what is the same after all changes nothing.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chunker::{ChunkId, Cutter};

use super::error::BackupError;
use super::found::{Found, Trust};
use super::gone::{Making, edits_failed};
use super::inodes::{instead, of_file};
use super::links::Ticket;
use super::record::{Parts, Record};
use super::source::{Content, Cut, Ended, Late, Opened, Receipt, Wanted, checkpoint};
use super::spool::{Spool, SpoolReader};
use crate::ingest::{CutChunk, Ingest, IngestError, IngestErrorKind};
use crate::map::{Extent, Inode, InodeNumber, Key, Kind, Source as ExtentSource, Times};
use crate::tree::{ChunkRef, PAYLOAD_BYTES_MAX, Value};

/// How often a file is read that changes while it is read.
const ATTEMPTS_MAX: u32 = 3;
/// Between so many chunks it is asked whether to go on.
const CHUNKS_BETWEEN_LOOKS: u32 = 16;
/// Chunks of one file that are kept in memory until it has ended; further ones are queued on the local disk.
const CHUNKS_IN_MEMORY_MAX: usize = 16 << 10;
/// The longest name of an extended attribute, in bytes.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;

/// What is to be read, in the order in which it was found.
pub(super) struct WantedList {
    spool: Spool,
    /// Bytes of all of it.
    pub(super) bytes: u64,
}

impl WantedList {
    pub(super) fn create(folder: &Path) -> Result<Self, BackupError> {
        Ok(Self { spool: Spool::create(folder).map_err(failed())?, bytes: 0 })
    }

    pub(super) fn push(&mut self, found: &Found, ticket: &Ticket) -> Result<(), BackupError> {
        if found.kind == Kind::Regular {
            self.bytes = self.bytes.saturating_add(found.size);
        }
        let mut record = ticket.encode();
        record.0.extend_from_slice(&found.encode());
        self.spool.push(&record.0).map_err(failed())
    }

    pub(super) fn read(self) -> Result<WantedIter, BackupError> {
        Ok(WantedIter(self.spool.read().map_err(failed())?))
    }
}

/// Gives what is wanted.
pub(super) struct WantedIter(SpoolReader);

impl Iterator for WantedIter {
    type Item = Result<Wanted, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.0.next().transpose()?;
        let wanted = record.and_then(|record| {
            let mut parts = Parts(&record);
            let ticket = Ticket::decode(&mut parts)?;
            Ok(Wanted { found: Found::decode(&mut parts)?, ticket })
        });
        Some(wanted.map_err(failed()))
    }
}

fn failed() -> impl FnOnce(io::Error) -> BackupError {
    BackupError::local("keep the list of what is to be read")
}

/// The data of a file, as it was cut.
struct Pieces {
    scratch: PathBuf,
    first: Vec<(u64, u32, ChunkId)>,
    rest: Option<Spool>,
    /// Past the last byte of data.
    end: u64,
    used: u64,
}

impl Pieces {
    fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_path_buf(), first: Vec::new(), rest: None, end: 0, used: 0 }
    }

    fn push(&mut self, start: u64, chunk: &CutChunk) -> io::Result<()> {
        self.end = start + u64::from(chunk.bytes);
        self.used += u64::from(chunk.bytes);
        if self.first.len() < CHUNKS_IN_MEMORY_MAX {
            self.first.push((start, chunk.bytes, chunk.id));
            return Ok(());
        }
        let rest = match &mut self.rest {
            Some(rest) => rest,
            none => none.insert(Spool::create(&self.scratch)?),
        };
        rest.push(&Record::default().u64(start).u32(chunk.bytes).bytes(chunk.id.as_bytes()).0)
    }

    fn extents(self) -> io::Result<impl Iterator<Item = io::Result<Extent>>> {
        let mut rest = self.rest.map(Spool::read).transpose()?;
        let later = std::iter::from_fn(move || {
            let record = rest.as_mut()?.next().transpose()?;
            Some(record.and_then(|record| {
                let mut parts = Parts(&record);
                let (start, bytes) = (parts.u64()?, parts.u32()?);
                let id = ChunkId::from_slice(parts.bytes()?);
                id.map(|id| extent(start, bytes, id)).ok_or_else(|| io::ErrorKind::InvalidData.into())
            }))
        });
        let first = self.first.into_iter().map(|(start, bytes, id)| Ok(extent(start, bytes, id)));
        Ok(first.chain(later))
    }
}

fn extent(start: u64, bytes: u32, id: ChunkId) -> Extent {
    let source = ExtentSource::Chunk { chunk: ChunkRef::new(id), chunk_bytes: bytes, offset: 0 };
    Extent { start, end: start + u64::from(bytes), source }
}

/// See the head of this module.
pub(super) struct Taker<'p, 'a> {
    pub(super) making: &'p mut Making<'a>,
    pub(super) ingest: &'p mut Ingest,
    pub(super) scratch: &'p Path,
    by_size: Option<(u32, Arc<Cutter>)>,
}

/// A file as it was written down.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// What stands in the map.
    inode: Inode,
    /// By how much the sum of all files' data grew.
    grown: i64,
    /// Whether it was counted as changed.
    changed: bool,
}

/// Reading failed: for this file, or for all of them.
enum Broken {
    File(io::Error),
    Run(BackupError),
}

impl<'p, 'a> Taker<'p, 'a> {
    pub(super) fn new(making: &'p mut Making<'a>, ingest: &'p mut Ingest, scratch: &'p Path) -> Self {
        Self { making, ingest, scratch, by_size: None }
    }

    /// Takes one file or folder in.
    pub(super) fn take(
        &mut self,
        wanted: Wanted,
        opened: io::Result<Opened<'_>>,
    ) -> Result<Receipt, BackupError> {
        checkpoint(self.making.observer)?;
        self.making.observer.admit()?;
        let Wanted { found, ticket } = wanted;
        let written = self.take_in(&found, &ticket, opened)?;
        Ok(Receipt { found, ticket, written })
    }

    /// Takes in what was found out of a file after it had been taken in.
    pub(super) fn afterwards(&mut self, receipt: Receipt, late: Late) -> Result<(), BackupError> {
        let Receipt { found, ticket, written: Some(written) } = receipt else { return Ok(()) };
        let making = &mut *self.making;
        match late {
            Late::Torn => {
                making.report.tear(&found.path);
                let inode = Inode { times: distrusted(written.inode.times), ..written.inode };
                making.put_inode(ticket.number, &inode)
            }
            Late::Unreadable(why) => {
                making.bytes -= written.grown;
                making.report.changed -= u64::from(written.changed);
                making.edits.forget(ticket.number).map_err(edits_failed())?;
                self.leave_out(&found, &ticket, &why)
            }
        }
    }

    /// Gives what was written down of a file; none of a folder, and of what is left out.
    fn take_in(
        &mut self,
        found: &Found,
        ticket: &Ticket,
        opened: io::Result<Opened<'_>>,
    ) -> Result<Option<Written>, BackupError> {
        let mut opened = match opened {
            Ok(opened) if opened.found.kind == found.kind => opened,
            Ok(_) => return self.without(found, ticket, "it is of another kind than it was"),
            Err(error) if has_gone(&error, found, ticket) => {
                self.making.report.names = self.making.report.names.saturating_sub(1);
                return self.take_back(ticket).map(|()| None);
            }
            Err(error) => return self.without(found, ticket, &error.to_string()),
        };
        let extended = std::mem::take(&mut opened.extended);
        if found.kind == Kind::Directory {
            return self.extended(ticket, found, extended).map(|()| None);
        }
        match self.attempts(found, opened) {
            Ok((now, pieces)) => {
                let written = self.file(ticket, &now, pieces)?;
                self.extended(ticket, found, extended)?;
                Ok(Some(written))
            }
            Err(Broken::Run(error)) => Err(error),
            Err(Broken::File(error)) => self.without(found, ticket, &error.to_string()),
        }
    }

    fn without(&mut self, found: &Found, ticket: &Ticket, why: &str) -> Result<Option<Written>, BackupError> {
        self.leave_out(found, ticket, why).map(|()| None)
    }

    /// Reads a file until it does not change meanwhile, or often enough; gives it as it was then.
    fn attempts(&mut self, found: &Found, opened: Opened<'_>) -> Result<(Found, Pieces), Broken> {
        let Opened { found: mut now, extended: _, cut, content } = opened;
        let Some(mut content) = content else {
            return Err(Broken::File(io::Error::other("its content cannot be had")));
        };
        let mut attempt = 1;
        loop {
            let (pieces, ended) = self.read(&mut *content, cut)?;
            if ended.torn
                && attempt < ATTEMPTS_MAX
                && let Some(later) = content.again().map_err(Broken::File)?
            {
                (now, attempt) = (later, attempt + 1);
                continue;
            }
            if ended.torn {
                self.making.report.tear(&found.path);
                now.times = distrusted(now.times);
            }
            now.size = ended.size.max(pieces.end);
            return Ok((now, pieces));
        }
    }

    /// Reads and cuts the content of a file.
    fn read(&mut self, content: &mut dyn Content, cut: Cut) -> Result<(Pieces, Ended), Broken> {
        let cutter = match cut {
            Cut::Content => self.ingest.cutter(),
            Cut::Fixed(bytes) => self.fixed(bytes)?,
        };
        let mut pieces = Pieces::new(self.scratch);
        let (observer, report) = (self.making.observer, &mut self.making.report);
        while let Some(start) = content.next_data().map_err(Broken::File)? {
            let (mut at, mut stopped, mut count) = (start.max(pieces.end), None, 0_u32);
            let cut = self.ingest.cut_each(&cutter, &mut *content, |chunk| {
                let pushed = pieces.push(at, &chunk).map_err(failed());
                at += u64::from(chunk.bytes);
                count += 1;
                report.bytes_read += u64::from(chunk.bytes);
                observer.advanced(u64::from(chunk.bytes));
                let looked = if count.is_multiple_of(CHUNKS_BETWEEN_LOOKS) {
                    checkpoint(observer).and_then(|()| observer.admit())
                } else {
                    Ok(())
                };
                match pushed.and(looked) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        stopped = Some(error);
                        ControlFlow::Break(())
                    }
                }
            });
            if let Some(error) = stopped {
                return Err(Broken::Run(error));
            }
            cut.map_err(broken)?;
        }
        let ended = content.end().map_err(Broken::File)?;
        Ok((pieces, ended))
    }

    fn fixed(&mut self, bytes: u32) -> Result<Arc<Cutter>, Broken> {
        if let Some((_, cutter)) = self.by_size.as_ref().filter(|(of, _)| *of == bytes) {
            return Ok(cutter.clone());
        }
        let cutter =
            Cutter::fixed(bytes).map_err(|error| Broken::File(io::Error::other(error.to_string())))?;
        let cutter = Arc::new(cutter);
        self.by_size = Some((bytes, cutter.clone()));
        Ok(cutter)
    }

    /// Writes down the data and the attributes of a file.
    fn file(&mut self, ticket: &Ticket, now: &Found, pieces: Pieces) -> Result<Written, BackupError> {
        let before = self.before(ticket)?;
        let used = pieces.used;
        let same = self.extents(ticket.number, before.as_ref(), pieces)?;
        let grown = used as i64 - before.as_ref().map_or(0, |inode| inode.used as i64);
        self.making.bytes += grown;
        if now.trust == Trust::Content && now.size == 0 {
            self.making.things = self.making.things.saturating_sub(ticket.names.len() as u64);
        }
        let parent = ticket.names.last().map_or(InodeNumber::ROOT, |name| name.folder);
        let mut inode = Inode { used, ..of_file(now, parent, ticket.names.len() as u32) };
        if let Some(before) = before.as_ref().filter(|before| before.size == inode.size)
            && now.trust == Trust::Content
            && same
        {
            inode.times = before.times;
        }
        let new = instead(inode.clone(), before.as_ref());
        let changed = before.is_some() && (new.is_some() || !same);
        self.making.report.changed += u64::from(changed);
        new.iter().try_for_each(|inode| self.making.put_inode(ticket.number, inode))?;
        Ok(Written { inode: new.or(before).unwrap_or(inode), grown, changed })
    }

    fn before(&mut self, ticket: &Ticket) -> Result<Option<Inode>, BackupError> {
        if ticket.is_new { Ok(None) } else { self.making.before.inode(ticket.number) }
    }

    /// Writes down where the data lies, as far as that differs from before; tells whether it did not.
    fn extents(
        &mut self,
        file: InodeNumber,
        before: Option<&Inode>,
        pieces: Pieces,
    ) -> Result<bool, BackupError> {
        let making = &mut *self.making;
        let mut olds = before.map(|_| making.before.extents(file)).transpose()?;
        let size = before.map_or(0, |inode| inode.size);
        let mut next_old = |making: &Making<'_>| match &mut olds {
            Some(olds) => making.before.next_extent(olds, size),
            None => Ok(None),
        };
        let mut old = next_old(making)?;
        let mut same = true;
        for new in pieces.extents().map_err(failed())? {
            let new = new.map_err(failed())?;
            while let Some(gone) = old.take_if(|old| old.end < new.end) {
                same = false;
                making.edits.delete(&Key::Extent(file, gone.end).encode()).map_err(edits_failed())?;
                old = next_old(making)?;
            }
            let stood = old.take_if(|old| old.end == new.end);
            if stood.is_some() {
                old = next_old(making)?;
            }
            let value = new.to_value();
            if !stood.is_some_and(|stood| stood.to_value().same_content(&value)) {
                same = false;
                making.edits.put(&Key::Extent(file, new.end), &value).map_err(edits_failed())?;
            }
        }
        while let Some(gone) = old.take() {
            same = false;
            making.edits.delete(&Key::Extent(file, gone.end).encode()).map_err(edits_failed())?;
            old = next_old(making)?;
        }
        Ok(same)
    }

    /// Writes down extended attributes, as far as they differ from before.
    fn extended(
        &mut self,
        ticket: &Ticket,
        found: &Found,
        extended: Vec<(Bytes, Bytes)>,
    ) -> Result<(), BackupError> {
        let making = &mut *self.making;
        let before = if ticket.is_new { Vec::new() } else { making.before.extended(ticket.number)? };
        for (name, _) in before.iter().filter(|(name, _)| !extended.iter().any(|(now, _)| now == name)) {
            let key = Key::ExtendedAttribute(ticket.number, name.clone()).encode();
            making.edits.delete(&key).map_err(edits_failed())?;
        }
        for (name, value) in extended {
            if name.len() > ATTRIBUTE_NAME_BYTES_MAX || value.len() > PAYLOAD_BYTES_MAX {
                making.report.leave_part_out(&found.path, "an extended attribute of it is too long");
                continue;
            }
            if before.iter().any(|(stood, stood_value)| *stood == name && *stood_value == value) {
                continue;
            }
            let key = Key::ExtendedAttribute(ticket.number, name);
            making.edits.put(&key, &Value::plain(value)).map_err(edits_failed())?;
        }
        Ok(())
    }

    /// Takes something back that cannot be read; a folder stays, for what is in it.
    fn leave_out(&mut self, found: &Found, ticket: &Ticket, why: &str) -> Result<(), BackupError> {
        let report = &mut self.making.report;
        if found.kind == Kind::Directory {
            report.leave_part_out(&found.path, format!("its extended attributes are left out: {why}"));
            return Ok(());
        }
        report.leave_out(&found.path, why);
        report.left_out += ticket.names.len().saturating_sub(1) as u64;
        self.take_back(ticket)
    }

    /// Takes the names of a file back, and what the base has of it.
    fn take_back(&mut self, ticket: &Ticket) -> Result<(), BackupError> {
        let making = &mut *self.making;
        for name in &ticket.names {
            making.take_name_back(name.folder, &name.name, name.cookie)?;
        }
        if ticket.is_new {
            making.inodes -= 1;
            making.report.new -= 1;
            return Ok(());
        }
        match making.before.inode(ticket.number)? {
            Some(inode) => making.inode_is_gone(ticket.number, &inode),
            None => Ok(()),
        }
    }
}

/// Whether something is not there any more, as if it had never been listed. Of a file with several names only one has
/// gone for sure, and in a folder there may be something that was taken in already.
fn has_gone(error: &io::Error, found: &Found, ticket: &Ticket) -> bool {
    error.kind() == io::ErrorKind::NotFound && found.kind != Kind::Directory && ticket.names.len() == 1
}

/// Times that the file does not have at the source, so that the next run reads it again. What a source distrusts itself
/// may differ by a nanosecond already; then it differs by two or three.
fn distrusted(mut times: Times) -> Times {
    times.changed.nanos ^= 2;
    times
}

/// A file that cannot be read is no reason to stop; a disk that takes nothing is.
fn broken(error: IngestError) -> Broken {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    match error.kind() {
        IngestErrorKind::Source => Broken::File(io::Error::other(cause.unwrap_or_else(|| error.to_string()))),
        IngestErrorKind::Local | IngestErrorKind::Misuse => Broken::Run(error.into()),
    }
}
