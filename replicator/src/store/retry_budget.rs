//! How many retries there may be: a set share of the requests of the last minute.
//!
//! A few are allowed however few requests there are ([`RETRIES_MIN`]), so that a quiet gateway gets over a single hiccup.
//! All others need requests to be a share of. So an ailing store sees at most so much more than it would if nobody
//! retried, for as long as it ails.

use std::time::Duration;

use tokio::time::Instant;

/// The span that is looked back on, and the parts in which it is counted.
const WINDOW: Duration = Duration::from_mins(1);
const PARTS: usize = 12;

/// Retries that are allowed in a window whatever the share.
const RETRIES_MIN: u64 = 20;

/// See the head of this module.
#[derive(Debug)]
pub struct RetryBudget {
    percent_max: u32,
    began: Instant,
    /// Requests and retries in each part of the window.
    counts: [(u64, u64); PARTS],
    last: u64,
}

impl RetryBudget {
    /// Lets retries be so many percent of requests.
    pub fn new(percent_max: u32) -> Self {
        Self { percent_max, began: Instant::now(), counts: [(0, 0); PARTS], last: 0 }
    }

    /// A request is made for the first time.
    pub fn note_request(&mut self) {
        let part = self.turn();
        self.counts[part].0 += 1;
    }

    /// Whether one may be made once more; then it is counted.
    pub fn take_retry(&mut self) -> bool {
        let part = self.turn();
        let requests: u64 = self.counts.iter().map(|(requests, _)| requests).sum();
        let retries: u64 = self.counts.iter().map(|(_, retries)| retries).sum();
        let allowed = RETRIES_MIN.max(requests * u64::from(self.percent_max) / 100);
        let may = retries < allowed;
        self.counts[part].1 += u64::from(may);
        may
    }

    /// Forgets what is longer ago than the window; the part that runs.
    fn turn(&mut self) -> usize {
        let part_time = WINDOW / PARTS as u32;
        let now = self.began.elapsed().as_millis() as u64 / part_time.as_millis() as u64;
        let passed = now.saturating_sub(self.last).min(PARTS as u64);
        for step in 1..=passed {
            self.counts[(now + 1 - step) as usize % PARTS] = (0, 0);
        }
        self.last = now.max(self.last);
        self.last as usize % PARTS
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        ErrorKind, Fault, FaultStore, MemoryStore, MeteredStore, ObjectName, Operation, RetryPolicy,
        RetryStore, Rule, Store,
    };

    #[tokio::test(start_paused = true)]
    async fn in_no_minute_there_are_more_retries_than_their_share() {
        let mut budget = RetryBudget::new(20);
        let (mut requests, mut retries) = (0, 0);
        for _ in 0..600 {
            for _ in 0..10 {
                budget.note_request();
                requests += 1;
                retries += u64::from(budget.take_retry());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(retries <= requests * 20 / 100 + RETRIES_MIN, "{retries} of {requests}");
        assert!(retries >= requests * 18 / 100, "{retries} of {requests}");
        tokio::time::advance(WINDOW * 2).await;
        let quiet = (0..100).filter(|_| budget.take_retry()).count() as u64;
        assert_eq!(quiet, RETRIES_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_sees_little_more_than_the_first_attempts() {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()), 1);
        faults.inject(Rule::any(), Fault::Before(ErrorKind::Transient));
        let metered = MeteredStore::new(Arc::new(faults), "test");
        let counts = metered.counts();
        let policy = RetryPolicy {
            attempts_max: 6,
            delay_first: Duration::from_millis(200),
            delay_max: Duration::from_secs(10),
            retry_percent_max: 20,
        };
        let store = RetryStore::new(Arc::new(metered), policy);
        let name = ObjectName::new("a").expect("a name");
        for _ in 0..1000 {
            let (got, ()) = tokio::join!(store.head(&name), tokio::time::sleep(Duration::from_millis(20)));
            got.expect_err("it always fails");
        }
        let sent = counts.requests(Operation::Head);
        assert!(sent <= 1000 * 12 / 10 + RETRIES_MIN * 2, "{sent}");
    }
}
