//! Thinning the line of heads: what the newest head names as passed is removed, the oldest first.
//!
//! As long as that is not certain the next head names it again; so it is tried again, after a restart too, and
//! what cannot be removed for long is taken for no fork. It takes no longer than [`REMOVAL_MAX`] at a time: the
//! next commit waits for it, and what is to leave the journal must not wait for a store that is away.

use std::time::Duration;

use tidegate_replicator::repository::{Head, RepositoryError};

use super::Appliance;

/// How long heads are removed after one commit; the rest goes after the next.
const REMOVAL_MAX: Duration = Duration::from_secs(5);

impl Appliance {
    /// Removes what `head`, which was published just now, names as passed; it names no more what is gone.
    pub(super) async fn remove_passed(&self, head: &mut Head) {
        let removed = tokio::time::timeout(REMOVAL_MAX, self.try_remove_passed(head)).await;
        if let Ok(Err(error)) = removed {
            tracing::debug!(share = head.share.name, %error, "heads that are not kept any more are still there");
        }
    }

    async fn try_remove_passed(&self, head: &mut Head) -> Result<(), RepositoryError> {
        while let Some(name) = head.passed.last() {
            self.backend.repository.remove_head(head.share.id, name).await?;
            head.passed.pop();
        }
        Ok(())
    }
}
