//! A decorator that keeps calls within a [`Link`]: a call waits for a place, then its body moves at the pace of the link.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::link::Ended;
use super::link::passage::Passage;
use super::{
    Answer, Body, Capabilities, Direction, ErrorKind, Link, ListPage, ObjectInfo, ObjectName, PutMode,
    Special, Store, StoreError,
};

/// See the head of this module.
#[derive(Debug)]
pub struct LimitStore {
    inner: Arc<dyn Store>,
    link: Arc<Link>,
}

impl LimitStore {
    /// Keeps calls to `inner` within what `link` allows.
    pub fn new(inner: Arc<dyn Store>, link: Arc<Link>) -> Self {
        Self { inner, link }
    }

    /// Makes a call that moves `moved` bytes.
    async fn within<T: Send>(
        &self,
        direction: Direction,
        call: impl Future<Output = Result<T, StoreError>> + Send,
        moved: impl FnOnce(&T) -> u64 + Send,
    ) -> Result<T, StoreError> {
        let lane = self.link.lane(direction);
        let slot = lane.admit().await;
        let done = Passage::around(&self.link, call, |done| (direction, moved(done))).await;
        let pushed_back = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Transient);
        lane.end(slot, if pushed_back { Ended::PushedBack } else { Ended::Answered });
        done
    }
}

/// What calls move that only ask.
fn nothing<T>(_: &T) -> u64 {
    0
}

#[async_trait]
impl Store for LimitStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let bytes = body.len();
        self.within(Direction::Up, self.inner.put(name, body, mode), |()| bytes).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let moved = |bytes: &Bytes| bytes.len() as u64;
        self.within(Direction::Down, self.inner.get(name, range), moved).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let moved = |(bytes, _): &(Bytes, u64)| bytes.len() as u64;
        self.within(Direction::Down, self.inner.get_tail(name, bytes), moved).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.within(Direction::Down, self.inner.head(name), nothing).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.within(Direction::Down, self.inner.list(prefix, after, limit), nothing).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.within(Direction::Down, self.inner.list_folders(prefix), nothing).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.within(Direction::Down, self.inner.delete(name), nothing).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        self.within(Direction::Down, self.inner.special(call), nothing).await
    }
}
