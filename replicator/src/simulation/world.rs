//! What all of a simulation share: virtual time, the numbers that decide, the weather of the network, what was seen.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::chance::Numbers;
use super::oracle::Oracle;
use crate::repository::UtcNanos;
use crate::store::Operation;

/// When a simulation begins, in nanoseconds since 1970.
const EPOCH_NANOS: i64 = 1_700_000_000_000_000_000;
/// Events that are shown of a run that failed.
const TAIL: usize = 60;

/// How requests fare: each number is a chance in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Nothing is done, and that is said.
    pub(super) refused: u64,
    /// Done, and said to have failed.
    pub(super) reply_lost: u64,
    /// Said to have failed, and done later, up to [`Weather::late_ms_max`].
    pub(super) late: u64,
    /// See `late`.
    pub(super) late_ms_max: u64,
    /// The whole machine stands still for up to a minute.
    pub(super) paused: u64,
    /// The longest that half of a request takes, in milliseconds.
    pub(super) latency_ms_max: u64,
    /// Listings show each object as of some moment while they are made.
    pub(super) listings_take_time: bool,
}

impl Weather {
    /// Every request is answered, soon.
    pub(super) const CALM: Self = Self {
        refused: 0,
        reply_lost: 0,
        late: 0,
        late_ms_max: 0,
        paused: 0,
        latency_ms_max: 3,
        listings_take_time: false,
    };
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) before: Duration,
    pub(super) listing: Duration,
    pub(super) after: Duration,
    pub(super) end: End,
    /// Whether it is lost if its sender dies before it is carried out.
    pub(super) dies_with_sender: bool,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered,
    Refused,
    ReplyLost,
    Late(Duration),
}

/// A gateway's machine, as the network sees it.
#[derive(Clone, Debug, Default)]
struct Machine {
    paused_until: Option<Instant>,
    /// Sites that it cannot reach.
    cut: Vec<usize>,
}

#[derive(Default)]
struct Trace {
    digest: DefaultHasher,
    events: u64,
    tail: VecDeque<String>,
}

/// See the head of this module.
pub(super) struct World {
    pub(super) oracle: Mutex<Oracle>,
    numbers: Mutex<Numbers>,
    weather: Mutex<Weather>,
    machines: Mutex<Vec<Machine>>,
    trace: Mutex<Trace>,
    violations: Mutex<Vec<String>>,
    began: Instant,
    shows: bool,
    /// The site that shall lead, where operators keep their gateways' settings alike.
    wanted_lead: Mutex<Option<usize>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(super) fn new(seed: u64, machines: usize, weather: Weather) -> Self {
        Self {
            oracle: Mutex::default(),
            numbers: Mutex::new(Numbers::seeded(seed)),
            weather: Mutex::new(weather),
            machines: Mutex::new(vec![Machine::default(); machines]),
            trace: Mutex::default(),
            violations: Mutex::default(),
            began: Instant::now(),
            shows: std::env::var_os("TIDEGATE_TRACE").is_some(),
            wanted_lead: Mutex::default(),
        }
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        self.numbers.lock().below(bound)
    }

    /// Whether something of this chance happens.
    pub(super) fn one_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
        for machine in &mut *self.machines.lock() {
            *machine = Machine::default();
        }
    }

    /// The site that shall lead; none where every operator does as he likes.
    pub(super) fn wanted_lead(&self) -> Option<usize> {
        *self.wanted_lead.lock()
    }

    pub(super) fn want_lead(&self, site: usize) {
        *self.wanted_lead.lock() = Some(site);
    }

    /// Virtual time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn now(&self) -> UtcNanos {
        UtcNanos::new(EPOCH_NANOS + self.elapsed().as_nanos() as i64)
    }

    pub(super) fn milliseconds(&self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    /// The machine stands still for that long, and everything on it.
    pub(super) fn pause(&self, who: usize, time: Duration) {
        self.event(&format!("machine {who} stands still for {time:?}"));
        self.machines.lock()[who].paused_until = Some(Instant::now() + time);
    }

    /// Returns when the machine goes on.
    pub(super) async fn awake(&self, who: usize) {
        loop {
            let until = self.machines.lock()[who].paused_until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Cuts or mends the way of a machine to a site.
    pub(super) fn cut(&self, who: usize, site: usize, cut: bool) {
        self.event(&format!(
            "the way of machine {who} to site {site} is {}",
            if cut { "cut" } else { "mended" }
        ));
        let mut machines = self.machines.lock();
        machines[who].cut.retain(|other| *other != site);
        if cut {
            machines[who].cut.push(site);
        }
    }

    /// Draws what becomes of a request.
    pub(super) fn fate(&self, who: usize, site: usize, operation: Operation) -> Fate {
        let weather = *self.weather.lock();
        if weather.paused > 0 && self.below(1000) < weather.paused {
            let time = self.milliseconds(60_000);
            self.pause(who, time);
        }
        let drawn = self.below(1000);
        let changes = matches!(operation, Operation::Put | Operation::Delete);
        let is_cut = self.machines.lock()[who].cut.contains(&site);
        let (refused, lost) = (weather.refused, weather.refused + weather.reply_lost);
        let end = match drawn {
            _ if is_cut => End::Refused,
            drawn if drawn < refused => End::Refused,
            drawn if drawn < lost => End::ReplyLost,
            drawn if drawn < lost + weather.late && changes => {
                End::Late(self.milliseconds(weather.late_ms_max))
            }
            _ => End::Answered,
        };
        Fate {
            before: self.milliseconds(weather.latency_ms_max),
            listing: if weather.listings_take_time {
                self.milliseconds(weather.latency_ms_max)
            } else {
                Duration::ZERO
            },
            after: self.milliseconds(weather.latency_ms_max),
            end,
            dies_with_sender: self.one_in(2),
        }
    }

    /// Notes what happened: in the digest of the run, and to be shown if it fails.
    pub(super) fn event(&self, text: &str) {
        let line = format!("{:>12.3} {text}", self.elapsed().as_secs_f64());
        if self.shows {
            println!("{line}");
        }
        let mut trace = self.trace.lock();
        trace.digest.write(line.as_bytes());
        trace.events += 1;
        trace.tail.push_back(line);
        if trace.tail.len() > TAIL {
            trace.tail.pop_front();
        }
    }

    /// A promise was broken.
    pub(super) fn violation(&self, text: String) {
        self.event(&format!("BROKEN: {text}"));
        self.violations.lock().push(text);
    }

    /// What was found, which counts no more.
    pub(super) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.violations.lock())
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// Digest and number of all events so far.
    pub(super) fn digest(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.digest.finish(), trace.events)
    }

    /// The last events.
    pub(super) fn tail(&self) -> String {
        self.trace.lock().tail.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
