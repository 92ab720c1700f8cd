//! Claims about alarms. `TIDEGATE_SEED` repeats a random test.

mod board;
mod courier;
mod dispatch;
mod rules;
mod trend;
mod ways;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reading::{Reading, Verdict};
use crate::control::{Alarm, AlarmCode, Severity};

fn seeds() -> Vec<u64> {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    given.map_or_else(|| (0..200).chain([u64::from(std::process::id())]).collect(), |seed: u64| vec![seed])
}

/// Numbers that a seed determines.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        println!("TIDEGATE_SEED={seed}");
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn second(number: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(number)).expect("within the range of times")
}

fn wrong(severity: Severity, after: u64) -> Verdict {
    let (message, todo) = ("it is wrong".to_owned(), "put it right".to_owned());
    Verdict::Wrong { severity, after: Duration::from_secs(after), message, todo }
}

fn reading(subject: &str, verdict: Verdict) -> Reading {
    Reading::new(AlarmCode::StoreAway, subject, verdict)
}

fn alarm(subject: &str, severity: Severity) -> Alarm {
    Alarm {
        code: AlarmCode::StoreAway,
        subject: subject.to_owned(),
        severity,
        since: Timestamp::UNIX_EPOCH,
        message: "it is wrong".to_owned(),
        todo: "put it right".to_owned(),
    }
}
