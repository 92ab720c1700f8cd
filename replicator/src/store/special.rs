//! What only some stores can do: locks that nobody breaks, and versions of objects under one name.
//!
//! One call of the trait ([`Store::special`](super::Store::special)), so that a decorator that hands it on hands on all
//! of it; [`SpecialStore`] has a function for each. A store without such things answers as one that has none:
//! nothing is locked, and to purge is to delete.
//!
//! **Versions.** A bucket with object lock keeps every object that ever had a name. There
//! [`Store::delete`](super::Store::delete) only *hides* the name, by a delete marker: reads and listings do not show it any
//! more, and every byte is still there. To *purge* deletes all versions, and is refused
//! ([`ErrorKind::Held`]) while one of them is locked.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{ErrorKind, ObjectName, Store, StoreError};

/// A call that only some stores carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Special {
    /// See [`SpecialStore::lock`].
    Lock(ObjectName),
    /// See [`SpecialStore::extend_lock`].
    ExtendLock(ObjectName, SystemTime),
    /// See [`SpecialStore::purge`].
    Purge(ObjectName),
    /// See [`SpecialStore::versions`].
    Versions(String, Option<VersionMark>, usize),
    /// See [`SpecialStore::purge_version`].
    PurgeVersion(ObjectName, String),
    /// See [`SpecialStore::revive`].
    Revive(ObjectName, String),
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Of [`Special::Lock`].
    Lock(LockState),
    /// Of [`Special::Versions`].
    Versions(VersionPage),
}

/// Until when an object is locked, both times by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockState {
    /// When the lock ends; none without one.
    pub until: Option<SystemTime>,
    /// What time it is there.
    pub now: SystemTime,
}

impl LockState {
    /// Whether nobody can delete it now.
    pub fn is_locked(&self) -> bool {
        self.until.is_some_and(|until| until > self.now)
    }
}

/// One of the objects that a name has had, or a mark that it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The name.
    pub name: ObjectName,
    /// What the store calls this version.
    pub version: String,
    /// Length in bytes; none of a delete marker.
    pub bytes: Option<u64>,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
    /// Whether it is what the name shows.
    pub is_current: bool,
}

/// Where a page of versions ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionMark {
    /// The key, as the store has it.
    pub key: String,
    /// The version, as the store calls it.
    pub version: String,
}

/// A page of versions: by name in byte order, of each the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<ObjectVersion>,
    /// Where the next page begins, if there is one.
    pub next: Option<VersionMark>,
}

impl Special {
    /// The name or prefix that it is about.
    pub fn about(&self) -> &str {
        match self {
            Self::Versions(prefix, ..) => prefix,
            Self::Lock(name)
            | Self::ExtendLock(name, _)
            | Self::Purge(name)
            | Self::PurgeVersion(name, _)
            | Self::Revive(name, _) => name.as_str(),
        }
    }

    /// What is being done; reads after "failed to".
    pub fn doing(&self) -> String {
        match self {
            Self::Lock(name) => format!("ask for the lock of {name}"),
            Self::ExtendLock(name, _) => format!("extend the lock of {name}"),
            Self::Purge(name) => format!("delete all versions of {name}"),
            Self::Versions(prefix, ..) => format!("list the versions of {prefix:?}"),
            Self::PurgeVersion(name, _) => format!("delete a version of {name}"),
            Self::Revive(name, _) => format!("bring an older version of {name} back"),
        }
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        match self {
            Self::ExtendLock(..) | Self::Purge(_) | Self::PurgeVersion(..) | Self::Revive(..) => true,
            Self::Lock(_) | Self::Versions(..) => false,
        }
    }
}

/// The answer of a store that has no such thing.
pub(super) async fn without<S: Store + ?Sized>(store: &S, call: Special) -> Result<Answer, StoreError> {
    match &call {
        Special::Lock(_) => Ok(Answer::Lock(LockState { until: None, now: SystemTime::now() })),
        Special::Purge(name) => store.delete(name).await.map(|()| Answer::Done),
        Special::ExtendLock(..) | Special::Versions(..) | Special::PurgeVersion(..) | Special::Revive(..) => {
            Err(StoreError::new(ErrorKind::Misconfigured, call.doing())
                .caused_by("this store keeps no versions, and no locks"))
        }
    }
}

/// That nothing is deleted for good from here.
pub(super) fn only_adds(call: &Special) -> StoreError {
    StoreError::new(ErrorKind::Held, call.doing())
        .caused_by("the credentials of this target only add: `append_only` is set")
}

/// The calls of [`Special`], each with its own answer.
#[async_trait]
pub trait SpecialStore: Store {
    /// Until when what the name shows now is locked.
    async fn lock(&self, name: &ObjectName) -> Result<LockState, StoreError> {
        let call = Special::Lock(name.clone());
        match self.special(call.clone()).await? {
            Answer::Lock(state) => Ok(state),
            Answer::Done | Answer::Versions(_) => Err(odd(&call)),
        }
    }

    /// Locks what the name shows now until then, by the store's clock. A lock is never made shorter.
    async fn extend_lock(&self, name: &ObjectName, until: SystemTime) -> Result<(), StoreError> {
        done(self.special(Special::ExtendLock(name.clone(), until)).await)
    }

    /// Deletes every version of an object, for good. [`ErrorKind::Held`] while one of them is locked; then some may
    /// have gone. Succeeds when there is none.
    async fn purge(&self, name: &ObjectName) -> Result<(), StoreError> {
        done(self.special(Special::Purge(name.clone())).await)
    }

    /// Lists versions and delete markers of names that begin with `prefix`: at most `limit` (from 1 to
    /// [`super::LIST_LIMIT_MAX`]), from where a page ended on.
    async fn versions(
        &self,
        prefix: &str,
        after: Option<VersionMark>,
        limit: usize,
    ) -> Result<VersionPage, StoreError> {
        let call = Special::Versions(prefix.to_owned(), after, limit);
        match self.special(call.clone()).await? {
            Answer::Versions(page) => Ok(page),
            Answer::Done | Answer::Lock(_) => Err(odd(&call)),
        }
    }

    /// Deletes one version, or one delete marker, for good. [`ErrorKind::Held`] while it is locked.
    async fn purge_version(&self, name: &ObjectName, version: &str) -> Result<(), StoreError> {
        done(self.special(Special::PurgeVersion(name.clone(), version.to_owned())).await)
    }

    /// Stores a version anew, so that the name shows it again, locked as what is put. Deletes nothing.
    async fn revive(&self, name: &ObjectName, version: &str) -> Result<(), StoreError> {
        done(self.special(Special::Revive(name.clone(), version.to_owned())).await)
    }
}

impl<S: Store + ?Sized> SpecialStore for S {}

fn done(answer: Result<Answer, StoreError>) -> Result<(), StoreError> {
    answer.map(drop)
}

fn odd(call: &Special) -> StoreError {
    StoreError::new(ErrorKind::Misconfigured, call.doing()).caused_by("the adapter answered another question")
}
