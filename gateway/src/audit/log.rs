//! The log of a running gateway: opens it, looks at its end, appends.
//!
//! Appends block on the disk; [`AuditLog::write`] does so on a thread for that. A log that cannot be opened, and a write that
//! could be taken back, are tried again with the next record. After a failed sync nothing is appended until the next start:
//! what the file holds then is not known. [`AuditLog::trouble`] says what is wrong meanwhile.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::export::Export;
use super::files;
use super::record::{Entry, Event, Forgotten, LINE_BYTES_MAX, Line, Page, Record, Seen, VERSION};
use super::writer::{Unwritten, Writer};
use crate::control::{ControlError, ErrorKind};

/// When another file begins, in bytes.
pub(super) const FILE_BYTES: u64 = 16 << 20;
/// How long after a failed attempt to open it the next one comes.
const REOPEN_AFTER: Duration = Duration::from_secs(5);
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
    /// It could not be opened or written before.
    #[error("the audit log is not written: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
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
            AuditError::Disk { .. } | AuditError::Stopped { .. } => ErrorKind::Failed,
            AuditError::TooLong { .. } => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string())
            .todo("what cannot be recorded is not done: look at the disk below gateway.data/audit")
    }
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditTrouble {
    /// Since when.
    pub since: Timestamp,
    /// What, for people.
    pub why: String,
}

/// See the head of this module.
pub struct AuditLog {
    folder: PathBuf,
    files_max: usize,
    bytes_max: u64,
    state: Mutex<State>,
    /// What is wrong, for whoever must not wait for the disk to learn it.
    trouble: Mutex<Option<AuditTrouble>>,
    /// Held by whoever writes from a task: one thread at a time waits for the disk.
    turn: tokio::sync::Mutex<()>,
    export: Option<Export>,
}

#[derive(Default)]
struct State {
    /// None while the log cannot be opened.
    writer: Option<Writer>,
    /// Set once nobody knows what the file holds.
    is_lost: bool,
    trouble: Option<AuditTrouble>,
    /// When it was last tried to open it.
    tried: Option<Instant>,
}

impl AuditLog {
    /// Opens the log of a folder, or begins one. Looks at its end: what does not fit is said in the log itself and in that of
    /// the program, and the log goes on.
    pub fn open(folder: &Path, files_max: usize, export: Option<Export>) -> Result<Self, AuditError> {
        Self::open_with(folder, files_max, FILE_BYTES, export)
    }

    /// As [`AuditLog::open`]; one that cannot be opened refuses to record, says why, and is tried again with later records.
    pub fn open_or_stopped(folder: &Path, files_max: usize, export: Option<Export>) -> Self {
        let log = Self::closed(folder, files_max, FILE_BYTES, export);
        let mut state = log.state.lock();
        // What is wrong is said there.
        let _ = log.reopen(&mut state);
        log.show_trouble(&state);
        drop(state);
        log
    }

    pub(super) fn open_with(
        folder: &Path,
        files_max: usize,
        bytes_max: u64,
        export: Option<Export>,
    ) -> Result<Self, AuditError> {
        let log = Self::closed(folder, files_max, bytes_max, export);
        let mut state = log.state.lock();
        log.reopen(&mut state)?;
        log.show_trouble(&state);
        drop(state);
        Ok(log)
    }

    fn closed(folder: &Path, files_max: usize, bytes_max: u64, export: Option<Export>) -> Self {
        let (state, trouble, turn) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { folder: folder.to_owned(), files_max, bytes_max, state, trouble, turn, export }
    }

    fn show_trouble(&self, state: &State) {
        self.trouble.lock().clone_from(&state.trouble);
    }

    /// What is wrong with it now. Never waits for the disk.
    pub fn trouble(&self) -> Option<AuditTrouble> {
        self.trouble.lock().clone()
    }

    /// Records something; returns its number once it is on the disk.
    pub fn append(&self, event: Event, entry: Entry) -> Result<u64, AuditError> {
        let mut state = self.state.lock();
        let appended = self.append_to_state(&mut state, event, entry);
        self.show_trouble(&state);
        appended
    }

    fn append_to_state(&self, state: &mut State, event: Event, entry: Entry) -> Result<u64, AuditError> {
        if state.writer.is_none() {
            let again = state.tried.is_none_or(|tried| tried.elapsed() >= REOPEN_AFTER);
            if state.is_lost || !again {
                return Err(state.stopped());
            }
            self.reopen(state)?;
        }
        let written = self.append_and_rotate(state, event, entry);
        state.judge(written)
    }

    /// As [`AuditLog::append`], on a thread that may block.
    pub async fn write(self: &Arc<Self>, event: Event, entry: Entry) -> Result<u64, AuditError> {
        let _turn = self.turn.lock().await;
        let log = self.clone();
        let written = tokio::task::spawn_blocking(move || log.append(event, entry)).await;
        written.unwrap_or_else(|error| Err(AuditError::Stopped { why: error.to_string() }))
    }

    /// Records from before a number, or the newest; the newest first.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Result<Page, AuditError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let before = before.unwrap_or(u64::MAX);
        let (oldest, mut records) = {
            let state = self.state.lock();
            let recent = state.writer.as_ref().map(Writer::recent);
            let oldest = recent.and_then(VecDeque::front).map_or(u64::MAX, |seen| seen.record.sequence);
            let found = recent.into_iter().flat_map(|recent| recent.iter().rev());
            let found = found.filter(|seen| seen.record.sequence < before);
            (oldest, found.take(limit).cloned().collect::<Vec<_>>())
        };
        if records.len() < limit {
            let doing = |source| self.failed("read", source);
            let more = limit - records.len();
            records.extend(from_disk(&self.folder, before.min(oldest), more).map_err(doing)?);
        }
        let last = records.last().map(|seen| seen.record.sequence);
        let before = last.filter(|last| records.len() == limit && *last > 1);
        Ok(Page { records, before })
    }

    /// Opens it, and records that.
    fn reopen(&self, state: &mut State) -> Result<u64, AuditError> {
        state.tried = Some(Instant::now());
        let opened = Writer::open(&self.folder, self.bytes_max).map_err(|source| self.failed("open", source));
        let opened =
            opened.and_then(|opened| opened.ok_or_else(|| AuditError::Busy { folder: self.folder.clone() }));
        let found = match opened {
            Ok((writer, found)) => {
                state.writer = Some(writer);
                found
            }
            Err(error) => return state.judge(Err(error)),
        };
        let (event, outcome) = match found {
            Some(found) => {
                tracing::error!(folder = %self.folder.display(), trouble = found, "the audit log was tampered with, or damaged");
                (Event::Broken, found)
            }
            None => (Event::Opened, env!("CARGO_PKG_VERSION").to_owned()),
        };
        let written = self.append_to(state, event, Entry { outcome, ..Entry::default() });
        if written.is_err() {
            // What was found is said when it is opened again.
            state.writer = None;
        }
        state.judge(written)
    }

    fn append_and_rotate(&self, state: &mut State, event: Event, entry: Entry) -> Result<u64, AuditError> {
        if let Some(writer) = &mut state.writer {
            writer.trouble = None;
            if writer.is_full() {
                match writer.begin_another() {
                    Ok(()) => self.forget(state),
                    Err(error) => {
                        writer.trouble = Some(format!("another file cannot be begun: {error}"));
                    }
                }
            }
        }
        self.append_to(state, event, entry)
    }

    /// Removes the oldest files while there are too many. One that cannot be removed stays until another is begun.
    fn forget(&self, state: &mut State) {
        let forgotten =
            files::list(&self.folder).map_err(|source| self.failed("list", source)).and_then(|files| {
                let surplus = files.len().saturating_sub(self.files_max.max(1));
                for pair in files.windows(2).take(surplus) {
                    let ((first, path), last) = (&pair[0], pair[1].0 - 1);
                    let outcome = format!("records {first} to {last}; {} files are kept", self.files_max);
                    let parameters = Some(Forgotten { first: *first, last }.told());
                    self.append_to(
                        state,
                        Event::Forgotten,
                        Entry { parameters, outcome, ..Entry::default() },
                    )?;
                    files::remove(&self.folder, path).map_err(|source| self.failed("shorten", source))?;
                }
                Ok(())
            });
        if let (Err(error), Some(writer)) = (forgotten, &mut state.writer) {
            writer.trouble = Some(error.to_string());
        }
    }

    fn append_to(&self, state: &mut State, event: Event, entry: Entry) -> Result<u64, AuditError> {
        let Some(writer) = &mut state.writer else { return Err(state.stopped()) };
        let record = Record {
            version: VERSION,
            sequence: writer.next,
            time: Timestamp::now(),
            event,
            previous: writer.previous.to_hex().to_string(),
            entry: entry.bounded(),
        };
        let mut line = serde_json::to_vec(&record)
            .map_err(|error| self.failed("write down a record of", io::Error::other(error)))?;
        if line.len() > LINE_BYTES_MAX {
            return Err(AuditError::TooLong { bytes: line.len() });
        }
        let digest = blake3::hash(&line);
        line.push(b'\n');
        match writer.put(&line, &digest) {
            Ok(()) => {}
            Err(Unwritten::TakenBack(source)) => return Err(self.failed("write", source)),
            Err(Unwritten::Unknown(source)) => {
                (state.writer, state.is_lost) = (None, true);
                return Err(self.failed("write", source));
            }
        }
        let number = record.sequence;
        let seen = Seen { digest: digest.to_hex().to_string(), record };
        if let Some(export) = &self.export {
            export.send(&seen);
        }
        writer.remember(seen);
        Ok(number)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> AuditError {
        AuditError::Disk { doing, folder: self.folder.clone(), source }
    }
}

impl State {
    /// Keeps what is wrong, if anything is, and says in the log of the program when that begins and ends.
    fn judge(&mut self, written: Result<u64, AuditError>) -> Result<u64, AuditError> {
        let why = match &written {
            // Such a record says nothing of the disk.
            Err(AuditError::TooLong { .. }) => return written,
            Err(error) if self.is_lost => Some(format!("{error}; restart the gateway")),
            Err(error) => Some(error.to_string()),
            Ok(_) => self.writer.as_ref().and_then(|writer| writer.trouble.clone()),
        };
        match (&self.trouble, why) {
            (None, Some(why)) => {
                tracing::error!(
                    trouble = why,
                    "the audit log is not written as it should be; no change goes unrecorded"
                );
                self.trouble = Some(AuditTrouble { since: Timestamp::now(), why });
            }
            (Some(trouble), Some(why)) => {
                self.trouble = Some(AuditTrouble { since: trouble.since, why });
            }
            (Some(_), None) => {
                tracing::info!("the audit log is written again");
                self.trouble = None;
            }
            (None, None) => {}
        }
        written
    }

    fn stopped(&self) -> AuditError {
        let why = self.trouble.as_ref().map(|trouble| trouble.why.clone()).unwrap_or_default();
        AuditError::Stopped { why }
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
        let lines = match files::lines(path) {
            // It made room meanwhile, and so did those before it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            lines => lines?,
        };
        for line in lines {
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

#[cfg(test)]
mod tests;
