//! Whether a store answers, and what time it is there: noted of every request, asked for nothing.
//!
//! An answer that refuses what was asked (no such object, say) is an answer. What counts as failing is what
//! keeps work from being done: no answer, no permission, no room, a store that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use super::{ErrorKind, Operation, StoreError};

/// A store that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// When the first request failed since one of its kind last succeeded.
    pub since: SystemTime,
    /// When the newest request failed.
    pub at: SystemTime,
    /// Why, with all causes.
    pub why: String,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub struct StoreHealth {
    /// Of reads, and of writes.
    failing: Mutex<[Option<Failing>; 2]>,
    clock: Arc<StoreClock>,
}

impl StoreHealth {
    /// Of a store whose clock is noted there.
    pub(super) fn new(clock: Arc<StoreClock>) -> Self {
        Self { failing: Mutex::default(), clock }
    }

    /// How it fails; none while it answers, or has not been asked.
    pub fn failing(&self) -> Option<Failing> {
        self.failing.lock().iter().flatten().min_by_key(|failing| failing.since).cloned()
    }

    /// Its clock.
    pub fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// Notes how a request ended.
    pub(super) fn note<T>(&self, operation: Operation, result: &Result<T, StoreError>) {
        let failed = result.as_ref().err().filter(|error| keeps_from_work(error.kind()));
        let failing = &mut self.failing.lock()[usize::from(writes(operation))];
        *failing = failed.map(|error| {
            let at = SystemTime::now();
            let since = failing.as_ref().map_or(at, |failing| failing.since.min(at));
            Failing { since, at, why: with_causes(error) }
        });
    }
}

fn writes(operation: Operation) -> bool {
    match operation {
        Operation::Put | Operation::Delete | Operation::Change => true,
        Operation::Get
        | Operation::GetTail
        | Operation::Head
        | Operation::List
        | Operation::ListFolders
        | Operation::Ask => false,
    }
}

fn keeps_from_work(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Denied | ErrorKind::Misconfigured | ErrorKind::Full | ErrorKind::Transient => true,
        ErrorKind::Missing
        | ErrorKind::Exists
        | ErrorKind::Invalid
        | ErrorKind::Damaged
        | ErrorKind::Held
        | ErrorKind::Asleep => false,
    }
}

fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The clock of a store, as its answers tell it.
#[derive(Debug)]
pub struct StoreClock {
    /// How far it is ahead of this machine's, in milliseconds.
    ahead_ms: AtomicI64,
    /// What the newest answer told, and when it came. Nobody turns this clock.
    told: Mutex<Option<(SystemTime, Instant)>>,
}

/// That no answer has told the time.
const UNKNOWN: i64 = i64::MIN;

impl Default for StoreClock {
    /// Unknown.
    fn default() -> Self {
        Self { ahead_ms: AtomicI64::new(UNKNOWN), told: Mutex::default() }
    }
}

impl StoreClock {
    /// How far it is ahead of this machine's clock, in milliseconds and to about two seconds; none if no answer
    /// has told the time. Those of a directory never do: it goes by this machine's clock.
    pub fn ahead_ms(&self) -> Option<i64> {
        Some(self.ahead_ms.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// What time it is there: what the newest answer told, and what has passed since. Whoever sets this machine's
    /// clock does not change it.
    pub fn now(&self) -> Option<SystemTime> {
        let (told, at) = (*self.told.lock())?;
        told.checked_add(at.elapsed())
    }

    /// Notes the time that an answer tells.
    pub(super) fn note(&self, told: SystemTime, now: SystemTime) {
        let ahead = match told.duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
            Err(behind) => i64::try_from(behind.duration().as_millis()).map_or(-i64::MAX, |behind| -behind),
        };
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        *self.told.lock() = Some((told, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_store_fails_from_the_first_failure_until_an_answer() {
        let health = StoreHealth::default();
        let error = |kind| Err(StoreError::new(kind, "put").caused_by("no route"));
        let failed = |kind| health.note::<()>(Operation::Put, &error(kind));
        assert_eq!(health.failing(), None);
        failed(ErrorKind::Transient);
        let first = health.failing().expect("it fails");
        assert_eq!(first.why, "failed to put: no route");
        failed(ErrorKind::Denied);
        let second = health.failing().expect("still");
        assert!(second.since == first.since && second.at >= first.at);
        failed(ErrorKind::Missing);
        assert_eq!(health.failing(), None, "that is an answer");
        failed(ErrorKind::Full);
        health.note(Operation::List, &Ok(()));
        assert!(health.failing().is_some(), "reads say nothing about writes");
        health.note(Operation::Delete, &Ok(()));
        assert_eq!(health.failing(), None);
    }

    #[test]
    fn the_clock_is_told_by_answers_in_both_directions() {
        let (clock, now) = (StoreClock::default(), SystemTime::now());
        assert_eq!((clock.ahead_ms(), clock.now()), (None, None));
        clock.note(now + Duration::from_secs(90), now);
        assert_eq!(clock.ahead_ms(), Some(90_000));
        clock.note(now - Duration::from_secs(7), now);
        assert_eq!(clock.ahead_ms(), Some(-7_000));
        assert!(clock.now().expect("known") < SystemTime::now());
    }
}
