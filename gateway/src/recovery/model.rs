//! Time from bytes, requests, and what carries them. Pure.
//!
//! **One after the other** ([`one_by_one`]): each request waits for the answer before it, then its bytes pass.
//!
//! **Several at once** ([`fetch`]): a closed queue with two stations. A request spends the time of an answer without
//! taking anything from the others, then shares the link (or the disk, if that is slower) with those that are there too.
//! The number that such a system does in a second is found by mean value analysis: of `n` requests, the last one to
//! come finds at the link what `n - 1` would have there. That is exact for a link that is shared fairly, whatever
//! the sizes of requests are, and becomes `n / latency` for small ones and `rate / size` for large ones.
//!
//! What it leaves out: retries, the time that a connection needs to get up to speed, and everything else that passes.

use std::time::Duration;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Bytes of bodies.
    pub bytes: u64,
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// The way to a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// The time of an answer without a body.
    pub latency: Duration,
    /// Bytes per second, all requests together.
    pub bytes_per_s: f64,
    /// Requests at once.
    pub requests_max: usize,
}

/// The machine that recovers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Bytes per second that its disk takes; `None` where that was not measured: it bounds nothing then.
    pub disk_bytes_per_s: Option<f64>,
    /// Bytes per second, as stored, that one core opens: decrypts, checks and decompresses.
    pub open_bytes_per_s: f64,
    /// Cores that open.
    pub cores: usize,
    /// From the start of the program to its first request, and local work between requests.
    pub start: Duration,
}

impl Machine {
    /// What one core opens in a second: measured at 256 KiB of plaintext in 0.3 ms (decision 0001), as stored about
    /// half of that.
    pub const OPEN_BYTES_PER_S: f64 = 4e8;
    /// What opening of journal and database take on an empty disk.
    pub const START: Duration = Duration::from_millis(500);

    /// This machine, its disk not measured.
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { disk_bytes_per_s: None, open_bytes_per_s: Self::OPEN_BYTES_PER_S, cores, start: Self::START }
    }
}

/// What most of a time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Answers of the store.
    Latency,
    /// Bytes on the link.
    Link,
    /// Bytes on the disk.
    Disk,
    /// Decrypting and decompressing.
    Opening,
    /// Waits that have nothing to do with any of these: the settling of a claim, starting.
    Waiting,
    /// Thawing of what sleeps in the archive of the store.
    Thawing,
}

impl Bound {
    /// As it is written in JSON and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Link => "link",
            Self::Disk => "disk",
            Self::Opening => "opening",
            Self::Waiting => "waiting",
            Self::Thawing => "thawing",
        }
    }
}

/// The time of requests that are made one after the other, whose bytes are opened; and what most of it is. `waits`
/// are added as they are.
pub fn one_by_one(way: &Way, machine: &Machine, amount: Amount, waits: Duration) -> (Duration, Bound) {
    let latency = way.latency.as_secs_f64() * amount.requests as f64;
    let link = amount.bytes as f64 / way.bytes_per_s.max(1.0);
    // What is waited for is opened by one core.
    let opening = amount.bytes as f64 / machine.open_bytes_per_s.max(1.0);
    let waits = (waits + machine.start).as_secs_f64();
    let parts =
        [(latency, Bound::Latency), (link, Bound::Link), (opening, Bound::Opening), (waits, Bound::Waiting)];
    let most =
        parts.iter().max_by(|one, other| one.0.total_cmp(&other.0)).map_or(Bound::Waiting, |part| part.1);
    (seconds(parts.iter().map(|part| part.0).sum()), most)
}

/// The time of requests of which several are made at once, whose bytes go to the disk as they are; and what most of it
/// is.
pub fn fetch(way: &Way, machine: &Machine, amount: Amount) -> (Duration, Bound) {
    if amount.requests == 0 {
        return (Duration::ZERO, Bound::Link);
    }
    let link = way.bytes_per_s.max(1.0);
    let rate = machine.disk_bytes_per_s.map_or(link, |disk| disk.max(1.0).min(link));
    let latency = way.latency.as_secs_f64();
    let requests = amount.requests as f64;
    let each = amount.bytes as f64 / requests / rate;
    let at_once = (way.requests_max.max(1) as u64).min(amount.requests);
    // The first ones come together, and the last ones leave together.
    let ends = latency + at_once as f64 * each;
    let between = (requests - at_once as f64) / throughput(latency, each, at_once);
    let bytes_time = amount.bytes as f64 / rate;
    let bound = match () {
        () if bytes_time < (ends + between) / 2.0 => Bound::Latency,
        () if rate < link => Bound::Disk,
        () => Bound::Link,
    };
    (seconds(ends + between), bound)
}

/// Requests per second of a closed queue in which `at_once` go round: a delay, and a station that they share.
fn throughput(delay: f64, service: f64, at_once: u64) -> f64 {
    let (mut waiting, mut rate) = (0.0, f64::INFINITY);
    for there in 1..=at_once {
        let stay = service * (1.0 + waiting);
        rate = there as f64 / (delay + stay).max(f64::MIN_POSITIVE);
        waiting = rate * stay;
    }
    rate
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
