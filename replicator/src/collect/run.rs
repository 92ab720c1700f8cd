//! The parts of a collection one after the other, for whoever runs it: by hand, or by the clock.

use std::sync::Arc;

use tidegate_chunker::PackId;

use super::carry_out::{Progress, carry_out};
use super::error::CollectError;
use super::options::{CollectOptions, checkpoint};
use super::propose::Proposal;
use super::repack::repack;
use crate::observer::Observer;
use crate::repository::{DurablePacks, IndexEntry, Opened, Plan, PlanId, Repository, RepositoryError};

/// How many packs are indexed by one write, and from how many entries on it takes no more packs: an entry takes some hundred
/// bytes.
const INDEXED_AT_ONCE: usize = 256;
const ENTRIES_AT_ONCE: usize = 1 << 17;

/// What became of an open plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which.
    pub plan: PlanId,
    /// How far it has come.
    pub progress: Progress,
}

/// Has the index name what it lacks of packs that are needed: a copy may have lost the facts of a pack that went and came
/// back, or that only the line of a copy needs still. A pack that is gone meanwhile, or that does not open, is left out.
async fn index(repository: &Repository<Opened>, packs: &[PackId]) -> Result<(), CollectError> {
    let mut packs = packs.iter().copied().peekable();
    while packs.peek().is_some() {
        let (mut there, mut entries, mut count) = (DurablePacks::new(), Vec::new(), 0);
        while entries.len() < INDEXED_AT_ONCE
            && count < ENTRIES_AT_ONCE
            && let Some(pack) = packs.next()
        {
            let (domain, index) = match repository.pack_index(pack).await {
                Ok(read) => read,
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. }))
                    if !error.is_asleep() =>
                {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(%pack, %error, "a pack is needed and not indexed, and cannot be indexed");
                    continue;
                }
            };
            if let Some(pack) = repository.find_pack(pack).await? {
                there.add(pack);
                let of_pack: Vec<_> = index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect();
                count += of_pack.len();
                entries.push(of_pack);
            }
        }
        tracing::info!(packs = there.len(), "the index lacked something of packs that are needed");
        repository.write_index(entries.into_iter().map(Ok::<_, RepositoryError>), &there).await?;
    }
    Ok(())
}

/// Removes what the proposal found passed, expired, or in the bin for its whole time; tells how many objects went. The oldest first, so that
/// a line can be followed to whatever of it is still there. Before that, the index learns of what is needed and it lacks.
pub async fn tidy(repository: &Repository<Opened>, proposal: &Proposal) -> Result<u64, CollectError> {
    index(repository, &proposal.unindexed).await?;
    for (share, name) in &proposal.passed_heads {
        repository.remove_head(*share, name).await?;
    }
    for (share, id) in proposal.expired_pins.iter().chain(&proposal.ended_in_bin) {
        repository.remove_snapshot(*share, *id).await?;
    }
    for (share, id) in &proposal.ended_in_bin {
        tracing::info!(%share, snapshot = %id, "the time of a snapshot in the bin is over");
    }
    let snapshots = proposal.expired_pins.len() + proposal.ended_in_bin.len();
    Ok((proposal.passed_heads.len() + snapshots) as u64)
}

/// Repacks and condemns what was proposed; `None` if that is nothing. Refuses to condemn a greater part of all
/// packs than the options allow; what is repacked does not count, for nothing of it is lost.
pub async fn condemn(
    repository: &Arc<Repository<Opened>>,
    mut proposal: Proposal,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Option<PlanId>, CollectError> {
    if proposal.exceeds(options.delete_percent_max) {
        return Err(CollectError::TooMuch {
            condemned: proposal.condemned_bytes,
            total: proposal.pack_bytes,
            percent_max: options.delete_percent_max,
        });
    }
    if !proposal.sparse.is_empty() {
        repack(repository, &mut proposal, options, observer).await?;
    }
    if proposal.condemned.is_empty() {
        return Ok(None);
    }
    let Proposal { condemned, condemned_bytes: bytes, replacements, .. } = proposal;
    let plan = Plan { made_at: options.now, condemned, bytes, replacements };
    let id = repository.create_plan(&plan).await?;
    tracing::info!(plan = %id, packs = plan.condemned.len(), bytes, "condemned packs");
    Ok(Some(id))
}

/// Goes on with every plan that is open, oldest first.
pub async fn finish_open(
    repository: &Arc<Repository<Opened>>,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Vec<Round>, CollectError> {
    let mut rounds = Vec::new();
    for plan in repository.plans().await?.into_iter().filter(|plan| plan.open) {
        checkpoint(observer)?;
        match carry_out(repository, plan.id, options, observer).await {
            Ok(progress) => rounds.push(Round { plan: plan.id, progress }),
            // The plan itself; the others can be gone on with.
            Err(CollectError::Repository(error @ RepositoryError::Damaged { .. })) => {
                tracing::error!(plan = %plan.id, %error, "a collection plan cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rounds)
}
