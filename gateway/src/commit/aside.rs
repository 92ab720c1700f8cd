//! Setting aside: what a superseded share has beyond its line becomes a branch in the repository.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | look | asks whether the branch is there already, and which packs are condemned | nothing |
//! | drain | as a commit; and what lies in packs that are gone from the store is sealed anew from the local copy | packs |
//! | tree | as a commit, but every new node is sealed anew | packs |
//! | upload | as a commit | packs there that nothing reaches |
//! | store | writes the branch under the id that was chosen before | the branch; the next run finds it |
//!
//! No collection waits for who was superseded, so what he stored and never published may be gone, and what counted as a
//! duplicate may be condemned. Hence nothing counts as a duplicate here: new data and nodes go into new packs, and each
//! older pack that a change refers to is asked for. When a plan turns up afterwards that condemns one of those, the branch is
//! made once more. What the changes do not touch is the base's, which the line, a pin of the takeover, or the branch itself
//! retains. A chunk that is to be had nowhere is counted as lacking, and the branch says so.
//!
//! The live map is left as it is: a run that died is simply run again.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use tidegate_chunker::{ChunkId, DomainId, Location, PackId};
use tidegate_replicator::ingest::{FinishedPack, Known};
use tidegate_replicator::map::{Extent, Key, Source};
use tidegate_replicator::repository::{
    BranchCause, CommitStatistics, Departure, Head, HeadName, Incarnation, LineTotals, NewBranch, Opened,
    Repository, RepositoryError, SnapshotId, Usage, unpublished_name,
};
use tidegate_replicator::tree::ChunkRef;
use tokio::runtime::Handle;

use super::frozen::Frozen;
use super::{CommitError, Committer, Description, Plan, Prepared};
use crate::journal::Sequence;
use crate::ledger::{Ledger, Stage};
use crate::share::{Share, ShareError};

/// How often a branch is made anew because a plan condemned what it refers to.
const ATTEMPTS_MAX: u32 = 4;
/// Packs that are asked for at once.
const ASKED_AT_ONCE: usize = 16;

/// Which branch is to be made: decided before, so that who dies in between finds it again.
#[derive(Clone, Debug)]
pub(crate) struct AsideId {
    /// Its id.
    pub(crate) id: SnapshotId,
    /// What people call it.
    pub(crate) name: String,
    /// The host whose changes they are.
    pub(crate) site: String,
}

/// What became of what a share had beyond its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetAside {
    /// There was nothing: every change is on the line.
    Nothing,
    /// It is a branch.
    Branch,
}

impl Committer {
    /// Keeps what the share, which takes no more changes, has beyond its line as a branch of the repository. `epoch` is that
    /// in which it was led from here. May be run again after any end.
    pub(crate) async fn set_aside(
        &self,
        share: &Arc<Share>,
        description: &Description,
        wanted: &AsideId,
        epoch: u32,
        drained: &(dyn Fn(Sequence) + Send + Sync),
    ) -> Result<SetAside, CommitError> {
        // One that is there may be of a run that died before it knew that all of it is safe: it is made again.
        let nothing_more = match self.repository.find_branch(share.id(), wanted.id).await? {
            Some(_) => SetAside::Branch,
            None => SetAside::Nothing,
        };
        for attempt in 1.. {
            self.plans.look_surely().await?;
            share.moved().begin();
            share.live().settle().await?;
            let rescue = Some(self.repository.clone());
            let plan = match self.prepare_with(share, self.clock.utc(), true, None, rescue).await? {
                Prepared::Unchanged { .. } => return Ok(nothing_more),
                Prepared::Changed(plan) => plan,
            };
            share.live().settle().await?;
            drained(plan.through);
            let departure = self.departure(share, &plan).await?;
            if !departure.is_fork && plan.base.published && plan.root == plan.base.root {
                return Ok(nothing_more);
            }
            self.upload(Some(description.share.domain)).await?;
            crate::crash::point("aside.uploaded");
            self.check_not_shredded(description.share.domain).await?;
            let named = (unpublished_name(epoch, next_sequence(plan.base.head.as_ref()))?, wanted);
            self.store_branch(share, description, &plan, departure, named).await?;
            crate::crash::point("aside.stored");
            // A plan that comes to be from now on sees the branch.
            self.plans.look_surely().await?;
            if !plan.relied_on.iter().any(|pack| self.ledger.is_void(pack)) {
                break;
            }
            if attempt == ATTEMPTS_MAX {
                return Err(CommitError::Condemned);
            }
        }
        Ok(SetAside::Branch)
    }

    /// Nobody could read what is stored there, and nothing retains it.
    async fn check_not_shredded(&self, domain: DomainId) -> Result<(), CommitError> {
        if self.repository.is_shredded(domain).await? {
            return Err(RepositoryError::Missing { object: format!("domains/{domain}") }.into());
        }
        Ok(())
    }

    /// Where the share left its line.
    async fn departure(&self, share: &Share, plan: &Plan) -> Result<Departure, CommitError> {
        let Some(head) = plan.base.head else { return Ok(Departure::default()) };
        let mut departure = self.repository.departure_of(share.id(), &head).await?;
        if departure.ancestor == Some(head) && plan.base.published {
            departure.root = Some(plan.base.root);
        }
        Ok(departure)
    }

    async fn store_branch(
        &self,
        share: &Share,
        description: &Description,
        plan: &Plan,
        departure: Departure,
        (name, wanted): (HeadName, &AsideId),
    ) -> Result<(), CommitError> {
        let over_since = share.account().over_since();
        let (heat, kept, passed, turns, plans_honoured) = Default::default();
        let now = self.clock.utc();
        let head = Head {
            share: description.share.clone(),
            epoch: name.epoch,
            sequence: name.sequence,
            parent: plan.base.head,
            root: plan.root,
            frozen_at: plan.frozen_at,
            published_at: now,
            incarnation: Incarnation::new(share.incarnation().to_be_bytes()),
            handover: None,
            keep_handles: None,
            next_inode: plan.next_inode,
            journal_sequence: plan.through.0,
            plans_honoured,
            kept,
            passed,
            turns,
            settings: description.settings.clone(),
            usage: Usage {
                bytes: plan.usage.bytes,
                inodes: plan.usage.inodes,
                bytes_over_since: over_since.bytes,
                inodes_over_since: over_since.inodes,
            },
            heat,
            heat_in: None,
            totals: LineTotals::default(),
            statistics: CommitStatistics { ..plan.statistics },
        };
        let new = NewBranch {
            name: wanted.name.clone(),
            site: wanted.site.clone(),
            cause: BranchCause::Superseded,
            ancestor: departure.ancestor,
            base: departure.root,
            lacks: plan.lacks,
        };
        Ok(self.repository.create_branch(wanted.id, (name, &head), new, now).await?)
    }
}

fn next_sequence(parent: Option<&HeadName>) -> u64 {
    parent.map_or(0, |parent| parent.sequence).saturating_add(1)
}

/// Takes note of what is stored, and says of nothing that it is a duplicate.
pub(super) struct NothingKnown(pub(super) Arc<dyn Known>);

impl Known for NothingKnown {
    fn find(&self, _id: &ChunkId) -> Option<Location> {
        None
    }

    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.learn(pack)
    }
}

/// Which packs that changes refer to are not to be had from the store any more.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// Gone, but their file is here.
    here: HashSet<PackId>,
    /// Gone altogether.
    nowhere: HashSet<PackId>,
    /// Those that are there.
    pub(super) relied_on: Vec<PackId>,
    /// Changed extents of which the chunk is to be had nowhere.
    pub(super) lacks: u64,
}

impl Rescue {
    /// Asks for every pack that the changed extents refer to. Blocks.
    pub(super) fn find(
        frozen: &Frozen<'_>,
        ledger: &Ledger,
        repository: &Repository<Opened>,
        runtime: &Handle,
    ) -> Result<Self, CommitError> {
        let mut packs = HashSet::new();
        each_changed_chunk(frozen, |chunk| packs.extend(pack_of(ledger, chunk)))?;
        let mut rescue = Self::default();
        let asked = stream::iter(packs).map(|pack| async move {
            let local = ledger.record(&pack)?.is_some_and(|record| record.stage == Stage::Local);
            let is_there = !ledger.is_void(&pack)
                && (local || repository.pack_modified(pack).await.map_err(CommitError::from)?.is_some());
            Ok::<_, CommitError>((pack, is_there))
        });
        let answers: Vec<_> = runtime.block_on(asked.buffer_unordered(ASKED_AT_ONCE).collect());
        for answer in answers {
            match answer? {
                (pack, true) => rescue.relied_on.push(pack),
                (pack, false) if ledger.path(&pack).exists() => rescue.here.extend([pack]),
                (pack, false) => rescue.nowhere.extend([pack]),
            }
        }
        if !rescue.nowhere.is_empty() {
            let mut lacks = 0;
            each_changed_chunk(frozen, |chunk| {
                let pack = pack_of(ledger, chunk);
                lacks += u64::from(pack.is_none_or(|pack| rescue.nowhere.contains(&pack)));
            })?;
            tracing::error!(
                lacks,
                "changes refer to packs that were collected before they could be set aside"
            );
            rescue.lacks = lacks;
        }
        Ok(rescue)
    }

    /// Whether the chunk is to be sealed anew from what is here.
    pub(super) fn is_to_be_sealed(&self, chunk: &ChunkRef) -> bool {
        chunk.at.is_some_and(|at| self.here.contains(&at.pack))
    }
}

/// The pack that a chunk is read from.
fn pack_of(ledger: &Ledger, chunk: &ChunkRef) -> Option<PackId> {
    chunk.at.or_else(|| ledger.find(&chunk.id).ok().flatten()).map(|at| at.pack)
}

fn each_changed_chunk(frozen: &Frozen<'_>, mut each: impl FnMut(&ChunkRef)) -> Result<(), CommitError> {
    let mut from = Vec::new();
    loop {
        let page = frozen.changed_page(&from)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = [&last.encode()[..], &[0]].concat();
        for (key, value) in &page {
            let (Key::Extent(_, end), Some(value)) = (key, value) else { continue };
            let extent = Extent::from_value(*end, value).map_err(ShareError::from)?;
            if let Source::Chunk { chunk, .. } = &extent.source {
                each(chunk);
            }
        }
    }
}
