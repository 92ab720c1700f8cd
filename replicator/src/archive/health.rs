//! Whether a pack is whole before it is put to sleep.
//!
//! What sleeps is read by no scrub, so damage that goes to sleep is found by whoever thaws it, years later perhaps, when no
//! copy is left. Two things vouch for a pack: a scrub that has read it since it was written ([`Scrubbed`]), or else a
//! reading of the pack just before, each frame and chunk of it. The latter takes the pack over the link once.

use std::collections::BTreeSet;
use std::time::SystemTime;
use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tidegate_chunker::{ChunkId, Location, PackId, UnverifiedFrame};
use tokio::sync::Mutex;

use crate::fetch::FrameAt;
use crate::repository::{Opened, Repository, RepositoryError};
use crate::scrub::{Copies, Examiner};

/// What a scrub knows of the packs of a target. Without anything all packs are read before they are put to sleep.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Packs that were written before this, by the store's clock, have been read since and are whole, but for `wounded`.
    pub whole_before: Option<SystemTime>,
    /// Packs of which something is known to be missing or damaged.
    pub wounded: BTreeSet<PackId>,
}

impl Scrubbed {
    /// Whether a pack that was written then was read since.
    pub fn has_read(&self, modified: SystemTime) -> bool {
        self.whole_before.is_some_and(|before| modified < before)
    }
}

/// How a pack was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Whole,
    Wounded,
    Gone,
}

/// Reads packs, one at a time.
pub(super) struct Health {
    examiner: Mutex<Examiner>,
}

impl Health {
    pub(super) fn new(repository: &Arc<Repository<Opened>>) -> Self {
        Self { examiner: Mutex::new(Examiner::new(repository.clone())) }
    }

    /// Reads the whole pack. An error says nothing of it.
    pub(super) async fn look(&self, pack: PackId) -> Result<Found, RepositoryError> {
        let examiner = self.examiner.lock().await;
        let (_, wounds) = examiner.examine(pack, &NoCopies).await?;
        Ok(match wounds {
            None => Found::Whole,
            Some(wounds) if wounds.is_missing => Found::Gone,
            Some(wounds) => {
                let (frames, ends) = (wounds.frames.len(), wounds.ends);
                tracing::error!(%pack, frames, ends, "a pack is damaged and is not put to sleep: run a scrub");
                Found::Wounded
            }
        })
    }
}

/// Nothing is healed from here.
struct NoCopies;

#[async_trait]
impl Copies for NoCopies {
    fn pack_file(&self, _pack: &PackId) -> Option<PathBuf> {
        None
    }

    async fn frame_copies(&self, _at: FrameAt) -> Vec<UnverifiedFrame> {
        Vec::new()
    }

    async fn known_chunks(&self, _pack: &PackId) -> Vec<(ChunkId, Location)> {
        Vec::new()
    }

    async fn lost(&self, _chunks: &[(ChunkId, Location)]) {}

    async fn found(&self, _chunks: &[(ChunkId, Location)]) {}
}
