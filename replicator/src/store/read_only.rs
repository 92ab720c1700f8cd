//! A decorator that lets nothing be changed: what must leave a store as it is gets this one.
//!
//! Every put and every delete is refused before it reaches the store, as one without permission is, so that nobody
//! tries again; and is counted, so that whoever promised not to write can be held to it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Special, Store,
    StoreError, special,
};

/// See the head of this module.
#[derive(Debug)]
pub struct ReadOnlyStore {
    inner: Arc<dyn Store>,
    refused: AtomicU64,
}

impl ReadOnlyStore {
    /// Reads `inner`, and lets nobody change it.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, refused: AtomicU64::new(0) }
    }

    /// How many changes were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse(&self, doing: &str, name: &ObjectName) -> StoreError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        StoreError::new(ErrorKind::Denied, format!("{doing} {name}: this gateway may only read"))
    }
}

#[async_trait]
impl Store for ReadOnlyStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, _: Body, _: PutMode) -> Result<(), StoreError> {
        Err(self.refuse("put", name))
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.inner.get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.inner.get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.inner.head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        Err(self.refuse("delete", name))
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        match &call {
            Special::Class(_) => self.inner.special(call).await,
            // What is thawed is charged for, so it counts as a change.
            Special::ChangeClass(name, _) | Special::Thaw(name, _) => {
                Err(self.refuse("change the class of", name))
            }
            Special::Lock(_)
            | Special::ExtendLock(..)
            | Special::Purge(_)
            | Special::Versions(..)
            | Special::PurgeVersion(..)
            | Special::Revive(..) => special::without(self, call).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn what_is_there_is_read_and_nothing_is_changed() {
        let inner = Arc::new(MemoryStore::new());
        let name = ObjectName::new("a/b").expect("a name");
        inner.put(&name, Body::Bytes(Bytes::from_static(b"x")), PutMode::CreateNew).await.expect("stored");
        let store = ReadOnlyStore::new(inner.clone());
        let put = store.put(&name, Body::Bytes(Bytes::from_static(b"y")), PutMode::Overwrite).await;
        let deleted = store.delete(&name).await;
        for refused in [put, deleted] {
            assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Denied);
        }
        assert_eq!(store.refused(), 2);
        assert_eq!(store.get(&name, None).await.expect("read"), "x");
        assert_eq!(store.list("", None, 10).await.expect("listed").objects.len(), 1);
    }
}
