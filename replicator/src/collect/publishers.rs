//! Who may publish, and whether he honours a plan.
//!
//! Of each share the claim is looked at before the newest head: a claim that comes later is of somebody who
//! reads the plan before his first commit.

use tidegate_chunker::ShareId;

use super::error::CollectError;
use crate::repository::{Opened, PlanId, Repository, RepositoryError, UtcNanos};

/// A publisher who has not honoured a plan yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of which share.
    pub share: ShareId,
    /// What the share is called, if it has a head.
    pub name: Option<String>,
    /// The host and instance that lead it; none while a claim is not settled.
    pub leader: Option<(String, String)>,
    /// When its newest head was published.
    pub published_at: Option<UtcNanos>,
}

/// All publishers who have not honoured `plan`.
pub(super) async fn waiting_for(
    repository: &Repository<Opened>,
    plan: PlanId,
) -> Result<Vec<Waiting>, CollectError> {
    let mut waiting = Vec::new();
    for share in repository.share_ids().await? {
        let lease = repository.lease(share).await?;
        if lease.highest_epoch() == 0 {
            continue;
        }
        let newest = match repository.newest_head(share).await {
            Ok(newest) => newest,
            Err(RepositoryError::Damaged { object, why }) => {
                return Err(CollectError::Unreadable { what: object, why });
            }
            Err(error) => return Err(error.into()),
        };
        let honours = newest.as_ref().is_some_and(|newest| {
            // Who handed a share over publishes nothing more before he has read the plans.
            let is_last_word = newest.head.handover.is_some();
            newest.name.epoch == lease.highest_epoch()
                && (is_last_word || newest.head.plans_honoured.contains(&plan))
        });
        if !honours {
            let holder = lease.holder().filter(|_| !lease.is_contested());
            waiting.push(Waiting {
                share,
                name: newest.as_ref().map(|newest| newest.head.share.name.clone()),
                leader: holder.map(|claim| (claim.host.clone(), claim.instance.clone())),
                published_at: newest.map(|newest| newest.head.published_at),
            });
        }
    }
    Ok(waiting)
}
