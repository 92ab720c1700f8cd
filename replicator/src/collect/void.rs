//! Which packs count for nothing: what plans condemn, and what they have deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tidegate_chunker::PackId;

use crate::repository::{Opened, PlanId, Repository, RepositoryError, Result};

/// Packs in which no chunk counts as a duplicate. Grows with what plans have ever deleted: 32 bytes a pack.
#[derive(Clone, Debug, Default)]
pub struct VoidPacks {
    packs: HashSet<PackId>,
    /// Plans that wait, with what they condemn.
    open: BTreeMap<PlanId, Vec<PackId>>,
    /// Plans whose outcome is taken in, or that cannot be read.
    settled: BTreeSet<PlanId>,
    /// Grows with every change.
    generation: u64,
    /// Packs that replace condemned ones, of plans that were read lately.
    replacements: Vec<PackId>,
}

/// What is known of void packs, piece by piece, so that it can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidRow {
    /// This pack is void.
    Pack(PackId),
    /// A plan that waits condemns this pack.
    Open(PlanId, PackId),
    /// The outcome of this plan is taken in.
    Settled(PlanId),
}

impl VoidPacks {
    /// Everything that is known, in pieces.
    pub fn rows(&self) -> impl Iterator<Item = VoidRow> + '_ {
        let open = self.open.iter();
        let open = open.flat_map(|(plan, packs)| packs.iter().map(|pack| VoidRow::Open(*plan, *pack)));
        let packs = self.packs.iter().map(|pack| VoidRow::Pack(*pack));
        packs.chain(open).chain(self.settled.iter().map(|plan| VoidRow::Settled(*plan)))
    }

    /// Takes a piece back in; those of one plan in order of pack.
    pub fn restore(&mut self, row: VoidRow) {
        match row {
            VoidRow::Pack(pack) => drop(self.packs.insert(pack)),
            VoidRow::Open(plan, pack) => self.open.entry(plan).or_default().push(pack),
            VoidRow::Settled(plan) => drop(self.settled.insert(plan)),
        }
    }

    /// Reads what is new. One listing, and two objects for each plan that was not known. A plan that is
    /// damaged is passed over: nobody can carry it out either. Tells whether anything has changed.
    pub async fn refresh(&mut self, repository: &Repository<Opened>) -> Result<bool> {
        let before = self.generation;
        for plan in repository.plans().await? {
            if self.settled.contains(&plan.id) || (plan.open && self.open.contains_key(&plan.id)) {
                continue;
            }
            if let Err(error) = self.take_in(repository, plan.id, plan.open).await {
                match error {
                    RepositoryError::Store(_) | RepositoryError::Local { .. } => return Err(error),
                    error => {
                        tracing::error!(plan = %plan.id, %error, "a collection plan cannot be read: nobody will carry it out");
                        self.settled.insert(plan.id);
                        self.generation += 1;
                    }
                }
            }
        }
        Ok(self.generation != before)
    }

    async fn take_in(&mut self, repository: &Repository<Opened>, id: PlanId, open: bool) -> Result<()> {
        if !self.open.contains_key(&id) {
            let plan = repository.read_plan(id).await?;
            self.packs.extend(&plan.condemned);
            self.open.insert(id, plan.condemned);
            self.replacements.extend(plan.replacements);
            self.generation += 1;
        }
        if !open && let Some(outcome) = repository.read_outcome(id).await? {
            for pack in &outcome.spared {
                self.packs.remove(pack);
            }
            self.open.remove(&id);
            self.settled.insert(id);
            self.generation += 1;
        }
        Ok(())
    }

    /// Packs that replace condemned ones, of the plans that were read since the last call.
    pub fn take_replacements(&mut self) -> Vec<PackId> {
        std::mem::take(&mut self.replacements)
    }

    /// Whether chunks in this pack count for nothing.
    pub fn contains(&self, pack: &PackId) -> bool {
        self.packs.contains(pack)
    }

    /// Tells whether it has changed since: grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The plans that wait and that are taken in: what a publisher honours who has asked here before it
    /// counted anything as a duplicate.
    pub fn open_plans(&self) -> Vec<PlanId> {
        self.open.keys().copied().collect()
    }

    /// Whether a plan that waits condemns this pack.
    pub(super) fn is_in_open_plan(&self, pack: &PackId) -> bool {
        self.open.values().any(|condemned| condemned.binary_search(pack).is_ok())
    }
}
