//! A decorator that gives up on a store that does not answer.
//!
//! A call that takes longer than its [`Patience`] ends as [`ErrorKind::Transient`]. Whether a write was
//! carried out is then unknown. The time in which the pace of the link held it up does not count. The call itself is
//! dropped; an adapter that blocks threads bounds for itself how many of them may hang.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::link::passage::Passage;
use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Special, Store,
    StoreError,
};

/// How many bytes a whole object is taken to have when only its reading will tell.
const WHOLE_OBJECT_BYTES: u64 = 64 << 20;

/// How long to wait for an answer: a time, and more for every byte that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a call that moves no bytes.
    pub base: Duration,
    /// The slowest rate at which a call still counts as getting on.
    pub bytes_per_s_min: u64,
}

impl Patience {
    /// How long to wait for a call that moves `bytes` bytes.
    pub fn for_bytes(self, bytes: u64) -> Duration {
        self.base + Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_per_s_min.max(1))
    }
}

/// See the head of this module.
#[derive(Debug)]
pub struct DeadlineStore {
    inner: Arc<dyn Store>,
    patience: Patience,
}

impl DeadlineStore {
    /// Gives up on calls to `inner` when `patience` ends.
    pub fn new(inner: Arc<dyn Store>, patience: Patience) -> Self {
        Self { inner, patience }
    }

    async fn within<T>(
        &self,
        bytes: u64,
        doing: impl FnOnce() -> String + Send,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        within(self.patience.for_bytes(bytes), doing, call).await
    }
}

/// Waits for `call` until `limit` is over; then it has failed as [`ErrorKind::Transient`].
pub(super) async fn within<T>(
    limit: Duration,
    doing: impl FnOnce() -> String + Send,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let (mut held, mut deadline) = (Passage::held(), Instant::now() + limit);
    tokio::pin!(call);
    loop {
        tokio::select! {
            biased;
            done = &mut call => return done,
            () = tokio::time::sleep_until(deadline) => {}
        }
        let held_now = Passage::held();
        if held_now <= held {
            return Err(StoreError::new(ErrorKind::Transient, doing())
                .caused_by(format!("the store did not answer within {limit:?}")));
        }
        deadline += held_now.saturating_sub(held);
        held = held_now;
    }
}

#[async_trait]
impl Store for DeadlineStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.within(body.len(), || format!("store {name}"), self.inner.put(name, body.clone(), mode)).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let bytes = range.as_ref().map_or(WHOLE_OBJECT_BYTES, |range| range.end.saturating_sub(range.start));
        self.within(bytes, || format!("read {name}"), self.inner.get(name, range)).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let bytes_moved = bytes.min(WHOLE_OBJECT_BYTES);
        self.within(bytes_moved, || format!("read the end of {name}"), self.inner.get_tail(name, bytes)).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.within(0, || format!("look at {name}"), self.inner.head(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.within(0, || format!("list {prefix:?}"), self.inner.list(prefix, after, limit)).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let doing = || format!("list the folders of {prefix:?}");
        self.within(0, doing, self.inner.list_folders(prefix)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.within(0, || format!("delete {name}"), self.inner.delete(name)).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        let asked = call.clone();
        self.within(0, || asked.doing(), self.inner.special(call)).await
    }
}
