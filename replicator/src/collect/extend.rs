//! Extending locks: what something retained needs is locked again before its lock ends.
//!
//! Needed are the configuration, keys and domains, the index, retained heads and snapshots, and every pack of which a
//! retained tree reaches something. A round marks as a collection does, then asks for the lock of each such
//! object, and extends those that are due ([`LockRule::is_due`]). Locks are only ever made longer.
//!
//! **Order and crashes.** Small objects come first, then packs in order of id, in batches of [`BATCH`]; after each batch
//! the place is told ([`Progress::at`]), and a round that was cut goes on from there. A round that begins anew extends
//! nothing twice, since what has been extended is not due.
//!
//! **Bounds.** As of a marking; one batch of locks at a time, [`LOOKS_MAX`] requests at once.
//!
//! An object that is gone, or whose lock cannot be extended, does not end the round: it is counted, and named in the
//! log. Anything that passes (a store that is away) does.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tidegate_chunker::PackId;

use super::error::CollectError;
use super::held::LOOKS_MAX;
use super::mark::{Marked, mark};
use super::options::{CollectOptions, checkpoint};
use crate::observer::Observer;
use crate::repository::envelope::list_all;
use crate::repository::names::{CONFIG, DOMAINS, INDEX, KEYS};
use crate::repository::{Opened, Repository, RepositoryError, pack_name};
use crate::store::{ErrorKind, LockRule, ObjectName, SpecialStore, Store, StoreError};

/// Objects between two places that are told.
pub const BATCH: usize = 1000;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// Objects that are needed.
    pub needed: u64,
    /// Locks that were made longer.
    pub extended: u64,
    /// Objects that are gone, or whose lock could not be made longer.
    pub failed: u64,
}

/// Told where a round is.
pub trait Progress: Send + Sync {
    /// Everything up to this pack has been looked at.
    fn at(&self, pack: PackId);
}

/// Nobody listens.
impl Progress for () {
    fn at(&self, _: PackId) {}
}

/// One round over everything that is needed; packs only after `after`, if an earlier round was cut there. Does nothing on
/// a store that locks nothing.
pub async fn extend_locks(
    repository: &Arc<Repository<Opened>>,
    after: Option<PackId>,
    options: &CollectOptions,
    (observer, progress): (&dyn Observer, &dyn Progress),
) -> Result<Extended, CollectError> {
    let Some(rule) = repository.store().capabilities().lock else { return Ok(Extended::default()) };
    let marked = mark(repository, options, observer).await?;
    let mut done = Extended::default();
    observer.phase("extend locks");
    for batch in small_objects(repository, &marked).await?.chunks(BATCH) {
        checkpoint(observer)?;
        extend_all(repository, rule, batch.to_vec(), &mut done, observer).await?;
    }
    let needed = marked.packs.iter().filter(|pack| !pack.is_dead()).map(|pack| pack.id);
    let packs: Vec<PackId> = needed.filter(|pack| after.is_none_or(|after| *pack > after)).collect();
    for batch in packs.chunks(BATCH) {
        checkpoint(observer)?;
        let names = batch.iter().map(|pack| pack_name(*pack)).collect();
        extend_all(repository, rule, names, &mut done, observer).await?;
        batch.iter().last().into_iter().for_each(|last| progress.at(*last));
    }
    Ok(done)
}

/// Everything but packs that opening and reading what is retained needs.
async fn small_objects(
    repository: &Repository<Opened>,
    marked: &Marked,
) -> Result<Vec<ObjectName>, CollectError> {
    let store = &**repository.store();
    let mut names = Vec::new();
    for prefix in [CONFIG, KEYS, DOMAINS, INDEX] {
        names.extend(list_all(store, prefix).await?);
    }
    let of_roots = marked.roots.retained.iter().filter_map(|root| ObjectName::new(root.what.as_str()).ok());
    names.extend(of_roots);
    Ok(names)
}

async fn extend_all(
    repository: &Repository<Opened>,
    rule: LockRule,
    names: Vec<ObjectName>,
    done: &mut Extended,
    observer: &dyn Observer,
) -> Result<(), CollectError> {
    let store = &**repository.store();
    let extending: Vec<_> =
        names.into_iter().map(|name| async move { (extend(store, rule, &name).await, name) }).collect();
    let mut extending = stream::iter(extending).buffer_unordered(LOOKS_MAX);
    while let Some((extended, name)) = extending.next().await {
        done.needed += 1;
        match extended {
            Ok(extended) => done.extended += u64::from(extended),
            Err(error) if error.kind() == ErrorKind::Missing && !is_of_data(&name) => done.needed -= 1,
            Err(error) if error.kind() == ErrorKind::Transient => {
                return Err(RepositoryError::from(error).into());
            }
            Err(error) => {
                done.failed += 1;
                let cause = std::error::Error::source(&error);
                tracing::error!(%name, %error, ?cause, "a lock could not be extended");
            }
        }
        observer.advanced(1);
    }
    Ok(())
}

/// Heads, snapshots and index objects go while others take their place; packs and keys do not.
fn is_of_data(name: &ObjectName) -> bool {
    !["heads/", "snapshots/", INDEX].iter().any(|folder| name.as_str().starts_with(folder))
}

/// Whether the lock had to be made longer.
async fn extend(store: &dyn Store, rule: LockRule, name: &ObjectName) -> Result<bool, StoreError> {
    let state = store.lock(name).await?;
    if !rule.is_due(state.until, state.now) {
        return Ok(false);
    }
    store.extend_lock(name, rule.until(state.now)).await?;
    Ok(true)
}
