//! The journal: the append-only local log of acknowledged changes, one for data and metadata.
//!
//! A record is a batch (map changes, opaque here) and a payload (file data). Records have sequences
//! that grow by one; a payload has a [`Position`], and extents of the map point at positions until the
//! data has been drained into packs.
//!
//! # Promises
//!
//! * When [`Journal::durable`] returned `Ok` for a sequence, that record and all before it are on
//!   stable storage: after any crash or power cut they are replayed, whole and in order.
//! * Nothing torn or damaged is ever returned by [`Replay`] or [`Journal::read`]: batches are verified
//!   whole, payload by checksums of 4 KiB each.
//! * After a failed write or sync nothing more is acknowledged until the journal is opened again. The
//!   [`Journal::verifier`] is another one then, so that NFS clients send again what was not committed.
//! * A full disk is known before a change is taken: [`Journal::reserve`] answers
//!   [`JournalError::NoSpace`], and the log stays readable and open for what still fits.
//! * Segment ids, and so positions, are never used again. Sequences of records that were lost with the
//!   power (none was acknowledged) are.
//!
//! # How to append
//!
//! Take a permit first, then the locks that order the change, then append; release the locks, and wait
//! for durability only if the answer promises it:
//!
//! ```
//! # use tidegate_gateway::journal::{Journal, JournalError, Options};
//! # async fn example(folder: &std::path::Path, data: bytes::Bytes) -> Result<(), JournalError> {
//! let (journal, replay) = Journal::open(folder, Options::default())?;
//! for record in replay.from(replay.oldest())? {
//!     let record = record?; // apply `record.batch`
//! }
//! let permit = journal.reserve(100 + data.len() as u64).await?;
//! let appended = journal.append(permit, b"a batch", &[data])?;
//! journal.durable(appended.sequence).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What runs beside what
//!
//! | | append | writer | read | remove |
//! |---|---|---|---|---|
//! | **append** | the lock of the tail orders them | the writer copies the queue under that lock | sees a record from the moment it has a position | touches sealed segments only |
//! | **writer** (one thread) | | there is one | a record leaves the queue after it is in the file | never the segment in use |
//! | **read** | | | no lock is held while reading | has its file open, or is told `Gone` |
//!
//! # What it does not do
//!
//! It does not know what a batch means, does not decide which segments are still needed
//! ([`Journal::remove_through`] is told), and does not encrypt: set-up checks the disk for that.

mod disk;
mod error;
mod format;
mod index;
mod metrics;
mod open;
mod options;
mod read;
mod replay;
mod salvage;
mod scan;
mod segments;
mod shared;
mod tail;
mod writer;

#[cfg(test)]
mod fault_disk;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use disk::{Disk, Folder};
use shared::Shared;

pub use error::JournalError;
pub use options::Options;
pub use replay::{Records, Replay, ReplayedRecord};
pub use salvage::{LostStretch, SalvageReport, salvage};
pub use segments::SegmentInfo;
pub use shared::Permit;

/// Longest read that the caller's thread does itself, when the page cache has it: beyond this the copy
/// takes longer than the change of threads.
const CACHED_READ_BYTES_MAX: u64 = 64 << 10;

/// The number of a record. They begin at 1 and grow by one; 0 stands for "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before it; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a byte of payload lies. Positions inside one payload are found by adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment; ids are never used again.
    pub segment: u64,
    /// Bytes from the start of the segment's file.
    pub offset: u64,
}

impl Position {
    /// The position `bytes` further on in the same payload.
    #[must_use]
    pub fn advance(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}+{}", self.segment, self.offset)
    }
}

/// What an append gave the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub sequence: Sequence,
    /// Where its payload begins (would begin, if it is empty).
    pub position: Position,
}

/// An open journal. Clones are the same journal; the last one to go writes and syncs what is left, and
/// waits for it.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

/// Stops the writer when the last clone goes.
struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Locks `folder` (making it if need be), cuts a torn tail, and begins a new segment.
    ///
    /// Blocks: it reads the last segment, and syncs. The second value replays what is there.
    /// Errors: [`JournalError::InUse`], [`JournalError::Damaged`], [`JournalError::NewerFormat`],
    /// [`JournalError::NoSpace`], [`JournalError::Option`], [`JournalError::Io`].
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Replay), JournalError> {
        let options = options.checked()?;
        Self::open_on(Arc::new(Folder::open(folder)?), options)
    }

    fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Replay), JournalError> {
        let opened = open::open(disk, options)?;
        let writer = writer::start(opened.writer)?;
        let handle = Handle { shared: opened.shared, writer: Mutex::new(Some(writer)) };
        Ok((Self { handle: Arc::new(handle) }, opened.replay))
    }

    /// Waits until a record with at most `bytes` of batch and payload together can be appended without
    /// waiting. Take it before any lock. Dropping the permit gives the room back.
    ///
    /// Errors: [`JournalError::NoSpace`] (nothing is lost, try later), [`JournalError::TooLarge`],
    /// [`JournalError::Stopped`].
    pub async fn reserve(&self, bytes: u64) -> Result<Permit, JournalError> {
        self.handle.shared.reserve(bytes).await
    }

    /// Appends a record to the buffer and gives it the next sequence. Never waits: call it under the
    /// locks that order the change. `payload` is taken as one run of bytes; it is not copied.
    ///
    /// Errors: [`JournalError::PermitTooSmall`], [`JournalError::Stopped`]. Nothing was appended then.
    pub fn append(&self, permit: Permit, batch: &[u8], payload: &[Bytes]) -> Result<Appended, JournalError> {
        self.handle.shared.append(permit, batch, payload)
    }

    /// Waits until the record and all before it are on stable storage. Everybody who waits shares one
    /// sync.
    ///
    /// Errors: [`JournalError::NotAppended`]; [`JournalError::Stopped`], then the record may or may not
    /// be there after the next start.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), JournalError> {
        self.handle.shared.durable(sequence).await
    }

    /// The newest record on stable storage.
    pub fn durable_sequence(&self) -> Sequence {
        *self.handle.shared.progress.borrow()
    }

    /// The newest record appended.
    pub fn appended_sequence(&self) -> Sequence {
        self.handle.shared.appended()
    }

    /// Follows [`Self::durable_sequence`]. It also wakes, unchanged, when the journal stops: see
    /// [`Self::health`].
    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.handle.shared.progress.subscribe()
    }

    /// `Err` ([`JournalError::Stopped`]) once a write or sync has failed.
    pub fn health(&self) -> Result<(), JournalError> {
        self.handle.shared.check_running()
    }

    /// Reads `bytes` of payload, verified; from memory while they are not written yet. A short read of
    /// what the system's page cache has is answered at once, any other by a thread that may wait. No bytes
    /// read as nothing from anywhere.
    ///
    /// Errors: [`JournalError::Gone`] (look the extent up again), [`JournalError::Damaged`],
    /// [`JournalError::NoSuchPayload`], [`JournalError::Io`].
    pub async fn read(&self, position: Position, bytes: u64) -> Result<Bytes, JournalError> {
        if let Some(found) = self.handle.shared.read_unwritten(position, bytes) {
            return found;
        }
        if bytes <= CACHED_READ_BYTES_MAX
            && let Some(found) = self.handle.shared.segments.read_cached(position, bytes)
        {
            return Ok(found);
        }
        let shared = self.handle.shared.clone();
        let reading = tokio::task::spawn_blocking(move || shared.segments.read(position, bytes));
        // The runtime drops blocking work only while it shuts down.
        reading.await.unwrap_or_else(|_| Err(JournalError::Stopped { cause: "shutting down".into() }))
    }

    /// As [`Self::read`], for threads that may wait for the disk.
    pub fn read_blocking(&self, position: Position, bytes: u64) -> Result<Bytes, JournalError> {
        match self.handle.shared.read_unwritten(position, bytes) {
            Some(found) => found,
            None => self.handle.shared.segments.read(position, bytes),
        }
    }

    /// All segments, oldest first. The last one is in use.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.handle.shared.segments.list()
    }

    /// Deletes the sealed segments whose every record is at or below `sequence`, oldest first, and says
    /// how many bytes that freed. Blocks: it syncs the folder for each. Reads under way go on.
    pub fn remove_through(&self, sequence: Sequence) -> Result<u64, JournalError> {
        let freed = self.handle.shared.segments.remove_through(sequence)?;
        self.handle.shared.space_freed();
        Ok(freed)
    }

    /// Random for each open: the NFS write verifier.
    pub fn verifier(&self) -> [u8; 8] {
        self.handle.shared.verifier
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.get_mut().take() {
            // A writer that panicked has stopped the journal already.
            let _ = writer.join();
        }
    }
}
