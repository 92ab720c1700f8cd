//! The parts of a collection one after the other, for whoever runs it: by hand, or by the clock.

use std::sync::Arc;

use super::carry_out::{Progress, carry_out};
use super::error::CollectError;
use super::options::{CollectOptions, checkpoint};
use super::propose::Proposal;
use super::repack::repack;
use crate::observer::Observer;
use crate::repository::{Opened, Plan, PlanId, Repository, RepositoryError};

/// What became of an open plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which.
    pub plan: PlanId,
    /// How far it has come.
    pub progress: Progress,
}

/// Removes what the proposal found passed, expired, or in the bin for its whole time; tells how many objects went. The oldest first, so that
/// a line can be followed to whatever of it is still there.
pub async fn tidy(repository: &Repository<Opened>, proposal: &Proposal) -> Result<u64, CollectError> {
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
