//! Time by two clocks.

use std::iter::Sum;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// What some work has taken, in seconds. On a machine with other work the processor time is what can
/// be compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// By the clock on the wall.
    pub clock: f64,
    /// Processor time of all threads of this process.
    pub processor: f64,
}

impl Spent {
    /// Does something, and says what it took.
    pub fn on<T>(work: impl FnOnce() -> T) -> (T, Self) {
        let (start, processor) = (Instant::now(), Self::processor_so_far());
        let done = work();
        (done, Self::since(start, processor))
    }

    /// Processor time of this process so far: with an instant, for [`Spent::since`].
    pub fn processor_so_far() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// Processor time of the calling thread so far.
    pub fn processor_of_this_thread() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// What this process has taken since then: for work that is not a closure's.
    pub fn since(start: Instant, processor: Duration) -> Self {
        let processor = Self::processor_so_far().saturating_sub(processor);
        Self { clock: start.elapsed().as_secs_f64(), processor: processor.as_secs_f64() }
    }

    /// Does something, and adds what it took.
    pub fn add<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (done, spent) = Self::on(work);
        *self += spent;
        done
    }

    /// The median of each clock.
    pub fn median(runs: &[Self]) -> Self {
        Self {
            clock: median(runs.iter().map(|run| run.clock)),
            processor: median(runs.iter().map(|run| run.processor)),
        }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.clock += other.clock;
        self.processor += other.processor;
    }
}

impl Sum for Spent {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// The middle one of some numbers, of an even count the lower of the two; 0 of none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
