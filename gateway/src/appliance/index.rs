//! Learning the target's index: so that what other gateways stored, or this one before its disk was lost,
//! counts as a duplicate here too.
//!
//! Done once for a data folder, in the background, from when the first new data was stored from here on: a gateway that
//! has just taken a share over serves, and has the link for what its clients read, without ever reading an index.
//! Nothing waits for it. Memory: one index object. What a crash interrupts is begun again: learning a chunk twice does
//! no harm.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_replicator::repository::RepositoryError;
use tidegate_replicator::store::Traffic;

use super::{Appliance, ApplianceError, registry};
use crate::live::Batch;

impl Appliance {
    /// Learns once it is wanted, unless it has been done.
    pub(super) fn learn_index(self: &Arc<Self>) -> Result<(), ApplianceError> {
        if registry::index_is_learned(&self.live)? {
            self.index_done.cancel();
            return Ok(());
        }
        let appliance = self.clone();
        self.loops.spawn(async move {
            tokio::select! {
                () = appliance.stop.cancelled() => return,
                () = appliance.index_wanted.cancelled() => {}
            }
            let learning = Traffic::Replication.scope(appliance.read_index());
            let mut learned = tokio::select! {
                () = appliance.stop.cancelled() => return,
                learned = learning => learned,
            };
            // Not given up half way: a stop waits for it.
            if learned.is_ok()
                && let Err(error) = appliance.note_learned().await
            {
                learned = Err(error);
            }
            appliance.index_done.cancel();
            match learned {
                Ok(chunks) => tracing::debug!(chunks, "learned the index of the target"),
                Err(error) => {
                    tracing::warn!(%error, "the index was not learned; new data may be stored twice until a restart");
                }
            }
        });
        Ok(())
    }

    /// New data is stored from here: whether it is a duplicate matters from now on.
    pub(super) fn want_index(&self) {
        self.index_wanted.cancel();
    }

    /// Learns the index, and waits until that is done or will not be in this life of the appliance.
    pub async fn index_learned(&self) {
        self.want_index();
        self.index_done.cancelled().await;
    }

    async fn read_index(&self) -> Result<u64, ApplianceError> {
        let mut reader = self.backend.repository.index_reader();
        let mut chunks = 0;
        loop {
            let (_, object) = match reader.next().await {
                Ok(Some(object)) => object,
                Ok(None) => break,
                // What is damaged names nothing; the others still do.
                Err(error @ RepositoryError::Damaged { .. }) => {
                    tracing::error!(%error, "an index object is damaged; rebuild the index");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            chunks += object.len() as u64;
            // What was condemned may be gone, and must not take the place of what is there.
            let ledger = &self.backend.ledger;
            let good = object.entries().filter(|entry| !ledger.is_void(&entry.location.pack));
            ledger.learn_remote(good.map(|entry| (entry.chunk, entry.location)))?;
        }
        Ok(chunks)
    }

    /// Notes that the index is learned. What says so is kept by the journal, and must not outlive what was learned.
    async fn note_learned(&self) -> Result<(), ApplianceError> {
        let live = self.live.clone();
        let flushing = tokio::task::spawn_blocking(move || live.flush());
        flushing.await.map_err(|_| ApplianceError::Died)??;
        let batch = Batch { changes: vec![registry::index_learned()] };
        self.live.submit_durably(batch, Bytes::new()).await?;
        Ok(())
    }
}
