//! Sweeping: what is hidden in a store that keeps versions goes for good once nobody can want it back.
//!
//! Where objects are locked, whatever the daily work deletes is only hidden: heads that their line has passed, index
//! objects that were merged, old heartbeats. A version goes when something newer has stood over it for
//! [`LockRule::period`] (for names that are not locked, a day): so long there was time to notice that it was hidden by
//! somebody who should not. A lock that has not ended keeps it in any case; that is the store's word.
//!
//! Packs, keys and the configuration are left alone: packs go by plans only, and the others are few. One of them whose
//! name shows something of another length than its oldest version, or nothing, was *tampered with*; [`revive`] puts it
//! right.
//!
//! **Bounds.** A page of versions at a time. A crash leaves some that the next run finds again.

use std::time::{Duration, SystemTime};

use super::error::CollectError;
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::names::{CONFIG, DOMAINS, KEYS, PACKS, domain_folder};
use crate::repository::{Opened, Repository, RepositoryError};
use crate::store::{
    ErrorKind, LIST_LIMIT_MAX, LockRule, ObjectName, ObjectVersion, SpecialStore, Store, VersionMark,
};

/// How long something hidden stays whose name is never locked.
const SHORT: Duration = Duration::from_hours(24);
/// What is never swept.
const LEFT: [&str; 4] = [CONFIG, KEYS, DOMAINS, PACKS];
/// The most objects that were tampered with that are named.
pub const TAMPERED_MAX: usize = 10_000;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Versions and markers that went.
    pub versions: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Versions that are locked still.
    pub locked: u64,
}

/// An object whose name does not show what was stored under it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    /// Which.
    pub name: ObjectName,
    /// The oldest version.
    pub oldest: String,
    /// Whether it is hidden; else something was stored over it.
    pub is_hidden: bool,
}

/// Deletes hidden versions for good. Does nothing on a store that locks nothing.
pub async fn sweep_hidden(
    repository: &Repository<Opened>,
    observer: &dyn Observer,
) -> Result<Swept, CollectError> {
    let store = &**repository.store();
    let mut swept = Swept::default();
    let Some(rule) = store.capabilities().lock else { return Ok(swept) };
    observer.phase("delete what was hidden for long");
    let now = time_of(store).await?;
    let (mut after, mut over) = (None, Over::default());
    loop {
        let page = page(store, "", after).await?;
        for version in &page.0 {
            checkpoint(observer)?;
            observer.advanced(1);
            if let Some((name, marker)) = over.take_bare_marker(Some(version)) {
                purge(store, &name, &marker, 0, &mut swept).await?;
            }
            over.sweep(store, (&rule, now), version, &mut swept).await?;
        }
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    if let Some((name, marker)) = over.take_bare_marker(None) {
        purge(store, &name, &marker, 0, &mut swept).await?;
    }
    Ok(swept)
}

/// What stands over the next version of a name.
#[derive(Default)]
struct Over {
    name: Option<ObjectName>,
    /// When the next newer version was written.
    since: Option<SystemTime>,
    /// The marker that hides the name, while nothing that stays has been seen below it.
    marker: Option<String>,
}

impl Over {
    /// The marker of the name before, if nothing is left that it hides.
    fn take_bare_marker(&mut self, next: Option<&ObjectVersion>) -> Option<(ObjectName, String)> {
        if self.name.as_ref() == next.map(|next| &next.name) {
            return None;
        }
        let before = self.name.take().zip(self.marker.take());
        *self = Self { name: next.map(|next| next.name.clone()), ..Self::default() };
        before
    }

    async fn sweep(
        &mut self,
        store: &dyn Store,
        (rule, now): (&LockRule, SystemTime),
        version: &ObjectVersion,
        swept: &mut Swept,
    ) -> Result<(), CollectError> {
        if LEFT.iter().any(|folder| version.name.as_str().starts_with(folder)) {
            return Ok(());
        }
        let keep = if LockRule::covers(&version.name) { rule.period() } else { SHORT };
        let is_old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= keep);
        let goes = self.since.is_some_and(is_old);
        if version.is_current && version.bytes.is_none() && is_old(version.modified) {
            self.marker = Some(version.version.clone());
        }
        self.since = Some(version.modified);
        let gone =
            goes && purge(store, &version.name, &version.version, version.bytes.unwrap_or(0), swept).await?;
        if !gone && !version.is_current {
            self.marker = None;
        }
        Ok(())
    }
}

/// Deletes a version; whether it has gone.
async fn purge(
    store: &dyn Store,
    name: &ObjectName,
    version: &str,
    bytes: u64,
    swept: &mut Swept,
) -> Result<bool, CollectError> {
    match store.purge_version(name, version).await {
        Ok(()) => {
            swept.versions += 1;
            swept.bytes += bytes;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::Held => {
            swept.locked += 1;
            Ok(false)
        }
        Err(error) => Err(RepositoryError::from(error).into()),
    }
}

/// The packs, keys and the like that somebody has hidden, or stored something else over; at most [`TAMPERED_MAX`]. What
/// was stored twice with the same length, as a repeated request does, is not among them; nor is a key slot that is
/// hidden: that is how one is removed; nor are hidden keys of a domain that was shredded.
pub async fn tampered(
    repository: &Repository<Opened>,
    observer: &dyn Observer,
) -> Result<Vec<Tampered>, CollectError> {
    let mut found = Vec::new();
    if repository.store().capabilities().lock.is_none() {
        return Ok(found);
    }
    observer.phase("look for objects that were hidden or stored over");
    for folder in LEFT {
        look_through(&**repository.store(), folder, &mut found, observer).await?;
    }
    let shredded: Vec<String> = repository.shredded_domains().await?.into_iter().map(domain_folder).collect();
    let is_of_shredded = |name: &ObjectName| shredded.iter().any(|folder| name.as_str().starts_with(folder));
    found.retain(|tampered| !(tampered.is_hidden && is_of_shredded(&tampered.name)));
    Ok(found)
}

async fn look_through(
    store: &dyn Store,
    folder: &str,
    found: &mut Vec<Tampered>,
    observer: &dyn Observer,
) -> Result<(), CollectError> {
    let (mut after, mut group) = (None, Vec::<ObjectVersion>::new());
    loop {
        let (versions, next) = page(store, folder, after).await?;
        for version in versions {
            checkpoint(observer)?;
            observer.advanced(1);
            if group.first().is_some_and(|first| first.name != version.name) {
                found.extend(judge(folder, &group).filter(|_| found.len() < TAMPERED_MAX));
                group.clear();
            }
            // What the name shows, and the oldest so far.
            group.truncate(if version.bytes.is_some() { 1 } else { 2 });
            if group.is_empty() || version.bytes.is_some() {
                group.push(version);
            }
        }
        after = next;
        if after.is_none() {
            found.extend(judge(folder, &group).filter(|_| found.len() < TAMPERED_MAX));
            return Ok(());
        }
    }
}

/// Whether a name shows what was stored under it first: of its versions the newest and the oldest.
fn judge(folder: &str, group: &[ObjectVersion]) -> Option<Tampered> {
    let [shown, oldest] = group else { return None };
    let is_hidden = shown.bytes.is_none();
    if oldest.bytes.is_none() || shown.bytes == oldest.bytes || (is_hidden && folder == KEYS) {
        return None;
    }
    Some(Tampered { name: shown.name.clone(), oldest: oldest.version.clone(), is_hidden })
}

/// Lets the name show its oldest version again. Deletes nothing.
pub async fn revive(repository: &Repository<Opened>, tampered: &Tampered) -> Result<(), RepositoryError> {
    Ok(repository.store().revive(&tampered.name, &tampered.oldest).await?)
}

async fn page(
    store: &dyn Store,
    prefix: &str,
    after: Option<VersionMark>,
) -> Result<(Vec<ObjectVersion>, Option<VersionMark>), CollectError> {
    let page = store.versions(prefix, after, LIST_LIMIT_MAX).await.map_err(RepositoryError::from)?;
    Ok((page.versions, page.next))
}

/// What time it is at the store.
async fn time_of(store: &dyn Store) -> Result<SystemTime, CollectError> {
    let config = ObjectName::new(crate::repository::names::CONFIG).map_err(RepositoryError::from)?;
    Ok(store.lock(&config).await.map_err(RepositoryError::from)?.now)
}
