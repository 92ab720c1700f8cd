//! How long many operations took, in memory that does not grow with their number.
//!
//! Durations are counted in buckets, each one part in a hundred wider than the one before, from a
//! microsecond to some hours; what is asked for comes out as the middle of its bucket.

/// The end of the first bucket, in seconds.
const FIRST_SECONDS: f64 = 1e-6;
/// Each bucket ends at this many times where it begins.
const WIDTH: f64 = 1.01;
/// Buckets: the last ends above six hours.
const BUCKETS: usize = 2400;

/// See the head of this module.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// Empty until the first duration is counted.
    counts: Vec<u64>,
}

impl Durations {
    /// Counts one.
    pub fn add(&mut self, seconds: f64) {
        if self.counts.is_empty() {
            self.counts.resize(BUCKETS, 0);
        }
        let bucket = (seconds.max(FIRST_SECONDS) / FIRST_SECONDS).ln() / WIDTH.ln();
        self.counts[(bucket as usize).min(BUCKETS - 1)] += 1;
    }

    /// Counts those of another as well.
    pub fn extend(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Seconds below which this part of them stayed; nothing of nothing.
    pub fn within(&self, part: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let mut left = (all as f64 * part) as u64;
        for (bucket, &count) in self.counts.iter().enumerate() {
            if left < count {
                return FIRST_SECONDS * WIDTH.powf(bucket as f64 + 0.5);
            }
            left -= count;
        }
        0.0
    }
}
