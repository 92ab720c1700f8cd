//! A store in memory, for tests and for trying things out.
//!
//! Keeps every promise of [`Store`] except durability beyond the process. [`PutMode::CreateNew`] is
//! atomic. Contents can be looked at and damaged from outside, so that tests can play a store that
//! loses or spoils objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::body::read_whole;
use super::checks::{check_folder, check_prefix, checked_range, missing, tail_range};
use super::{
    Body, Capabilities, ErrorKind, LIST_LIMIT_MAX, ListPage, ObjectInfo, ObjectName, PutMode, Store,
    StoreError,
};

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified: SystemTime,
}

/// See the head of this module. Clones share their contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<ObjectName, Object>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<ObjectName> {
        self.objects.lock().keys().cloned().collect()
    }

    /// The sum of the lengths of all objects.
    pub fn bytes_stored(&self) -> u64 {
        self.objects.lock().values().map(|object| object.bytes.len() as u64).sum()
    }

    /// Puts `bytes` in the place of an object behind everybody's back.
    pub fn damage(&self, name: &ObjectName, bytes: Bytes) {
        self.objects.lock().insert(name.clone(), Object { bytes, modified: SystemTime::now() });
    }

    /// An independent copy of everything as it is now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { objects: Arc::new(Mutex::new(self.objects.lock().clone())) }
    }

    fn object(&self, name: &ObjectName) -> Result<Object, StoreError> {
        self.objects.lock().get(name).cloned().ok_or_else(|| missing(name))
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn address(&self) -> String {
        "memory:".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new: true }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let bytes = read_whole(body).await?;
        let mut objects = self.objects.lock();
        if mode == PutMode::CreateNew && objects.contains_key(name) {
            return Err(StoreError::new(ErrorKind::Exists, format!("create {name}, which exists")));
        }
        objects.insert(name.clone(), Object { bytes, modified: SystemTime::now() });
        Ok(())
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let object = self.object(name)?;
        let range = checked_range(name, range, object.bytes.len() as u64)?;
        Ok(object.bytes.slice(range.start as usize..range.end as usize))
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let object = self.object(name)?;
        let length = object.bytes.len() as u64;
        Ok((object.bytes.slice(tail_range(bytes, length).start as usize..), length))
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let object = self.object(name)?;
        Ok(ObjectInfo { name: name.clone(), bytes: object.bytes.len() as u64, modified: object.modified })
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
        let objects = self.objects.lock();
        let mut found = objects
            .range::<ObjectName, _>((start, Bound::Unbounded))
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, object)| ObjectInfo {
                name: name.clone(),
                bytes: object.bytes.len() as u64,
                modified: object.modified,
            });
        let page = found.by_ref().take(limit).collect();
        Ok(ListPage { objects: page, more: found.next().is_some() })
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_folder(prefix)?;
        let objects = self.objects.lock();
        let folders: BTreeSet<String> = objects
            .keys()
            .filter_map(|name| name.as_str().strip_prefix(prefix)?.split_once('/'))
            .map(|(folder, _)| folder.to_owned())
            .collect();
        Ok(folders.into_iter().collect())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.objects.lock().remove(name);
        Ok(())
    }
}
