//! Which packs count for nothing: whatever a plan has ever condemned.
//!
//! A pack that was spared stays void: what refers to it goes on to do so, and nobody comes to refer to it anew. So
//! it does not matter how many collectors carry out a plan, or in which order plans that condemn the same
//! pack end.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tidegate_chunker::PackId;

use crate::repository::{Opened, PlanId, Repository, RepositoryError, Result};

/// The most open plans that a publisher says that it honours: the oldest.
const HONOURED_MAX: usize = 64;

/// Packs in which no chunk counts as a duplicate. Grows with what plans have ever condemned: 32 bytes a pack.
#[derive(Clone, Debug, Default)]
pub struct VoidPacks {
    packs: HashSet<PackId>,
    /// Packs that were made of condemned ones: what is in them was verified.
    replacements: HashSet<PackId>,
    /// Plans that wait, with what they condemn.
    open: BTreeMap<PlanId, Vec<PackId>>,
    /// Plans that are carried out, or given up.
    closed: BTreeSet<PlanId>,
    /// Plans that cannot be read, so that nobody knows what they condemn.
    unreadable: BTreeSet<PlanId>,
    /// Grows with every change.
    generation: u64,
    /// Replacements of open plans that were read lately.
    fresh: Vec<PackId>,
}

/// What is known of void packs, piece by piece, so that it can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidRow {
    /// This pack is void.
    Pack(PackId),
    /// A plan that waits condemns this pack.
    Open(PlanId, PackId),
    /// This plan waits no more.
    Closed(PlanId),
}

impl VoidPacks {
    /// Everything that is to be kept, in pieces.
    pub fn rows(&self) -> impl Iterator<Item = VoidRow> + '_ {
        let open = self.open.iter();
        let open = open.flat_map(|(plan, packs)| packs.iter().map(|pack| VoidRow::Open(*plan, *pack)));
        let packs = self.packs.iter().map(|pack| VoidRow::Pack(*pack));
        packs.chain(open).chain(self.closed.iter().map(|plan| VoidRow::Closed(*plan)))
    }

    /// Takes a piece back in; those of one plan in order of pack.
    pub fn restore(&mut self, row: VoidRow) {
        match row {
            VoidRow::Pack(pack) => drop(self.packs.insert(pack)),
            VoidRow::Open(plan, pack) => self.open.entry(plan).or_default().push(pack),
            VoidRow::Closed(plan) => drop(self.closed.insert(plan)),
        }
    }

    /// Reads what is new. One listing, and an object for each plan that was not known. A plan that cannot be
    /// read is the error in the end, after the others; until it can, nothing at all is a duplicate.
    pub async fn refresh(&mut self, repository: &Repository<Opened>) -> Result<()> {
        let mut failure = None;
        for plan in repository.plans().await? {
            if self.closed.contains(&plan.id) {
                continue;
            }
            if !self.open.contains_key(&plan.id) {
                match repository.read_plan(plan.id).await {
                    Ok(read) => self.take_in(plan.id, read.condemned, read.replacements, plan.open),
                    Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                        return Err(error);
                    }
                    Err(error) => {
                        self.generation += u64::from(self.unreadable.insert(plan.id));
                        failure = Some(error);
                        continue;
                    }
                }
            }
            if !plan.open {
                self.open.remove(&plan.id);
                self.closed.insert(plan.id);
                self.generation += 1;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn take_in(&mut self, id: PlanId, condemned: Vec<PackId>, replacements: Vec<PackId>, open: bool) {
        self.packs.extend(&condemned);
        self.replacements.extend(&replacements);
        if open {
            self.fresh.extend(replacements);
        }
        self.open.insert(id, condemned);
        self.unreadable.remove(&id);
        self.generation += 1;
    }

    /// Packs that replace condemned ones, of open plans that were read since the last call.
    pub fn take_replacements(&mut self) -> Vec<PackId> {
        std::mem::take(&mut self.fresh)
    }

    /// Whether a plan condemns this pack, or did.
    pub fn contains(&self, pack: &PackId) -> bool {
        self.packs.contains(pack)
    }

    /// Whether a chunk in this pack may count as a duplicate.
    pub fn counts(&self, pack: &PackId) -> bool {
        self.unreadable.is_empty() && !self.packs.contains(pack)
    }

    /// Tells whether it has changed since: grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The plans that wait and that are taken in: what a publisher honours who has asked here before it
    /// counted anything as a duplicate.
    pub fn open_plans(&self) -> Vec<PlanId> {
        self.open.keys().copied().take(HONOURED_MAX).collect()
    }

    /// Whether a plan that waits condemns this pack.
    pub(super) fn is_in_open_plan(&self, pack: &PackId) -> bool {
        self.open.values().any(|condemned| condemned.binary_search(pack).is_ok())
    }

    /// Whether a plan says that this pack was made of what it condemns.
    pub(crate) fn is_replacement(&self, pack: &PackId) -> bool {
        self.replacements.contains(pack)
    }
}
