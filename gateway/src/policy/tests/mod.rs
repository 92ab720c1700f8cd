//! Claims about policies. `TIDEGATE_SEED` repeats a random test.

mod engine;
mod hooks;
mod keep;
mod place;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tidegate_replicator::map;
use tidegate_replicator::repository::NewSnapshot;
use tokio::sync::Semaphore;

use super::*;
use crate::appliance::INCOMPLETE_TAG;
use crate::clock::Clock;
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::settings::Settings;

/// Time zones whose clocks change in different ways: at night, at midnight, by half an hour, by a whole day, never.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
];

fn seeds() -> Vec<u64> {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    given.map_or(vec![1, 2, u64::from(std::process::id())], |seed: u64| vec![seed])
}

/// Numbers that a seed determines.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        println!("TIDEGATE_SEED={seed}");
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).expect("within the range of times")
}

/// The plan of a policy `nightly` of shares `a` and `b` with these keys.
fn plan(keys: &str) -> Plan {
    plans(&format!("[[policy]]\nname = \"nightly\"\nshares = [\"a\", \"b\"]\n{keys}\n")).remove(0)
}

/// The plans of these tables, beside shares `a` and `b`.
fn plans(tables: &str) -> Vec<Plan> {
    let text = format!(
        "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
         [[share]]\nname = \"a\"\n[[share]]\nname = \"b\"\n{tables}"
    );
    Plan::all(&Settings::parse(&text).unwrap_or_else(|error| panic!("{error}")))
}

/// A clock that a test turns.
#[derive(Debug)]
struct Turned(Mutex<Timestamp>);

impl Turned {
    fn at(time: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new(time)))
    }

    fn turn(&self, time: Timestamp) {
        *self.0.lock() = time;
    }

    fn time(&self) -> Timestamp {
        *self.0.lock()
    }
}

impl Clock for Turned {
    fn now(&self) -> map::Timestamp {
        let now = self.time();
        map::Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond().cast_unsigned() }
    }
}

/// A gateway in memory.
struct FakeHost {
    clock: Arc<Turned>,
    /// For sources that are saved at once.
    places: Arc<Semaphore>,
    state: Mutex<HostState>,
}

#[derive(Default)]
struct HostState {
    shares: BTreeMap<String, Vec<Taken>>,
    /// When each snapshot of a share was taken by a policy.
    runs: Vec<(String, Timestamp)>,
    /// Shares whose store does not answer.
    away: Vec<String>,
    /// Shares and sources whose snapshots take until they are cancelled.
    stuck: Vec<String>,
    /// Sources of which two names cannot be read.
    lacking: Vec<String>,
    /// What is said of those that are away; none: that the store is away.
    refusal: Option<String>,
    /// Shares whose snapshots cannot be listed.
    hidden: Vec<String>,
    /// Whether a snapshot is taken although it is answered that it was not.
    lost_answers: bool,
    /// The share whose snapshot is the moment at which the run is cancelled.
    cancels_at: Option<String>,
    /// Whether a share of one moment gets its snapshot although another one is away, which no host may do.
    apart: bool,
    /// Whether the newest snapshot is missing from listings.
    stale: bool,
    number: u64,
}

impl FakeHost {
    fn new(clock: Arc<Turned>) -> Arc<Self> {
        Arc::new(Self { clock, places: Arc::new(Semaphore::new(2)), state: Mutex::default() })
    }

    fn add(&self, share: &str, policy: Option<&str>, tags: BTreeMap<String, String>) -> Taken {
        let mut state = self.state.lock();
        state.number += 1;
        let id = format!("id-{}", state.number);
        let taken = Taken { id, at: self.clock.time(), policy: policy.map(str::to_owned), tags, lacks: None };
        state.shares.entry(share.to_owned()).or_default().push(taken.clone());
        taken
    }

    fn of(&self, share: &str, policy: Option<&str>) -> Vec<Timestamp> {
        let state = self.state.lock();
        let all = state.shares.get(share).cloned().unwrap_or_default();
        all.into_iter().filter(|taken| taken.policy.as_deref() == policy).map(|taken| taken.at).collect()
    }

    fn runs_of(&self, share: &str) -> Vec<Timestamp> {
        let state = self.state.lock();
        state.runs.iter().filter(|(of, _)| of == share).map(|(_, at)| *at).collect()
    }

    fn answers(&self, share: &str) -> Result<(), ControlError> {
        let state = self.state.lock();
        if !state.away.iter().any(|away| away == share) {
            return Ok(());
        }
        let message = state.refusal.as_deref().unwrap_or("the store is away");
        Err(ControlError::new(ErrorKind::StoreAway, message))
    }
}

#[async_trait]
impl PolicyHost for FakeHost {
    async fn snapshots(&self, share: &str) -> Result<Vec<Taken>, ControlError> {
        let state = self.state.lock();
        if state.hidden.iter().any(|hidden| hidden == share) {
            return Err(ControlError::new(ErrorKind::NotFound, "the share is not served"));
        }
        let mut listed = state.shares.get(share).cloned().unwrap_or_default();
        if state.stale {
            listed.pop();
        }
        Ok(listed)
    }

    async fn ready(&self, sources: usize, _job: &JobHandle) -> Result<Place, ControlError> {
        Ok(Place::wait(&self.places, sources).await)
    }

    async fn take(
        &self,
        share: &str,
        new: NewSnapshot,
        place: Option<&Place>,
        job: &JobHandle,
    ) -> Result<Taken, ControlError> {
        let _turn = match place {
            Some(place) => Some(place.turn().await),
            None => None,
        };
        let is_stuck = self.state.lock().stuck.iter().any(|stuck| stuck == share);
        if is_stuck {
            job.cancelled().await;
            job.checkpoint()?;
        }
        if self.state.lock().cancels_at.as_deref() == Some(share) {
            job.cancel();
        }
        let lost = self.state.lock().lost_answers;
        if !lost {
            self.answers(share)?;
        }
        let is_lacking = self.state.lock().lacking.iter().any(|lacking| lacking == share);
        let lacks = is_lacking.then(|| "2 names could not be read: x: no permission and others".to_owned());
        let tag = is_lacking.then(|| (INCOMPLETE_TAG.to_owned(), "2".to_owned()));
        let taken = self.add(share, new.policy.as_deref(), new.tags.into_iter().chain(tag).collect());
        self.state.lock().runs.push((share.to_owned(), taken.at));
        self.answers(share)?;
        Ok(Taken { lacks, ..taken })
    }

    async fn take_together(&self, shares: &[String], new: NewSnapshot) -> Vec<Result<Taken, ControlError>> {
        let apart = self.state.lock().apart;
        let any = shares.iter().find_map(|share| self.answers(share).err());
        let take = |share: &String| {
            let refused = if apart { self.answers(share).err() } else { any.clone() };
            refused.map_or_else(|| Ok(self.add(share, new.policy.as_deref(), new.tags.clone())), Err)
        };
        shares.iter().map(take).collect()
    }

    async fn forget(&self, share: &str, snapshot: &Taken) -> Result<(), ControlError> {
        self.answers(share)?;
        let mut state = self.state.lock();
        let all = state.shares.get_mut(share).expect("a share with snapshots");
        let at = all.iter().position(|taken| taken.id == snapshot.id).expect("it is there");
        all.remove(at);
        Ok(())
    }
}
