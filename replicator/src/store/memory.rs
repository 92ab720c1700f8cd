//! A store in memory, for tests and for trying things out.
//!
//! Keeps every promise of [`Store`] except durability beyond the process. [`PutMode::CreateNew`] is
//! atomic. Contents can be looked at and damaged from outside, so that tests can play a store that
//! loses or spoils objects. With a [`LockRule`] it is a bucket with object lock, whose clock somebody turns. With
//! classes ([`MemoryStore::freezing`]) it is one in which objects can sleep.

mod classes;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::body::read_whole;
use super::checks::{check_folder, check_prefix, checked_range, missing, tail_range};
use super::lock::HeadPace;
use super::{
    Answer, Body, Capabilities, Classes, ErrorKind, LIST_LIMIT_MAX, ListPage, LockRule, LockState,
    ObjectInfo, ObjectName, PutMode, Special, StorageClass, Store, StoreError, VersionMark, VersionPage,
    special,
};
use classes::Freezer;
use versions::{Version, Versions};

/// The clock of a store.
pub type TimeOfStore = Arc<dyn Fn() -> SystemTime + Send + Sync>;

#[derive(Clone, Debug, Default)]
struct Contents {
    objects: BTreeMap<ObjectName, Versions>,
    next_id: u64,
}

impl Contents {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn shown(&self) -> impl Iterator<Item = (&ObjectName, &Version)> {
        self.objects.iter().filter_map(|(name, versions)| Some((name, versions.current()?)))
    }
}

/// See the head of this module. Clones share their contents.
#[derive(Clone)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    lock: Option<LockRule>,
    append_only: bool,
    heads: Arc<HeadPace>,
    now: TimeOfStore,
    freezer: Option<Arc<Freezer>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let (contents, heads) = Default::default();
        let now = Arc::new(SystemTime::now);
        Self { contents, lock: None, append_only: false, heads, now, freezer: None }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that keeps all versions and locks what is put, by this clock.
    pub fn locking(rule: LockRule, now: TimeOfStore) -> Self {
        Self { lock: Some(rule), now, ..Self::default() }
    }

    /// The same store for somebody who may delete nothing for good.
    #[must_use]
    pub fn append_only(&self) -> Self {
        Self { append_only: true, ..self.clone() }
    }

    /// An empty store that goes by this clock.
    pub fn dating(now: TimeOfStore) -> Self {
        Self { now, ..Self::default() }
    }

    /// The same store with these classes, of which so much is known, and where to thaw takes so long.
    #[must_use]
    pub fn freezing(self, classes: &[StorageClass], known: Classes, thaw_takes: Duration) -> Self {
        let freezer = Freezer { classes: classes.to_vec(), known, thaw_takes };
        Self { freezer: Some(Arc::new(freezer)), ..self }
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<ObjectName> {
        self.contents.lock().shown().map(|(name, _)| name.clone()).collect()
    }

    /// The sum of the lengths of all objects.
    pub fn bytes_stored(&self) -> u64 {
        let contents = self.contents.lock();
        contents
            .shown()
            .filter_map(|(_, version)| version.bytes.as_ref())
            .map(|bytes| bytes.len() as u64)
            .sum()
    }

    /// Puts `bytes` in the place of an object behind everybody's back.
    pub fn damage(&self, name: &ObjectName, bytes: Bytes) {
        let mut contents = self.contents.lock();
        let id = contents.next_id();
        let (locked_until, class, thaw) = (None, None, None);
        let version = Version { id, bytes: Some(bytes), modified: (self.now)(), locked_until, class, thaw };
        contents.objects.entry(name.clone()).or_default().replace(version);
    }

    /// An independent copy of everything as it is now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { contents: Arc::new(Mutex::new(self.contents.lock().clone())), ..self.clone() }
    }

    /// What is read.
    fn object(&self, name: &ObjectName) -> Result<Bytes, StoreError> {
        let contents = self.contents.lock();
        let current = contents.objects.get(name).and_then(Versions::current);
        let current = current.ok_or_else(|| missing(name))?;
        if let Some(freezer) = &self.freezer {
            freezer.check_awake(name, current, (self.now)())?;
        }
        current.bytes.clone().ok_or_else(|| missing(name))
    }

    /// Stores under the lock of the contents.
    fn store(&self, contents: &mut Contents, name: &ObjectName, bytes: Option<Bytes>) {
        self.store_in(contents, name, bytes, None);
    }

    /// The same, in a class.
    fn store_in(
        &self,
        contents: &mut Contents,
        name: &ObjectName,
        bytes: Option<Bytes>,
        class: Option<StorageClass>,
    ) {
        let now = (self.now)();
        let locks = bytes.is_some() && self.lock.is_some() && self.heads.locks(name, now);
        let locked_until = self.lock.filter(|_| locks).map(|rule| rule.until(now));
        let id = contents.next_id();
        let version = Version { id, bytes, modified: now, locked_until, class, thaw: None };
        let versions = contents.objects.entry(name.clone()).or_default();
        if self.lock.is_some() {
            versions.push(version);
        } else {
            versions.replace(version);
        }
    }

    fn list_versions(&self, prefix: &str, after: Option<&VersionMark>, limit: usize) -> VersionPage {
        let contents = self.contents.lock();
        let all = contents.objects.iter().filter(|(name, _)| name.as_str().starts_with(prefix));
        let mut all = all.flat_map(|(name, versions)| versions.listed(name)).skip_while(|version| {
            let id = |text: &str| text.parse::<u64>().unwrap_or(0);
            after.is_some_and(|after| {
                let name = version.name.as_str();
                name < &*after.key || (name == after.key && id(&version.version) >= id(&after.version))
            })
        });
        let versions: Vec<_> = all.by_ref().take(limit.clamp(1, LIST_LIMIT_MAX)).collect();
        let last = versions.last().filter(|_| all.next().is_some());
        let next = last
            .map(|last| VersionMark { key: last.name.as_str().to_owned(), version: last.version.clone() });
        VersionPage { versions, next }
    }

    /// Carries a call about classes out.
    fn special_of_class(&self, freezer: &Freezer, call: &Special) -> Result<Answer, StoreError> {
        let (mut contents, now) = (self.contents.lock(), (self.now)());
        let about = ObjectName::new(call.about())?;
        let current = contents.objects.get_mut(&about).and_then(Versions::current_mut);
        let current = current.ok_or_else(|| missing(&about))?;
        match call {
            Special::Thaw(_, request) => freezer.thaw(current, *request, now),
            Special::ChangeClass(_, class) => {
                freezer.check_class(class)?;
                freezer.check_awake(&about, current, now)?;
                let bytes = current.bytes.clone();
                self.store_in(&mut contents, &about, bytes, Some(class.clone()));
            }
            Special::Class(_) => return Ok(Answer::Class(freezer.state(current, now))),
            Special::Lock(_)
            | Special::ExtendLock(..)
            | Special::Purge(_)
            | Special::Versions(..)
            | Special::PurgeVersion(..)
            | Special::Revive(..) => {
                return Err(
                    StoreError::new(ErrorKind::Invalid, call.doing()).caused_by("it is about no class")
                );
            }
        }
        Ok(Answer::Done)
    }

    /// Carries a special call out on one name.
    fn special_of_name(&self, call: &Special) -> Result<Answer, StoreError> {
        let (mut contents, now) = (self.contents.lock(), (self.now)());
        let number = |id: &str| id.parse::<u64>().unwrap_or(0);
        match call {
            Special::Lock(name) => {
                let current = contents.objects.get(name).and_then(Versions::current);
                let until = current.ok_or_else(|| missing(name))?.locked_until;
                Ok(Answer::Lock(LockState { until, now }))
            }
            Special::ExtendLock(name, until) => {
                let current = contents.objects.get_mut(name).and_then(Versions::current_mut);
                let current = current.ok_or_else(|| missing(name))?;
                if current.locked_until.is_some_and(|locked| locked > *until) {
                    return Err(StoreError::new(ErrorKind::Denied, call.doing()));
                }
                current.locked_until = Some(*until);
                Ok(Answer::Done)
            }
            Special::Purge(name) => {
                let purged =
                    contents.objects.get_mut(name).map_or(Ok(()), |versions| versions.purge_all(name, now));
                contents.objects.retain(|_, versions| !versions.is_empty());
                purged.map(|()| Answer::Done)
            }
            Special::PurgeVersion(name, id) => {
                if let Some(versions) = contents.objects.get_mut(name) {
                    versions.purge(name, number(id), now)?;
                    if versions.is_empty() {
                        contents.objects.remove(name);
                    }
                }
                Ok(Answer::Done)
            }
            Special::Revive(name, id) => {
                let version = contents.objects.get(name).and_then(|versions| versions.get(number(id)));
                let bytes = version.and_then(|version| version.bytes.clone()).ok_or_else(|| missing(name))?;
                self.store(&mut contents, name, Some(bytes));
                Ok(Answer::Done)
            }
            Special::Versions(..) | Special::Class(_) | Special::ChangeClass(..) | Special::Thaw(..) => {
                Err(StoreError::new(ErrorKind::Invalid, call.doing()).caused_by("it is about no one name"))
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn address(&self) -> String {
        "memory:".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new: true, lock: self.lock, append_only: self.append_only }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let bytes = read_whole(body).await?;
        let mut contents = self.contents.lock();
        let is_there = contents.objects.get(name).is_some_and(|versions| versions.current().is_some());
        if mode == PutMode::CreateNew && is_there {
            return Err(StoreError::new(ErrorKind::Exists, format!("create {name}, which exists")));
        }
        self.store(&mut contents, name, Some(bytes));
        Ok(())
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let bytes = self.object(name)?;
        let range = checked_range(name, range, bytes.len() as u64)?;
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let object = self.object(name)?;
        let length = object.len() as u64;
        Ok((object.slice(tail_range(bytes, length).start as usize..), length))
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let contents = self.contents.lock();
        let current = contents.objects.get(name).and_then(Versions::current);
        current.and_then(|version| version.info(name)).ok_or_else(|| missing(name))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        check_prefix(prefix)?;
        let limit = limit.clamp(1, LIST_LIMIT_MAX);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let contents = self.contents.lock();
        let mut found = contents
            .objects
            .range::<ObjectName, _>((start, Bound::Unbounded))
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .filter_map(|(name, versions)| versions.current()?.info(name));
        let page = found.by_ref().take(limit).collect();
        Ok(ListPage { objects: page, more: found.next().is_some() })
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_folder(prefix)?;
        let contents = self.contents.lock();
        let folders: BTreeSet<String> = contents
            .shown()
            .filter_map(|(name, _)| name.as_str().strip_prefix(prefix)?.split_once('/'))
            .map(|(folder, _)| folder.to_owned())
            .collect();
        Ok(folders.into_iter().collect())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let mut contents = self.contents.lock();
        if self.lock.is_none() {
            contents.objects.remove(name);
        } else if contents.objects.get(name).is_some_and(|versions| versions.current().is_some()) {
            self.store(&mut contents, name, None);
        }
        Ok(())
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        if let (Special::Class(_) | Special::ChangeClass(..) | Special::Thaw(..), Some(freezer)) =
            (&call, &self.freezer)
        {
            return self.special_of_class(freezer, &call);
        }
        match &call {
            Special::Class(_) | Special::ChangeClass(..) | Special::Thaw(..) => {
                special::without(self, call).await
            }
            _ if self.lock.is_none() => special::without(self, call).await,
            Special::Purge(_) | Special::PurgeVersion(..) if self.append_only => {
                Err(special::only_adds(&call))
            }
            Special::Versions(prefix, after, limit) => {
                Ok(Answer::Versions(self.list_versions(prefix, after.as_ref(), *limit)))
            }
            Special::Lock(_)
            | Special::ExtendLock(..)
            | Special::Purge(_)
            | Special::PurgeVersion(..)
            | Special::Revive(..) => self.special_of_name(&call),
        }
    }
}
