//! The chunks of a run whose pack is not finished: they are not sealed twice either.
//!
//! Bound: the ids of the packs that are being written and synced, at most the open one,
//! [`UNSYNCED_PACKS_MAX`](super::pipeline::UNSYNCED_PACKS_MAX) behind it, and the frames in the
//! pipeline. About 100 bytes an id: with 64 MiB packs of 64 KiB chunks some hundred kilobytes.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackIndex, PlacedChunk};

/// Where a chunk of this run is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Its frame is not written yet.
    Coming,
    /// It lies here, and will be durable when the pack is finished.
    At(Location),
}

impl Place {
    pub(super) fn location(self) -> Option<Location> {
        match self {
            Self::Coming => None,
            Self::At(location) => Some(location),
        }
    }
}

/// See the head of this module.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashMap<ChunkId, Place>>);

impl InFlight {
    /// Where the chunk is, if it is one of this run that is not known to be durable yet.
    pub(super) fn find(&self, id: &ChunkId) -> Option<Place> {
        self.0.lock().get(id).copied()
    }

    /// Takes note of a chunk that is put.
    pub(super) fn put(&self, id: ChunkId) {
        self.0.lock().insert(id, Place::Coming);
    }

    /// Takes note of places.
    pub(super) fn placed(&self, chunks: &[PlacedChunk]) {
        let mut known = self.0.lock();
        for chunk in chunks {
            known.insert(chunk.id, Place::At(chunk.location));
        }
    }

    /// Forgets the chunks of a pack that has been learned.
    pub(super) fn forget(&self, pack: &PackIndex) {
        let mut known = self.0.lock();
        for chunk in pack.chunks() {
            known.remove(&chunk.id);
        }
    }
}
