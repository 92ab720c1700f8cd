//! Saving a source of backup: one run, from the look at plans to the snapshot.
//!
//! | step | what | a crash after it leaves |
//! |---|---|---|
//! | open | the source can be opened; before anything is claimed | nothing |
//! | lead | the line is this gateway's, or is claimed | a claim |
//! | look | collection plans that are open; their packs count as duplicates no more | nothing |
//! | back up | a new root over that of the newest head; packs are sent meanwhile | packs, whose chunks the next run finds |
//! | publish | the head | a head without its snapshot |
//! | keep | the snapshot | the finished run |
//!
//! Reading and cutting have a thread of their own, which may be nicer than the others. It is held up while more waits here
//! to be sent than [`backlog_max`] says, so that a large source does not take the room that clients' writes need.
//!
//! When the newest head's map turns out to be damaged the source is read as if there had been none: what it has now is
//! then whole again, under new numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_replicator::backup::{
    BackupError, Base, Observer, Options, Outcome, Report, Source, SourceError, Tools, back_up,
};
use tidegate_replicator::frozen::{Frozen, ReadError};
use tidegate_replicator::ingest::IngestOptions;
use tidegate_replicator::repository::{CommitStatistics, Head, HeadName, NewSnapshot, UtcNanos};
use tidegate_replicator::tree::{Root, TreeError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::source_lines::{Line, SourceConfig, settings_of_head};
use super::{Appliance, ApplianceError, SnapshotEntry};
use crate::commit::{CommitError, NextHead};
use crate::control::{JobHandle, Unit};
use crate::ledger::Ledger;
use crate::telemetry::record_commit;

/// From so many waiting bytes on packs are sent while a run goes on.
const SENT_FROM_BYTES: u64 = 64 << 20;
/// How often it is looked whether packs wait.
const LOOK: Duration = Duration::from_millis(250);
/// The part of the dirty budget that runs leave waiting at most, and bounds of it in bytes.
const BACKLOG_PART: u64 = 4;
const BACKLOG_BYTES: std::ops::RangeInclusive<u64> = (128 << 20)..=(2 << 30);
/// The tag of a snapshot that lacks something: how many names.
pub const INCOMPLETE_TAG: &str = "incomplete";
/// The tag of a snapshot with files that changed while they were read: how many.
const TORN_TAG: &str = "torn";

/// Opens a source; more than once, if it must be read again.
pub type OpenSource = Arc<dyn Fn(&JobHandle) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

/// What is to be saved.
#[derive(Clone)]
pub struct SourceRequest {
    /// Which source.
    pub config: SourceConfig,
    /// How it is opened.
    pub open: OpenSource,
    /// How it is read.
    pub options: Options,
    /// What the snapshot says.
    pub new: NewSnapshot,
    /// Whether a line that another gateway leads is taken over.
    pub take_over: bool,
    /// How much nicer than others the reading is, 0 to 19.
    pub nice: u8,
}

/// What was saved.
#[derive(Clone, Debug)]
pub struct SourceTaken {
    /// The snapshot.
    pub entry: SnapshotEntry,
    /// What was done.
    pub report: Report,
    /// What it cost.
    pub statistics: CommitStatistics,
}

impl Appliance {
    /// Saves a source.
    pub async fn save_source(
        &self,
        request: &SourceRequest,
        job: &JobHandle,
    ) -> Result<SourceTaken, ApplianceError> {
        let started = Instant::now();
        let name = &request.config.name;
        let failed = |error: BackupError| ApplianceError::Source { name: name.clone(), error };
        let source = self.open_source(request, job).await.map_err(failed)?;
        let line = self.source_line(&request.config, request.take_over).await?;
        let Ok(mut turn) = line.turn.try_lock() else {
            return Err(ApplianceError::SourceBusy { name: name.clone() });
        };
        self.lead_source(&line, &mut turn, request.take_over).await?;
        self.want_index();
        let plans = self.committer.plans.look().await?;
        let frozen_at = self.now();
        let newest = self.newest_of_source(&line, &mut turn).await?;
        let sent = AtomicU64::new(0);
        let outcome = self.outcome(request, &line, source, newest.as_ref(), (job, &sent)).await?;
        job.phase("publish", None, Unit::Items);
        let description = line.description(settings_of_head(&request.config));
        let next = NextHead {
            description: &description,
            root: outcome.root,
            frozen_at,
            incarnation: line.incarnation(),
            next_inode: outcome.next_inode,
            journal_sequence: 0,
            usage: outcome.usage,
            statistics: statistics(&outcome, sent.into_inner()),
            plans,
            heat: None,
        };
        let (head_name, head) = self.publish_source(&line, &mut turn, next, started).await?;
        record_commit(&request.config.name, &head.statistics);
        self.keep_source(request, (head_name, &head), frozen_at, outcome.report).await
    }

    async fn keep_source(
        &self,
        request: &SourceRequest,
        (name, head): (HeadName, &Head),
        frozen_at: UtcNanos,
        report: Report,
    ) -> Result<SourceTaken, ApplianceError> {
        let mut new = request.new.clone();
        for (tag, count) in [(INCOMPLETE_TAG, report.left_out), (TORN_TAG, report.torn)] {
            if count > 0 {
                new.tags.insert(tag.to_owned(), count.to_string());
            }
        }
        let statistics = head.statistics;
        let source = &request.config.name;
        match self.keep(name, head, new).await? {
            Some(entry) => {
                let (sent, left_out) = (statistics.bytes_uploaded, report.left_out);
                tracing::info!(source, head = %name, at = %frozen_at, sent, left_out, "saved a source");
                Ok(SourceTaken { entry, report, statistics })
            }
            None => Err(ApplianceError::SnapshotOvertaken { share: source.clone() }),
        }
    }

    async fn open_source(
        &self,
        request: &SourceRequest,
        job: &JobHandle,
    ) -> Result<Box<dyn Source>, BackupError> {
        let (open, job) = (request.open.clone(), job.clone());
        let opened = tokio::task::spawn_blocking(move || open(&job)).await;
        Ok(opened.map_err(|_| SourceError::new("opening it ended early: see the log"))??)
    }

    /// The new root; over an empty one, if that of the newest head cannot be read.
    async fn outcome(
        &self,
        request: &SourceRequest,
        line: &Line,
        source: Box<dyn Source>,
        newest: Option<&(HeadName, Head)>,
        (job, sent): (&JobHandle, &AtomicU64),
    ) -> Result<Outcome, ApplianceError> {
        let name = &request.config.name;
        let failed = |error: BackupError| ApplianceError::Source { name: name.clone(), error };
        let head = newest.map(|(_, head)| head);
        let base = self.base(line, head, head.map_or(Root::EMPTY, |head| head.root))?;
        match self.run(request, line, source, base, (job, sent)).await? {
            Err(error) if is_damage(&error) && head.is_some() => {
                tracing::error!(source = name, %error, "the newest state of a source is damaged: all of it is read again");
                let source = self.open_source(request, job).await.map_err(failed)?;
                let base = self.base(line, head, Root::EMPTY)?;
                self.run(request, line, source, base, (job, sent)).await?.map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    fn base(&self, line: &Line, head: Option<&Head>, root: Root) -> Result<Base, ApplianceError> {
        let reader = self.backend.reader(line.domain)?;
        let usage = head.filter(|_| root != Root::EMPTY).map(|head| head.usage).unwrap_or_default();
        let next_inode = head.map_or(0, |head| head.next_inode);
        let frozen = Frozen { root, nodes: reader.nodes, chunks: reader.chunks };
        Ok(Base { frozen, usage, next_inode })
    }

    /// Reads on a thread of its own, and sends packs meanwhile.
    async fn run(
        &self,
        request: &SourceRequest,
        line: &Line,
        source: Box<dyn Source>,
        base: Base,
        (job, sent): (&JobHandle, &AtomicU64),
    ) -> Result<Result<Outcome, BackupError>, ApplianceError> {
        let ended = CancellationToken::new();
        // The thread ends when nobody waits for it any more.
        let _guard = ended.clone().drop_guard();
        let watching = Watching {
            job: job.clone(),
            stop: [self.stop.clone(), ended.clone()],
            ledger: self.backend.ledger.clone(),
            backlog_max: backlog_max(self.budget.bytes_max()),
            wake: Arc::default(),
            relief: Arc::default(),
            runtime: Handle::current(),
        };
        let (wake, relief) = (watching.wake.clone(), watching.relief.clone());
        let work = Work {
            source,
            base,
            options: request.options,
            nice: request.nice,
            keys: self.backend.reader(line.domain)?.keys,
            params: self.backend.repository.config().chunks,
            ledger: self.backend.ledger.clone(),
            ingest: self.committer.ingest.clone(),
            watching,
        };
        let mut outcome = work.start()?;
        let sending = self.send_while_running(&wake, &relief, sent);
        tokio::select! {
            outcome = &mut outcome => outcome.map_err(|_| ApplianceError::Died),
            error = sending => {
                ended.cancel();
                // It stops at its next look.
                let _ = outcome.await;
                Err(error.into())
            }
        }
    }

    /// Sends packs whenever enough of them wait. Returns when that fails.
    async fn send_while_running(&self, wake: &Notify, relief: &Notify, sent: &AtomicU64) -> CommitError {
        loop {
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.backend.ledger.backlog_bytes() < SENT_FROM_BYTES {
                relief.notify_waiters();
                continue;
            }
            match self.committer.upload(None).await {
                Ok((_, done)) => {
                    sent.fetch_add(done.bytes, Ordering::Relaxed);
                    self.uploaded_bytes.fetch_add(done.bytes, Ordering::Relaxed);
                }
                Err(error) => return error,
            }
            relief.notify_waiters();
            self.sweep_cache().await;
        }
    }
}

/// What may wait here to be sent while a source is read, in bytes.
fn backlog_max(dirty_bytes_max: u64) -> u64 {
    (dirty_bytes_max / BACKLOG_PART).clamp(*BACKLOG_BYTES.start(), *BACKLOG_BYTES.end())
}

fn is_damage(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Before(ReadError::Damaged(_))
            | BackupError::Tree(TreeError::Missing { .. } | TreeError::Damaged { .. })
    )
}

fn statistics(outcome: &Outcome, bytes_uploaded: u64) -> CommitStatistics {
    CommitStatistics {
        entries_changed: outcome.entries_changed,
        bytes_read: outcome.data.bytes_in,
        bytes_unique: outcome.data.unique_bytes,
        bytes_compressed: outcome.data.stored_bytes,
        bytes_uploaded,
        ..CommitStatistics::default()
    }
}

/// The part of a run that blocks.
struct Work {
    source: Box<dyn Source>,
    base: Base,
    options: Options,
    nice: u8,
    keys: Arc<tidegate_chunker::DomainKeys>,
    params: tidegate_chunker::ChunkParams,
    ledger: Arc<Ledger>,
    ingest: IngestOptions,
    watching: Watching,
}

impl Work {
    fn start(self) -> Result<oneshot::Receiver<Result<Outcome, BackupError>>, ApplianceError> {
        let (done, outcome) = oneshot::channel();
        let thread = std::thread::Builder::new().name("backup".to_owned());
        thread.spawn(move || drop(done.send(self.run()))).map_err(|_| ApplianceError::Died)?;
        Ok(outcome)
    }

    fn run(mut self) -> Result<Outcome, BackupError> {
        // On Linux a thread has a niceness of its own, which those that it starts begin with.
        if let Err(error) = rustix::process::setpriority_process(None, i32::from(self.nice)) {
            tracing::debug!(%error, "the reading of a source cannot be made nicer");
        }
        let tools = Tools {
            keys: self.keys.clone(),
            params: self.params,
            known: self.ledger.known(self.keys.domain()),
            ingest: self.ingest.clone(),
            scratch: self.ledger.folder().to_path_buf(),
            memory_bytes_max: self.ingest.memory_bytes_max as usize,
            runtime: self.watching.runtime.clone(),
            observer: &self.watching,
        };
        back_up(&mut *self.source, &self.base, &tools, self.options)
    }
}

/// A job as a backup sees it.
struct Watching {
    job: JobHandle,
    stop: [CancellationToken; 2],
    ledger: Arc<Ledger>,
    backlog_max: u64,
    wake: Arc<Notify>,
    relief: Arc<Notify>,
    runtime: Handle,
}

impl Observer for Watching {
    fn phase(&self, phase: &'static str, total: Option<u64>, in_bytes: bool) {
        self.job.phase(phase, total, if in_bytes { Unit::Bytes } else { Unit::Items });
    }

    fn advanced(&self, by: u64) {
        self.job.advance(by);
    }

    fn is_cancelled(&self) -> bool {
        self.job.is_cancelled() || self.stop.iter().any(CancellationToken::is_cancelled)
    }

    fn admit(&self) -> Result<(), BackupError> {
        while self.ledger.backlog_bytes() > self.backlog_max {
            if self.is_cancelled() {
                return Err(BackupError::Cancelled);
            }
            self.wake.notify_one();
            let relieved = tokio::time::timeout(LOOK, self.relief.notified());
            let _ = self.runtime.block_on(relieved);
        }
        Ok(())
    }
}
