//! Thinning the line of heads: what the newest head does not name as kept is removed, oldest first.
//!
//! Before the first removal in the life of a gateway, and after one that failed, what was left before is
//! looked for: so no passed head stays behind whose successors are gone, which nobody could tell from a fork.

use std::sync::atomic::Ordering;

use tidegate_replicator::repository::{HeadName, HeadStanding, RepositoryError};

use super::Appliance;
use super::shares::OpenShare;

impl Appliance {
    /// Removes heads that were passed, given newest first. What cannot be removed now goes later.
    pub(super) async fn remove_passed(&self, open: &OpenShare, passed: &[HeadName]) {
        if passed.is_empty() && open.line_is_tidy.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.try_remove_passed(open, passed).await {
            open.line_is_tidy.store(false, Ordering::Relaxed);
            tracing::debug!(share = open.config.name, %error, "heads that are not kept any more are still there");
        }
    }

    async fn try_remove_passed(&self, open: &OpenShare, passed: &[HeadName]) -> Result<(), RepositoryError> {
        let (repository, share) = (&self.backend.repository, open.share.id());
        if open.line_is_tidy.load(Ordering::Relaxed) {
            for name in passed.iter().rev() {
                repository.remove_head(share, name).await?;
            }
            return Ok(());
        }
        let listed = repository.list_heads(share, usize::MAX).await?;
        for head in listed.iter().rev().filter(|head| head.standing == HeadStanding::Passed) {
            repository.remove_head(share, &head.name).await?;
        }
        open.line_is_tidy.store(true, Ordering::Relaxed);
        Ok(())
    }
}
