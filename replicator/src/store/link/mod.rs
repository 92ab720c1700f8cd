//! The link to a store: how fast bytes move on it, how many calls run at once, and for whom.
//!
//! A link has two directions, which know nothing of each other. Each has a rate that may be set at any time
//! ([`Pacer`]), and a number of calls at once that is found out within a bound ([`Slots`]). In both, a class of
//! [`Traffic`] that somebody waits for goes first, and the lower ones keep a floor.
//!
//! One [`Link`] belongs to each store that is opened; all handles on the store share it. The decorator that keeps calls
//! within it is [`LimitStore`](super::LimitStore); adapters tell their [`Pace`](passage::Pace) what they move, so that
//! rates hold within bodies.

mod best;
mod finder;
mod pacer;
pub(super) mod passage;
mod queue;
mod slots;
mod speed;
#[cfg(test)]
mod tests;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use best::Best;
use pacer::Pacer;
use slots::Slots;
use speed::Speed;

pub(super) use slots::{Ended, Slot};
pub use traffic::Traffic;

/// Which way bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the store.
    Up,
    /// From the store; calls that move no bytes count as this.
    Down,
}

/// The bounds of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many calls run at once in each direction at most, at least 1.
    pub requests_max: usize,
    /// How fast bodies go up; `None` for as fast as they can.
    pub upload_bytes_per_s: Option<u64>,
    /// How fast bodies come down; `None` for as fast as they can.
    pub download_bytes_per_s: Option<u64>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pacer: Pacer,
    slots: Arc<Slots>,
    speed: Speed,
    best: Best,
    moved: [AtomicU64; Traffic::ALL.len()],
}

/// See the head of this module.
#[derive(Debug)]
pub struct Link {
    up: Lane,
    down: Lane,
}

/// What a direction of a link does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Bytes per second over the last minute.
    pub bytes_per_s: u64,
    /// Bytes per second of the best ten seconds of the last day.
    pub best_bytes_per_s: u64,
    /// The rate in force, in bytes per second.
    pub limit_bytes_per_s: Option<u64>,
    /// Bytes moved since the start, by class.
    pub bytes_moved: [u64; Traffic::ALL.len()],
    /// Calls that run.
    pub requests_running: usize,
    /// Calls that wait for a place.
    pub requests_waiting: usize,
    /// How many may run at once, as was found out.
    pub requests_found: usize,
    /// The bound of that.
    pub requests_max: usize,
}

impl Link {
    /// A link within these bounds.
    pub fn new(limits: Limits) -> Arc<Self> {
        let lane = |bytes_per_s| Lane {
            pacer: Pacer::new(bytes_per_s),
            slots: Slots::new(limits.requests_max),
            speed: Speed::new(),
            best: Best::new(),
            moved: [const { AtomicU64::new(0) }; Traffic::ALL.len()],
        };
        Arc::new(Self { up: lane(limits.upload_bytes_per_s), down: lane(limits.download_bytes_per_s) })
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        Limits {
            requests_max: self.up.slots.counts().3,
            upload_bytes_per_s: self.up.pacer.bytes_per_s(),
            download_bytes_per_s: self.down.pacer.bytes_per_s(),
        }
    }

    /// Changes the bounds. Calls that wait and bodies under way see it at once; no call is cut off.
    pub fn set(&self, limits: Limits) {
        for (lane, rate) in [(&self.up, limits.upload_bytes_per_s), (&self.down, limits.download_bytes_per_s)]
        {
            if lane.pacer.bytes_per_s() != rate {
                lane.pacer.set(rate);
            }
            lane.slots.set_max(limits.requests_max);
        }
    }

    /// What a direction does now.
    pub fn report(&self, direction: Direction) -> LaneReport {
        let lane = self.lane(direction);
        let (requests_running, requests_waiting, requests_found, requests_max) = lane.slots.counts();
        LaneReport {
            bytes_per_s: lane.speed.bytes_per_s(),
            best_bytes_per_s: lane.best.bytes_per_s(),
            limit_bytes_per_s: lane.pacer.bytes_per_s(),
            bytes_moved: Traffic::ALL.map(|traffic| lane.moved[traffic as usize].load(Ordering::Relaxed)),
            requests_running,
            requests_waiting,
            requests_found,
            requests_max,
        }
    }

    pub(super) fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Lane {
    /// Waits for a place for a call of the class of this task.
    pub(super) async fn admit(&self) -> Slot {
        self.slots.admit(Traffic::current()).await
    }

    /// A call has ended.
    pub(super) fn end(&self, slot: Slot, ended: Ended) {
        slot.end(ended, self.bytes_moved());
    }

    fn count(&self, traffic: Traffic, bytes: u64) {
        self.moved[traffic as usize].fetch_add(bytes, Ordering::Relaxed);
        self.speed.count(bytes);
        self.best.count(bytes);
    }

    fn bytes_moved(&self) -> u64 {
        self.moved.iter().map(|moved| moved.load(Ordering::Relaxed)).sum()
    }
}
