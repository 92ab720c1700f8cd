//! A share that this gateway knows and that was shredded: nothing of it is in the repository any more, not even its keys, so
//! nothing that is here can leave for anywhere, and nothing waits for it.
//!
//! Keys that are lost by accident look much the same. So what is here is let go only when, several times in a row, neither
//! the target that leads nor any copy has an object of the domain or a head or snapshot of the share, which had once
//! been published. Names and attributes of its files stay in the live map until the local state is made anew.
//!
//! Order of letting go: the packs that waited, then the journal. A crash in between, or afterwards, has the next start find the
//! same once more.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::repository::{Opened, Repository, RepositoryError};

use super::registry::ShareRecord;
use super::retire::NOTHING_HELD;
use super::{Appliance, ApplianceError};
use crate::ledger::Ledger;
use crate::share::Base;

/// How often it must look the same, and the pauses in between: a promotion may be under way.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

impl Appliance {
    /// See the head of this file. What cannot be asked is not shredded.
    pub(super) async fn is_surely_shredded(&self, record: &ShareRecord) -> bool {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::select! {
                    () = self.stop.cancelled() => return false,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            if !self.looks_shredded(record).await.unwrap_or(false) {
                return false;
            }
        }
        true
    }

    /// Refuses to store anything for a share of which the lead has no keys: nobody could read it, and every collection would
    /// stop before it.
    pub(super) async fn check_not_shredded(&self, record: &ShareRecord) -> Result<(), ApplianceError> {
        let domain = record.domain()?;
        if self.backend.repository.is_without_keys(domain).await? {
            return Err(RepositoryError::Missing { object: format!("domains/{domain}") }.into());
        }
        Ok(())
    }

    /// Takes away what is here of a share that was shredded, as far as it waits for something.
    pub(super) async fn let_go(&self, record: &ShareRecord) {
        match self.drop_packs(record).await {
            Ok(packs) => tracing::warn!(
                share = record.name,
                packs,
                "the share has been shredded: what waited to leave goes, and so does what the journal has of it; names and attributes of its files stay in the local state until that is made anew"
            ),
            Err(error) => {
                tracing::error!(share = record.name, %error, "packs of a share that has been shredded could not be removed; a restart tries again");
            }
        }
        let Ok(id) = record.id() else { return };
        self.drained.lock().insert(id, NOTHING_HELD);
        if let Err(error) = self.shorten_journal() {
            tracing::warn!(%error, "the journal could not be shortened");
        }
    }

    async fn drop_packs(&self, record: &ShareRecord) -> Result<u64, ApplianceError> {
        let (ledger, domain): (Arc<Ledger>, _) = (self.backend.ledger.clone(), record.domain()?);
        let dropping = tokio::task::spawn_blocking(move || ledger.drop_shredded(domain));
        Ok(dropping.await.map_err(|_| ApplianceError::Died)??)
    }

    /// Whether no target has anything of a share that had been published.
    async fn looks_shredded(&self, record: &ShareRecord) -> Result<bool, ApplianceError> {
        if Base::load(&self.live, record.map())?.head.is_none() {
            return Ok(false);
        }
        let lead = &self.backend.repository;
        if !has_nothing_of(lead, record).await? {
            return Ok(false);
        }
        for copy in self.copies.stores() {
            if !has_nothing_of(&lead.on(copy), record).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn has_nothing_of(on: &Repository<Opened>, record: &ShareRecord) -> Result<bool, ApplianceError> {
    let (share, domain) = (record.id()?, record.domain()?);
    Ok(on.is_without_keys(domain).await?
        && on.head_names(share).await?.is_empty()
        && on.snapshot_ids(share).await?.is_empty())
}
