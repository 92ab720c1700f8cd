//! Carrying a plan out: each pack is copied onto itself, in another class.
//!
//! What will sleep, and was read by no scrub since it was written, is read and verified first ([`super::health`]). What is
//! damaged stays awake, where a scrub finds it.
//!
//! **With healing.** A scrub heals a pack by writing it over. A copy that has begun to read the damaged bytes, and ends after
//! that, would put them back. So each change holds `heals` for reading, and who heals holds it for writing. A store that
//! knows conditions is told besides which bytes to copy.
//!
//! The store is asked afterwards whether it did: some take the name of a class and heed it not, and then nothing is gained
//! by going on. A pack that is of a third class then was moved by somebody else, and is left.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::RwLock;

use super::health::{Found, Health};
use super::plan::{Amount, ArchivePlan, Move};
use crate::collect::CollectError;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError, pack_name};
use crate::store::{ErrorKind, SpecialStore, StorageClass, StoreError};

/// Packs that change at once.
pub const CHANGES_MAX: usize = 8;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Packs that are of another class now.
    pub moved: Amount,
    /// Packs that were gone, or asleep, or changed by somebody else, when their turn came.
    pub left: u64,
    /// Packs that were read, and are damaged.
    pub wounded: u64,
}

/// What became of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Moved,
    Left,
    Wounded,
}

/// Changes the classes. Ends with the first error of the store; what was changed stays so, and the next plan goes on.
/// `heals` is held for writing by whoever writes packs of this target over.
pub async fn run(
    repository: &Arc<Repository<Opened>>,
    plan: &ArchivePlan,
    heals: &RwLock<()>,
    observer: &dyn Observer,
) -> Result<Archived, CollectError> {
    observer.phase("change storage classes");
    let health = Health::new(repository);
    let changes: Vec<_> = plan.moves.iter().map(|one| change(repository, &health, heals, one)).collect();
    let mut changes = stream::iter(changes).buffer_unordered(CHANGES_MAX);
    let mut done = Archived::default();
    while let Some((bytes, changed)) = changes.next().await {
        match changed? {
            Changed::Moved => done.moved.add(bytes),
            Changed::Left => done.left += 1,
            Changed::Wounded => done.wounded += 1,
        }
        observer.advanced(bytes);
        if observer.is_cancelled() {
            return Err(CollectError::Cancelled);
        }
    }
    Ok(done)
}

async fn change(
    repository: &Repository<Opened>,
    health: &Health,
    heals: &RwLock<()>,
    one: &Move,
) -> (u64, Result<Changed, RepositoryError>) {
    let (store, name) = (repository.store(), pack_name(one.pack));
    let changing = async {
        if one.to_be_read {
            match health.look(one.pack).await {
                Ok(Found::Whole) => {}
                Ok(Found::Wounded) => return Ok(Changed::Wounded),
                Ok(Found::Gone) => return Ok(Changed::Left),
                Err(error) if error.is_asleep() => return Ok(Changed::Left),
                Err(error) => return Err(error),
            }
        }
        let _no_heal = heals.read().await;
        let changed = match store.change_class(&name, &one.to).await {
            Ok(()) => store.class(&name).await.and_then(|found| judge(one, found.class.as_ref())),
            Err(error) => Err(error),
        };
        match changed {
            Err(error) if is_of_others(error.kind()) => Ok(Changed::Left),
            changed => changed.map_err(RepositoryError::from),
        }
    };
    (one.bytes, changing.await)
}

/// It is gone, sleeps already, or is not what it was: somebody else was here.
fn is_of_others(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Missing | ErrorKind::Asleep | ErrorKind::Exists)
}

/// What a change came to, by the class that the pack has then.
fn judge(one: &Move, found: Option<&StorageClass>) -> Result<Changed, StoreError> {
    if found == Some(&one.to) {
        return Ok(Changed::Moved);
    }
    if found != one.from.as_ref() {
        return Ok(Changed::Left);
    }
    let doing = format!("bring packs to the storage class {}", one.to);
    Err(StoreError::new(ErrorKind::Misconfigured, doing)
        .caused_by("the store took the request, and the pack is not of that class"))
}

#[cfg(test)]
mod tests {
    use tidegate_chunker::PackId;

    use super::*;

    #[test]
    fn a_store_that_heeds_no_class_is_told_from_somebody_else_who_changed_it() {
        let class = |name: &str| name.parse::<StorageClass>().expect("a class");
        let (pack, to) = (PackId::new([1; 32]), class("GLACIER"));
        let one = Move { pack, bytes: 1, from: None, to: to.clone(), to_be_read: false };
        assert_eq!(judge(&one, Some(&to)).expect("moved"), Changed::Moved);
        assert_eq!(judge(&one, Some(&class("DEEP_ARCHIVE"))).expect("left"), Changed::Left);
        let error = judge(&one, None).expect_err("it is of the class that it had");
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
    }
}
