//! What a scrub asks and tells of whoever runs it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_chunker::{ChunkId, Location, PackId, UnverifiedFrame};

use crate::fetch::FrameAt;
use crate::store::Store;

/// Where copies may be. Nothing of it is believed before it has been verified.
#[async_trait]
pub trait Copies: Send + Sync {
    /// A file here that should be the whole pack.
    fn pack_file(&self, pack: &PackId) -> Option<PathBuf>;

    /// Other stores that the repository lies on, in the order in which they are to be asked. They are asked for what is not
    /// to be had here.
    fn elsewhere(&self) -> Vec<Arc<dyn Store>> {
        Vec::new()
    }

    /// Whether what cannot be put back as it was is sealed anew: only on the store that leads.
    fn seals_anew(&self) -> bool {
        true
    }

    /// Copies of a frame that lie here.
    async fn frame_copies(&self, at: FrameAt) -> Vec<UnverifiedFrame>;

    /// Chunks that are known to lie in a pack whose own index cannot be had.
    async fn known_chunks(&self, pack: &PackId) -> Vec<(ChunkId, Location)>;

    /// These chunks are not to be had where they should lie: nothing is a duplicate of them any more.
    async fn lost(&self, chunks: &[(ChunkId, Location)]);

    /// These chunks are to be had there.
    async fn found(&self, chunks: &[(ChunkId, Location)]);
}
