//! The fastest that bytes have moved in the last day: what the link can do, as far as it was used.
//!
//! Bytes are counted in windows of [`WINDOW_SECONDS`]; of each hour the best window is kept.

use parking_lot::Mutex;
use tokio::time::Instant;

/// Long enough that a burst out of some buffer does not count.
const WINDOW_SECONDS: u64 = 10;
const HOUR_SECONDS: u64 = 3_600;
/// Hours that are looked back on.
const HOURS: usize = 24;

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Best {
    began: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The window that runs, counted from the start, and its bytes.
    window: u64,
    bytes: u64,
    /// The most bytes of a window of each of the last hours, and which hour that was.
    hours: [(u64, u64); HOURS],
}

impl Best {
    pub(super) fn new() -> Self {
        let seen = Seen { window: 0, bytes: 0, hours: [(0, 0); HOURS] };
        Self { began: Instant::now(), seen: Mutex::new(seen) }
    }

    pub(super) fn count(&self, bytes: u64) {
        let seconds = self.began.elapsed().as_secs();
        let mut seen = self.seen.lock();
        seen.turn_to(seconds);
        seen.bytes += bytes;
    }

    /// Bytes per second of the best window; 0 when nothing has moved.
    pub(super) fn bytes_per_s(&self) -> u64 {
        let seconds = self.began.elapsed().as_secs();
        let mut seen = self.seen.lock();
        seen.turn_to(seconds);
        let hour = seconds / HOUR_SECONDS;
        let young = seen.hours.iter().filter(|(of, _)| hour - of < HOURS as u64);
        young.map(|(_, bytes)| bytes / WINDOW_SECONDS).max().unwrap_or(0)
    }
}

impl Seen {
    fn turn_to(&mut self, seconds: u64) {
        let window = seconds / WINDOW_SECONDS;
        if window == self.window {
            return;
        }
        let hour = self.window * WINDOW_SECONDS / HOUR_SECONDS;
        let kept = &mut self.hours[hour as usize % HOURS];
        if kept.0 != hour {
            *kept = (hour, 0);
        }
        kept.1 = kept.1.max(self.bytes);
        (self.window, self.bytes) = (window, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_best_window_counts_for_a_day() {
        let best = Best::new();
        assert_eq!(best.bytes_per_s(), 0);
        for bytes in [100, 900, 300] {
            best.count(bytes);
            tokio::time::advance(Duration::from_secs(WINDOW_SECONDS)).await;
        }
        assert_eq!(best.bytes_per_s(), 90);
        tokio::time::advance(Duration::from_secs(23 * HOUR_SECONDS)).await;
        best.count(50);
        tokio::time::advance(Duration::from_secs(WINDOW_SECONDS)).await;
        assert_eq!(best.bytes_per_s(), 90);
        tokio::time::advance(Duration::from_secs(HOUR_SECONDS)).await;
        assert_eq!(best.bytes_per_s(), 5);
    }
}
