//! Which of the packs that are needed sleep, and asking the store for them.
//!
//! Only packs of classes that sleep are looked at, each by one request. Asking is one more, and may be repeated: what is
//! under way, or thawed already, stays so.

use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::PackId;

use super::need::{Need, NeedError};
use super::plan::Amount;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError, pack_name};
use crate::store::{Classes, ErrorKind, SpecialStore, StorageClass, ThawRequest, Wakefulness};

/// Requests at once.
pub const ASKS_MAX: usize = 16;

/// A pack that cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SleepingPack {
    /// Which.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its class.
    pub class: StorageClass,
}

/// How what is needed stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThawPlan {
    /// All that is needed.
    pub needed: Amount,
    /// What sleeps, and nobody asked for, in order of id.
    pub asleep: Vec<SleepingPack>,
    /// What is being thawed.
    pub thawing: Vec<SleepingPack>,
    /// What was thawed, and can be read for a while.
    pub thawed: Amount,
    /// When the first of that sleeps again, by the store's clock.
    pub sleeps_again: Option<SystemTime>,
    /// Chunks of which nobody knows where they lie.
    pub lost: u64,
}

impl ThawPlan {
    /// What cannot be read now.
    pub fn unreadable(&self) -> impl Iterator<Item = &SleepingPack> {
        self.asleep.iter().chain(&self.thawing)
    }
}

/// Asks how each pack stands that is of a class that sleeps.
pub async fn plan_thaw(
    repository: &Repository<Opened>,
    need: &Need,
    classes: &Classes,
    observer: &dyn Observer,
) -> Result<ThawPlan, NeedError> {
    observer.phase("look which packs sleep");
    let mut plan = ThawPlan { lost: need.lost, ..ThawPlan::default() };
    let mut sleepers = Vec::new();
    for pack in need.packs.values() {
        plan.needed.add(pack.bytes);
        if let Some(class) = pack.class.clone().filter(|class| classes.sleeps(Some(class))) {
            sleepers.push(SleepingPack { id: pack.id, bytes: pack.bytes, class });
        }
    }
    let looks = sleepers.into_iter().map(|pack| async move {
        match repository.store().class(&pack_name(pack.id)).await {
            Ok(state) => Ok(Some((pack, state.wakefulness))),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(RepositoryError::from(error)),
        }
    });
    let looks: Vec<_> = looks.collect();
    let mut looks = stream::iter(looks).buffered(ASKS_MAX);
    while let Some(look) = looks.try_next().await? {
        if observer.is_cancelled() {
            return Err(NeedError::Cancelled);
        }
        observer.advanced(1);
        match look {
            None | Some((_, Wakefulness::Awake)) => {}
            Some((pack, Wakefulness::Asleep)) => plan.asleep.push(pack),
            Some((pack, Wakefulness::Thawing)) => plan.thawing.push(pack),
            Some((pack, Wakefulness::Thawed(until))) => {
                plan.thawed.add(pack.bytes);
                plan.sleeps_again = plan.sleeps_again.into_iter().chain(until).min();
            }
        }
    }
    Ok(plan)
}

/// What asking came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Packs that the store was asked for.
    pub asked: Amount,
    /// Packs that were gone.
    pub gone: u64,
}

/// Asks the store for packs. Ends with the first error of the store; what was asked for is under way then.
pub async fn ask(
    repository: &Repository<Opened>,
    packs: &[SleepingPack],
    request: ThawRequest,
    observer: &dyn Observer,
) -> Result<Asked, NeedError> {
    observer.phase("ask the store for packs");
    let asking = packs.iter().map(|pack| async move {
        match repository.store().thaw(&pack_name(pack.id), request).await {
            Ok(()) => Ok(Some(pack.bytes)),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(RepositoryError::from(error)),
        }
    });
    let asking: Vec<_> = asking.collect();
    let mut asking = stream::iter(asking).buffer_unordered(ASKS_MAX);
    let mut done = Asked::default();
    while let Some(asked) = asking.try_next().await? {
        match asked {
            Some(bytes) => done.asked.add(bytes),
            None => done.gone += 1,
        }
        observer.advanced(1);
        if observer.is_cancelled() {
            return Err(NeedError::Cancelled);
        }
    }
    Ok(done)
}
