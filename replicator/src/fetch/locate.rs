//! Where a chunk lies, when its hint does not help.

use async_trait::async_trait;
use tidegate_chunker::{ChunkId, Location};

use super::FetchError;

/// The index, as a reader sees it.
#[async_trait]
pub trait Locate: Send + Sync + 'static {
    /// A frame that holds the chunk, and is not known to be bad; `None` when the index has been asked
    /// and knows of none. An index that cannot be read now is `Unreachable`, never `None`.
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError>;

    /// Says that the chunk was not to be had at this place (it is missing or damaged there), so that
    /// it stops counting as a duplicate and is healed.
    fn found_bad(&self, _id: &ChunkId, _at: &Location) {}
}

/// An index that knows nothing: hints alone must do.
pub struct NoIndex;

#[async_trait]
impl Locate for NoIndex {
    async fn locate(&self, _id: &ChunkId) -> Result<Option<Location>, FetchError> {
        Ok(None)
    }
}
