//! From a plan to its outcome. The order of steps is in the head of `collect`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::PackId;

use super::clean::clean_index;
use super::error::CollectError;
use super::held::Held;
use super::mark::mark;
use super::options::{CollectOptions, checkpoint};
use super::publishers::{Waiting, waiting_for};
use crate::observer::Observer;
use crate::repository::{Opened, Plan, PlanId, PlanOutcome, Repository, UtcNanos, pack_name};
use crate::store::SpecialStore;

/// How old a plan becomes at the most; then it is closed, and everything in it spared. Shorter than
/// [`super::PIN_AGE_MAX`] by more than clocks differ.
pub const PLAN_AGE_MAX: Duration = Duration::from_hours(5 * 24);
/// Packs that are deleted at once.
const DELETES_MAX: usize = 16;

/// What carrying out a plan came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Packs that were deleted, by this run or an earlier one that died.
    pub deleted: u64,
    /// Length of those that this run deleted, in bytes.
    pub deleted_bytes: u64,
    /// Packs that something had come to reach.
    pub spared: u64,
    /// Packs that are locked still: spared, and condemned again when they can go.
    pub held: Held,
    /// Index objects that named deleted packs, and were written anew without them.
    pub index_objects: u64,
}

/// How far a plan has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// These have not honoured it yet.
    Waiting(Vec<Waiting>),
    /// All honour it, and it waits for somebody who may delete.
    Ready,
    /// It was waited for too long: nothing was deleted, a later plan will condemn what is still garbage.
    GivenUp,
    /// It is finished.
    Done(Collected),
}

/// Goes on with a plan as far as it can be gone on with now. May be repeated after an error or a crash.
pub async fn carry_out(
    repository: &Arc<Repository<Opened>>,
    id: PlanId,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Progress, CollectError> {
    let plan = repository.read_plan(id).await?;
    if is_too_old(&plan, options.now) {
        return give_up(repository, id, plan, options).await;
    }
    let waiting = waiting_for(repository, id).await?;
    if !waiting.is_empty() {
        return Ok(Progress::Waiting(waiting));
    }
    if repository.store().capabilities().append_only {
        return Ok(Progress::Ready);
    }
    let marked = mark(repository, options, observer).await?;
    // The store may know that more time has passed than this machine does.
    if is_too_old(&plan, marked.newest()) {
        return give_up(repository, id, plan, options).await;
    }
    let there: Vec<_> =
        marked.packs.iter().filter(|pack| plan.condemned.binary_search(&pack.id).is_ok()).collect();
    let mut spared: Vec<PackId> = there.iter().filter(|pack| !pack.is_dead()).map(|pack| pack.id).collect();
    let dead = there.iter().filter(|pack| pack.is_dead());
    let doomed: Vec<(PackId, u64)> = dead.map(|pack| (pack.id, pack.bytes)).collect();
    observer.phase("delete packs");
    let deletions: Vec<_> =
        doomed.into_iter().map(|(pack, bytes)| delete(repository, pack, bytes, observer)).collect();
    let mut deletions = stream::iter(deletions).buffer_unordered(DELETES_MAX);
    let (mut deleted_bytes, mut held) = (0, Held::default());
    while let Some((pack, bytes, outcome)) = deletions.try_next().await? {
        match outcome {
            Outcome::Deleted => deleted_bytes += bytes,
            Outcome::Held(until) => {
                held.add(bytes, until);
                spared.push(pack);
            }
        }
    }
    drop(deletions);
    spared.sort_unstable();
    observer.phase("take what was deleted out of the index");
    let kept: HashSet<PackId> = spared.iter().copied().collect();
    let gone = plan.condemned.iter().copied().filter(|pack| !kept.contains(pack)).collect();
    let index_objects = clean_index(repository, &gone, observer).await?;
    let outcome = PlanOutcome { done_at: options.now, spared, deleted_bytes };
    repository.close_plan(id, &outcome).await?;
    let (deleted, spared) = (gone.len() as u64, outcome.spared.len() as u64 - held.packs);
    tracing::info!(plan = %id, deleted, deleted_bytes, spared, held = held.packs, "carried out a collection plan");
    Ok(Progress::Done(Collected { deleted, deleted_bytes, spared, held, index_objects }))
}

/// What became of a pack that was to go.
enum Outcome {
    Deleted,
    /// It is locked, until then.
    Held(Option<SystemTime>),
}

/// Deletes a pack, unless it is locked.
async fn delete(
    repository: &Repository<Opened>,
    pack: PackId,
    bytes: u64,
    observer: &dyn Observer,
) -> Result<(PackId, u64, Outcome), CollectError> {
    checkpoint(observer)?;
    let outcome = match repository.delete_pack(pack).await {
        Ok(()) => Outcome::Deleted,
        Err(error) if error.is_held() => {
            let state = repository.store().lock(&pack_name(pack)).await;
            Outcome::Held(state.ok().and_then(|state| state.until))
        }
        Err(error) => return Err(error.into()),
    };
    observer.advanced(1);
    Ok((pack, bytes, outcome))
}

/// Whether a plan has become so old that a pin which it must not outlive may be over.
fn is_too_old(plan: &Plan, now: UtcNanos) -> bool {
    let age = now.as_nanos().saturating_sub(plan.made_at.as_nanos());
    u128::try_from(age).is_ok_and(|age| age > PLAN_AGE_MAX.as_nanos())
}

/// Closes a plan without carrying it out. Its packs stay void; what nothing reaches is condemned again.
async fn give_up(
    repository: &Repository<Opened>,
    id: PlanId,
    plan: Plan,
    options: &CollectOptions,
) -> Result<Progress, CollectError> {
    tracing::warn!(plan = %id, "a collection plan has become too old and is given up");
    let outcome = PlanOutcome { done_at: options.now, spared: plan.condemned, deleted_bytes: 0 };
    repository.close_plan(id, &outcome).await?;
    Ok(Progress::GivenUp)
}
