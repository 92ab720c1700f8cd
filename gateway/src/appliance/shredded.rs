//! A share that this gateway knows and that was shredded: what is here of it can leave for nowhere, and nothing waits for it.
//!
//! Keys that are lost by accident look the same; so it counts only what the repository says
//! ([`tidegate_replicator::shred`]). Packs that waited go with the next upload ([`crate::commit`]). Names and attributes of its
//! files stay in the live map until the local state is made anew. Nothing is noted: the next start finds the same once more.

use super::registry::{self, ShareRecord};
use super::retire::NOTHING_HELD;
use super::{Appliance, ApplianceError};

impl Appliance {
    /// Whether the repository says that a share of this gateway was shredded; not if it cannot be asked.
    pub async fn was_shredded(&self, share: &str) -> bool {
        let known = registry::load(&self.live).unwrap_or_default();
        match known.iter().find(|record| record.name == share) {
            Some(record) => self.is_shredded(record).await,
            None => false,
        }
    }

    /// The same of a record.
    pub(super) async fn is_shredded(&self, record: &ShareRecord) -> bool {
        let asked =
            async { Ok::<_, ApplianceError>(self.backend.repository.is_shredded(record.domain()?).await?) };
        asked.await.unwrap_or_else(|error| {
            tracing::warn!(share = record.name, %error, "cannot see whether a share was shredded");
            false
        })
    }

    /// Nothing that the journal has of a share that was shredded is waited for.
    pub(super) fn let_go(&self, record: &ShareRecord) {
        tracing::warn!(
            share = record.name,
            "the share has been shredded: what the journal has of it goes; names and attributes of its files stay in the local state until that is made anew"
        );
        let Ok(id) = record.id() else { return };
        self.drained.lock().insert(id, NOTHING_HELD);
        if let Err(error) = self.shorten_journal() {
            tracing::warn!(%error, "the journal could not be shortened");
        }
    }
}
