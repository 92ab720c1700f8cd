//! What collections have deleted, or are about to: packs that may be missing although facts of the index name them.
//!
//! A pack that was condemned and spared is no such pack: something needs it.

use std::collections::{BTreeSet, HashSet};

use tidegate_chunker::PackId;

use super::{Mirror, MirrorError, PassReport};
use crate::observer::Observer;
use crate::repository::{ListedPlan, Opened, PlanId, Repository, RepositoryError};

/// The packs that plans of a repository have deleted, and those that open plans condemn. Reads every plan there is.
pub(super) async fn deleted(repository: &Repository<Opened>) -> Result<HashSet<PackId>, RepositoryError> {
    let mut packs = HashSet::new();
    for plan in repository.plans().await? {
        packs.extend(deleted_by(repository, plan.id).await?);
    }
    Ok(packs)
}

async fn deleted_by(repository: &Repository<Opened>, plan: PlanId) -> Result<Vec<PackId>, RepositoryError> {
    let outcome = repository.read_outcome(plan).await?;
    let spared = outcome.map(|outcome| outcome.spared).unwrap_or_default();
    let mut condemned = repository.read_plan(plan).await?.condemned;
    condemned.retain(|pack| spared.binary_search(pack).is_err());
    Ok(condemned)
}

/// The plans of a store at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Plans {
    closed: BTreeSet<PlanId>,
    open: BTreeSet<PlanId>,
}

impl Plans {
    pub(super) fn has(&self, plan: &PlanId) -> bool {
        self.closed.contains(plan) || self.open.contains(plan)
    }

    /// Whether one may be carried out at any moment.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) async fn look(repository: &Repository<Opened>) -> Result<Self, RepositoryError> {
        let (open, closed): (Vec<_>, Vec<_>) =
            repository.plans().await?.into_iter().partition(|plan| plan.open);
        let ids = |plans: Vec<ListedPlan>| plans.into_iter().map(|plan| plan.id).collect();
        Ok(Self { closed: ids(closed), open: ids(open) })
    }
}

impl Mirror {
    /// Where somebody leads from the copy, a collection there may have deleted packs that this pass, or the one before it,
    /// took for present when it brought heads and snapshots: those that the lead has are brought once more. `before` is how
    /// plans were before any pack was looked for. Who deletes looks for what a pass has brought, but not for
    /// what it brings while packs are deleted; hence what is open now is looked at again by the next pass.
    pub(super) async fn bring_back(
        &mut self,
        before: &Plans,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<(), MirrorError> {
        let now = Plans::look(&self.copy).await?;
        let of_lead = Plans::look(&self.lead).await?;
        let is_news = |plan: &&PlanId| !before.closed.contains(plan) || self.watched.contains(plan);
        let foreign = |plan: &&PlanId| !of_lead.closed.contains(plan);
        let carried_out: Vec<PlanId> = now.closed.iter().filter(is_news).filter(foreign).copied().collect();
        let has_deleted = !carried_out.is_empty();
        for plan in carried_out {
            let deleted = deleted_by(&self.copy, plan).await?;
            self.held.forget(&deleted);
            self.carry(deleted.into_iter().collect(), report, observer).await?;
        }
        if has_deleted {
            // Nor does the index of the copy name them any more: objects that were there when this pass began were written
            // anew there without them.
            let indexed = self.index_of_copy().await?;
            self.copy_index(&indexed, report, observer).await?;
        }
        self.watched = now.open;
        Ok(())
    }
}
