//! One notifier: what it is told waits in a bounded queue, and is tried several times.
//!
//! Whoever has something to tell puts it in the queue and goes on. When the queue is full the oldest goes: what
//! lasts is told again. A delivery has a time-out; one that fails in passing is tried again after a pause that doubles
//! and is drawn by chance from its upper half, so that many gateways do not come back at one instant.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_replicator::repository::Wait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::notice::{Notice, Sender};
use super::ways::{DeliverError, Way};
use crate::telemetry::metrics;

/// Notices that wait for one notifier.
pub const QUEUE_MAX: usize = 256;
/// How often the delivery of a notice is tried.
pub const ATTEMPTS_MAX: u32 = 8;
/// The pause after the first failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// What comes of a notice, as the metrics have it.
const DELIVERED: &str = "delivered";
const FAILED: &str = "failed";
const DROPPED: &str = "dropped";
const OUTCOMES: [&str; 3] = [DELIVERED, FAILED, DROPPED];

/// See the head of this module. Dropping it ends it; what waits is not told.
pub struct Courier {
    name: String,
    queue: Arc<Queue>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Notice>>,
    filled: Notify,
}

impl Courier {
    /// A notifier that is told this way, each time within `timeout`; pauses go by `wait`.
    pub fn start(
        name: &str,
        way: Arc<dyn Way>,
        sender: Sender,
        timeout: Duration,
        wait: Arc<dyn Wait>,
    ) -> Self {
        let (queue, stop) = (Arc::new(Queue::default()), CancellationToken::new());
        let round = Round { name: name.to_owned(), way, sender, timeout, wait };
        let (waiting, stopping) = (queue.clone(), stop.clone());
        // From the start on: the growth of a counter that appears with a failure cannot be seen.
        OUTCOMES.iter().for_each(|outcome| count(name, outcome, 0));
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = round.run(&waiting) => {}
            }
        });
        Self { name: name.to_owned(), queue, stop }
    }

    /// Tells it something, in its own time.
    pub fn tell(&self, notice: Notice) {
        let mut waiting = self.queue.waiting.lock();
        if waiting.len() >= QUEUE_MAX {
            waiting.pop_front();
            count(&self.name, DROPPED, 1);
            tracing::warn!(notify = self.name, "too much waits for a notifier: the oldest is dropped");
        }
        waiting.push_back(notice);
        drop(waiting);
        self.queue.filled.notify_one();
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Round {
    name: String,
    way: Arc<dyn Way>,
    sender: Sender,
    timeout: Duration,
    wait: Arc<dyn Wait>,
}

impl Round {
    async fn run(&self, queue: &Queue) {
        loop {
            let next = queue.waiting.lock().pop_front();
            match next {
                Some(notice) => self.deliver(&notice).await,
                None => queue.filled.notified().await,
            }
        }
    }

    async fn deliver(&self, notice: &Notice) {
        let (notify, code) = (&self.name, notice.alarm.code);
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(notice).await {
                Ok(()) => {
                    tracing::debug!(notify, %code, "told");
                    return count(notify, DELIVERED, 1);
                }
                Err(DeliverError::Passing(why)) if attempt < ATTEMPTS_MAX => {
                    tracing::debug!(notify, %code, why, "a notifier was not reached; it is tried again");
                    self.wait.wait(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(DeliverError::Passing(why) | DeliverError::Refused(why)) => {
                    tracing::warn!(notify, %code, why, "a notifier could not be told");
                    return count(notify, FAILED, 1);
                }
            }
        }
    }

    async fn attempt(&self, notice: &Notice) -> Result<(), DeliverError> {
        let late = || DeliverError::Passing(format!("it took longer than {} s", self.timeout.as_secs()));
        let delivery = self.way.deliver(notice, &self.sender);
        tokio::time::timeout(self.timeout, delivery).await.map_err(|_| late())?
    }
}

fn count(notify: &str, outcome: &str, more: u64) {
    metrics::NOTIFICATIONS.with(&[notify, outcome]).increment(more);
}

/// A time from the upper half of a pause.
fn jittered(pause: Duration) -> Duration {
    let mut chance = [0; 4];
    // Without chance they come back at one instant, which they survive.
    let part = getrandom::fill(&mut chance).map_or(u32::MAX, |()| u32::from_le_bytes(chance));
    pause / 2 + (pause / 2).mul_f64(f64::from(part) / f64::from(u32::MAX))
}
