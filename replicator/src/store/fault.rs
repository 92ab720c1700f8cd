//! A decorator that makes a store fail on purpose, for the tests of every crate.
//!
//! Rules say which calls fail and how: by script (the third put of a head) or by chance (one get in
//! ten), from a seed. Switches change the weather for all calls: partition, full, throttle. Everything
//! can be changed while calls run. With one caller the same seed gives the same faults; with several, the
//! order in which they call decides too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::body::read_whole;
use super::random::Random;
use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, Operation, PutMode, Special,
    Store, StoreError,
};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and nothing was done.
    Before(ErrorKind),
    /// The call is carried out and fails all the same: its reply is lost.
    After(ErrorKind),
    /// What is stored, or read, ends at half its length, and nobody says so.
    Truncate,
    /// One bit of what is stored, or read, is another.
    FlipBit,
    /// The call takes longer.
    Delay(Duration),
    /// The call never ends.
    Hang,
}

/// Which calls a fault meets. Without more said, every call, always.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: Option<Operation>,
    name_part: String,
    skip: u64,
    times: u64,
    chance: f64,
}

impl Rule {
    /// Every call.
    pub fn any() -> Self {
        Self { operation: None, name_part: String::new(), skip: 0, times: u64::MAX, chance: 1.0 }
    }

    /// Calls of one operation.
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::any() }
    }

    /// Only names, or listed prefixes, that contain `part`.
    #[must_use]
    pub fn named(self, part: &str) -> Self {
        Self { name_part: part.to_owned(), ..self }
    }

    /// Not the first `calls` that it would meet.
    #[must_use]
    pub fn skipping(self, calls: u64) -> Self {
        Self { skip: calls, ..self }
    }

    /// No more than `calls` times.
    #[must_use]
    pub fn times(self, calls: u64) -> Self {
        Self { times: calls, ..self }
    }

    /// Each call with this probability.
    #[must_use]
    pub fn chance(self, chance: f64) -> Self {
        Self { chance, ..self }
    }

    fn fires(&mut self, operation: Operation, name: &str, random: &mut Random) -> bool {
        let meant = self.operation.is_none_or(|meant| meant == operation) && name.contains(&self.name_part);
        if !meant || self.times == 0 || random.fraction() >= self.chance {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

#[derive(Debug)]
struct Weather {
    rules: Vec<(Rule, Fault)>,
    random: Random,
    partitioned: bool,
    full: bool,
    calls_per_s_max: Option<u32>,
    second: (Instant, u32),
    injected: u64,
}

/// See the head of this module. Clones share rules and switches.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    weather: Arc<Mutex<Weather>>,
}

impl FaultStore {
    /// A store that works until told otherwise.
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        let weather = Weather {
            rules: Vec::new(),
            random: Random::seeded(seed),
            partitioned: false,
            full: false,
            calls_per_s_max: None,
            second: (Instant::now(), 0),
            injected: 0,
        };
        Self { inner, weather: Arc::new(Mutex::new(weather)) }
    }

    /// Adds a rule. A call can meet several; their faults come in the order in which they were added.
    pub fn inject(&self, rule: Rule, fault: Fault) {
        self.weather.lock().rules.push((rule, fault));
    }

    /// Cuts the store off, or brings it back: every call fails and nothing is done.
    pub fn partition(&self, on: bool) {
        self.weather.lock().partitioned = on;
    }

    /// Lets the store be full, or have room again.
    pub fn full(&self, on: bool) {
        self.weather.lock().full = on;
    }

    /// Refuses calls beyond so many in a second.
    pub fn throttle(&self, calls_per_s_max: Option<u32>) {
        self.weather.lock().calls_per_s_max = calls_per_s_max;
    }

    /// Forgets all rules and switches everything off. Calls that hang stay so.
    pub fn clear(&self) {
        let mut weather = self.weather.lock();
        weather.rules.clear();
        (weather.partitioned, weather.full, weather.calls_per_s_max) = (false, false, None);
    }

    /// How many faults there were.
    pub fn injected(&self) -> u64 {
        self.weather.lock().injected
    }

    /// What befalls a call.
    fn faults(&self, operation: Operation, name: &str) -> Vec<Fault> {
        let mut weather = self.weather.lock();
        let weather = &mut *weather;
        let mut faults = Vec::new();
        if weather.partitioned || weather.is_over_rate() {
            faults.push(Fault::Before(ErrorKind::Transient));
        }
        if weather.full && operation == Operation::Put {
            faults.push(Fault::Before(ErrorKind::Full));
        }
        for (rule, fault) in &mut weather.rules {
            if rule.fires(operation, name, &mut weather.random) {
                faults.push(*fault);
            }
        }
        weather.injected += faults.len() as u64;
        faults
    }

    /// Lets time pass and fails what fails before anything is done.
    async fn before(&self, operation: Operation, name: &str) -> Result<Vec<Fault>, StoreError> {
        let faults = self.faults(operation, name);
        for fault in &faults {
            match fault {
                Fault::Before(kind) => return Err(injected(*kind, operation, name)),
                Fault::Delay(delay) => tokio::time::sleep(*delay).await,
                Fault::Hang => std::future::pending().await,
                Fault::After(_) | Fault::Truncate | Fault::FlipBit => {}
            }
        }
        Ok(faults)
    }

    /// A call without a body.
    async fn plain<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let faults = self.before(operation, name).await?;
        let done = call.await?;
        after(&faults, operation, name)?;
        Ok(done)
    }

    fn spoil(&self, bytes: Bytes, faults: &[Fault]) -> Bytes {
        let mut spoiled = BytesMut::from(bytes);
        for fault in faults {
            match fault {
                Fault::Truncate => spoiled.truncate(spoiled.len() / 2),
                Fault::FlipBit if !spoiled.is_empty() => {
                    let bit = self.weather.lock().random.next() % (spoiled.len() as u64 * 8);
                    spoiled[(bit / 8) as usize] ^= 1 << (bit % 8);
                }
                Fault::FlipBit | Fault::Before(_) | Fault::After(_) | Fault::Delay(_) | Fault::Hang => {}
            }
        }
        spoiled.freeze()
    }
}

impl Weather {
    fn is_over_rate(&mut self) -> bool {
        let Some(calls_max) = self.calls_per_s_max else { return false };
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 0);
        }
        self.second.1 += 1;
        self.second.1 > calls_max
    }
}

/// Fails what is carried out and fails all the same.
fn after(faults: &[Fault], operation: Operation, name: &str) -> Result<(), StoreError> {
    let lost = faults.iter().find_map(|fault| match fault {
        Fault::After(kind) => Some(*kind),
        Fault::Before(_) | Fault::Truncate | Fault::FlipBit | Fault::Delay(_) | Fault::Hang => None,
    });
    lost.map_or(Ok(()), |kind| Err(injected(kind, operation, name)))
}

fn injected(kind: ErrorKind, operation: Operation, name: &str) -> StoreError {
    StoreError::new(kind, format!("{} {name:?}", operation.as_str())).caused_by("an injected fault")
}

fn spoils(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| matches!(fault, Fault::Truncate | Fault::FlipBit))
}

#[async_trait]
impl Store for FaultStore {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let faults = self.before(Operation::Put, name.as_str()).await?;
        let body =
            if spoils(&faults) { Body::Bytes(self.spoil(read_whole(body).await?, &faults)) } else { body };
        self.inner.put(name, body, mode).await?;
        after(&faults, Operation::Put, name.as_str())
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let faults = self.before(Operation::Get, name.as_str()).await?;
        let bytes = self.inner.get(name, range).await?;
        after(&faults, Operation::Get, name.as_str())?;
        Ok(self.spoil(bytes, &faults))
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let faults = self.before(Operation::GetTail, name.as_str()).await?;
        let (tail, length) = self.inner.get_tail(name, bytes).await?;
        after(&faults, Operation::GetTail, name.as_str())?;
        Ok((self.spoil(tail, &faults), length))
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.plain(Operation::Head, name.as_str(), self.inner.head(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.plain(Operation::List, prefix, self.inner.list(prefix, after, limit)).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.plain(Operation::ListFolders, prefix, self.inner.list_folders(prefix)).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.plain(Operation::Delete, name.as_str(), self.inner.delete(name)).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        let about = call.about().to_owned();
        self.plain(Operation::of(&call), &about, self.inner.special(call)).await
    }
}
