//! Thinning the line of heads: what the newest head names as passed is removed, the oldest first.
//!
//! As long as that is not certain the next head names it again; so it is tried again, after a restart too, and
//! what cannot be removed for long is taken for no fork.

use tidegate_replicator::repository::{Head, RepositoryError};

use super::Appliance;
use super::shares::OpenShare;

impl Appliance {
    /// Removes what `head`, which was published just now, names as passed; it names it no more once that is gone.
    pub(super) async fn remove_passed(&self, open: &OpenShare, head: &mut Head) {
        match self.try_remove_passed(open, head).await {
            Ok(()) => head.passed.clear(),
            Err(error) => {
                tracing::debug!(share = open.config.name, %error, "heads that are not kept any more are still there");
            }
        }
    }

    async fn try_remove_passed(&self, open: &OpenShare, head: &Head) -> Result<(), RepositoryError> {
        for name in head.passed.iter().rev() {
            self.backend.repository.remove_head(open.share.id(), name).await?;
        }
        Ok(())
    }
}
