//! What appenders, waiters, readers and the writer share.
//!
//! Owns the lock of the tail, the bound of the buffer, and the news of what is durable.
//!
//! Order of one change: permit (waits), append (gives sequence and position, never waits), write and
//! sync (the writer), news. `progress` is raised only after the sync; `stopped` is set before anybody is
//! woken by a failure. Both only ever move forward.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::format::Layout;
use super::segments::Segments;
use super::tail::{Body, Spare, Tail};
use super::{Appended, JournalError, Options, Position, Sequence, metrics, options};

/// The writer is woken when so much waits for it; less waits for a sync or the interval.
pub(super) const WRITE_BYTES: u64 = 1 << 20;

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) verifier: [u8; 8],
    pub(super) segments: Segments,
    pub(super) tail: Mutex<Tail>,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// The newest durable record.
    pub(super) progress: watch::Sender<Sequence>,
    /// Bytes of the buffer that are free.
    buffer: Arc<Semaphore>,
    /// Told when the spare segment is ready or refused.
    spare: Notify,
    /// The first failure.
    stopped: OnceLock<Arc<str>>,
}

impl Shared {
    pub(super) fn new(
        options: Options,
        verifier: [u8; 8],
        segments: Segments,
        tail: Tail,
        durable: Sequence,
    ) -> Self {
        metrics::stopped(false);
        Self {
            buffer: Arc::new(Semaphore::new(options.buffer_bytes)),
            options,
            verifier,
            segments,
            tail: Mutex::new(tail),
            work: Condvar::new(),
            progress: watch::Sender::new(durable),
            spare: Notify::new(),
            stopped: OnceLock::new(),
        }
    }

    pub(super) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Permit, JournalError> {
        let bytes = options::record_bytes(bytes);
        let bytes_max = self.options.record_bytes_max();
        if bytes > bytes_max {
            return Err(JournalError::TooLarge { bytes, bytes_max });
        }
        let count =
            u32::try_from(bytes).expect("a record is shorter than a segment, whose offsets have 32 bits");
        let room = self.buffer.clone().acquire_many_owned(count).await;
        let Ok(room) = room else { return Err(self.stopped_error()) };
        loop {
            // Made before the look at the tail, so that news in between is not missed.
            let news = self.spare.notified();
            self.check_running()?;
            if self.tail.lock().grant(bytes)? {
                return Ok(Permit { shared: self.clone(), bytes, room: Some(room) });
            }
            news.await;
        }
    }

    pub(super) fn append(
        &self,
        mut permit: Permit,
        batch: &[u8],
        payload: &[Bytes],
    ) -> Result<Appended, JournalError> {
        let permitted = permit.bytes;
        let layout = layout(batch, payload, permitted)?;
        let bytes = layout.record_bytes();
        let room = permit.room.as_mut().and_then(|room| room.split(bytes as usize));
        let Some(room) = room else { return Err(JournalError::PermitTooSmall { permitted, bytes }) };
        let body = Body::new(layout, batch, payload);
        let mut tail = self.tail.lock();
        self.check_running()?;
        permit.used(&mut tail);
        let was_idle = tail.unsynced_since.is_none();
        let appended = tail.push(body, room, Instant::now());
        if was_idle || tail.unwritten_bytes() >= WRITE_BYTES || tail.spare == Spare::Missing {
            self.work.notify_one();
        }
        Ok(appended)
    }

    pub(super) async fn durable(&self, sequence: Sequence) -> Result<(), JournalError> {
        let mut progress = self.progress.subscribe();
        if *progress.borrow_and_update() >= sequence {
            return Ok(());
        }
        self.want(sequence)?;
        loop {
            if *progress.borrow_and_update() >= sequence {
                return Ok(());
            }
            self.check_running()?;
            progress.changed().await.map_err(|_| self.stopped_error())?;
        }
    }

    /// Asks the writer to make `sequence` durable soon.
    fn want(&self, sequence: Sequence) -> Result<(), JournalError> {
        let mut tail = self.tail.lock();
        let appended = tail.appended();
        if sequence > appended {
            return Err(JournalError::NotAppended { sequence, appended });
        }
        if sequence > tail.wanted {
            tail.wanted = sequence;
            self.work.notify_one();
        }
        Ok(())
    }

    pub(super) fn appended(&self) -> Sequence {
        self.tail.lock().appended()
    }

    /// Payload that is not in its file yet; `None` when the position lies elsewhere. No bytes are read
    /// without a look: an empty payload stands where the next record may begin.
    pub(super) fn read_unwritten(
        &self,
        position: Position,
        bytes: u64,
    ) -> Option<Result<Bytes, JournalError>> {
        if bytes == 0 {
            return Some(Ok(Bytes::new()));
        }
        self.tail.lock().read(position, bytes)
    }

    /// The writer has, or could not get, a spare segment.
    pub(super) fn set_spare(&self, spare: Spare) {
        self.tail.lock().spare = spare;
        self.spare.notify_waiters();
    }

    /// Segments were deleted: the writer may try for a spare again.
    pub(super) fn space_freed(&self) {
        let mut tail = self.tail.lock();
        if matches!(tail.spare, Spare::Refused(_)) {
            tail.spare = Spare::Missing;
            self.work.notify_one();
        }
    }

    /// Ends acknowledgement for good. The first cause stays.
    pub(super) fn stop(&self, cause: &str) {
        if self.stopped.set(cause.into()).is_err() {
            return;
        }
        tracing::error!(cause, "the journal has stopped: nothing more is acknowledged until restart");
        metrics::stopped(true);
        self.buffer.close();
        self.spare.notify_waiters();
        self.progress.send_modify(|_| {});
    }

    pub(super) fn check_running(&self) -> Result<(), JournalError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(_) => Err(self.stopped_error()),
        }
    }

    fn stopped_error(&self) -> JournalError {
        let cause = self.stopped.get().cloned().unwrap_or_else(|| "it was closed".into());
        JournalError::Stopped { cause }
    }

    /// Tells the writer to finish.
    pub(super) fn close(&self) {
        self.tail.lock().closing = true;
        self.work.notify_one();
    }
}

/// The lengths of a record, if it is short enough for its permit.
fn layout(batch: &[u8], payload: &[Bytes], permitted: u64) -> Result<Layout, JournalError> {
    let payload_bytes: u64 = payload.iter().map(|part| part.len() as u64).sum();
    let too_small = |_| JournalError::PermitTooSmall { permitted, bytes: batch.len() as u64 + payload_bytes };
    Ok(Layout {
        batch_bytes: batch.len().try_into().map_err(too_small)?,
        payload_bytes: payload_bytes.try_into().map_err(too_small)?,
    })
}

/// Room for one record, in the buffer and on the disk.
pub struct Permit {
    shared: Arc<Shared>,
    /// What is still counted as granted.
    bytes: u64,
    room: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// The permit becomes a record: it is granted no longer.
    fn used(&mut self, tail: &mut Tail) {
        tail.granted -= std::mem::take(&mut self.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shared.tail.lock().granted -= self.bytes;
            // Who was told to wait for a spare may fit now.
            self.shared.spare.notify_waiters();
        }
    }
}
