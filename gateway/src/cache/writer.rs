//! The one thread that writes gathered frames.
//!
//! It keeps three files open: one for newcomers, one for frames of packs that have come back, one for tree nodes and large
//! values (see [`super::policy`]). A file that has reached its length is sealed and becomes a unit that can be
//! evicted. When the disk is short of room, or a write fails, frames are dropped: they are in the store.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tidegate_chunker::{ChunkKind, UnverifiedFrame};
use tidegate_replicator::fetch::FrameAt;

use super::disk::Shared;
use super::file::{self, Growing};
use super::{Place, Unit};

/// See the head of this module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    next: u64,
    open: HashMap<Place, Growing>,
}

impl Writer {
    /// A writer whose first file has the number `next`.
    pub(super) fn new(shared: Arc<Shared>, next: u64) -> Self {
        Self { shared, next, open: HashMap::new() }
    }

    /// Runs until the other end of the queue is gone; then seals what is open.
    pub(super) fn run(mut self, queue: &Receiver<FrameAt>) {
        while let Ok(at) = queue.recv() {
            let Some(frame) = self.shared.queued(at) else {
                self.shared.left_queue(at);
                continue;
            };
            if self.keep(at, &frame) {
                self.shared.left_queue(at);
            } else {
                self.shared.take_queued(at);
            }
        }
        for place in [Place::Small, Place::Main, Place::Names] {
            self.seal(place);
        }
    }

    /// Writes a frame; whether it is in a file now.
    fn keep(&mut self, at: FrameAt, frame: &UnverifiedFrame) -> bool {
        if !self.has_room(at) {
            return false;
        }
        let place = match frame.header().kind {
            ChunkKind::Data => self.shared.policy.lock().place_for(&at.pack),
            ChunkKind::Node | ChunkKind::Value => Place::Names,
        };
        if let Err(error) = self.write(place, at, frame) {
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

    fn write(&mut self, place: Place, at: FrameAt, frame: &UnverifiedFrame) -> io::Result<()> {
        if !self.open.contains_key(&place) {
            let growing = Growing::create(&self.shared.folder, self.next)?;
            self.next += 1;
            self.open.insert(place, growing);
        }
        let growing = self.open.get_mut(&place).expect("it was opened above");
        let entry = growing.append(at, frame.as_bytes())?;
        self.shared.filed(growing.number, entry);
        if growing.bytes() >= self.shared.file_bytes {
            self.seal(place);
        }
        Ok(())
    }

    fn seal(&mut self, place: Place) {
        let Some(growing) = self.open.remove(&place) else { return };
        match growing.seal() {
            Ok(bytes) => self.shared.policy.lock().admit(Unit::Gathered(growing.number), bytes, place),
            Err(error) => {
                tracing::debug!(%error, "failed to seal a file of the cache");
                self.discard(&growing);
            }
        }
    }

    fn give_up(&mut self, place: Place) {
        if let Some(growing) = self.open.remove(&place) {
            self.discard(&growing);
        }
    }

    fn discard(&self, growing: &Growing) {
        self.shared.drop_file(growing.number);
        let path = file::path(&self.shared.folder, growing.number);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "failed to delete a file of the cache");
        }
    }
}
