//! The log of a running gateway: opens it, looks at its end, appends.
//!
//! Appends block on the disk; [`AuditLog::write`] does so on a thread for that. After a failed write or sync nothing is
//! appended until the next start: what the file holds then is not known.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use super::export::Export;
use super::files::{self, Newest};
use super::record::{Entry, Event, LINE_BYTES_MAX, Line, NO_DIGEST, Page, Record, Seen, VERSION};
use crate::control::{ControlError, ErrorKind};

/// When another file begins, in bytes.
pub(super) const FILE_BYTES: u64 = 16 << 20;
/// How many records are kept in memory, for those who look at the newest.
const RECENT_MAX: usize = 512;
/// The most records of a page.
const PAGE_MAX: usize = 1_000;

/// Why something cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk.
    #[error("failed to {doing} the audit log in {folder}: {source}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the audit log in {folder} is written by another process")]
    Busy {
        /// Where.
        folder: PathBuf,
    },
    /// A write failed before.
    #[error(
        "a write to the audit log failed before, so nothing is recorded until the gateway is started again"
    )]
    Stopped,
    /// A record that is longer than a line may be.
    #[error("a record of {bytes} bytes is longer than a line of the audit log may be")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl From<AuditError> for ControlError {
    fn from(error: AuditError) -> Self {
        let kind = match &error {
            AuditError::Busy { .. } => ErrorKind::Busy,
            AuditError::Disk { .. } | AuditError::Stopped => ErrorKind::Failed,
            AuditError::TooLong { .. } => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string())
            .todo("what cannot be recorded is not done: look at the disk below gateway.data/audit")
    }
}

/// See the head of this module.
pub struct AuditLog {
    folder: PathBuf,
    files_max: usize,
    writer: Mutex<Writer>,
    export: Option<Export>,
}

struct Writer {
    file: File,
    bytes: u64,
    bytes_max: u64,
    next: u64,
    previous: blake3::Hash,
    newest: Newest,
    recent: VecDeque<Seen>,
    stopped: bool,
    /// Held as long as the log is open.
    _lock: File,
}

impl AuditLog {
    /// Opens the log of a folder, or begins one. Looks at its end: what does not fit is said in the log itself and in that of
    /// the program, and the log goes on.
    pub fn open(folder: &Path, files_max: usize, export: Option<Export>) -> Result<Self, AuditError> {
        Self::open_with(folder, files_max, FILE_BYTES, export)
    }

    pub(super) fn open_with(
        folder: &Path,
        files_max: usize,
        bytes_max: u64,
        export: Option<Export>,
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Disk { doing: "open", folder: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = files::open_lock(folder).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| AuditError::Busy { folder: folder.to_owned() })?;
        let end = End::find(folder).map_err(failed)?;
        let file = files::append_to(folder, end.first).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let newest = Newest::open(folder).map_err(failed)?;
        let writer = Writer {
            file,
            bytes,
            bytes_max,
            next: end.next,
            previous: end.digest,
            newest,
            recent: end.recent,
            stopped: false,
            _lock: lock,
        };
        let log = Self { folder: folder.to_owned(), files_max, writer: Mutex::new(writer), export };
        let (event, outcome) = match &end.trouble {
            Some(trouble) => {
                tracing::error!(folder = %folder.display(), trouble, "the audit log was tampered with, or damaged");
                (Event::Broken, trouble.clone())
            }
            None => (Event::Opened, env!("CARGO_PKG_VERSION").to_owned()),
        };
        log.append(event, Entry { outcome, ..Entry::default() })?;
        Ok(log)
    }

    /// Records something; returns its number once it is on the disk.
    pub fn append(&self, event: Event, entry: Entry) -> Result<u64, AuditError> {
        let mut writer = self.writer.lock();
        if writer.bytes >= writer.bytes_max {
            self.begin_another(&mut writer)?;
        }
        self.append_to(&mut writer, event, entry)
    }

    /// As [`AuditLog::append`], on a thread that may block.
    pub async fn write(self: &Arc<Self>, event: Event, entry: Entry) -> Result<u64, AuditError> {
        let log = self.clone();
        let written = tokio::task::spawn_blocking(move || log.append(event, entry)).await;
        written.unwrap_or(Err(AuditError::Stopped))
    }

    /// Records from before a number, or the newest; the newest first.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Result<Page, AuditError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let before = before.unwrap_or(u64::MAX);
        let (oldest, mut records) = {
            let writer = self.writer.lock();
            let found = writer.recent.iter().rev().filter(|seen| seen.record.sequence < before);
            let oldest = writer.recent.front().map_or(u64::MAX, |seen| seen.record.sequence);
            (oldest, found.take(limit).cloned().collect::<Vec<_>>())
        };
        if records.len() < limit {
            let doing = |source| AuditError::Disk { doing: "read", folder: self.folder.clone(), source };
            let more = limit - records.len();
            records.extend(from_disk(&self.folder, before.min(oldest), more).map_err(doing)?);
        }
        let last = records.last().map(|seen| seen.record.sequence);
        let before = last.filter(|last| records.len() == limit && *last > 1);
        Ok(Page { records, before })
    }

    fn begin_another(&self, writer: &mut Writer) -> Result<(), AuditError> {
        let failed =
            |source| AuditError::Disk { doing: "begin another file of", folder: self.folder.clone(), source };
        writer.file = files::append_to(&self.folder, writer.next).map_err(failed)?;
        writer.bytes = 0;
        let files = files::list(&self.folder).map_err(failed)?;
        let surplus = files.len().saturating_sub(self.files_max.max(1));
        for (first, path) in &files[..surplus] {
            let outcome =
                format!("the file that began with record {first}; {} files are kept", self.files_max);
            self.append_to(writer, Event::Forgotten, Entry { outcome, ..Entry::default() })?;
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(())
    }

    fn append_to(&self, writer: &mut Writer, event: Event, entry: Entry) -> Result<u64, AuditError> {
        if writer.stopped {
            return Err(AuditError::Stopped);
        }
        let record = Record {
            version: VERSION,
            sequence: writer.next,
            time: Timestamp::now(),
            event,
            previous: writer.previous.to_hex().to_string(),
            entry,
        };
        let mut line = serde_json::to_vec(&record).map_err(|error| AuditError::Disk {
            doing: "write down a record of",
            folder: self.folder.clone(),
            source: io::Error::other(error),
        })?;
        if line.len() > LINE_BYTES_MAX {
            return Err(AuditError::TooLong { bytes: line.len() });
        }
        let digest = blake3::hash(&line);
        line.push(b'\n');
        if let Err(source) = writer.put(&line, record.sequence, &digest) {
            writer.stopped = true;
            tracing::error!(error = %source, "the audit log cannot be written: no change is let through any more");
            return Err(AuditError::Disk { doing: "write", folder: self.folder.clone(), source });
        }
        let seen = Seen { digest: digest.to_hex().to_string(), record };
        if let Some(export) = &self.export {
            export.send(&seen);
        }
        writer.recent.push_back(seen);
        if writer.recent.len() > RECENT_MAX {
            writer.recent.pop_front();
        }
        Ok(writer.next - 1)
    }
}

impl Writer {
    fn put(&mut self, line: &[u8], number: u64, digest: &blake3::Hash) -> io::Result<()> {
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.newest.write(number, digest)?;
        (self.bytes, self.next, self.previous) = (self.bytes + line.len() as u64, number + 1, *digest);
        Ok(())
    }
}

/// The newest records of the log of a folder, the newest last; also while a gateway writes.
pub fn newest(folder: &Path, limit: usize) -> io::Result<Vec<Seen>> {
    let mut records = from_disk(folder, u64::MAX, limit)?;
    records.reverse();
    Ok(records)
}

/// Records from before a number, the newest first.
fn from_disk(folder: &Path, before: u64, limit: usize) -> io::Result<Vec<Seen>> {
    let mut found = Vec::new();
    let files = files::list(folder)?;
    for (_, path) in files.iter().rev().filter(|(first, _)| *first < before) {
        let mut here = VecDeque::new();
        for line in files::lines(path)? {
            let Ok(line) = Line::read(&line?.0) else { continue };
            if line.record.sequence < before {
                here.push_back(line.seen());
            }
            if here.len() > limit - found.len() {
                here.pop_front();
            }
        }
        found.extend(here.into_iter().rev());
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Where a log goes on.
struct End {
    /// The first record of the file that is written.
    first: u64,
    next: u64,
    digest: blake3::Hash,
    recent: VecDeque<Seen>,
    /// What does not fit.
    trouble: Option<String>,
}

impl End {
    /// Reads the newest files; takes a line away that was never synced.
    fn find(folder: &Path) -> io::Result<Self> {
        let no_digest = blake3::Hash::from_bytes(NO_DIGEST);
        let promised = Newest::read(folder);
        let files = files::list(folder)?;
        let Some((first, path)) = files.last() else {
            let next = promised.map_or(1, |(number, _)| number + 1);
            let trouble =
                promised.map(|(number, _)| format!("all files are gone; there were {number} records"));
            return Ok(Self { first: next, next, digest: no_digest, recent: VecDeque::new(), trouble });
        };
        // The one before too: the newest may have no record yet.
        let read = &files[files.len().saturating_sub(2)..];
        let mut end = Self {
            first: *first,
            next: read[0].0,
            digest: no_digest,
            recent: VecDeque::new(),
            trouble: None,
        };
        let mut kept = 0;
        for (_, path) in read {
            kept = end.read(path, promised)?;
        }
        if kept < fs::metadata(path)?.len() && end.trouble.is_none() {
            let file = File::options().write(true).open(path)?;
            file.set_len(kept)?;
            file.sync_all()?;
        }
        if let Some((number, _)) = promised.filter(|(number, _)| *number >= end.next) {
            end.trouble.get_or_insert(format!("records {} to {number} are gone from the end", end.next));
            end.next = number + 1;
        }
        if end.trouble.is_some() {
            // What is wrong stays as it is, for whoever looks.
            end.first = end.next;
        }
        Ok(end)
    }

    /// Goes along a file; gives how many bytes of it are whole lines.
    fn read(&mut self, path: &Path, promised: Option<(u64, blake3::Hash)>) -> io::Result<u64> {
        let mut kept = 0;
        for line in files::lines(path)? {
            let (bytes, whole) = line?;
            if !whole {
                break;
            }
            let line = match Line::read(&bytes) {
                Ok(line) => line,
                Err(why) => {
                    self.trouble
                        .get_or_insert(format!("the line where record {} should stand {why}", self.next));
                    continue;
                }
            };
            let number = line.record.sequence;
            let fits = number == self.next && (self.recent.is_empty() || line.follows(&self.digest));
            let is_promised =
                promised.is_none_or(|(newest, digest)| newest != number || digest == line.digest);
            if !fits || !is_promised {
                self.trouble
                    .get_or_insert(format!("record {number} does not fit the one before or after it"));
            }
            (self.next, self.digest) = (number.max(self.next) + 1, line.digest);
            self.recent.push_back(line.seen());
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
            kept += bytes.len() as u64 + 1;
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests;
