//! How fast bytes have moved lately: a count for each second of the last minute.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Seconds that are looked back on.
const SECONDS: usize = 60;

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Speed {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    bytes: [u64; SECONDS],
    /// The second that was counted last, from the start.
    last: u64,
}

impl Speed {
    pub(super) fn new() -> Self {
        let counts = Counts { bytes: [0; SECONDS], last: 0 };
        Self { began: Instant::now(), counts: Mutex::new(counts) }
    }

    pub(super) fn count(&self, bytes: u64) {
        let second = self.began.elapsed().as_secs();
        let mut counts = self.counts.lock();
        counts.turn_to(second);
        counts.bytes[second as usize % SECONDS] += bytes;
    }

    /// Bytes per second over the last minute, or since the start if that is less long ago.
    pub(super) fn bytes_per_s(&self) -> u64 {
        let elapsed = self.began.elapsed();
        let mut counts = self.counts.lock();
        counts.turn_to(elapsed.as_secs());
        // The second that runs counts as far as it has come.
        let full =
            Duration::from_secs(SECONDS as u64 - 1) + Duration::from_nanos(elapsed.subsec_nanos().into());
        let span = elapsed.min(full).as_secs_f64().max(1.0);
        (counts.bytes.iter().sum::<u64>() as f64 / span) as u64
    }
}

impl Counts {
    fn turn_to(&mut self, second: u64) {
        let passed = second.saturating_sub(self.last).min(SECONDS as u64);
        for step in 1..=passed {
            self.bytes[(second + 1 - step) as usize % SECONDS] = 0;
        }
        self.last = self.last.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_speed_is_that_of_the_last_minute() {
        let speed = Speed::new();
        assert_eq!(speed.bytes_per_s(), 0);
        for _ in 0..100 {
            speed.count(500);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let now = speed.bytes_per_s();
        assert!((490..=510).contains(&now), "{now}");
        tokio::time::advance(Duration::from_secs(30)).await;
        let later = speed.bytes_per_s();
        assert!((235..=260).contains(&later), "{later}");
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(speed.bytes_per_s(), 0);
    }
}
