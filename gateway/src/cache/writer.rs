//! The one thread that writes gathered frames.
//!
//! It keeps three files open: one for newcomers, one for frames of packs that have come back, one for tree nodes and large
//! values (see [`super::policy`]). A file that has reached its length, or has been open for [`SEAL_AFTER`], is sealed and
//! becomes a unit that can be evicted; what is not sealed is gone after a crash. When the disk is short of room, or a write
//! fails, frames are dropped: they are in the store.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tidegate_chunker::UnverifiedFrame;
use tidegate_replicator::fetch::FrameAt;

use super::contents::Contents;
use super::disk::Shared;
use super::file::{self, Growing};
use super::{Place, Unit};

/// How long a file stays open when it does not fill.
const SEAL_AFTER: Duration = Duration::from_mins(1);
/// Nor is it sealed before it holds so many bytes: a trickle of reads does not make thousands of files.
const SEAL_BYTES_MIN: u64 = 64 << 10;

/// See the head of this module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    next: u64,
    open: HashMap<Place, (Growing, Instant)>,
}

impl Writer {
    /// A writer whose first file has the number `next`.
    pub(super) fn new(shared: Arc<Shared>, next: u64) -> Self {
        Self { shared, next, open: HashMap::new() }
    }

    /// Runs until the other end of the queue is gone; then seals what is open.
    pub(super) fn run(mut self, queue: &Receiver<FrameAt>) {
        loop {
            match queue.recv_timeout(SEAL_AFTER) {
                Ok(at) => self.take(at),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.seal_old();
        }
        for place in [Place::Small, Place::Main, Place::Names] {
            self.seal(place);
        }
    }

    fn take(&mut self, at: FrameAt) {
        let Some(frame) = self.shared.queued(at) else {
            self.shared.left_queue(at);
            return;
        };
        if self.keep(at, &frame) {
            self.shared.left_queue(at);
        } else {
            self.shared.take_queued(at);
        }
    }

    fn seal_old(&mut self) {
        let is_old = |(growing, since): &(Growing, Instant)| {
            since.elapsed() >= SEAL_AFTER && growing.bytes() >= SEAL_BYTES_MIN
        };
        let old: Vec<Place> =
            self.open.iter().filter(|(_, open)| is_old(open)).map(|(place, _)| *place).collect();
        old.into_iter().for_each(|place| self.seal(place));
    }

    /// Writes a frame; whether it is in a file now.
    fn keep(&mut self, at: FrameAt, frame: &UnverifiedFrame) -> bool {
        if !self.has_room(at) {
            return false;
        }
        let contents = Contents::of(frame.header().kind);
        let place = self.shared.policy.lock().place_for(&at.pack).of(contents);
        if let Err(error) = self.write((place, contents), at, frame) {
            tracing::debug!(%error, "failed to keep a frame in the cache");
            self.give_up(place);
            return false;
        }
        true
    }

    fn has_room(&self, at: FrameAt) -> bool {
        let wanted = self.shared.wanted_bytes.load(Ordering::Relaxed) + u64::from(at.bytes);
        self.shared.volume.room().is_ok_and(|room| room.free_bytes > room.reserve_bytes() + wanted)
    }

    fn write(
        &mut self,
        (place, contents): (Place, Contents),
        at: FrameAt,
        frame: &UnverifiedFrame,
    ) -> io::Result<()> {
        if !self.open.contains_key(&place) {
            let growing = Growing::create(&self.shared.folder, self.next, contents)?;
            self.next += 1;
            self.open.insert(place, (growing, Instant::now()));
        }
        let (growing, _) = self.open.get_mut(&place).expect("it was opened above");
        let entry = growing.append(at, frame.as_bytes())?;
        self.shared.filed(growing, entry);
        if growing.bytes() >= self.shared.file_bytes(contents) {
            self.seal(place);
        }
        Ok(())
    }

    fn seal(&mut self, place: Place) {
        let Some((growing, _)) = self.open.remove(&place) else { return };
        match growing.seal() {
            Ok(bytes) => self.shared.policy.lock().admit(Unit::Gathered(growing.number), bytes, place),
            Err(error) => {
                tracing::debug!(%error, "failed to seal a file of the cache");
                self.discard(&growing);
            }
        }
    }

    fn give_up(&mut self, place: Place) {
        if let Some((growing, _)) = self.open.remove(&place) {
            self.discard(&growing);
        }
    }

    fn discard(&self, growing: &Growing) {
        self.shared.discard(growing.number);
        let path = file::path(&self.shared.folder, growing.number);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "failed to delete a file of the cache");
        }
    }
}
