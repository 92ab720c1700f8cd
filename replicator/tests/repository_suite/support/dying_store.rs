//! A store from whose side the caller's process dies: after a number of changes nothing is answered any
//! more, with the last change carried out or not.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_replicator::store::{
    Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Store, StoreError,
};

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct DyingStore {
    inner: Arc<dyn Store>,
    changes_left: AtomicU64,
    last_change_is_applied: bool,
}

impl DyingStore {
    /// Lets `changes` puts and deletions pass; the next one is the last, applied or not.
    pub(crate) fn new(inner: Arc<dyn Store>, changes: u64, last_change_is_applied: bool) -> Self {
        Self { inner, changes_left: AtomicU64::new(changes + 1), last_change_is_applied }
    }

    /// Whether the end has come.
    pub(crate) fn is_dead(&self) -> bool {
        self.changes_left.load(Ordering::Relaxed) == 0
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }

    /// Counts a change; an error if it is the last one or later. The flag says whether to apply it.
    fn change(&self) -> (bool, Result<(), StoreError>) {
        match self.changes_left.load(Ordering::Relaxed) {
            0 => (false, Err(dead())),
            left => {
                self.changes_left.store(left - 1, Ordering::Relaxed);
                if left == 1 { (self.last_change_is_applied, Err(dead())) } else { (true, Ok(())) }
            }
        }
    }
}

fn dead() -> StoreError {
    StoreError::new(ErrorKind::Transient, "reach the store")
}

#[async_trait]
impl Store for DyingStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let (apply, answer) = self.change();
        if apply {
            self.inner.put(name, body, mode).await?;
        }
        answer
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.alive()?;
        self.inner.get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.alive()?;
        self.inner.get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.alive()?;
        self.inner.head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.alive()?;
        self.inner.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.alive()?;
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let (apply, answer) = self.change();
        if apply {
            self.inner.delete(name).await?;
        }
        answer
    }
}
