//! What lies here, and on other targets, as copies of what lies on a target; and what the ledger is told of a scrub's findings.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_chunker::{ChunkId, Location, PackId, UnverifiedFrame};
use tidegate_replicator::fetch::FrameAt;
use tidegate_replicator::scrub::Copies;
use tidegate_replicator::store::Store;

use crate::appliance::backend::Backend;
use crate::cache::DiskCache;
use crate::ledger::Ledger;

/// See the head of this module.
pub(super) struct LocalCopies {
    ledger: Arc<Ledger>,
    gathered: Arc<DiskCache>,
    elsewhere: Vec<Arc<dyn Store>>,
    /// Whether it is about the target that leads: the ledger speaks of no other.
    leads: bool,
    /// Whether what cannot be put back is sealed anew.
    seals: bool,
}

impl LocalCopies {
    /// Of a target that leads or follows; `elsewhere` are the stores of all others.
    pub(super) fn new(backend: &Backend, elsewhere: Vec<Arc<dyn Store>>, leads: bool) -> Self {
        let (ledger, gathered) = (backend.ledger.clone(), backend.gathered().clone());
        Self { ledger, gathered, elsewhere, leads, seals: leads }
    }

    /// The same for a pack that is put back whole, or not at all.
    pub(super) fn without_sealing(self) -> Self {
        Self { seals: false, ..self }
    }

    /// Runs what blocks; what dies is as if it had found nothing.
    async fn blocking<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger, &DiskCache) -> T + Send + 'static,
    ) -> T {
        let (ledger, gathered) = (self.ledger.clone(), self.gathered.clone());
        tokio::task::spawn_blocking(move || work(&ledger, &gathered)).await.unwrap_or_default()
    }
}

#[async_trait]
impl Copies for LocalCopies {
    fn pack_file(&self, pack: &PackId) -> Option<PathBuf> {
        Some(self.ledger.path(pack)).filter(|path| path.exists())
    }

    fn elsewhere(&self) -> Vec<Arc<dyn Store>> {
        self.elsewhere.clone()
    }

    fn seals_anew(&self) -> bool {
        self.seals
    }

    async fn frame_copies(&self, at: FrameAt) -> Vec<UnverifiedFrame> {
        self.blocking(move |ledger, gathered| {
            let in_pack = read_frame(&ledger.path(&at.pack), at);
            in_pack.into_iter().chain(gathered.get(at)).collect()
        })
        .await
    }

    async fn known_chunks(&self, pack: &PackId) -> Vec<(ChunkId, Location)> {
        let pack = *pack;
        self.blocking(move |ledger, _| {
            ledger.chunks_in(&pack).unwrap_or_else(|error| {
                tracing::warn!(%error, "what lies in a pack cannot be looked up");
                Vec::new()
            })
        })
        .await
    }

    async fn lost(&self, chunks: &[(ChunkId, Location)]) {
        if !self.leads {
            return;
        }
        let chunks = chunks.to_vec();
        let done = self.blocking(move |ledger, _| Some(ledger.forget_places(&chunks))).await;
        if let Some(Err(error)) = done {
            tracing::warn!(%error, "what is lost may count as a duplicate until the next round");
        }
    }

    async fn found(&self, chunks: &[(ChunkId, Location)]) {
        if !self.leads {
            return;
        }
        // What is not learned is stored once more.
        if let Err(error) = self.ledger.learn_remote(chunks.iter().copied()) {
            tracing::warn!(%error, "what was healed is not known here");
        }
    }
}

fn read_frame(path: &std::path::Path, at: FrameAt) -> Option<UnverifiedFrame> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; at.bytes as usize];
    std::fs::File::open(path).ok()?.read_exact_at(&mut bytes, at.offset.into()).ok()?;
    UnverifiedFrame::new(bytes.into()).ok()
}
