//! Watches the gateway while it is loaded: does it go on publishing, and what does it take of memory?

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_benches::{Outcome, Server, Standing};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_secs(5);
/// How often what it says is printed, in times that it is asked.
const PRINTED: u32 = 12;

/// What was seen since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// Heads that were published.
    pub(crate) heads: u64,
    /// The greatest age of a change that no head had, in seconds.
    pub(crate) behind_seconds: u64,
    /// Processor time that the gateway took, in seconds: its commits are in it.
    pub(crate) processor_seconds: f64,
    /// The most memory that was ever resident, in bytes.
    pub(crate) peak_bytes: u64,
}

/// See the head of this module.
pub(crate) struct Watch<'a> {
    server: &'a Server,
    seen: Mutex<Seen>,
    stopped: Condvar,
}

#[derive(Default)]
struct Seen {
    stop: bool,
    /// Heads at the last look, and now.
    heads: (u64, u64),
    behind_seconds: u64,
    /// Processor time until the last look.
    processor_seconds: f64,
}

impl<'a> Watch<'a> {
    /// Watches nothing yet.
    pub(crate) fn new(server: &'a Server) -> Self {
        Self { server, seen: Mutex::default(), stopped: Condvar::new() }
    }

    /// Watches until it is stopped.
    pub(crate) fn run(&self) {
        let begun = Instant::now();
        for asked in 1u32.. {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.stopped.wait_timeout_while(seen, EVERY, |seen| !seen.stop);
            if waited.unwrap_or_else(PoisonError::into_inner).0.stop {
                return;
            }
            let printed = asked.is_multiple_of(PRINTED);
            match self.server.standing() {
                Ok(standing) => self.note(standing, printed.then(|| begun.elapsed())),
                Err(error) => println!("the gateway cannot be asked: {error}"),
            }
        }
    }

    /// Ends [`Watch::run`].
    pub(crate) fn stop(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.stopped.notify_all();
    }

    /// What was seen since the last call of this.
    pub(crate) fn look(&self) -> Outcome<Sight> {
        self.note(self.server.standing()?, None);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = seen.heads.1 - seen.heads.0;
        seen.heads.0 = seen.heads.1;
        let behind_seconds = std::mem::take(&mut seen.behind_seconds);
        let until_now = self.server.processor_seconds()?;
        let processor_seconds = until_now - std::mem::replace(&mut seen.processor_seconds, until_now);
        Ok(Sight { heads, behind_seconds, processor_seconds, peak_bytes: self.server.peak_memory_bytes()? })
    }

    fn note(&self, standing: Standing, printed: Option<Duration>) {
        let Standing { heads, behind_seconds, resident_bytes } = standing;
        if let Some(after) = printed {
            println!(
                "  after {} s: {heads} heads, {behind_seconds} s behind, {} MiB resident",
                after.as_secs(),
                resident_bytes >> 20
            );
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.heads.1 = seen.heads.1.max(heads);
        seen.behind_seconds = seen.behind_seconds.max(behind_seconds);
    }
}
