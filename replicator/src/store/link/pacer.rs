//! One direction of a link at a rate: bytes pass in small grains, each when its time has come.
//!
//! Promise: over every span of time of `t` seconds at most `rate × (t + SLACK)` bytes and one grain pass. A grain is
//! what the rate moves in [`GRAIN_TIME`], within bounds; so a change of the rate, and a more urgent class, take effect
//! within a body, a grain later.
//!
//! Who passes next is the business of [`TrafficQueue`]. Of all who wait one sleeps until the next grain is due and lets
//! pass whoever is next then; when its own turn has come, or it has gone, another takes its place.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

use super::Traffic;
use super::queue::TrafficQueue;

/// How much of the past may be made up for, where a timer went off late.
pub(super) const SLACK: Duration = Duration::from_millis(10);
/// How long a grain takes at the rate.
const GRAIN_TIME: Duration = Duration::from_millis(20);
/// Bounds of a grain, in bytes.
const GRAIN_BYTES: std::ops::RangeInclusive<u64> = (1 << 10)..=(64 << 10);

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Pacer {
    state: Mutex<State>,
    /// Held by the one who sleeps for all.
    driver: Semaphore,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    bytes_per_s: Option<u64>,
    /// When everything that has passed has had its time.
    free_at: Instant,
    queue: TrafficQueue<oneshot::Sender<()>>,
}

/// The grain of a rate, in bytes.
pub(super) fn grain_bytes(bytes_per_s: u64) -> u64 {
    let bytes = (bytes_per_s as f64 * GRAIN_TIME.as_secs_f64()) as u64;
    bytes.clamp(*GRAIN_BYTES.start(), *GRAIN_BYTES.end())
}

impl Pacer {
    /// `None` for as fast as it goes.
    pub(super) fn new(bytes_per_s: Option<u64>) -> Self {
        let state = State { bytes_per_s, free_at: Instant::now(), queue: TrafficQueue::default() };
        Self { state: Mutex::new(state), driver: Semaphore::new(1), changed: Notify::new() }
    }

    /// The rate in force, in bytes per second.
    pub(super) fn bytes_per_s(&self) -> Option<u64> {
        self.state.lock().bytes_per_s
    }

    /// Changes the rate, for bodies under way too.
    pub(super) fn set(&self, bytes_per_s: Option<u64>) {
        self.state.lock().set(bytes_per_s, Instant::now());
        self.changed.notify_waiters();
    }

    /// Returns when so many bytes may have passed.
    pub(super) async fn pass(&self, traffic: Traffic, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let Some(rate) = self.bytes_per_s() else { return };
            let grain = grain_bytes(rate).min(left);
            self.grain(traffic, grain).await;
            left -= grain;
        }
    }

    async fn grain(&self, traffic: Traffic, bytes: u64) {
        // Dropped after the place in the queue is given up.
        let _waiting = Waiting(self);
        let Some(mut granted) = self.enter(traffic, bytes) else { return };
        let _driver = tokio::select! {
            biased;
            _ = &mut granted => return,
            driver = self.driver.acquire() => driver.expect("the semaphore is never closed"),
        };
        loop {
            let changed = self.changed.notified();
            let due = self.state.lock().let_pass(Instant::now());
            let (Err(TryRecvError::Empty), Some(due)) = (granted.try_recv(), due) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = changed => {}
            }
        }
    }

    /// Passes at once, or begins to wait.
    fn enter(&self, traffic: Traffic, bytes: u64) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.bytes_per_s.is_none() || (state.queue.is_empty() && state.free_at <= now) {
            state.charge(bytes, now);
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.queue.push(traffic, bytes, sender);
        Some(receiver)
    }
}

impl State {
    fn set(&mut self, bytes_per_s: Option<u64>, now: Instant) {
        // What has passed ahead of its time has yet to be made up for, at the new rate.
        let ahead = self.free_at.saturating_duration_since(now).as_secs_f64();
        let debt_bytes = self.bytes_per_s.map_or(0.0, |rate| ahead * rate as f64);
        self.bytes_per_s = bytes_per_s;
        self.free_at = now;
        if let Some(rate) = bytes_per_s {
            self.free_at += Duration::from_secs_f64(debt_bytes / rate.max(1) as f64);
        }
    }

    fn charge(&mut self, bytes: u64, now: Instant) {
        if let Some(rate) = self.bytes_per_s {
            let from = self.free_at.max(now.checked_sub(SLACK).unwrap_or(now));
            self.free_at = from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        }
    }

    /// Lets everybody pass whose time has come; tells when the next may, if somebody waits.
    fn let_pass(&mut self, now: Instant) -> Option<Instant> {
        while self.bytes_per_s.is_none() || self.free_at <= now {
            let (_, bytes, waiting) = self.queue.next(|_| true)?;
            // Who has gone takes no time.
            if waiting.send(()).is_ok() {
                self.charge(bytes, now);
            }
        }
        (!self.queue.is_empty()).then_some(self.free_at)
    }
}

/// Somebody who waits, or has gone: then its place in the queue goes too.
struct Waiting<'a>(&'a Pacer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if !state.queue.is_empty() {
            state.queue.retain(|waiting| !waiting.is_closed());
        }
    }
}
