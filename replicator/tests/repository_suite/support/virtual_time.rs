//! Many callers on one thread, in an order and with delays that a seed decides: the same seed gives the
//! same interleaving.
//!
//! Time is a counter of rounds. In each round every task is polled once, in random order. A call to a
//! [`SlowStore`] waits some rounds, is carried out at one instant, and waits some rounds more, so that any
//! order of effects and replies can come up. A task can be killed in any round: its future is dropped.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_replicator::repository::Wait;
use tidegate_replicator::store::{
    Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Store, StoreError,
};

use super::Numbers;

/// No test takes more rounds.
const ROUNDS_MAX: u64 = 100_000;

/// Rounds since the start.
#[derive(Debug, Default)]
pub(crate) struct Rounds(AtomicU64);

impl Rounds {
    async fn pass(&self, rounds: u64) {
        let until = self.0.load(Ordering::Relaxed) + rounds;
        poll_fn(|_| if self.0.load(Ordering::Relaxed) >= until { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

/// A millisecond of waiting is a round.
#[async_trait]
impl Wait for Rounds {
    async fn wait(&self, time: Duration) {
        self.pass(time.as_millis() as u64).await;
    }
}

/// A task under way.
pub(crate) type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs all tasks to their end, or to the round in which they are killed. Gives their outcomes, in order.
pub(crate) fn run_all<T>(
    rounds: &Rounds,
    numbers: &mut Numbers,
    tasks: Vec<Task<'_, T>>,
    killed_in: impl Fn(usize) -> Option<u64>,
) -> Vec<Option<T>> {
    let mut outcomes: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let mut running: Vec<(usize, Task<'_, T>)> = tasks.into_iter().enumerate().collect();
    let mut context = Context::from_waker(Waker::noop());
    while !running.is_empty() {
        let now = rounds.0.fetch_add(1, Ordering::Relaxed);
        assert!(now < ROUNDS_MAX, "the tasks do not end");
        running.retain(|(number, _)| killed_in(*number).is_none_or(|round| now < round));
        for place in (1..running.len()).rev() {
            running.swap(place, numbers.below(place as u64 + 1) as usize);
        }
        running.retain_mut(|(number, task)| match task.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => {
                outcomes[*number] = Some(outcome);
                false
            }
            Poll::Pending => true,
        });
    }
    outcomes
}

/// How a [`SlowStore`] treats [`PutMode::CreateNew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// Atomic, and says so.
    Atomic,
    /// Says that it is not, and overwrites.
    Overwrites,
    /// Says that it is atomic, and checks long before it writes.
    Misjudged,
}

/// A store whose calls take a random time, before and after they are carried out.
#[derive(Debug)]
pub(crate) struct SlowStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) rounds: Arc<Rounds>,
    pub(crate) numbers: Mutex<Numbers>,
    pub(crate) delay_max: u64,
    pub(crate) creation: Creation,
    /// One put in this many is carried out, and answered with an error; 0 for none.
    pub(crate) lost_reply_one_in: u64,
}

impl SlowStore {
    async fn delay(&self) {
        let rounds = self.numbers.lock().below(self.delay_max + 1);
        self.rounds.pass(rounds).await;
    }

    fn reply_is_lost(&self) -> bool {
        self.lost_reply_one_in > 0 && self.numbers.lock().below(self.lost_reply_one_in) == 0
    }

    async fn refuse_existing(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self.inner.head(name).await {
            Ok(_) => Err(StoreError::new(ErrorKind::Exists, format!("create {name}"))),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Store for SlowStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new: self.creation != Creation::Overwrites, ..Capabilities::default() }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.delay().await;
        let mode = match (mode, self.creation) {
            (PutMode::CreateNew, Creation::Atomic) => PutMode::CreateNew,
            (PutMode::CreateNew, Creation::Misjudged) => {
                self.refuse_existing(name).await?;
                self.delay().await;
                PutMode::Overwrite
            }
            (PutMode::CreateNew, Creation::Overwrites) | (PutMode::Overwrite, _) => PutMode::Overwrite,
        };
        let stored = self.inner.put(name, body, mode).await;
        self.delay().await;
        if self.reply_is_lost() {
            Err(StoreError::new(ErrorKind::Transient, "hear of the store"))
        } else {
            stored
        }
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.delay().await;
        let got = self.inner.get(name, range).await;
        self.delay().await;
        got
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.delay().await;
        let got = self.inner.get_tail(name, bytes).await;
        self.delay().await;
        got
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.delay().await;
        let info = self.inner.head(name).await;
        self.delay().await;
        info
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.delay().await;
        let page = self.inner.list(prefix, after, limit).await;
        self.delay().await;
        page
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.delay().await;
        let folders = self.inner.list_folders(prefix).await;
        self.delay().await;
        folders
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.delay().await;
        let deleted = self.inner.delete(name).await;
        self.delay().await;
        deleted
    }
}
