//! The file that is written: appended to and synced; another is begun when it is long enough.
//!
//! Room is reserved ahead ([`RESERVE_BYTES`]), so that on a full disk there is still a record of what makes room. A write that
//! fails is taken back: the file is as it was before, and the next may succeed. After a failed sync, or when a write cannot
//! be taken back, nobody knows what the file holds.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::end::End;
use super::files::{self, Newest};
use super::record::{RECENT_MAX, Seen};

/// How much room is kept ahead of what is written, in bytes.
pub(super) const RESERVE_BYTES: u64 = 1 << 20;

/// How often a lock that is held is asked for, and how long it is waited in between.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Whether the lock is ours, or another process has it. A child that this process is just starting holds what its parent held until it is another
/// program, so a lock that was given back may be held for an instant still.
fn lock_soon(lock: &File) -> io::Result<bool> {
    for attempt in 0..LOCK_ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Why a line was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The file is as it was.
    TakenBack(io::Error),
    /// What the file holds is not known.
    Unknown(io::Error),
}

/// See the head of this module.
pub(super) struct Writer {
    folder: PathBuf,
    pub(super) file: File,
    pub(super) bytes: u64,
    bytes_max: u64,
    /// Up to where room is reserved.
    reserved: u64,
    pub(super) next: u64,
    pub(super) previous: blake3::Hash,
    newest: Newest,
    recent: VecDeque<Seen>,
    /// What went wrong with the last line that was written nevertheless.
    pub(super) trouble: Option<String>,
    /// Held as long as the log is open.
    _lock: File,
}

impl Writer {
    /// Opens the end of a log, or begins one; says what does not fit. None: another process writes it.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Option<(Self, Option<String>)>> {
        files::make_folder(folder)?;
        let lock = files::open_lock(folder)?;
        if !lock_soon(&lock)? {
            return Ok(None);
        }
        let end = End::find(folder)?;
        let file = files::append_to(folder, end.first)?;
        let bytes = file.metadata()?.len();
        let mut writer = Self {
            folder: folder.to_owned(),
            file,
            bytes,
            bytes_max,
            reserved: bytes,
            next: end.next,
            previous: end.digest,
            newest: Newest::open(folder)?,
            recent: end.recent,
            trouble: None,
            _lock: lock,
        };
        writer.reserve();
        Ok(Some((writer, end.trouble)))
    }

    /// Whether the next record belongs into another file.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Begins another file. On an error this one is written on.
    pub(super) fn begin_another(&mut self) -> io::Result<()> {
        let file = files::append_to(&self.folder, self.next)?;
        if let Err(error) = files::reserve(&file, 0, RESERVE_BYTES) {
            files::remove_empty(&self.folder, self.next)?;
            return Err(error);
        }
        (self.file, self.bytes, self.reserved) = (file, 0, RESERVE_BYTES);
        Ok(())
    }

    /// Writes and syncs a line.
    pub(super) fn put(&mut self, line: &[u8], digest: &blake3::Hash) -> Result<(), Unwritten> {
        if let Err(error) = self.file.write_all(line) {
            return Err(self.take_back(error));
        }
        self.file.sync_data().map_err(Unwritten::Unknown)?;
        let number = self.next;
        (self.bytes, self.next, self.previous) = (self.bytes + line.len() as u64, number + 1, *digest);
        if let Err(error) = self.newest.write(number, digest) {
            // It stays behind, as after a crash; the record itself is there.
            self.trouble = Some(format!("the number of the newest record was not noted: {error}"));
        }
        self.reserve();
        Ok(())
    }

    /// Keeps a record in memory.
    pub(super) fn remember(&mut self, seen: Seen) {
        self.recent.push_back(seen);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// The newest records, the newest last.
    pub(super) fn recent(&self) -> &VecDeque<Seen> {
        &self.recent
    }

    fn take_back(&mut self, error: io::Error) -> Unwritten {
        let taken_back = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all());
        self.reserved = self.bytes;
        match taken_back {
            Ok(()) => Unwritten::TakenBack(error),
            Err(_) => Unwritten::Unknown(error),
        }
    }

    /// Keeps room ahead; on a full disk what was reserved before is used up first.
    fn reserve(&mut self) {
        if self.reserved >= self.bytes + RESERVE_BYTES / 2 {
            return;
        }
        if files::reserve(&self.file, self.bytes, RESERVE_BYTES).is_ok() {
            self.reserved = self.bytes + RESERVE_BYTES;
        }
    }
}
