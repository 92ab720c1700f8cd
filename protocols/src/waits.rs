//! What a call waits for, so that a slow one can say why.
//!
//! The server counts for each call that it carries out; the view says how long it waited for what, from
//! wherever the call has led it, as long as it is in the same task. Outside of a call nothing is counted.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

/// What a call may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Other calls on the same files.
    Lock,
    /// Room for what it writes.
    Room,
    /// The journal: stable storage of this machine.
    Journal,
    /// What this machine has of the data, on its disk.
    Cache,
    /// The object store.
    Store,
}

impl Wait {
    const ALL: [Self; 5] = [Self::Lock, Self::Room, Self::Journal, Self::Cache, Self::Store];

    /// What it is called where people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lock => "other calls",
            Self::Room => "room",
            Self::Journal => "the journal",
            Self::Cache => "the cache",
            Self::Store => "the store",
        }
    }
}

/// What is shorter is not told by itself.
const LONG: Duration = Duration::from_millis(1);
/// The most long waits of one call that are remembered one by one.
const LONG_MAX: usize = 32;

tokio::task_local! {
    static OF_THIS_CALL: Waits;
}

/// One wait of a call, of [`LONG`] or longer.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// For what.
    pub wait: Wait,
    /// When it was over.
    pub ended: Instant,
    /// How long it took.
    pub time: Duration,
}

/// How long a call has waited for what. Waits that overlap count each.
#[derive(Debug, Default)]
pub struct Waits {
    total: [Cell<Duration>; Wait::ALL.len()],
    long: RefCell<Vec<Waited>>,
}

impl Waits {
    /// Carries a call out, and gives what it waited for.
    pub async fn of<T>(call: impl Future<Output = T>) -> (T, Self) {
        let counted = async {
            let answer = call.await;
            (answer, OF_THIS_CALL.with(Self::take))
        };
        OF_THIS_CALL.scope(Self::default(), counted).await
    }

    fn take(&self) -> Self {
        Self { total: self.total.clone(), long: RefCell::new(self.long.take()) }
    }

    fn note(&self, wait: Wait, time: Duration) {
        let counted = &self.total[wait as usize];
        counted.set(counted.get() + time);
        if time >= LONG {
            let mut long = self.long.borrow_mut();
            if long.len() < LONG_MAX {
                long.push(Waited { wait, ended: Instant::now(), time });
            }
        }
    }

    /// Its long waits in the order in which they were over; of very many, the first.
    pub fn long(&self) -> Vec<Waited> {
        self.long.borrow().clone()
    }
}

impl fmt::Display for Waits {
    /// What it waited for a millisecond or longer, longest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut waits: Vec<_> =
            Wait::ALL.into_iter().map(|wait| (self.total[wait as usize].get(), wait)).collect();
        waits.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        waits.retain(|(time, _)| *time >= LONG);
        if waits.is_empty() {
            return f.write_str("nothing that is counted");
        }
        for (place, (time, wait)) in waits.into_iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{} {} ms", wait.name(), time.as_millis())?;
        }
        Ok(())
    }
}

/// Notes that the call of this task has waited.
pub fn waited(wait: Wait, time: Duration) {
    // Outside of a call there is nobody to tell.
    let _ = OF_THIS_CALL.try_with(|waits| waits.note(wait, time));
}

/// Waits, and notes how long.
pub async fn waiting<T>(wait: Wait, future: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = future.await;
    waited(wait, started.elapsed());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_knows_what_it_waited_for_and_nothing_of_others() {
        waited(Wait::Store, Duration::from_secs(9));
        let call = async {
            waited(Wait::Journal, Duration::from_millis(12));
            waited(Wait::Store, Duration::from_millis(700));
            waited(Wait::Journal, Duration::from_millis(3));
            waited(Wait::Lock, Duration::from_micros(900));
            waiting(Wait::Room, async { 7 }).await
        };
        let (answer, waits) = Waits::of(call).await;
        assert_eq!(answer, 7);
        assert_eq!(waits.to_string(), "the store 700 ms, the journal 15 ms");
        let ((), waits) = Waits::of(async {}).await;
        assert_eq!(waits.to_string(), "nothing that is counted");
    }
}
