//! What only some stores can do: locks that nobody breaks, versions of objects under one name, and storage classes.
//!
//! One call of the trait ([`Store::special`](super::Store::special)), so that a decorator that hands it on hands on all
//! of it; [`SpecialStore`] has a function for each. A store without such things answers as one that has none:
//! nothing is locked, nothing sleeps, and to purge is to delete.
//!
//! **Versions.** A bucket with object lock keeps every object that ever had a name. There
//! [`Store::delete`](super::Store::delete) only *hides* the name, by a delete marker: reads and listings do not show it any
//! more, and every byte is still there. To *purge* deletes all versions, and is refused
//! ([`ErrorKind::Held`]) while one of them is locked.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{ClassState, ErrorKind, ObjectName, StorageClass, Store, StoreError, ThawRequest, Wakefulness};

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
    /// See [`SpecialStore::class`].
    Class(ObjectName),
    /// See [`SpecialStore::change_class`].
    ChangeClass(ObjectName, StorageClass),
    /// See [`SpecialStore::thaw`].
    Thaw(ObjectName, ThawRequest),
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
    /// Of [`Special::Class`].
    Class(ClassState),
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
            | Self::Revive(name, _)
            | Self::Class(name)
            | Self::ChangeClass(name, _)
            | Self::Thaw(name, _) => name.as_str(),
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
            Self::Class(name) => format!("ask for the storage class of {name}"),
            Self::ChangeClass(name, class) => format!("bring {name} to the storage class {class}"),
            Self::Thaw(name, _) => format!("thaw {name}"),
        }
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        match self {
            Self::ExtendLock(..)
            | Self::Purge(_)
            | Self::PurgeVersion(..)
            | Self::Revive(..)
            | Self::ChangeClass(..)
            | Self::Thaw(..) => true,
            Self::Lock(_) | Self::Versions(..) | Self::Class(_) => false,
        }
    }
}

/// The answer of a store that has no such thing.
pub(super) async fn without<S: Store + ?Sized>(store: &S, call: Special) -> Result<Answer, StoreError> {
    match &call {
        Special::Lock(_) => Ok(Answer::Lock(LockState { until: None, now: SystemTime::now() })),
        Special::Purge(name) => store.delete(name).await.map(|()| Answer::Done),
        Special::Class(name) => {
            let class = store.head(name).await?.class;
            Ok(Answer::Class(ClassState { class, wakefulness: Wakefulness::Awake }))
        }
        // Whatever it is, it can be read.
        Special::Thaw(name, _) => store.head(name).await.map(|_| Answer::Done),
        Special::ChangeClass(..) => Err(StoreError::new(ErrorKind::Misconfigured, call.doing())
            .caused_by("this store has no storage classes")),
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
            Answer::Done | Answer::Versions(_) | Answer::Class(_) => Err(odd(&call)),
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
            Answer::Done | Answer::Lock(_) | Answer::Class(_) => Err(odd(&call)),
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

    /// The class of what the name shows now, and whether it can be read.
    async fn class(&self, name: &ObjectName) -> Result<ClassState, StoreError> {
        let call = Special::Class(name.clone());
        match self.special(call.clone()).await? {
            Answer::Class(state) => Ok(state),
            Answer::Done | Answer::Lock(_) | Answer::Versions(_) => Err(odd(&call)),
        }
    }

    /// Brings an object to another class, by a copy onto itself: the bytes stay what they are, the time is that of the
    /// copy, and where objects are locked the copy is locked as what is put. [`ErrorKind::Asleep`] for one that sleeps,
    /// [`ErrorKind::Misconfigured`] where there is no such class. May be repeated.
    async fn change_class(&self, name: &ObjectName, class: &StorageClass) -> Result<(), StoreError> {
        done(self.special(Special::ChangeClass(name.clone(), class.clone())).await)
    }

    /// Asks the store to make a sleeping object readable for some days. Returns at once; [`SpecialStore::class`] says
    /// when it is. Succeeds also when that was asked for before, and for what does not sleep.
    async fn thaw(&self, name: &ObjectName, request: ThawRequest) -> Result<(), StoreError> {
        done(self.special(Special::Thaw(name.clone(), request)).await)
    }
}

impl<S: Store + ?Sized> SpecialStore for S {}

fn done(answer: Result<Answer, StoreError>) -> Result<(), StoreError> {
    answer.map(drop)
}

fn odd(call: &Special) -> StoreError {
    StoreError::new(ErrorKind::Misconfigured, call.doing()).caused_by("the adapter answered another question")
}
