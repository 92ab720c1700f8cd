//! The places of calls that run at once, in one direction of a link.
//!
//! How many there are is found out ([`Finder`]), up to a bound of the settings. Who waits gets a place by
//! [`TrafficQueue`]. Housekeeping takes at most half of the places, and together with replication leaves one in
//! eight free, so that a client's call need not wait for the end of a long one of theirs.
//!
//! Time goes in windows that are as long as a few calls take; at the first end of a call after a window it is looked at.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Traffic;
use super::finder::{Finder, Window};
use super::queue::TrafficQueue;

/// Bounds of a window.
const WINDOW_MIN: Duration = Duration::from_millis(500);
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// Windows are so many times as long as a call takes.
const WINDOW_CALLS: u32 = 3;
/// What a call counts for besides its bytes: about what its head and answer cost.
const CALL_WORK: f64 = 32_768.0;
/// Somebody must have waited for so much of a window.
const DEMANDED_PART: f64 = 0.5;
/// A place is kept free for clients out of so many, and housekeeping has at most one out of so many.
const CLIENTS_PART: usize = 8;
const HOUSEKEEPING_PART: usize = 2;

/// How a call ended, as far as the link is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Ended {
    /// The store has answered.
    Answered,
    /// Throttled, failed for now, or not in time.
    PushedBack,
    /// Nobody waited for the end.
    Dropped,
}

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    finder: Finder,
    running: [usize; Traffic::ALL.len()],
    queue: TrafficQueue<oneshot::Sender<Slot>>,
    /// What calls have taken lately: a mean that fades.
    call_time: Duration,
    window: Running,
}

/// The window that runs.
#[derive(Debug)]
struct Running {
    began: Instant,
    calls: u64,
    /// What the lane had moved when it began.
    bytes_before: u64,
    demanded: Duration,
    demanded_since: Option<Instant>,
}

/// A call's place among those that run.
#[derive(Debug)]
pub(in crate::store) struct Slot {
    slots: Arc<Slots>,
    traffic: Traffic,
    began: Instant,
    ended: Ended,
    /// What the lane has moved at the end.
    bytes_moved: u64,
}

impl Slot {
    /// The call has ended; `bytes_moved` is what the lane has moved since its start.
    pub(super) fn end(mut self, ended: Ended, bytes_moved: u64) {
        self.ended = ended;
        self.bytes_moved = bytes_moved;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.release(self);
    }
}

impl Slots {
    pub(super) fn new(calls_max: usize) -> Arc<Self> {
        let window = Running {
            began: Instant::now(),
            calls: 0,
            bytes_before: 0,
            demanded: Duration::ZERO,
            demanded_since: None,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                finder: Finder::new(calls_max),
                running: [0; Traffic::ALL.len()],
                queue: TrafficQueue::default(),
                call_time: Duration::ZERO,
                window,
            }),
        })
    }

    /// How many run, how many wait, how many may run, and the bound of that.
    pub(super) fn counts(&self) -> (usize, usize, usize, usize) {
        let state = self.state.lock();
        let running = state.running.iter().sum();
        (running, state.queue.len(), state.finder.calls(), state.finder.calls_max())
    }

    /// Changes the bound.
    pub(super) fn set_max(self: &Arc<Self>, calls_max: usize) {
        self.state.lock().finder.set_max(calls_max);
        self.admit_waiting();
    }

    /// Waits for a place.
    pub(super) async fn admit(self: &Arc<Self>, traffic: Traffic) -> Slot {
        let waiting = {
            let mut state = self.state.lock();
            if !state.queue.has_before(traffic) && state.has_room(traffic) {
                state.running[traffic as usize] += 1;
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                state.queue.push(traffic, 1, sender);
                state.note_demand();
                Some(receiver)
            }
        };
        let Some(receiver) = waiting else { return self.slot(traffic) };
        let _waiting = Waiting(self);
        receiver.await.expect("who waits is not forgotten")
    }

    fn slot(self: &Arc<Self>, traffic: Traffic) -> Slot {
        let slots = Arc::clone(self);
        Slot { slots, traffic, began: Instant::now(), ended: Ended::Dropped, bytes_moved: 0 }
    }

    fn release(self: &Arc<Self>, slot: &Slot) {
        {
            let mut state = self.state.lock();
            state.running[slot.traffic as usize] -= 1;
            state.end(slot);
        }
        self.admit_waiting();
    }

    /// Gives free places to those who wait.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                state.queue.retain(|waiting| !waiting.is_closed());
                let room = Traffic::ALL.map(|traffic| state.has_room(traffic));
                let next = state.queue.next(|traffic| room[traffic as usize]);
                if let Some((traffic, ..)) = next {
                    state.running[traffic as usize] += 1;
                }
                state.note_demand();
                next
            };
            let Some((traffic, _, waiting)) = next else { return };
            // Who has gone meanwhile drops the place, which gives it back.
            drop(waiting.send(self.slot(traffic)));
        }
    }
}

impl State {
    fn has_room(&self, traffic: Traffic) -> bool {
        let calls = self.finder.calls();
        let [client, replication, housekeeping] = self.running;
        let for_others = calls - (calls / CLIENTS_PART).max(1).min(calls - 1);
        let has_room = client + replication + housekeeping < calls;
        match traffic {
            Traffic::Client => has_room,
            Traffic::Replication => has_room && replication + housekeeping < for_others,
            Traffic::Housekeeping => {
                let part = (calls / HOUSEKEEPING_PART).max(1);
                has_room && replication + housekeeping < for_others && housekeeping < part
            }
        }
    }

    /// Somebody waits for a place, or nobody does.
    fn note_demand(&mut self) {
        let waits = !self.queue.is_empty();
        match (waits, self.window.demanded_since) {
            (true, None) => self.window.demanded_since = Some(Instant::now()),
            (false, Some(since)) => {
                self.window.demanded += since.elapsed();
                self.window.demanded_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn end(&mut self, slot: &Slot) {
        match slot.ended {
            Ended::Answered => {
                self.finder.succeeded();
                self.window.calls += 1;
                let took = slot.began.elapsed();
                self.call_time =
                    if self.call_time.is_zero() { took } else { (self.call_time * 7 + took) / 8 };
            }
            Ended::PushedBack => self.finder.pushed_back(),
            Ended::Dropped => return,
        }
        let length = (self.call_time * WINDOW_CALLS).clamp(WINDOW_MIN, WINDOW_MAX);
        let now = Instant::now();
        let lasted = now.duration_since(self.window.began);
        if lasted < length {
            return;
        }
        let window = &mut self.window;
        if let Some(since) = &mut window.demanded_since {
            window.demanded += now.duration_since(*since);
            *since = now;
        }
        let bytes = slot.bytes_moved.saturating_sub(window.bytes_before) as f64;
        let work = bytes + window.calls as f64 * CALL_WORK;
        let demanded = window.demanded.as_secs_f64() >= DEMANDED_PART * lasted.as_secs_f64();
        self.finder.window(Window { work_per_s: work / lasted.as_secs_f64(), demanded });
        let demanded_since = window.demanded_since;
        self.window = Running {
            began: now,
            calls: 0,
            bytes_before: slot.bytes_moved,
            demanded: Duration::ZERO,
            demanded_since,
        };
    }
}

/// Somebody who waits, or has gone: then its place in the queue goes too.
struct Waiting<'a>(&'a Slots);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.queue.retain(|waiting| !waiting.is_closed());
        state.note_demand();
    }
}
