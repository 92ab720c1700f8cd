//! A store with what loads need, and runs of loads on it.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use hyper::Request;
use tidegate_benches::{Outcome, Run, Spent};

use crate::client::Client;
use crate::listing::{self, KEYS_OF_A_FOLDER};
use crate::loads::{Load, Transfer, Verb};
use crate::noise::Noise;
use crate::sign::Signer;
use crate::store::{Kind, LISTED, LOADED, Store};

/// Clients that fill a store.
const FILLERS: usize = 32;
/// What is put before anything is measured: for the first, RGW takes more than a second.
const FIRST_OBJECTS: usize = 256;
const FIRST_BYTES: u64 = 4 << 10;
/// Length of what is listed, in bytes.
const LISTED_BYTES: u64 = 16;
/// How many objects are put before new signatures are made: those last a quarter of an hour.
const FILLED_AT_ONCE: usize = 10_000;

/// What a run is given.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// How long clients begin requests.
    pub(crate) time: Duration,
    /// After how long a listing is given up.
    pub(crate) list_time_max: Duration,
    /// How many keys are listed.
    pub(crate) keys: usize,
}

/// What a run has found.
pub(crate) struct Found {
    /// What was done.
    pub(crate) run: Run,
    /// Processor time of this process meanwhile, of the time, in parts of one core.
    pub(crate) generator: f64,
    /// Processor time of the store for each unit, in microseconds.
    pub(crate) store_micros: f64,
    /// Whether it was done to the end.
    pub(crate) complete: bool,
}

/// See the head of this module.
pub(crate) struct Scene {
    /// The store.
    pub(crate) store: Store,
    settings: Settings,
    /// So that no two runs put the same keys.
    runs: Cell<u64>,
    /// Lengths of the objects that are there to be read.
    readable: HashSet<u64>,
    has_keys: bool,
}

impl Scene {
    /// Makes the buckets, and puts the first objects: what stores do once is done before anything is measured.
    pub(crate) async fn new(store: Store, settings: Settings) -> Outcome<Self> {
        // Those of Tidegate stand in its settings.
        if store.kind != Kind::Tidegate {
            let mut client = Client::connect(store.address).await?;
            for bucket in [LOADED, LISTED] {
                let request = Signer::new(store.address).request("PUT", &format!("/{bucket}"), "")?;
                client.put(request, Noise::none()).await?;
            }
        }
        let scene = Self { store, settings, runs: Cell::new(0), readable: HashSet::new(), has_keys: false };
        let keys: Vec<_> = (0..FIRST_OBJECTS).map(|number| format!("first/{number:04}")).collect();
        scene.fill(LOADED, &keys, FIRST_BYTES).await?;
        Ok(scene)
    }

    /// Puts what a load reads or lists, if it is not there yet.
    pub(crate) async fn prepare(&mut self, load: Load) -> Outcome<()> {
        match load {
            Load::Transfer(transfer) if transfer.verb == Verb::Get => {
                if self.readable.insert(transfer.bytes) {
                    let keys: Vec<_> =
                        (0..transfer.objects).map(|number| transfer.readable(number)).collect();
                    self.fill(LOADED, &keys, transfer.bytes).await?;
                }
            }
            Load::Transfer(_) => {}
            Load::List { .. } => {
                if !std::mem::replace(&mut self.has_keys, true) {
                    let keys: Vec<_> = (0..self.settings.keys).map(listing::key).collect();
                    self.fill(LISTED, &keys, LISTED_BYTES).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs a load once.
    pub(crate) async fn run(&self, load: Load) -> Outcome<Found> {
        let number = self.runs.replace(self.runs.get() + 1);
        match load {
            Load::Transfer(transfer) => self.transfer(transfer, number).await,
            Load::List { delimiter } => self.list(delimiter).await,
        }
    }

    async fn transfer(&self, transfer: Transfer, run: u64) -> Outcome<Found> {
        let (signer, time) = (&Signer::new(self.store.address), self.settings.time);
        let sign = |client, number| {
            let path = format!("/{LOADED}/{}", transfer.key(run, client, number));
            let method = if transfer.verb == Verb::Put { "PUT" } else { "GET" };
            signer.request(method, &path, "")
        };
        let mut clients = Vec::new();
        for number in 0..transfer.clients {
            let before = (0..transfer.signed_before(time)).map(|request| sign(number, request));
            let before = before.collect::<Outcome<Vec<_>>>()?;
            clients.push((number, Client::connect(self.store.address).await?, before));
        }
        let clocks = Clocks::start(&self.store)?;
        let start = clocks.start;
        let works = clients.into_iter().map(|(number, client, before)| {
            let from = before.len();
            let later = (from..).map(move |request| sign(number, request));
            let requests = before.into_iter().map(Ok).chain(later);
            let seed = run << 32 | (number as u64) << 24;
            work(client, transfer, requests, (start, time), seed)
        });
        let mut all = Run::default();
        for run in try_join_all(works).await? {
            all.taken.extend(&run.taken);
            all.units += run.units;
        }
        clocks.stop(&self.store, all, true)
    }

    async fn list(&self, delimiter: bool) -> Outcome<Found> {
        let mut client = Client::connect(self.store.address).await?;
        let clocks = Clocks::start(&self.store)?;
        let end = clocks.start + self.settings.list_time_max;
        let (run, complete) = listing::list(&mut client, self.store.address, delimiter, end).await?;
        let keys = self.settings.keys;
        let expected = if delimiter { keys.div_ceil(KEYS_OF_A_FOLDER) } else { keys } as u64;
        if complete && run.units != expected {
            return Err(format!("{} entries were listed, not {expected}", run.units).into());
        }
        clocks.stop(&self.store, run, complete)
    }

    async fn fill(&self, bucket: &str, keys: &[String], bytes: u64) -> Outcome<()> {
        for (part, keys) in keys.chunks(FILLED_AT_ONCE).enumerate() {
            let signer = &Signer::new(self.store.address);
            let share = keys.len().div_ceil(FILLERS).max(1);
            let works = keys.chunks(share).enumerate().map(|(filler, keys)| async move {
                let mut client = Client::connect(self.store.address).await?;
                for (number, key) in keys.iter().enumerate() {
                    let request = signer.request("PUT", &format!("/{bucket}/{key}"), "")?;
                    let seed = bytes << 32 ^ (part * FILLED_AT_ONCE + filler * share + number) as u64;
                    client.put(request, Noise::new(seed, bytes)).await?;
                }
                Outcome::Ok(())
            });
            try_join_all(works).await?;
        }
        Ok(())
    }
}

/// One client's part of a run.
async fn work(
    mut client: Client,
    transfer: Transfer,
    requests: impl Iterator<Item = Outcome<Request<()>>>,
    (start, time): (Instant, Duration),
    seed: u64,
) -> Outcome<Run> {
    let mut run = Run::default();
    for (number, request) in requests.enumerate() {
        if transfer.is_over(number, start.elapsed(), time) {
            break;
        }
        let (request, begun) = (request?, Instant::now());
        match transfer.verb {
            Verb::Put => client.put(request, Noise::new(seed + number as u64, transfer.bytes)).await?,
            Verb::Get => client.get(request, transfer.bytes).await?,
        }
        run.taken.add(begun.elapsed().as_secs_f64());
        run.units += 1;
    }
    Ok(run)
}

/// What is looked at before a run and after it.
struct Clocks {
    start: Instant,
    generator: Duration,
    store_seconds: f64,
}

impl Clocks {
    fn start(store: &Store) -> Outcome<Self> {
        let store_seconds = store.processor_seconds()?;
        Ok(Self { start: Instant::now(), generator: Spent::processor_so_far(), store_seconds })
    }

    fn stop(self, store: &Store, mut run: Run, complete: bool) -> Outcome<Found> {
        let spent = Spent::since(self.start, self.generator);
        let store_seconds = store.processor_seconds()? - self.store_seconds;
        run.elapsed = spent.clock;
        let store_micros = 1e6 * store_seconds / run.units as f64;
        Ok(Found { run, generator: spent.processor / spent.clock, store_micros, complete })
    }
}
