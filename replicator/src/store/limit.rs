//! A decorator that bounds how many calls run at once and how many bytes travel per second.
//!
//! [`LimitControl`] changes the bounds while calls run: a bandwidth calendar turns it. Several stores may
//! share one control, and with it one link.
//!
//! Bytes are counted by whole bodies: a call waits for its turn, then moves its body at full speed, and the
//! next waits as long as that body takes at the allowed rate. So the rate holds on average over a few
//! bodies, not within one.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Body, Capabilities, ListPage, ObjectInfo, ObjectName, PutMode, Store, StoreError};

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many calls run at once, at least 1.
    pub requests_max: usize,
    /// How fast bodies go up; `None` for as fast as they can.
    pub upload_bytes_per_s: Option<u64>,
    /// How fast bodies come down; `None` for as fast as they can.
    pub download_bytes_per_s: Option<u64>,
}

/// The bounds in force, and who waits for them.
#[derive(Debug)]
pub struct LimitControl {
    limits: Mutex<Limits>,
    running: Mutex<usize>,
    room: Notify,
    upload: Rate,
    download: Rate,
}

impl LimitControl {
    /// Starts with these bounds.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: Mutex::new(limits),
            running: Mutex::new(0),
            room: Notify::new(),
            upload: Rate::new(limits.upload_bytes_per_s),
            download: Rate::new(limits.download_bytes_per_s),
        })
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Changes the bounds. Calls that wait see it at once; calls that run are left alone.
    pub fn set(&self, limits: Limits) {
        *self.limits.lock() = limits;
        self.upload.set(limits.upload_bytes_per_s);
        self.download.set(limits.download_bytes_per_s);
        self.room.notify_waiters();
    }

    async fn admit(&self) -> Admission<'_> {
        loop {
            let room = self.room.notified();
            if self.try_admit() {
                return Admission(self);
            }
            room.await;
        }
    }

    fn try_admit(&self) -> bool {
        let requests_max = self.limits.lock().requests_max.max(1);
        let mut running = self.running.lock();
        let admitted = *running < requests_max;
        *running += usize::from(admitted);
        admitted
    }
}

/// A call's place among those that run.
struct Admission<'a>(&'a LimitControl);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.room.notify_one();
    }
}

/// One direction of the link.
#[derive(Debug)]
struct Rate {
    state: Mutex<RateState>,
    changed: Notify,
}

#[derive(Debug)]
struct RateState {
    bytes_per_s: Option<u64>,
    /// When everything that was admitted so far has had its time.
    free_at: Instant,
}

impl Rate {
    fn new(bytes_per_s: Option<u64>) -> Self {
        Self { state: Mutex::new(RateState { bytes_per_s, free_at: Instant::now() }), changed: Notify::new() }
    }

    fn set(&self, bytes_per_s: Option<u64>) {
        *self.state.lock() = RateState { bytes_per_s, free_at: Instant::now() };
        self.changed.notify_waiters();
    }

    /// Waits for the turn of a body of `bytes` bytes. When the rate changes, whoever waits queues anew.
    async fn turn(&self, bytes: u64) {
        loop {
            let changed = self.changed.notified();
            let start = self.charge(bytes);
            tokio::select! {
                () = tokio::time::sleep_until(start) => return,
                () = changed => {}
            }
        }
    }

    /// Takes the time of `bytes` bytes; tells when it begins.
    fn charge(&self, bytes: u64) -> Instant {
        let mut state = self.state.lock();
        let start = state.free_at.max(Instant::now());
        if let Some(rate) = state.bytes_per_s {
            state.free_at = start + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        }
        start
    }
}

/// See the head of this module.
#[derive(Debug)]
pub struct LimitStore {
    inner: Arc<dyn Store>,
    control: Arc<LimitControl>,
}

impl LimitStore {
    /// Keeps calls to `inner` within what `control` allows.
    pub fn new(inner: Arc<dyn Store>, control: Arc<LimitControl>) -> Self {
        Self { inner, control }
    }
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
        self.control.upload.turn(body.len()).await;
        let _admission = self.control.admit().await;
        self.inner.put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.control.download.turn(0).await;
        let _admission = self.control.admit().await;
        let bytes = self.inner.get(name, range).await?;
        self.control.download.charge(bytes.len() as u64);
        Ok(bytes)
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.control.download.turn(0).await;
        let _admission = self.control.admit().await;
        let (tail, length) = self.inner.get_tail(name, bytes).await?;
        self.control.download.charge(tail.len() as u64);
        Ok((tail, length))
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let _admission = self.control.admit().await;
        self.inner.head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let _admission = self.control.admit().await;
        self.inner.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let _admission = self.control.admit().await;
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let _admission = self.control.admit().await;
        self.inner.delete(name).await
    }
}
