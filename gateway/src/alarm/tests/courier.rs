//! Couriers, whose pauses take no time.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_replicator::repository::Wait;
use tokio::sync::Semaphore;

use super::*;
use crate::alarm::{ATTEMPTS_MAX, Courier, DeliverError, Notice, QUEUE_MAX, Sender, Tidings, Way};

/// Answers as it is told, and keeps what it got.
#[derive(Debug)]
struct Script {
    /// How often it fails before it takes a notice.
    failures: Mutex<u32>,
    /// Deliveries that may end.
    gate: Semaphore,
    got: Mutex<Vec<String>>,
    arrived: tokio::sync::Notify,
}

impl Script {
    fn new(failures: u32, open: usize) -> Arc<Self> {
        let (failures, gate) = (Mutex::new(failures), Semaphore::new(open));
        let (got, arrived) = (Mutex::default(), tokio::sync::Notify::new());
        Arc::new(Self { failures, gate, got, arrived })
    }

    async fn has(&self, count: usize) -> Vec<String> {
        while self.got.lock().len() < count {
            self.arrived.notified().await;
        }
        self.got.lock().clone()
    }
}

#[async_trait]
impl Way for Script {
    async fn deliver(&self, notice: &Notice, _: &Sender) -> Result<(), DeliverError> {
        self.gate.acquire().await.expect("open").forget();
        let left = self.failures.lock().checked_sub(1);
        if let Some(left) = left {
            *self.failures.lock() = left;
            return Err(DeliverError::Passing("not now".to_owned()));
        }
        self.got.lock().push(notice.alarm.subject.clone());
        self.arrived.notify_one();
        Ok(())
    }
}

fn sender() -> Sender {
    Sender { host: "harbour".to_owned(), repository: "file:///srv/r".to_owned() }
}

fn notice(subject: &str) -> Notice {
    Notice { tidings: Tidings::Raised, alarm: alarm(subject, Severity::Warning), at: second(0) }
}

/// Pauses that take no time, and are counted.
#[derive(Debug, Default)]
struct Pauses(Mutex<Vec<Duration>>);

#[async_trait]
impl Wait for Pauses {
    async fn wait(&self, duration: Duration) {
        self.0.lock().push(duration);
        tokio::task::yield_now().await;
    }
}

fn courier(way: &Arc<Script>) -> (Courier, Arc<Pauses>) {
    let pauses = Arc::<Pauses>::default();
    (Courier::start("ops", way.clone(), sender(), Duration::from_mins(5), pauses.clone()), pauses)
}

#[tokio::test]
async fn what_fails_in_passing_is_tried_again_and_in_order() {
    let way = Script::new(ATTEMPTS_MAX - 1, 1000);
    let (courier, _pauses) = courier(&way);
    courier.tell(notice("first"));
    courier.tell(notice("second"));
    assert_eq!(way.has(2).await, ["first", "second"]);
}

#[tokio::test]
async fn what_fails_too_often_is_given_up_and_the_next_is_told() {
    let way = Script::new(ATTEMPTS_MAX, 1000);
    let (courier, pauses) = courier(&way);
    courier.tell(notice("lost"));
    courier.tell(notice("next"));
    assert_eq!(way.has(1).await, ["next"]);
    let pauses = pauses.0.lock().clone();
    assert_eq!(pauses.len() as u32, ATTEMPTS_MAX - 1);
    for (number, pause) in pauses.iter().enumerate() {
        let longest = Duration::from_secs(1 << number);
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
    }
}

#[tokio::test]
async fn who_never_answers_holds_nobody_up_and_what_waits_is_bounded() {
    let way = Script::new(0, 0);
    let (courier, _pauses) = courier(&way);
    for number in 0..QUEUE_MAX + 10 {
        courier.tell(notice(&number.to_string()));
    }
    // The oldest have gone; what is left comes when the notifier does.
    way.gate.add_permits(QUEUE_MAX * 2);
    let got = way.has(QUEUE_MAX - 1).await;
    assert_eq!(got.last().map(String::as_str), Some(&*(QUEUE_MAX + 9).to_string()));
}

/// Opens the way when the first pause begins.
#[derive(Debug)]
struct Opens(Arc<Script>);

#[async_trait]
impl Wait for Opens {
    async fn wait(&self, _: Duration) {
        self.0.gate.add_permits(1);
    }
}

#[tokio::test]
async fn one_that_hangs_is_tried_again_after_its_time() {
    let way = Script::new(0, 0);
    let opens = Arc::new(Opens(way.clone()));
    let courier = Courier::start("ops", way.clone(), sender(), Duration::from_millis(20), opens);
    courier.tell(notice("late"));
    assert_eq!(way.has(1).await, ["late"]);
}
