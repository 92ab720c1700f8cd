//! Goal: the shaper keeps its rate over every span of time, within bodies and when it changes; classes get what they
//! are promised; the number of calls comes near the best fixed one and follows the link.
//! Method: a wire of a given bandwidth, delay and temper, in virtual time. `TIDEGATE_SEED` repeats what chance decides.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::pacer::{SLACK, grain_bytes};
use super::passage::Pace;
use super::{Direction, Limits, Link, Traffic};
use crate::store::random::Random;
use crate::store::{
    Body, Capabilities, DeadlineStore, ErrorKind, LimitStore, ListPage, ObjectInfo, ObjectName, Patience,
    PutMode, Store, StoreError,
};

/// What travels at once.
const PIECE_BYTES: u64 = 64 << 10;

/// A store of nothing but zeros behind a wire. The name of an object is its length.
#[derive(Debug)]
struct Wire {
    nature: Mutex<Nature>,
    free_at: Mutex<Instant>,
    running: AtomicUsize,
    /// Pieces in the order in which they moved, for those who look.
    moved: Mutex<Vec<(Instant, u64)>>,
}

#[derive(Clone, Copy, Debug)]
struct Nature {
    bytes_per_s: f64,
    /// Of one call.
    call_bytes_per_s: f64,
    delay: Duration,
    /// More calls at once are sent away.
    calls_max: usize,
    /// Calls never end.
    hangs: bool,
}

const FAST: Nature = Nature {
    bytes_per_s: 1e12,
    call_bytes_per_s: 1e12,
    delay: Duration::ZERO,
    calls_max: usize::MAX,
    hangs: false,
};

impl Wire {
    fn new(nature: Nature) -> Arc<Self> {
        Arc::new(Self {
            nature: Mutex::new(nature),
            free_at: Mutex::new(Instant::now()),
            running: AtomicUsize::new(0),
            moved: Mutex::default(),
        })
    }

    async fn transfer(&self, direction: Direction, bytes: u64) -> Result<(), StoreError> {
        let nature = *self.nature.lock();
        let running = Running::begin(&self.running);
        tokio::time::sleep(nature.delay).await;
        if running.1 > nature.calls_max {
            return Err(StoreError::new(ErrorKind::Transient, "answer so many at once"));
        }
        if nature.hangs {
            std::future::pending::<()>().await;
        }
        let pace = Pace::current();
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE_BYTES);
            pace.moves(direction, piece).await;
            let at = {
                let mut free_at = self.free_at.lock();
                *free_at = (*free_at).max(Instant::now()) + seconds(piece, nature.bytes_per_s);
                *free_at
            };
            let alone = Instant::now() + seconds(piece, nature.call_bytes_per_s);
            tokio::time::sleep_until(at.max(alone)).await;
            self.moved.lock().push((Instant::now(), piece));
            left -= piece;
        }
        Ok(())
    }
}

fn seconds(bytes: u64, bytes_per_s: f64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_s)
}

struct Running<'a>(&'a AtomicUsize, usize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        Self(count, number)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn no_such_call() -> StoreError {
    StoreError::new(ErrorKind::Invalid, "do this over a wire")
}

#[async_trait]
impl Store for Wire {
    fn address(&self) -> String {
        "wire://".to_owned()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn put(&self, _name: &ObjectName, body: Body, _mode: PutMode) -> Result<(), StoreError> {
        self.transfer(Direction::Up, body.len()).await
    }
    async fn get(&self, name: &ObjectName, _range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let bytes = name.as_str().parse().expect("a length");
        self.transfer(Direction::Down, bytes).await?;
        Ok(Bytes::from(vec![0; bytes as usize]))
    }
    async fn get_tail(&self, _name: &ObjectName, _bytes: u64) -> Result<(Bytes, u64), StoreError> {
        Err(no_such_call())
    }
    async fn head(&self, _name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        Err(no_such_call())
    }
    async fn list(
        &self,
        _prefix: &str,
        _after: Option<&ObjectName>,
        _limit: usize,
    ) -> Result<ListPage, StoreError> {
        Err(no_such_call())
    }
    async fn list_folders(&self, _prefix: &str) -> Result<Vec<String>, StoreError> {
        Err(no_such_call())
    }
    async fn delete(&self, _name: &ObjectName) -> Result<(), StoreError> {
        Err(no_such_call())
    }
}

fn limits(requests_max: usize, bytes_per_s: Option<u64>) -> Limits {
    Limits { requests_max, upload_bytes_per_s: bytes_per_s, download_bytes_per_s: bytes_per_s }
}

fn over(wire: &Arc<Wire>, link: &Arc<Link>) -> Arc<dyn Store> {
    Arc::new(LimitStore::new(wire.clone(), link.clone()))
}

fn object(bytes: u64) -> ObjectName {
    ObjectName::new(bytes.to_string()).expect("a name")
}

/// Reads objects of `bytes` bytes one after the other, for ever; counts what it got.
async fn read_on(store: Arc<dyn Store>, bytes: u64, count: Arc<AtomicU64>) {
    loop {
        match store.get(&object(bytes), None).await {
            Ok(got) => {
                count.fetch_add(got.len() as u64, Ordering::Relaxed);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// So many readers for so long; bytes per second over the wire in the second half.
async fn measure(wire: &Wire, store: &Arc<dyn Store>, readers: usize, bytes: u64, time: Duration) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> =
        (0..readers).map(|_| tokio::spawn(read_on(store.clone(), bytes, count.clone()))).collect();
    let moved = || wire.moved.lock().drain(..).map(|(_, bytes)| bytes).sum::<u64>();
    tokio::time::sleep(time / 2).await;
    moved();
    tokio::time::sleep(time / 2).await;
    let moved = moved();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    moved as f64 / (time / 2).as_secs_f64()
}

fn seed() -> u64 {
    let given = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| Random::from_system().next());
    println!("TIDEGATE_SEED={seed}");
    seed
}

#[tokio::test(start_paused = true)]
async fn under_contention_clients_go_first_and_the_others_keep_their_floor() {
    let wire = Wire::new(FAST);
    let link = Link::new(limits(64, Some(1_000_000)));
    let store = over(&wire, &link);
    let load = |traffic: Traffic, readers: usize| {
        let count = Arc::new(AtomicU64::new(0));
        for _ in 0..readers {
            tokio::spawn(traffic.scope(read_on(store.clone(), 300_000, count.clone())));
        }
    };
    load(Traffic::Housekeeping, 20);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let alone = link.report(Direction::Down).bytes_moved;
    assert!((99_000_000..=101_000_000).contains(&alone[2]), "alone: all of the link: {alone:?}");
    load(Traffic::Replication, 20);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let two = link.report(Direction::Down).bytes_moved;
    let housekeeping = two[2] - alone[2];
    assert!((3_500_000..=7_000_000).contains(&housekeeping), "beside replication: {housekeeping}");
    load(Traffic::Client, 20);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let three = link.report(Direction::Down).bytes_moved;
    let moved: Vec<u64> = three.iter().zip(two).map(|(after, before)| after - before).collect();
    assert!(moved[0] >= 84_000_000, "clients: {moved:?}");
    assert!((6_000_000..=11_000_000).contains(&moved[1]), "replication: {moved:?}");
    assert!((3_500_000..=7_000_000).contains(&moved[2]), "housekeeping: {moved:?}");
}

#[tokio::test(start_paused = true)]
async fn no_span_of_time_has_more_than_the_rate_whatever_comes_and_changes() {
    let mut random = Random::seeded(seed());
    let link = Link::new(limits(64, Some(500_000)));
    let wire = Wire::new(FAST);
    let store = over(&wire, &link);
    for reader in 0..12_u64 {
        let traffic = Traffic::ALL[reader as usize % 3];
        let bytes = 1 + random.next() % 400_000;
        let (store, pause) = (store.clone(), Duration::from_millis(random.next() % 3_000));
        tokio::spawn(traffic.scope(async move {
            loop {
                // Some give up half way.
                let time = Duration::from_millis(200 + 700 * reader);
                let _ = tokio::time::timeout(time, store.get(&object(bytes), None)).await;
                tokio::time::sleep(pause).await;
            }
        }));
    }
    let mut rates = vec![(Instant::now(), 500_000)];
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(random.next() % 4_000)).await;
        let rate = 20_000 + random.next() % 3_000_000;
        link.set(limits(64, Some(rate)));
        rates.push((Instant::now(), rate));
    }
    let moved = wire.moved.lock().clone();
    assert!(moved.len() > 50, "{} pieces", moved.len());
    let allowed = |from: Instant, to: Instant| -> f64 {
        let ends = rates.iter().skip(1).map(|(at, _)| *at).chain([to]);
        let part = |((at, rate), end): (&(Instant, u64), Instant)| {
            let span = end.min(to).saturating_duration_since((*at).max(from));
            span.as_secs_f64() * *rate as f64
        };
        rates.iter().zip(ends).map(part).sum()
    };
    let greatest = rates.iter().map(|(_, rate)| *rate).max().expect("one");
    // A body's piece is told as a whole, once its last grain has passed; timers are a millisecond coarse.
    let slack =
        greatest as f64 * (SLACK + Duration::from_millis(2)).as_secs_f64() + grain_bytes(greatest) as f64;
    for first in 0..moved.len() {
        let mut bytes = 0;
        for (at, piece) in &moved[first + 1..] {
            bytes += piece;
            let most = allowed(moved[first].0, *at) + slack + 12.0 * PIECE_BYTES as f64;
            assert!(bytes as f64 <= most, "{bytes} bytes after {:?}, allowed {most}", moved[first].0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_changes_takes_effect_within_a_body() {
    let wire = Wire::new(FAST);
    let link = Link::new(limits(4, Some(1_000_000)));
    let store = over(&wire, &link);
    let began = Instant::now();
    let reading = tokio::spawn(async move { store.get(&object(10_000_000), None).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(2)).await;
    link.set(limits(4, Some(4_000_000)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    link.set(limits(4, Some(100_000)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    link.set(limits(4, None));
    reading.await.expect("ended").expect("read");
    let took = began.elapsed();
    assert!((Duration::from_millis(12_900)..Duration::from_millis(13_100)).contains(&took), "{took:?}");
    assert_eq!(link.report(Direction::Down).bytes_moved, [10_000_000, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_average_is_the_rate_at_slow_and_fast_rates() {
    for rate in [2_000, 100_000, 10_000_000, 1_000_000_000] {
        let link = Link::new(limits(64, Some(rate)));
        let wire = Wire::new(FAST);
        let bytes = (rate / 20).clamp(1_000, 4 << 20);
        let measured = measure(&wire, &over(&wire, &link), 32, bytes, Duration::from_secs(20)).await;
        let part = measured / rate as f64;
        assert!((0.93..=1.02).contains(&part), "{rate}: {part}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_holds_nobody_up_and_leaves_no_place_taken() {
    let link = Link::new(limits(2, Some(10_000)));
    let store = over(&Wire::new(FAST), &link);
    for _ in 0..50 {
        let store = store.clone();
        let given_up = async move { store.get(&object(1_000_000), None).await.map(drop) };
        tokio::spawn(tokio::time::timeout(Duration::from_millis(500), given_up));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = link.report(Direction::Down);
    assert_eq!((report.requests_running, report.requests_waiting), (0, 0));
    let began = Instant::now();
    store.get(&object(10_000), None).await.expect("read");
    assert!(began.elapsed() < Duration::from_millis(1_100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_pace_is_not_held_against_the_store() {
    let wire = Wire::new(FAST);
    let patience = Patience { base: Duration::from_secs(1), bytes_per_s_min: 1_000_000 };
    let link = Link::new(limits(4, Some(10_000)));
    let store = LimitStore::new(Arc::new(DeadlineStore::new(wire.clone(), patience)), link);
    store.get(&object(1_000_000), None).await.expect("100 s at this rate, and nobody's fault");
    wire.nature.lock().hangs = true;
    let began = Instant::now();
    let hung = store.get(&object(10), None).await.expect_err("the store hangs");
    assert_eq!(hung.kind(), ErrorKind::Transient);
    assert!(began.elapsed() < Duration::from_secs(70));
}

#[tokio::test(start_paused = true)]
async fn a_clients_call_does_not_wait_for_the_end_of_others_long_ones() {
    let wire = Wire::new(Nature { call_bytes_per_s: 1e5, ..FAST });
    let link = Link::new(limits(8, None));
    let store = over(&wire, &link);
    let count = Arc::new(AtomicU64::new(0));
    for number in 0..60 {
        let traffic = if number % 2 == 0 { Traffic::Housekeeping } else { Traffic::Replication };
        tokio::spawn(traffic.scope(read_on(store.clone(), 10_000_000, count.clone())));
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    store.get(&object(1_000), None).await.expect("read");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// The best that a fixed number of calls gets.
async fn best_fixed(nature: Nature, bytes: u64, most: usize) -> (usize, f64) {
    let mut best = (0, 0.0);
    let mut calls = 1;
    while calls <= most {
        let wire = Wire::new(nature);
        let store: Arc<dyn Store> = wire.clone();
        let measured = measure(&wire, &store, calls, bytes, Duration::from_secs(20)).await;
        if measured > best.1 {
            best = (calls, measured);
        }
        calls += (calls / 5).max(1);
    }
    best
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test(start_paused = true)]
async fn the_number_of_calls_comes_within_a_tenth_of_the_best_fixed_one() {
    let mib = 1_048_576.0;
    for (nature, bytes) in [
        // Short and wide, long and wide, long and narrow; slow calls; a store that throttles.
        (Nature { bytes_per_s: 100.0 * mib, delay: MS(5), ..FAST }, 1 << 20),
        (Nature { bytes_per_s: 50.0 * mib, delay: MS(200), ..FAST }, 1 << 20),
        (Nature { bytes_per_s: 1.0 * mib, delay: MS(100), ..FAST }, 256 << 10),
        (Nature { bytes_per_s: 100.0 * mib, call_bytes_per_s: 5.0 * mib, delay: MS(30), ..FAST }, 4 << 20),
        (Nature { bytes_per_s: 80.0 * mib, delay: MS(100), calls_max: 13, ..FAST }, 256 << 10),
    ] {
        let (calls, best) = best_fixed(nature, bytes, 64).await;
        let link = Link::new(limits(64, None));
        let wire = Wire::new(nature);
        let found = measure(&wire, &over(&wire, &link), 128, bytes, Duration::from_mins(5)).await;
        let report = link.report(Direction::Down);
        println!(
            "{nature:?}: best {calls} calls, {best:.0} bytes/s; found {}, {found:.0} bytes/s, {:.2} of the best",
            report.requests_found,
            found / best
        );
        assert!(found >= 0.9 * best, "{nature:?}: {found} of {best}, at {}", report.requests_found);
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_calls_follows_the_link() {
    let mib = 1_048_576.0;
    let wire = Wire::new(FAST);
    let link = Link::new(limits(64, None));
    let store = over(&wire, &link);
    for nature in [
        Nature { bytes_per_s: 60.0 * mib, delay: MS(150), ..FAST },
        Nature { bytes_per_s: 5.0 * mib, delay: MS(20), ..FAST },
        Nature { bytes_per_s: 60.0 * mib, delay: MS(150), calls_max: 9, ..FAST },
        Nature { bytes_per_s: 40.0 * mib, delay: MS(200), ..FAST },
    ] {
        let (calls, best) = best_fixed(nature, 512 << 10, 64).await;
        *wire.nature.lock() = nature;
        let found = measure(&wire, &store, 128, 512 << 10, Duration::from_mins(10)).await;
        let at = link.report(Direction::Down).requests_found;
        println!("{nature:?}: best {calls}, found {at}, {:.2} of the best", found / best);
        assert!(found >= 0.9 * best, "{nature:?}: {found} of {best}, at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_by_one_at_a_time() {
    let wire = Wire::new(Nature { delay: MS(50), calls_max: 0, ..FAST });
    let link = Link::new(limits(64, None));
    measure(&wire, &over(&wire, &link), 64, 1, Duration::from_mins(1)).await;
    assert_eq!(link.report(Direction::Down).requests_found, 1);
}
