//! Collection plans: what is about to be deleted, said before it is done.
//!
//! ```text
//! plans/<id>         condemns packs
//! plans/<id>-done    how that ended: which of them were spared
//! ```
//!
//! A plan is *open* until its outcome is there. From the moment when a plan condemns a pack, a chunk in it
//! counts as a duplicate for nobody who has read the plan, and never again, also when the pack is spared:
//! it is *void*. Ids of packs are never used twice, so a fact of the index about a pack that is gone says
//! nothing, wherever it comes from. That is why plans are kept.
//!
//! The protocol that makes it safe is in `collect`.

use serde::{Deserialize, Serialize};
use tidegate_chunker::{ObjectKind, PackId};

use super::envelope::{Record, list_all};
use super::error::{RepositoryError, Result};
use super::hex;
use super::names::{self, PLANS, PlanId};
use super::open::{Opened, Repository};
use super::time::UtcNanos;
use crate::store::{PutMode, SpecialStore};

/// Most packs that one plan condemns; what is more waits for the next.
pub const PLAN_PACKS_MAX: usize = 100_000;
/// Greatest length of a plan's payload, in bytes: an id takes 64.
const PLAN_BYTES_MAX: u64 = 8 << 20;

/// What is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made, by its author's clock.
    pub made_at: UtcNanos,
    /// The packs, in order of id.
    #[serde(with = "hex::packs")]
    pub condemned: Vec<PackId>,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// Packs to which what is alive in them was copied: who honours the plan looks there first. In order of id.
    #[serde(with = "hex::packs", default)]
    pub replacements: Vec<PackId>,
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOutcome {
    /// When, by the clock of who carried it out.
    pub done_at: UtcNanos,
    /// Packs that something had come to reach meanwhile: they stay, in order of id.
    #[serde(with = "hex::packs")]
    pub spared: Vec<PackId>,
    /// Length of what was deleted, in bytes.
    pub deleted_bytes: u64,
}

impl Record for Plan {
    const KIND: ObjectKind = ObjectKind::Plan;
    const BYTES_MAX: u64 = PLAN_BYTES_MAX;
}

impl Record for PlanOutcome {
    const KIND: ObjectKind = ObjectKind::Plan;
    const BYTES_MAX: u64 = PLAN_BYTES_MAX;
}

/// A plan in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPlan {
    /// Which.
    pub id: PlanId,
    /// Whether it waits to be carried out.
    pub open: bool,
}

impl Repository<Opened> {
    /// All plans that there ever were, oldest first. An outcome without a plan is not shown.
    pub async fn plans(&self) -> Result<Vec<ListedPlan>> {
        let mut plans: Vec<ListedPlan> = Vec::new();
        // The outcome of a plan comes right after it.
        for name in list_all(&*self.store, PLANS).await? {
            let Some((id, is_outcome)) = PlanId::parse_object(names::last_segment(&name)) else {
                tracing::warn!(%name, "this is no plan");
                continue;
            };
            match plans.last_mut() {
                Some(last) if is_outcome && last.id == id => last.open = false,
                _ if is_outcome => {}
                _ => plans.push(ListedPlan { id, open: true }),
            }
        }
        Ok(plans)
    }

    /// Stores a plan. From then on nobody who publishes gains references to what it condemns.
    pub async fn create_plan(&self, plan: &Plan) -> Result<PlanId> {
        let id = PlanId::new(plan.made_at)?;
        let sealed = self.seal_record(&id.object(), plan)?;
        self.store_sealed(&id.object(), sealed, PutMode::Overwrite).await?;
        Ok(id)
    }

    /// Reads a plan.
    pub async fn read_plan(&self, id: PlanId) -> Result<Plan> {
        self.read_record(&id.object()).await
    }

    /// Closes a plan.
    pub async fn close_plan(&self, id: PlanId, outcome: &PlanOutcome) -> Result<()> {
        let name = id.outcome_object();
        let sealed = self.seal_record(&name, outcome)?;
        self.store_sealed(&name, sealed, PutMode::Overwrite).await
    }

    /// Reads how a plan ended; `None` while it is open.
    pub async fn read_outcome(&self, id: PlanId) -> Result<Option<PlanOutcome>> {
        match self.read_record(&id.outcome_object()).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(RepositoryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a condemned pack for good, all versions of it; [`RepositoryError::is_held`] while one is locked. Only the
    /// one who carries out its plan may.
    pub(crate) async fn delete_pack(&self, pack: PackId) -> Result<()> {
        Ok(self.store.purge(&names::pack(pack)).await?)
    }
}
