//! A decorator that tries again what may pass.
//!
//! * Only [`ErrorKind::Transient`] is tried again, and [`ErrorKind::Damaged`] once, in case the damage
//!   happened on the way. All else is for the caller.
//! * Delays double from the first to the last, each cut by a random part of up to half, so that many callers do not
//!   come back at once.
//! * All calls share a budget ([`RetryBudget`]): of the requests of the last minute only a set share may be retries. A
//!   store that ails therefore sees little more than the first attempts.
//! * A [`PutMode::CreateNew`] whose reply was lost may have been carried out. If a later attempt then finds the name
//!   taken, the object is read back: the same bytes mean that it was ours. Where it matters who created an object, its
//!   bytes must therefore differ from writer to writer, as a nonce makes them.
//!
//! Deadlines are kept by [`DeadlineStore`](super::DeadlineStore) below.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::body::read_piece;
use super::random::Random;
use super::retry_budget::RetryBudget;
use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Special, Store,
    StoreError,
};

/// How often an answer that came damaged is asked for in all.
const DAMAGED_ATTEMPTS_MAX: u32 = 2;

/// How much is read back at a time to compare.
const COMPARE_BYTES: u64 = 4 << 20;

/// How often, and how far apart, to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1.
    pub attempts_max: u32,
    /// Before the second attempt; doubles after each.
    pub delay_first: Duration,
    /// Never longer than this.
    pub delay_max: Duration,
    /// Of so many requests of the last minute, in percent, retries may be; see [`RetryBudget`].
    pub retry_percent_max: u32,
}

/// See the head of this module.
#[derive(Debug)]
pub struct RetryStore {
    inner: Arc<dyn Store>,
    policy: RetryPolicy,
    budget: Mutex<RetryBudget>,
    random: Mutex<Random>,
}

impl RetryStore {
    /// Retries calls to `inner`.
    pub fn new(inner: Arc<dyn Store>, policy: RetryPolicy) -> Self {
        let budget = Mutex::new(RetryBudget::new(policy.retry_percent_max));
        Self { inner, policy, budget, random: Mutex::new(Random::from_system()) }
    }

    /// Calls until it succeeds, or must not or may not be tried again.
    async fn run<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut attempts = 0;
        self.budget.lock().note_request();
        loop {
            attempts += 1;
            match call().await {
                Ok(done) => return Ok(done),
                Err(error) => self.pause_after(error, attempts).await?,
            }
        }
    }

    async fn create_new(&self, name: &ObjectName, body: &Body) -> Result<(), StoreError> {
        let (mut attempts, mut may_be_done) = (0, false);
        self.budget.lock().note_request();
        loop {
            attempts += 1;
            match self.inner.put(name, body.clone(), PutMode::CreateNew).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Exists && may_be_done => {
                    return if self.holds(name, body).await? { Ok(()) } else { Err(error) };
                }
                Err(error) => {
                    may_be_done |= error.kind() == ErrorKind::Transient;
                    self.pause_after(error, attempts).await?;
                }
            }
        }
    }

    /// Whether the store holds exactly `body` under `name`.
    async fn holds(&self, name: &ObjectName, body: &Body) -> Result<bool, StoreError> {
        if self.head(name).await?.bytes != body.len() {
            return Ok(false);
        }
        let mut offset = 0;
        while offset < body.len() {
            let bytes = COMPARE_BYTES.min(body.len() - offset);
            let ours = read_piece(body.clone(), offset, bytes).await?;
            if self.get(name, Some(offset..offset + bytes)).await? != ours {
                return Ok(false);
            }
            offset += bytes;
        }
        Ok(true)
    }

    /// Waits before the next attempt, or hands the error back if there must be none.
    async fn pause_after(&self, error: StoreError, attempts: u32) -> Result<(), StoreError> {
        let attempts_max = match error.kind() {
            ErrorKind::Transient => self.policy.attempts_max,
            ErrorKind::Damaged => self.policy.attempts_max.min(DAMAGED_ATTEMPTS_MAX),
            ErrorKind::Missing
            | ErrorKind::Exists
            | ErrorKind::Denied
            | ErrorKind::Misconfigured
            | ErrorKind::Invalid
            | ErrorKind::Full
            | ErrorKind::Held
            | ErrorKind::Asleep => 1,
        };
        if attempts >= attempts_max || !self.budget.lock().take_retry() {
            return Err(error);
        }
        let delay = self.delay(attempts);
        tracing::debug!(%error, cause = ?std::error::Error::source(&error), attempts, ?delay, "will try again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn delay(&self, attempts: u32) -> Duration {
        let doubled = self.policy.delay_first.saturating_mul(1 << (attempts - 1).min(20));
        let part = 0.5 + self.random.lock().fraction() / 2.0;
        doubled.min(self.policy.delay_max).mul_f64(part)
    }
}

#[async_trait]
impl Store for RetryStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        match mode {
            PutMode::Overwrite => self.run(|| self.inner.put(name, body.clone(), mode)).await,
            PutMode::CreateNew => self.create_new(name, &body).await,
        }
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.run(|| self.inner.get(name, range.clone())).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.run(|| self.inner.get_tail(name, bytes)).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.run(|| self.inner.head(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.run(|| self.inner.list(prefix, after, limit)).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.run(|| self.inner.list_folders(prefix)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.run(|| self.inner.delete(name)).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        self.run(|| self.inner.special(call.clone())).await
    }
}
