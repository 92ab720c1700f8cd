//! The journal of a run: a file of lines, each durable before what follows from it happens.
//!
//! ```text
//! 8 hex digits: CRC-32C of the JSON | blank | JSON of an entry | line feed
//! ```
//!
//! A line is written at once and synced before [`Journal::append`] returns; the folder is synced when the file is made. A
//! crash leaves at most one line at the end that is cut short or wrong: it was never acted upon, and is taken away when
//! the file is opened. A wrong line before the last is damage, and the run is not gone on with.
//!
//! Whoever goes on with a run holds a lock on the file, which goes with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};

use super::state::Entry;

/// The longest journal, in bytes.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// How often, and how many times more, a lock is asked for that somebody seems to hold.
const LOCK_LOOK: Duration = Duration::from_millis(20);
const LOCK_LOOKS_MAX: usize = 10;
/// The digits of a checksum, and the blank.
const HEAD_BYTES: usize = 9;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error("failed to {doing} the journal {path}: {source}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process goes on with the run.
    #[error("another process goes on with the run of {path}; wait for it, or end it")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A line is wrong that is not the last.
    #[error("line {line} of the journal {path} is damaged: the run cannot be gone on with")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// It is longer than any run makes it.
    #[error("the journal {path} is longer than {JOURNAL_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Keeps entries.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Makes an entry durable.
    async fn append(&self, entry: &Entry) -> Result<(), JournalError>;
}

/// Keeps others from going on with the same run.
#[derive(Debug)]
pub struct JournalLock(File);

/// See the head of this module.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    lock: JournalLock,
}

impl FileJournal {
    /// Makes a new one.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let failed = |doing| move |source| JournalError::Disk { doing, path: path.to_owned(), source };
        let file = OpenOptions::new().append(true).read(true).create_new(true).open(path);
        let lock = lock(path, file.map_err(failed("make"))?)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("make"))?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Opens one to go on with; takes away a last line that was cut short.
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let failed = |doing| move |source| JournalError::Disk { doing, path: path.to_owned(), source };
        let file = OpenOptions::new().append(true).read(true).open(path).map_err(failed("open"))?;
        let lock = lock(path, file)?;
        let (entries, whole) = read(path, &lock.0)?;
        let length = lock.0.metadata().map_err(failed("read"))?.len();
        if whole < length {
            lock.0.set_len(whole).map_err(failed("mend"))?;
            lock.0.sync_all().map_err(failed("mend"))?;
        }
        Ok((Self { path: path.to_owned(), lock }, entries))
    }

    /// What is in one, whoever goes on with it; whether somebody does.
    pub fn read(path: &Path) -> Result<(Vec<Entry>, bool), JournalError> {
        let failed = |source| JournalError::Disk { doing: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let (entries, _) = read(path, &file)?;
        let runs = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        Ok((entries, runs))
    }
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&self, entry: &Entry) -> Result<(), JournalError> {
        let line = line(entry);
        let failed = |source| JournalError::Disk { doing: "write", path: self.path.clone(), source };
        let mut file = self.lock.0.try_clone().map_err(failed)?;
        let write = move || file.write_all(&line).and_then(|()| file.sync_data());
        let written = tokio::task::spawn_blocking(write).await;
        written.unwrap_or_else(|died| Err(io::Error::other(died))).map_err(failed)
    }
}

fn lock(path: &Path, file: File) -> Result<JournalLock, JournalError> {
    let lock = || flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    // A program that is just being started has a copy of every open file for a moment, and with it of a lock that was let
    // go here.
    let waits = || std::iter::repeat_with(|| std::thread::sleep(LOCK_LOOK)).take(LOCK_LOOKS_MAX);
    if lock() || waits().any(|()| lock()) {
        return Ok(JournalLock(file));
    }
    Err(JournalError::Busy { path: path.to_owned() })
}

fn line(entry: &Entry) -> Vec<u8> {
    let json = serde_json::to_string(entry).expect("strings, numbers and times can be written");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

/// The entries, and how many bytes of the file are whole.
fn read(path: &Path, mut file: &File) -> Result<(Vec<Entry>, u64), JournalError> {
    let failed = |source| JournalError::Disk { doing: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > JOURNAL_BYTES_MAX {
        return Err(JournalError::TooLong { path: path.to_owned() });
    }
    let (mut entries, mut whole) = (Vec::new(), 0);
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match parse(line) {
            Some(entry) => entries.push(entry),
            None if whole + line.len() == bytes.len() => break,
            None => return Err(JournalError::Damaged { path: path.to_owned(), line: at + 1 }),
        }
        whole += line.len();
    }
    Ok((entries, whole as u64))
}

fn parse(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n")?;
    let (head, json) = line.split_at_checked(HEAD_BYTES)?;
    let sum = std::str::from_utf8(head.strip_suffix(b" ")?).ok()?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    if crc32c::crc32c(json) != sum {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::state::{Mode, Record};
    use super::*;

    #[test]
    fn the_first_line_of_a_run_comes_back_as_it_was() {
        for moment in [None, Some("at:2026-11-20T14:05:00Z".to_owned())] {
            let record = Record::Begun {
                run: "20261126T114847Z-5b9e1992".to_owned(),
                mode: Mode::Drill,
                runbook: "[runbook.loss]\n".to_owned(),
                at: moment,
                version: "0.1.0".to_owned(),
                host: "site".to_owned(),
                repository: "file:///srv/repository".to_owned(),
            };
            let entry = Entry { at: Timestamp::UNIX_EPOCH, record };
            assert_eq!(parse(&line(&entry)), Some(entry));
        }
    }
}
