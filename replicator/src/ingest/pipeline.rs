//! The threads behind the cutter: workers that seal and write, one finisher that syncs.
//!
//! ```text
//! cutter ──jobs──> workers: compress, encrypt, append ──complete packs──> finisher: index, sync, learn
//! ```
//!
//! There are no more threads at work than the settings say: a cutter that has to wait seals frames
//! itself. With a thread more than cores the cutter, on which all depend, would have to share a core.
//!
//! Promises: an error, or the death of a thread, ends the run: it is kept, later jobs are dropped
//! unread, and whoever waits is woken. A pack that was not learned leaves no file.
//!
//! Bounds: frames in the pipeline by the gate, complete packs that wait for the finisher by
//! [`UNSYNCED_PACKS_MAX`]; then the workers wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tidegate_chunker::{ChunkGroup, ChunkKind, CompressionLevel, Compressor};

use super::gate::{Gate, Pass};
use super::in_flight::InFlight;
use super::job_queue::JobQueue;
use super::open_pack::{FileWriter, OpenPack, Reservation};
use super::report::{Stopwatch, Tally};
use super::{FinishedPack, IngestError, Known};

/// Complete packs that wait to be synced, besides the one being synced.
pub(super) const UNSYNCED_PACKS_MAX: usize = 1;

/// A group of chunks on its way into a frame.
pub(super) struct Job {
    pub(super) group: ChunkGroup,
    pub(super) reservation: Reservation,
    pub(super) pack: Arc<OpenPack>,
    pub(super) pass: Pass,
}

/// A pack whose frames are all written.
struct Complete {
    writer: FileWriter,
    ordinal: u64,
}

/// What all threads of a run share.
pub(super) struct Shared {
    pub(super) known: Arc<dyn Known>,
    pub(super) in_flight: InFlight,
    pub(super) tally: Tally,
    gate: Arc<Gate>,
    jobs: JobQueue,
    /// For each pack that is not learned, the number of the first put in it.
    unfinished: Mutex<BTreeMap<u64, u64>>,
    spare_groups: Mutex<Vec<ChunkGroup>>,
    spare_groups_max: usize,
    failed: AtomicBool,
    failure: Mutex<Option<IngestError>>,
}

impl Shared {
    /// The error that has ended the run, if one has.
    pub(super) fn check(&self) -> Result<(), IngestError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Ends the run. The first error stays.
    pub(super) fn fail(&self, error: IngestError) {
        self.failure.lock().get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// An empty group of this kind, with the buffers of an earlier one if there is one.
    pub(super) fn group(&self, kind: ChunkKind) -> ChunkGroup {
        let mut spare = self.spare_groups.lock();
        match spare.iter().position(|group| group.kind() == kind) {
            Some(place) => spare.swap_remove(place),
            None => ChunkGroup::new(kind),
        }
    }

    /// Takes note that put number `first_put` is in this pack.
    pub(super) fn begin(&self, pack: u64, first_put: u64) {
        let mut unfinished = self.unfinished.lock();
        let first = unfinished.entry(pack).or_insert(first_put);
        *first = first_put.min(*first);
    }

    /// The number of the first put that is in a pack and not durable.
    pub(super) fn first_unfinished(&self) -> Option<u64> {
        self.unfinished.lock().values().min().copied()
    }

    fn reuse(&self, mut group: ChunkGroup) {
        let mut spare = self.spare_groups.lock();
        if spare.len() < self.spare_groups_max {
            group.clear();
            spare.push(group);
        }
    }
}

/// The running threads. Dropping it gives up what is not finished.
pub(super) struct Pipeline {
    pub(super) shared: Arc<Shared>,
    /// Of the caller's thread; gone when the run is over.
    own: Option<Sealer>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread needs to seal frames.
struct Sealer {
    compressor: Compressor,
    finisher: Finisher,
}

/// Where complete packs go.
#[derive(Clone)]
enum Finisher {
    /// To the thread that syncs them.
    Thread(SyncSender<Complete>),
    /// In a simulation, where there are no threads: they are finished by whoever completes them.
    #[cfg(test)]
    Inline(Arc<Shared>),
}

impl Finisher {
    fn give(&self, complete: Complete) -> Result<(), IngestError> {
        match self {
            Self::Thread(queue) => queue.send(complete).map_err(|_| died()),
            #[cfg(test)]
            Self::Inline(shared) => {
                finish_unless_failed(shared, complete);
                shared.check()
            }
        }
    }
}

impl Pipeline {
    pub(super) fn start(
        known: Arc<dyn Known>,
        workers: usize,
        frames_max: usize,
        level: CompressionLevel,
    ) -> Result<Self, IngestError> {
        let shared = Arc::new(Shared {
            known,
            in_flight: InFlight::default(),
            tally: Tally::default(),
            gate: Gate::new(frames_max),
            jobs: JobQueue::default(),
            unfinished: Mutex::default(),
            spare_groups: Mutex::default(),
            spare_groups_max: frames_max,
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
        });
        #[cfg(test)]
        if crate::simulation::is_running() {
            let own = Some(Sealer::new(level, Finisher::Inline(Arc::clone(&shared))));
            return Ok(Self { shared, own, threads: Vec::new() });
        }
        let (complete, complete_queue) = sync_channel(UNSYNCED_PACKS_MAX);
        let finisher = Finisher::Thread(complete);
        // The caller may be away for long, so somebody else has to be there.
        let others = (workers - 1).max(1);
        let sealers: Vec<_> = (0..others).map(|_| Sealer::new(level, finisher.clone())).collect();
        let own = Some(Sealer::new(level, finisher));
        let mut pipeline = Self { shared, own, threads: Vec::new() };
        pipeline.spawn("ingest-sync", move |shared| finish_packs(shared, &complete_queue))?;
        for mut sealer in sealers {
            pipeline.spawn("ingest-seal", move |shared| {
                while let Some(job) = shared.jobs.take() {
                    sealer.work(shared, job);
                }
            })?;
        }
        Ok(pipeline)
    }

    /// Waits for room for one more frame. Seals frames meanwhile, as long as any wait for that.
    pub(super) fn enter(&mut self, waiting: &Stopwatch) -> Pass {
        loop {
            if let Some(pass) = self.shared.gate.try_enter() {
                return pass;
            }
            if !self.help() {
                waiting.time(|| self.shared.gate.wait_for_room());
            }
        }
    }

    /// Sees to it that no frame is left between cutting and the pack files.
    pub(super) fn drain(&mut self) {
        while self.help() {}
        // Nothing waits, so what is inside is in the hands of a thread, and leaves also if that dies.
        self.shared.gate.wait_empty();
    }

    /// Hands over a job.
    pub(super) fn submit(&self, job: Job) -> Result<(), IngestError> {
        self.shared.check()?;
        self.shared.jobs.put(job);
        Ok(())
    }

    /// Seals the oldest frame that waits for it, on this thread; answers whether there was one.
    fn help(&mut self) -> bool {
        let (Some(own), Some(job)) = (&mut self.own, self.shared.jobs.try_take()) else { return false };
        own.work(&self.shared, job);
        true
    }

    /// Closes a pack, which is finished once its last frame has come.
    pub(super) fn close(&self, pack: &OpenPack) -> Result<(), IngestError> {
        let Some(writer) = pack.close() else { return Ok(()) };
        let complete = Complete { writer, ordinal: pack.ordinal };
        match &self.own {
            Some(own) => own.finisher.give(complete),
            None => Err(died()),
        }
    }

    /// Lets the threads do what is left, and waits for them.
    pub(super) fn finish(&mut self) -> Result<(), IngestError> {
        while self.help() {}
        self.shared.jobs.close();
        self.own = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.fail(died());
            }
        }
        self.shared.check()
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<(), IngestError> {
        let shared = Arc::clone(&self.shared);
        let body = move || {
            let alarm = Alarm(&shared);
            work(&shared);
            std::mem::forget(alarm);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(thread.map_err(|error| IngestError::local("start a thread", error))?);
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.shared.fail(IngestError::local("finish the run", "it was given up"));
            // Why it was given up is known to whoever did.
            let _ = self.finish();
        }
    }
}

/// Ends the run if it is dropped: its thread has died.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.fail(died());
    }
}

fn died() -> IngestError {
    IngestError::local("store chunks", "a thread of the ingest has died; the log says why")
}

impl Sealer {
    fn new(level: CompressionLevel, finisher: Finisher) -> Self {
        Self { compressor: Compressor::new(level), finisher }
    }

    /// Does a job, unless the run has ended; an error ends it.
    fn work(&mut self, shared: &Shared, job: Job) {
        if shared.check().is_ok()
            && let Err(error) = self.seal(shared, job)
        {
            shared.fail(error);
        }
    }

    fn seal(&mut self, shared: &Shared, job: Job) -> Result<(), IngestError> {
        let Job { group, reservation, pack, pass } = job;
        let Reservation { slot, bytes } = reservation;
        let frame = shared.tally.sealing.time(|| slot.seal(&group, &mut self.compressor));
        let frame = frame.map_err(|error| IngestError::local("seal a frame", error))?;
        shared.reuse(group);
        let written = shared.tally.writing.time(|| pack.append(&frame, bytes));
        let (placed, whole) = written.map_err(|error| IngestError::local("write a local pack", error))?;
        frame.recycle(&mut self.compressor);
        shared.in_flight.placed(&placed);
        shared.tally.frames.fetch_add(1, Ordering::Relaxed);
        if let Some(writer) = whole {
            self.finisher.give(Complete { writer, ordinal: pack.ordinal })?;
        }
        drop(pass);
        Ok(())
    }
}

fn finish_packs(shared: &Shared, complete: &Receiver<Complete>) {
    while let Ok(pack) = complete.recv() {
        finish_unless_failed(shared, pack);
    }
}

fn finish_unless_failed(shared: &Shared, pack: Complete) {
    if shared.check().is_ok()
        && let Err(error) = shared.tally.syncing.time(|| finish_pack(shared, pack))
    {
        shared.fail(error);
    }
}

fn finish_pack(shared: &Shared, pack: Complete) -> Result<(), IngestError> {
    const DOING: &str = "finish a local pack";
    let (file, summary) = pack.writer.finish().map_err(|error| IngestError::local(DOING, error))?;
    let path = file.publish().map_err(|error| IngestError::local(DOING, error))?;
    let index = Arc::new(summary.index);
    let finished = FinishedPack { pack: summary.pack, path, bytes: summary.bytes, index: Arc::clone(&index) };
    shared.known.learn(finished).map_err(|error| IngestError::local("take note of a local pack", error))?;
    shared.in_flight.forget(&index);
    shared.unfinished.lock().remove(&pack.ordinal);
    shared.tally.packs.fetch_add(1, Ordering::Relaxed);
    shared.tally.stored_bytes.fetch_add(summary.bytes, Ordering::Relaxed);
    Ok(())
}
