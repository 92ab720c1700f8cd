//! A store that is opened when it is first needed, and not before it can be.
//!
//! A disk that is not mounted, or credentials that cannot be had, keep a store from being opened at all. Until that is over
//! every call fails with the reason, and the next one tries again; from then on it is the store that was opened. Where it is
//! and what it can do by its settings is known all the time, so that whoever keeps account of it need not wait.
//!
//! One attempt at a time: opening may hang in the file system, and eats one thread then.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::settings::{Adapter, adapter};
use super::{
    Address, Answer, Body, Capabilities, Conduct, Credentials, ErrorKind, ListPage, ObjectInfo, ObjectName,
    PutMode, Special, Store, StoreClock, StoreError, StoreSettings,
};

/// Gives the credentials of a store whenever it is to be opened.
pub type GiveCredentials = Box<dyn Fn() -> BoxFuture<'static, Result<Credentials, StoreError>> + Send + Sync>;

/// See the head of this module.
pub(super) struct LateStore {
    settings: StoreSettings,
    conduct: Conduct,
    credentials: GiveCredentials,
    clock: Arc<StoreClock>,
    opened: Arc<OnceLock<Arc<dyn Store>>>,
    /// Held by whoever opens it.
    turn: Arc<Semaphore>,
}

impl LateStore {
    /// A store that notes its time there.
    pub(super) fn new(
        settings: StoreSettings,
        conduct: Conduct,
        credentials: GiveCredentials,
        clock: Arc<StoreClock>,
    ) -> Self {
        let (opened, turn) = (Arc::default(), Arc::new(Semaphore::new(1)));
        Self { settings, conduct, credentials, clock, opened, turn }
    }

    /// The store, opened.
    async fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(store) = self.opened.get() {
            return Ok(Arc::clone(store));
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("the semaphore is never closed");
        if let Some(store) = self.opened.get() {
            return Ok(Arc::clone(store));
        }
        let credentials = (self.credentials)().await?;
        let (settings, conduct) = (self.settings.clone(), self.conduct);
        let (clock, opened) = (Arc::clone(&self.clock), Arc::clone(&self.opened));
        let opening = crate::blocking::spawn_blocking(move || {
            let _turn = turn;
            let store: Arc<dyn Store> = match adapter(&settings, &credentials, conduct, &clock)? {
                Adapter::Directory(directory) => Arc::new(directory),
                Adapter::S3(bucket) => Arc::new(bucket),
            };
            Ok::<_, StoreError>(Arc::clone(opened.get_or_init(|| store)))
        });
        let doing = || format!("open {}", self.settings.address);
        opening.await.map_err(|error| StoreError::new(ErrorKind::Transient, doing()).caused_by(error))?
    }
}

impl fmt::Debug for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateStore")
            .field("address", &self.address())
            .field("opened", &self.opened.get())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for LateStore {
    /// As the store itself says it.
    fn address(&self) -> String {
        match &self.settings.address {
            Address::Directory(path) => format!("file://{}", path.display()),
            Address::Bucket { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let Conduct { create_new, lock, append_only, checksum: _ } = self.conduct;
        let of_settings = || match &self.settings.address {
            Address::Directory(_) => Capabilities { create_new: true, ..Capabilities::default() },
            Address::Bucket { .. } => Capabilities { create_new, lock, append_only },
        };
        self.opened.get().map_or_else(of_settings, |store| store.capabilities())
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.store().await?.put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.store().await?.get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.store().await?.get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.store().await?.head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.store().await?.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store().await?.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.store().await?.delete(name).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        self.store().await?.special(call).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;

    use super::super::{LockMode, LockRule, open, open_late};
    use super::*;

    fn settings(address: Address) -> StoreSettings {
        StoreSettings::new(address)
    }

    fn of_environment() -> GiveCredentials {
        Box::new(|| async { Ok(Credentials::Environment) }.boxed())
    }

    fn bucket(prefix: &str) -> Address {
        Address::Bucket { bucket: "bucket".to_owned(), prefix: prefix.to_owned() }
    }

    fn directory(path: &Path) -> Address {
        Address::Directory(path.to_path_buf())
    }

    #[tokio::test]
    async fn a_disk_that_comes_later_is_opened_by_the_next_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = folder.path().join("disk");
        let late = open_late("late", &settings(directory(&disk)), of_environment());
        let name = ObjectName::new("a/b").expect("a name");
        let address = late.store.address();
        for _ in 0..2 {
            let error = late.store.list("", None, 10).await.expect_err("it is not there");
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "and nothing is missing in it");
        }
        assert!(late.health.failing().is_some());
        std::fs::create_dir(&disk).expect("mounted");
        let body = Body::Bytes(Bytes::from_static(b"x"));
        late.store.put(&name, body, PutMode::Overwrite).await.expect("stored");
        assert_eq!(late.store.get(&name, None).await.expect("read"), "x");
        assert_eq!(late.store.list("", None, 10).await.expect("listed").objects.len(), 1);
        assert_eq!(late.health.failing(), None);
        assert_eq!(late.store.address(), address);
        std::fs::rename(&disk, folder.path().join("elsewhere")).expect("unmounted");
        std::fs::create_dir(&disk).expect("the place that it was mounted on");
        let error = late.store.list("", None, 10).await.expect_err("that is not the disk");
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
    }

    #[tokio::test]
    async fn credentials_that_come_later_open_it_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&there);
        let give: GiveCredentials = Box::new(move || {
            let is_there = asked.load(Ordering::Relaxed);
            async move {
                let denied = || StoreError::new(ErrorKind::Denied, "read the credentials");
                is_there.then_some(Credentials::Environment).ok_or_else(denied)
            }
            .boxed()
        });
        let late = open_late("late", &settings(directory(folder.path())), give);
        let error = late.store.list_folders("").await.expect_err("nobody gives them");
        assert_eq!(error.kind(), ErrorKind::Denied);
        there.store(true, Ordering::Relaxed);
        assert!(late.store.list_folders("").await.expect("opened").is_empty());
    }

    #[tokio::test]
    async fn where_it_is_and_what_it_can_do_is_known_before_it_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let rule = LockRule { mode: LockMode::Governance, days: 30 };
        let locked = StoreSettings { lock: Some(rule), append_only: true, ..settings(bucket("a/b")) };
        for settings in [settings(bucket("")), settings(directory(folder.path())), locked] {
            let at_once = open("now", &settings, &Credentials::Environment, None).expect("opened").store;
            let late = open_late("late", &settings, of_environment()).store;
            assert_eq!(late.address(), at_once.address());
            assert_eq!(late.capabilities(), at_once.capabilities());
        }
    }
}
