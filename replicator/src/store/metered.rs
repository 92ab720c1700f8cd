//! A decorator that measures: requests by outcome, bytes, and latency, for each operation.
//!
//! | metric | labels | unit |
//! |---|---|---|
//! | `tidegate_store_requests_total` | `store`, `operation`, `outcome` | requests |
//! | `tidegate_store_bytes_total` | `store`, `direction` (`up`, `down`) | bytes of bodies |
//! | `tidegate_store_seconds` | `store`, `operation` | seconds, histogram |
//!
//! `outcome` is `ok`, the kind of the error, or `dropped` for a call that nobody waited for to the end.
//! The time in which the pace of the link held a call up is no latency.
//! The same is counted in [`RequestCounts`], for tests that assert on cost.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::link::passage::Passage;
use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, Operation, PutMode, Special,
    Store, StoreError, StoreHealth,
};

/// How many requests there were, since the start or the last [`RequestCounts::reset`].
#[derive(Debug, Default)]
pub struct RequestCounts {
    requests: [AtomicU64; Operation::ALL.len()],
    failures: [AtomicU64; Operation::ALL.len()],
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl RequestCounts {
    /// Requests of one operation, failed ones included.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.requests[operation as usize].load(Ordering::Relaxed)
    }

    /// Requests of all operations, failed ones included.
    pub fn requests_total(&self) -> u64 {
        Operation::ALL.iter().map(|&operation| self.requests(operation)).sum()
    }

    /// Requests of one operation that failed or were dropped.
    pub fn failures(&self, operation: Operation) -> u64 {
        self.failures[operation as usize].load(Ordering::Relaxed)
    }

    /// Bytes of bodies that were stored.
    pub fn bytes_up(&self) -> u64 {
        self.bytes_up.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that were read.
    pub fn bytes_down(&self) -> u64 {
        self.bytes_down.load(Ordering::Relaxed)
    }

    /// Starts all counts from zero.
    pub fn reset(&self) {
        let bytes = [&self.bytes_up, &self.bytes_down];
        for count in self.requests.iter().chain(&self.failures).chain(bytes) {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// See the head of this module.
#[derive(Debug)]
pub struct MeteredStore {
    inner: Arc<dyn Store>,
    label: Arc<str>,
    counts: Arc<RequestCounts>,
    health: Arc<StoreHealth>,
}

impl MeteredStore {
    /// Measures calls to `inner`; `label` tells it from other stores in the metrics.
    pub fn new(inner: Arc<dyn Store>, label: &str) -> Self {
        Self { inner, label: label.into(), counts: Arc::default(), health: Arc::default() }
    }

    /// Notes there how requests end.
    #[must_use]
    pub(super) fn noting(self, health: Arc<StoreHealth>) -> Self {
        Self { health, ..self }
    }

    /// The counts, which go on counting.
    pub fn counts(&self) -> Arc<RequestCounts> {
        Arc::clone(&self.counts)
    }

    fn begin(&self, operation: Operation) -> Call<'_> {
        Call { store: self, operation, begun: Instant::now(), settled: false }
    }

    fn moved(&self, direction: &'static str, count: &AtomicU64, bytes: u64) {
        count.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("tidegate_store_bytes_total", "store" => self.label.to_string(), "direction" => direction)
            .increment(bytes);
    }

    fn moved_up(&self, bytes: u64) {
        self.moved("up", &self.counts.bytes_up, bytes);
    }

    fn moved_down(&self, bytes: u64) {
        self.moved("down", &self.counts.bytes_down, bytes);
    }
}

/// A call that has begun; counted as dropped unless it ends.
struct Call<'a> {
    store: &'a MeteredStore,
    operation: Operation,
    begun: Instant,
    settled: bool,
}

impl Call<'_> {
    fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.settled = true;
        self.store.health.note(self.operation, &result);
        match &result {
            Ok(_) => self.record("ok", false),
            Err(error) => self.record(outcome(error.kind()), true),
        }
        result
    }

    fn record(&self, outcome: &'static str, failed: bool) {
        let (label, operation) = (self.store.label.to_string(), self.operation.as_str());
        let index = self.operation as usize;
        self.store.counts.requests[index].fetch_add(1, Ordering::Relaxed);
        self.store.counts.failures[index].fetch_add(u64::from(failed), Ordering::Relaxed);
        metrics::histogram!("tidegate_store_seconds", "store" => label.clone(), "operation" => operation)
            .record(self.begun.elapsed().saturating_sub(Passage::held()).as_secs_f64());
        metrics::counter!(
            "tidegate_store_requests_total",
            "store" => label, "operation" => operation, "outcome" => outcome
        )
        .increment(1);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.record("dropped", true);
        }
    }
}

fn outcome(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Missing => "missing",
        ErrorKind::Exists => "exists",
        ErrorKind::Denied => "denied",
        ErrorKind::Misconfigured => "misconfigured",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Full => "full",
        ErrorKind::Transient => "transient",
        ErrorKind::Damaged => "damaged",
        ErrorKind::Held => "held",
        ErrorKind::Asleep => "asleep",
    }
}

#[async_trait]
impl Store for MeteredStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let (call, bytes) = (self.begin(Operation::Put), body.len());
        call.end(self.inner.put(name, body, mode).await)?;
        self.moved_up(bytes);
        Ok(())
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let call = self.begin(Operation::Get);
        let bytes = call.end(self.inner.get(name, range).await)?;
        self.moved_down(bytes.len() as u64);
        Ok(bytes)
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let call = self.begin(Operation::GetTail);
        let (tail, length) = call.end(self.inner.get_tail(name, bytes).await)?;
        self.moved_down(tail.len() as u64);
        Ok((tail, length))
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let call = self.begin(Operation::Head);
        call.end(self.inner.head(name).await)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let call = self.begin(Operation::List);
        call.end(self.inner.list(prefix, after, limit).await)
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let call = self.begin(Operation::ListFolders);
        call.end(self.inner.list_folders(prefix).await)
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let call = self.begin(Operation::Delete);
        call.end(self.inner.delete(name).await)
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        let begun = self.begin(Operation::of(&call));
        begun.end(self.inner.special(call).await)
    }
}
