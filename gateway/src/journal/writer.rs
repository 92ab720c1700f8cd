//! The one thread that writes: queue to file, file to disk, news to everybody.
//!
//! Order for each group of records: write, sync (if somebody waits, or enough has gathered, or enough
//! time has passed), publish. A crash before the sync leaves any part of the group: the next open cuts
//! it. A crash after the sync and before the news leaves records that nobody was told about: they are
//! replayed.
//!
//! Order at a rotation, so that only the last segment can ever be torn:
//!
//! 1. All records of the old segment are written, the file is cut to its length and synced.
//! 2. The head is written into the spare, which is synced. A crash leaves a `*.new`: deleted at open.
//! 3. The spare gets its name, the folder is synced. Only now are records written to it.
//! 4. The next spare is set aside. Fails it, appenders are told there is no room once what is left of
//!    the new segment is granted, and the writer tries again every [`SPARE_RETRY`].
//!
//! A write or sync that fails stops the journal for good. It is not repeated: the kernel drops what it
//! could not write, so a second sync would succeed and prove nothing.

use std::io::IoSlice;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk::{Disk, LogFile};
use super::format::{self, HEAD_BYTES, Kind, RecordHead, SegmentHead};
use super::shared::{Shared, WRITE_BYTES};
use super::tail::{Pending, Spare};
use super::{JournalError, Sequence, metrics};
use crate::crash;

/// What is written between two looks at the queue, so that a stream of data delays no waiter.
const GROUP_BYTES_MAX: u64 = 4 << 20;
/// As above, for small records.
const GROUP_RECORDS_MAX: usize = 4096;
/// How long to wait before the disk is asked again for a spare segment.
const SPARE_RETRY: Duration = Duration::from_secs(1);

const _: () = assert!(GROUP_BYTES_MAX >= WRITE_BYTES);

const PADDING: [u8; format::ALIGNMENT as usize] = [0; format::ALIGNMENT as usize];

/// A segment file with room set aside, and no head yet.
pub(super) struct SpareFile {
    segment: u64,
    file: Arc<dyn LogFile>,
}

/// Sets room for segment `id` aside.
pub(super) fn create_spare(disk: &dyn Disk, id: u64, bytes: u64) -> Result<SpareFile, JournalError> {
    let name = format::spare_name(id);
    let file = disk.create(&name, bytes).map_err(JournalError::io("make", disk.path(&name)))?;
    Ok(SpareFile { segment: id, file })
}

/// Steps 2 and 3 of a rotation.
pub(super) fn enter(
    disk: &dyn Disk,
    spare: SpareFile,
    head: SegmentHead,
) -> Result<Arc<dyn LogFile>, JournalError> {
    let (from, to) = (format::spare_name(spare.segment), format::file_name(head.segment));
    let context = |doing| JournalError::io(doing, disk.path(&from));
    spare.file.write_at(&mut [IoSlice::new(&head.encode())], 0).map_err(context("write the head of"))?;
    spare.file.sync().map_err(context("sync"))?;
    crash::point("journal.segment.headed");
    disk.rename(&from, &to).map_err(context("rename"))?;
    crash::point("journal.segment.renamed");
    disk.sync().map_err(JournalError::io("sync", disk.path("")))?;
    crash::point("journal.segment.entered");
    Ok(spare.file)
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    head: SegmentHead,
    file: Arc<dyn LogFile>,
    /// Where the next record goes.
    end: u64,
    written: Sequence,
    durable: Sequence,
    unsynced_bytes: u64,
    spare: Option<SpareFile>,
    /// Not before then is the disk asked again for a spare.
    spare_retry: Option<Instant>,
}

/// What the writer is to do next.
struct Work {
    records: Vec<Arc<Pending>>,
    sync: bool,
    close: bool,
}

/// Runs the writer until the journal is closed or stops.
pub(super) fn start(writer: Writer) -> Result<JoinHandle<()>, JournalError> {
    let path = writer.shared.segments.disk().path("");
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || writer.run())
        .map_err(JournalError::io("start the writer of", path))
}

/// Stops the journal should the writer panic.
struct StopOnPanic(Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop("its writer has panicked");
        }
    }
}

impl Writer {
    /// A writer at the start of a segment that has just been entered.
    pub(super) fn new(shared: Arc<Shared>, head: SegmentHead, file: Arc<dyn LogFile>) -> Self {
        let durable = head.first.previous();
        Self {
            shared,
            head,
            file,
            end: HEAD_BYTES as u64,
            written: durable,
            durable,
            unsynced_bytes: 0,
            spare: None,
            spare_retry: None,
        }
    }

    fn run(mut self) {
        let _guard = StopOnPanic(self.shared.clone());
        let outcome = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break self.seal(),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = outcome {
            self.shared.stop(&chain(&error));
        }
    }

    /// One round; `false` after the last.
    fn turn(&mut self) -> Result<bool, JournalError> {
        if self.spare.is_none() {
            let _round = metrics::Round::begin();
            self.prepare_spare();
        }
        let work = self.wait_for_work();
        let _round = metrics::Round::begin();
        for run in work.records.chunk_by(|one, next| one.segment == next.segment) {
            if run[0].segment != self.head.segment {
                self.rotate(run[0].segment, run[0].sequence)?;
            }
            self.write(run)?;
        }
        if work.sync {
            self.sync()?;
        }
        Ok(!work.close)
    }

    /// Waits until there is a reason to write, to sync, to get a spare, or to end.
    fn wait_for_work(&mut self) -> Work {
        let shared = self.shared.clone();
        let mut tail = shared.tail.lock();
        loop {
            let now = Instant::now();
            let due = tail.unsynced_since.map(|since| since + self.shared.options.sync_interval);
            let sync = tail.wanted > self.durable
                || tail.closing
                || self.unsynced_bytes + tail.unwritten_bytes() >= self.shared.options.unsynced_bytes
                || due.is_some_and(|due| due <= now);
            // The tail has gone on into the spare: follow it, so that there can be another.
            let behind = tail.spare == Spare::Missing && self.spare.is_some();
            if sync || behind || tail.unwritten_bytes() >= WRITE_BYTES {
                let records = tail.group(GROUP_BYTES_MAX, GROUP_RECORDS_MAX);
                let close = tail.closing && records.is_empty();
                return Work { records, sync, close };
            }
            if tail.spare == Spare::Missing || self.spare_retry.is_some_and(|retry| retry <= now) {
                return Work { records: Vec::new(), sync: false, close: false };
            }
            match due.into_iter().chain(self.spare_retry).min() {
                Some(until) => drop(self.shared.work.wait_until(&mut tail, until)),
                None => self.shared.work.wait(&mut tail),
            }
        }
    }

    /// Writes records of this segment, which follow what is written already.
    fn write(&mut self, records: &[Arc<Pending>]) -> Result<(), JournalError> {
        let heads: Vec<_> = records.iter().map(|record| self.record_head(record).encode()).collect();
        let mut pieces = Vec::with_capacity(records.len() * 4);
        for (record, head) in records.iter().zip(&heads) {
            let parts = [&head[..], &record.body.front[..]];
            let padding = &PADDING[..record.body.layout.padding_bytes()];
            let payload = record.body.payload.iter().map(|part| &part[..]);
            let all = parts.into_iter().chain(payload).chain([padding]);
            pieces.extend(all.filter(|part| !part.is_empty()).map(IoSlice::new));
        }
        let Some(last) = records.last() else { return Ok(()) };
        let bytes = last.end() - self.end;
        self.file.write_at(&mut pieces, self.end).map_err(self.context("write to"))?;
        crash::point("journal.records.written");
        (self.end, self.written) = (last.end(), last.sequence);
        self.unsynced_bytes += bytes;
        metrics::written(bytes);
        let starts = records.iter().map(|record| record.offset);
        self.shared.segments.grow(self.head.segment, starts, self.written, self.end);
        self.shared.tail.lock().written(records.len());
        Ok(())
    }

    fn record_head(&self, record: &Pending) -> RecordHead {
        RecordHead {
            segment: record.segment,
            offset: u32::try_from(record.offset).expect("the options bound a segment to 32 bits"),
            kind: Kind::Data,
            sequence: record.sequence,
            durable: self.durable,
            layout: record.body.layout,
            batch_checksum: record.body.batch_checksum,
            table_checksum: record.body.table_checksum,
            salt: self.head.salt,
        }
    }

    /// Makes what is written durable, and says so.
    fn sync(&mut self) -> Result<(), JournalError> {
        if self.written > self.durable {
            let begun = Instant::now();
            self.file.sync().map_err(self.context("sync"))?;
            crash::point("journal.records.synced");
            metrics::synced(begun.elapsed(), self.written.0 - self.durable.0);
            self.durable = self.written;
            self.unsynced_bytes = 0;
            self.shared.progress.send_replace(self.durable);
        }
        let mut tail = self.shared.tail.lock();
        tail.unsynced_since = (tail.appended() > self.durable).then(Instant::now);
        Ok(())
    }

    /// Ends this segment and goes on in the next, which begins with record `first`.
    fn rotate(&mut self, segment: u64, first: Sequence) -> Result<(), JournalError> {
        self.seal()?;
        let spare =
            self.spare.take().expect("records are granted beyond a segment only when a spare is ready");
        let disk = self.shared.segments.disk().clone();
        self.head = SegmentHead { segment, first, salt: super::open::random()? };
        self.file = enter(&*disk, spare, self.head)?;
        self.end = HEAD_BYTES as u64;
        self.shared.segments.add_active(self.head, self.file.clone());
        self.prepare_spare();
        Ok(())
    }

    /// Step 1 of a rotation, also the last act of a journal that is closed.
    fn seal(&mut self) -> Result<(), JournalError> {
        self.file.truncate(self.end).map_err(self.context("cut"))?;
        if self.written > self.durable {
            self.sync()?;
        } else {
            self.file.sync().map_err(self.context("sync"))?;
        }
        crash::point("journal.segment.sealed");
        self.shared.segments.seal(self.head.segment);
        Ok(())
    }

    /// Step 4 of a rotation, if it is time to try.
    fn prepare_spare(&mut self) {
        let waiting = self.spare_retry.is_some_and(|retry| Instant::now() < retry);
        if self.spare.is_some() || (waiting && self.shared.tail.lock().spare != Spare::Missing) {
            return;
        }
        let disk = self.shared.segments.disk();
        match create_spare(&**disk, self.head.segment + 1, self.shared.options.segment_bytes) {
            Ok(spare) => {
                (self.spare, self.spare_retry) = (Some(spare), None);
                self.shared.set_spare(Spare::Ready);
            }
            Err(error) => {
                let cause = chain(&error);
                if self.spare_retry.is_none() {
                    tracing::warn!(cause, "failed to set room aside for the journal: trying again");
                }
                self.spare_retry = Some(Instant::now() + SPARE_RETRY);
                self.shared.set_spare(Spare::Refused(cause.into()));
            }
        }
    }

    fn context(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
        JournalError::io(doing, self.shared.segments.disk().path(&format::file_name(self.head.segment)))
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
