//! The applier: carries durable records out in RocksDB, one by one, in the order of the journal.
//!
//! Owns one thread and the queue in front of it. Records arrive in any order (two submitters may
//! overtake each other between the journal and the queue) and leave in sequence.
//!
//! Order: a record is taken only when the journal says that it is durable; it is carried out in
//! RocksDB; then the memory layer forgets it. A crash at any point leaves RocksDB behind the journal,
//! never ahead, and [`replay`] closes the gap.
//!
//! What a rebase leaves to be swept ([`super::sweep`]) goes a piece at a time, between groups of records and while there are
//! none: it holds nobody up.
//!
//! An error of RocksDB ends the thread: from then on nothing new becomes visible below the memory
//! layer, writers get [`LiveError::Stopped`], and a restart replays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::change::Batch;
use super::db::Database;
use super::pending::Pending;
use super::sweep::Sweep;
use super::{Limits, LiveError};
use crate::journal::{Journal, Replay, Sequence};

/// Records carried out in one write batch.
const GROUP_RECORDS_MAX: usize = 256;

type Queue = Arc<Mutex<BTreeMap<Sequence, Arc<Batch>>>>;

/// A handle to the applier; dropping it ends the thread, and waits until it has let go of RocksDB.
#[derive(Debug)]
pub(super) struct Applier {
    queue: Queue,
    /// None only while the handle is dropped.
    queued: Option<watch::Sender<()>>,
    applied: watch::Receiver<Sequence>,
    flushed: Arc<AtomicU64>,
    pause: Arc<Pause>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Keeps the applier from carrying out more, while several views are taken.
#[derive(Debug, Default)]
struct Pause {
    /// How many want it.
    wanted: Mutex<u32>,
    ended: Condvar,
}

impl Pause {
    /// Carries something out when nobody wants a pause.
    fn outside<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut wanted = self.wanted.lock();
        self.ended.wait_while(&mut wanted, |wanted| *wanted > 0);
        work()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.queued = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the applier has died");
        }
    }
}

impl Applier {
    pub(super) fn start(
        journal: Journal,
        database: Arc<Database>,
        pending: Arc<Pending>,
        limits: Limits,
    ) -> Result<Self, LiveError> {
        let flushed = Arc::new(AtomicU64::new(database.flush()?.0));
        let (applied_sender, applied) = watch::channel(database.applied(None)?);
        let (queued, queued_receiver) = watch::channel(());
        let queue = Queue::default();
        let sweeps = database.sweeps()?.into();
        let pause: Arc<Pause> = Arc::default();
        let worker = Worker {
            pause: pause.clone(),
            queue: queue.clone(),
            durable: journal.subscribe(),
            database,
            pending,
            applied: applied_sender,
            flushed: flushed.clone(),
            flush_journal_bytes: limits.flush_journal_bytes,
            unflushed_bytes: 0,
            sweeps,
        };
        let runtime = tokio::runtime::Handle::current();
        let thread = thread::Builder::new()
            .name("applier".into())
            .spawn(move || runtime.block_on(worker.run(queued_receiver)))
            .map_err(|_| LiveError::Stopped)?;
        Ok(Self { queue, queued: Some(queued), applied, flushed, pause, thread: Some(thread) })
    }

    pub(super) fn enqueue(&self, sequence: Sequence, batch: Arc<Batch>) {
        self.queue.lock().insert(sequence, batch);
        if let Some(queued) = &self.queued {
            queued.send_replace(());
        }
    }

    /// Waits until the memory layer is below its bound.
    pub(super) async fn room(&self, pending: &Pending, bytes_max: usize) -> Result<(), LiveError> {
        let mut applied = self.applied.clone();
        applied.wait_for(|_| pending.bytes() < bytes_max).await.map_err(|_| LiveError::Stopped)?;
        Ok(())
    }

    /// Waits until RocksDB holds a record.
    pub(super) async fn applied(&self, sequence: Sequence) -> Result<(), LiveError> {
        let mut applied = self.applied.clone();
        applied.wait_for(|applied| *applied >= sequence).await.map_err(|_| LiveError::Stopped)?;
        Ok(())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.applied.clone()
    }

    /// Carries nothing more out, from the return of this on, until [`Applier::go_on`]. For moments only: the memory
    /// layer fills meanwhile, and then writers wait. Blocks until the group of records is done that is under way.
    pub(super) fn pause(&self) {
        *self.pause.wanted.lock() += 1;
    }

    /// Ends a pause.
    pub(super) fn go_on(&self) {
        *self.pause.wanted.lock() -= 1;
        self.pause.ended.notify_all();
    }

    pub(super) fn flushed(&self) -> Sequence {
        Sequence(self.flushed.load(Ordering::Acquire))
    }

    pub(super) fn flush(&self, database: &Database) -> Result<Sequence, LiveError> {
        let flushed = database.flush()?;
        self.flushed.fetch_max(flushed.0, Ordering::AcqRel);
        Ok(flushed)
    }
}

struct Worker {
    pause: Arc<Pause>,
    queue: Queue,
    durable: watch::Receiver<Sequence>,
    database: Arc<Database>,
    pending: Arc<Pending>,
    applied: watch::Sender<Sequence>,
    flushed: Arc<AtomicU64>,
    flush_journal_bytes: u64,
    unflushed_bytes: u64,
    /// Maps with marks that say nothing any more.
    sweeps: VecDeque<Sweep>,
}

impl Worker {
    /// Runs until the handle or the journal goes.
    async fn run(mut self, mut queued: watch::Receiver<()>) {
        loop {
            let swept = self.apply_durable().and_then(|()| self.sweep_piece());
            if let Err(error) = swept {
                tracing::error!(%error, "failed to carry out journal records; no more writes until a restart");
                return;
            }
            if !self.sweeps.is_empty() {
                // The handle may have gone: what is left is swept after the next start.
                if queued.has_changed().is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                changed = queued.changed() => if changed.is_err() { return },
                changed = self.durable.changed() => if changed.is_err() { return },
            }
        }
    }

    fn apply_durable(&mut self) -> Result<(), LiveError> {
        let durable = *self.durable.borrow_and_update();
        loop {
            let group = self.take_group(durable);
            let Some((last, _)) = group.last() else { return Ok(()) };
            let last = *last;
            let records: Vec<_> = group.iter().map(|(sequence, batch)| (*sequence, batch.as_ref())).collect();
            self.pause.outside(|| self.database.apply(&records))?;
            if group.iter().any(|(_, batch)| batch.is_rebase()) {
                Sweep::join(&mut self.sweeps, self.database.sweeps()?);
            }
            for (sequence, batch) in &group {
                self.pending.remove(*sequence, batch);
                self.unflushed_bytes += batch.encoded_bytes() as u64;
            }
            self.applied.send_replace(last);
            self.flush_when_due()?;
            self.sweep_piece()?;
        }
    }

    /// Sweeps a piece, if there is anything to sweep.
    fn sweep_piece(&mut self) -> Result<(), LiveError> {
        if let Some(mut sweep) = self.sweeps.pop_front()
            && !self.database.sweep_piece(&mut sweep)?
        {
            self.sweeps.push_back(sweep);
        }
        Ok(())
    }

    /// The next records without a gap that are durable.
    fn take_group(&self, durable: Sequence) -> Vec<(Sequence, Arc<Batch>)> {
        let mut queue = self.queue.lock();
        let mut group = Vec::new();
        let mut next = self.applied.borrow().next();
        while next <= durable && group.len() < GROUP_RECORDS_MAX {
            let Some(batch) = queue.remove(&next) else { break };
            group.push((next, batch));
            next = next.next();
        }
        group
    }

    fn flush_when_due(&mut self) -> Result<(), LiveError> {
        if self.unflushed_bytes >= self.flush_journal_bytes {
            let flushed = self.database.flush()?;
            self.flushed.fetch_max(flushed.0, Ordering::AcqRel);
            self.unflushed_bytes = 0;
        }
        Ok(())
    }
}

/// Carries out what RocksDB lacks, before anything is served.
pub(super) fn replay(replay: &Replay, database: &Database) -> Result<(), LiveError> {
    let applied = database.applied(None)?;
    let mut group: Vec<(Sequence, Batch)> = Vec::new();
    let mut records = 0u64;
    for record in replay.from(applied.next())? {
        let record = record?;
        // What salvage gave up has no batch: nothing is carried out for it.
        let lost = record.batch.is_empty();
        let mut batch = if lost { Batch::default() } else { Batch::decode(record.batch)? };
        batch.resolve(tidegate_replicator::map::JournalPiece {
            segment: record.position.segment,
            offset: record.position.offset,
        })?;
        group.push((record.sequence, batch));
        records += 1;
        if group.len() == GROUP_RECORDS_MAX {
            apply_group(&mut group, database)?;
        }
    }
    apply_group(&mut group, database)?;
    if records > 0 {
        tracing::info!(records, "replayed the journal");
    }
    Ok(())
}

fn apply_group(group: &mut Vec<(Sequence, Batch)>, database: &Database) -> Result<(), LiveError> {
    let records: Vec<_> = group.iter().map(|(sequence, batch)| (*sequence, batch)).collect();
    database.apply(&records)?;
    group.clear();
    Ok(())
}
