//! Work that many ask for and one round does for all of them: a commit that contains everything that was acknowledged
//! before it began.
//!
//! Who asks while a round runs is answered by the next. There is one round at a time, in a task of its own, however many
//! ask and however many of them go away meanwhile.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Asked {
    /// How often it was asked for.
    count: u64,
    /// Whether rounds are under way.
    running: bool,
}

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Rounds {
    asked: Mutex<Asked>,
    /// Up to which question the newest round answers, and whether it succeeded.
    done: watch::Sender<(u64, bool)>,
}

/// Says that no rounds are under way if they end by a panic.
struct Running {
    rounds: Arc<Rounds>,
    armed: bool,
}

impl Running {
    /// They have ended well, and that has been said.
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.armed {
            self.rounds.asked.lock().running = false;
        }
    }
}

impl Rounds {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), done: watch::channel((0, false)).0 })
    }

    /// Waits for a round that begins after this call; whether it succeeded. A later one that has ended meanwhile counts in
    /// its place.
    pub(super) async fn next<F, R>(self: &Arc<Self>, round: F) -> bool
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = bool> + Send + 'static,
    {
        let mut done = self.done.subscribe();
        let ticket = {
            let mut asked = self.asked.lock();
            asked.count += 1;
            if !std::mem::replace(&mut asked.running, true) {
                tokio::spawn(run(Running { rounds: self.clone(), armed: true }, round));
            }
            asked.count
        };
        done.wait_for(|(through, _)| *through >= ticket).await.is_ok_and(|done| done.1)
    }
}

/// Rounds until nobody asks for one more.
async fn run<F, R>(running: Running, round: F)
where
    F: Fn() -> R,
    R: Future<Output = bool>,
{
    let rounds = running.rounds.clone();
    loop {
        let through = rounds.asked.lock().count;
        let succeeded = round().await;
        rounds.done.send_replace((through, succeeded));
        let mut asked = rounds.asked.lock();
        if asked.count == through {
            // Under the lock: who asks next begins anew.
            asked.running = false;
            drop(asked);
            running.disarm();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_round_runs_shares_the_next_one() {
        let (rounds, count, gate) =
            (Rounds::new(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let round = || {
            let (count, gate) = (count.clone(), gate.clone());
            move || {
                let (count, gate) = (count.clone(), gate.clone());
                async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.expect("open").forget();
                    true
                }
            }
        };
        let ask = || {
            tokio::spawn({
                let (rounds, round) = (rounds.clone(), round());
                async move { rounds.next(round).await }
            })
        };
        let first = ask();
        while count.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..50).map(|_| ask()).collect();
        let gone = ask();
        tokio::task::yield_now().await;
        gone.abort();
        gate.add_permits(2);
        assert!(first.await.expect("ended"));
        for other in others {
            assert!(other.await.expect("ended"));
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
        gate.add_permits(1);
        assert!(rounds.next(round()).await, "and it begins again");
    }
}
