//! What volumes ask of the gateway around them.

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_protocols::view::FsError;

use crate::control::Moment;
use crate::share::FrozenMap;

/// The gateway, as volumes see it.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// The share of a name, if it is served.
    fn share_id(&self, share: &str) -> Option<ShareId>;

    /// A share as it was at a moment. With `keep`, what it reaches stays in the repository for as long as a scratch volume
    /// usually lasts, even if it is not retained otherwise.
    async fn frozen(&self, share: &str, moment: &Moment, keep: bool) -> Result<FrozenMap, FsError>;

    /// The same with the name of its head, for somebody who copies it. What is live is published first; in the clone of a drill,
    /// which publishes nothing, it is the head that the clone was made over.
    async fn published(&self, share: &str, moment: &Moment) -> Result<(String, FrozenMap), FsError>;
}
