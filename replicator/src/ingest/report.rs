//! What a run did, and where its time went.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What an ingest did. Times are sums over the threads of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// Bytes of all chunks put, duplicates included.
    pub bytes_in: u64,
    /// Chunks put, duplicates included.
    pub chunks: u64,
    /// Chunks that were stored before or came earlier in the run.
    pub duplicates: u64,
    /// Bytes of the chunks that were sealed.
    pub unique_bytes: u64,
    /// Bytes of finished pack files.
    pub stored_bytes: u64,
    /// Frames written.
    pub frames: u64,
    /// Packs finished.
    pub packs: u64,
    /// Finding cuts.
    pub cutting: Duration,
    /// Computing ids.
    pub digesting: Duration,
    /// Asking what is known.
    pub looking_up: Duration,
    /// Compressing and encrypting.
    pub sealing: Duration,
    /// Writing to pack files.
    pub writing: Duration,
    /// Syncing pack files and having them learned.
    pub syncing: Duration,
    /// The cutting thread waiting for the others, with nothing left that it could help with.
    pub waiting: Duration,
}

/// A sum of nanoseconds that several threads add to.
#[derive(Default)]
pub(super) struct Stopwatch(AtomicU64);

impl Stopwatch {
    /// Does something and adds the time that it took.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        done
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// What the threads behind the cutter count.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) sealing: Stopwatch,
    pub(super) writing: Stopwatch,
    pub(super) syncing: Stopwatch,
    pub(super) frames: AtomicU64,
    pub(super) packs: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
}

impl Tally {
    /// Adds what was counted here to what the cutter counted.
    pub(super) fn complete(&self, cutter: IngestReport) -> IngestReport {
        IngestReport {
            stored_bytes: self.stored_bytes.load(Relaxed),
            frames: self.frames.load(Relaxed),
            packs: self.packs.load(Relaxed),
            sealing: self.sealing.total(),
            writing: self.writing.total(),
            syncing: self.syncing.total(),
            ..cutter
        }
    }
}
