//! Collection plans, as whoever publishes honours them.
//!
//! Before a commit counts anything as a duplicate it looks which plans are open: chunks in what they condemn
//! count no more ([`Ledger::note_void`]), and its head names those plans. A look that fails, because the
//! store is away say, changes nothing: what was condemned meanwhile stays, for it waits for this gateway.
//! That holds as long as it leads a share that is not handed over; so a claim, and taking a share back, goes with
//! a look that must succeed.
//!
//! Order: the plan is taken in, then kept durably by the ledger, then named as honoured. A crash before the
//! last leaves a plan that is taken in once more.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::collect::VoidPacks;
use tidegate_replicator::repository::{Head, Opened, PlanId, Repository, RepositoryError};
use tokio::sync::{Mutex, Notify};

use super::CommitError;
use crate::ledger::{Ledger, LedgerError};

/// How long a commit waits for a look: what is to leave the journal does not wait for a store that is away.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// See the head of this module.
pub(crate) struct Plans {
    repository: Arc<Repository<Opened>>,
    ledger: Arc<Ledger>,
    taken_in: Mutex<VoidPacks>,
    /// Told when plans have come or gone.
    pub(crate) changed: Notify,
}

impl Plans {
    /// Goes on from what the ledger keeps.
    pub(crate) fn new(repository: Arc<Repository<Opened>>, ledger: Arc<Ledger>) -> Self {
        let taken_in = Mutex::new(ledger.void());
        Self { repository, ledger, taken_in, changed: Notify::new() }
    }

    /// The open plans that are honoured from now on; those known so far, when the store does not answer.
    pub(crate) async fn look(&self) -> Result<Vec<PlanId>, LedgerError> {
        let mut taken_in = self.taken_in.lock().await;
        match tokio::time::timeout(LOOK_MAX, taken_in.refresh(&self.repository)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot see which collection plans there are"),
            Err(_) => tracing::warn!("the store does not say in time which collection plans there are"),
        }
        self.take_in(&mut taken_in).await?;
        Ok(taken_in.open_plans())
    }

    /// Whether a head names every plan that is open, as far as can be seen now.
    pub(crate) async fn are_honoured(&self, newest: Option<&Head>) -> bool {
        self.look().await.is_ok_and(|plans| are_said(newest, &plans))
    }

    /// The same as [`Plans::look`], where it must not fail: when no plan has waited for this gateway. A plan that
    /// cannot be read is no failure: nothing counts as a duplicate until it can.
    pub(crate) async fn look_surely(&self) -> Result<(), CommitError> {
        let mut taken_in = self.taken_in.lock().await;
        match taken_in.refresh(&self.repository).await {
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                tracing::error!(%error, "a collection plan cannot be read: nothing is a duplicate until it can");
            }
            Ok(()) => {}
        }
        Ok(self.take_in(&mut taken_in).await?)
    }

    /// Has the ledger keep what is void, and learn where its chunks were moved: so that they go on to count as
    /// duplicates. What cannot be read is stored once more when it comes again, no harm done.
    async fn take_in(&self, void: &mut VoidPacks) -> Result<(), LedgerError> {
        let replacements = void.take_replacements();
        // They may be sealed under keys that somebody else has made meanwhile.
        if !replacements.is_empty()
            && let Err(error) = self.repository.learn_epochs().await
        {
            tracing::debug!(%error, "cannot see whether there are new keys");
        }
        for pack in replacements {
            match self.repository.pack_index(pack).await {
                Ok((_, index)) => {
                    let chunks = index.chunks().map(|placed| (placed.id, placed.location));
                    self.ledger.learn_remote(chunks)?;
                }
                Err(error) => tracing::debug!(%pack, %error, "cannot see what was moved"),
            }
        }
        if self.ledger.note_void(void).await? {
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

/// Whether a head says all that is to be said of these plans.
pub(super) fn are_said(head: Option<&Head>, plans: &[PlanId]) -> bool {
    plans.iter().all(|plan| head.is_some_and(|head| head.plans_honoured.contains(plan)))
}
