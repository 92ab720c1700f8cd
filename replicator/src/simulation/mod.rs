//! Simulation: gateways, a lead and a copy, and everything that may go wrong between them, from one seed.
//!
//! ```text
//! chance.rs      random bytes that follow from the seed
//! schedule.rs    polls the gateways in an order that the seed draws
//! world.rs       virtual time, the weather of the network, the trace
//! site.rs        a store, and the rule that nothing is overwritten
//! line.rs        a gateway's way to a store: requests that are late, refused, carried out and not answered
//! gateway.rs     a machine, whose disk outlives it, and a dumb gateway on it
//! commit.rs      how its shares leave for the repository
//! operations.rs  snapshots, rollback, copies, collection, scrub
//! promote.rs     a copy begins to lead
//! oracle.rs      the model
//! verify.rs      what must hold
//! random.rs      a random run
//! sequences.rs   named ones: what was once found dangerous
//! found.rs       named ones: what random runs have found
//! ```
//!
//! **Determinism.** One thread; tokio's current-thread runtime with paused time, so that time passes only when nobody can
//! go on; random bytes from the seed ([`crate::chance`]); blocking work done in its turn ([`crate::blocking`]), an ingest
//! without threads. Two runs of a seed have the same events; a test holds their digests against each other.
//!
//! **Reach.** The repository, ingest, publication, lease, mirror, collection, scrub of this crate. Of the gateway only the
//! order of its steps is here, written once more; RocksDB, journal and doors are not.
//!
//! `TIDEGATE_SEED=n` runs one seed, `TIDEGATE_SEEDS=n` so many, `TIDEGATE_TRACE=1` shows every event. See
//! docs/decisions/0024.

#![allow(clippy::unwrap_used)]

pub(crate) mod chance;
mod commit;
mod found;
mod gateway;
mod ledger;
mod line;
mod operations;
mod oracle;
mod promote;
mod random;
mod schedule;
mod sequences;
mod share;
mod site;
mod trouble;
mod verify;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_chunker::{ChunkParams, SecretKey};

use crate::repository::{KeyFile, NewRepository, Repository, SlotKey, UtcNanos};
use crate::store::Store;
use random::Finished;

/// Seeds of a run that is not told how many.
const SEEDS: u64 = 100;
/// Seeds beyond those that broke something once: late heads of an earlier process (all but one); a collection on a copy
/// that is led while another gateway copies to it (747).
const ONCE_BROKEN: [u64; 11] = [68, 222, 546, 714, 747, 891, 1034, 1732, 1857, 1877, 2704];

/// Whether this thread simulates.
pub(crate) fn is_running() -> bool {
    chance::is_seeded()
}

fn key() -> SlotKey {
    let digits = "07".repeat(SecretKey::LEN);
    let sum = crc32c::crc32c(&[7; SecretKey::LEN]);
    SlotKey::KeyFile(
        KeyFile::from_text(&format!("tidegate-key-1-{digits}-{sum:08x}"), "a test's key").unwrap(),
    )
}

async fn init(store: Arc<dyn Store>) {
    let new = NewRepository {
        chunks: ChunkParams::default(),
        slot_label: "first".into(),
        domain_label: "default".into(),
        created_at: UtcNanos::new(1),
    };
    Repository::init(store, &new, &key()).await.unwrap();
}

/// Simulates on this thread: chance from the seed, time virtual.
fn simulate<T>(seed: u64, work: impl Future<Output = T>) -> T {
    let _seeded = chance::Seeded::begin(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(work)
}

fn run(seed: u64) -> Finished {
    simulate(seed, random::run(seed))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs a seed; gives how many events there were, or what it broke.
fn holds(seed: u64) -> Result<u64, String> {
    println!("simulates seed {seed}");
    let finished = run(seed);
    let broken = &finished.violations;
    if broken.is_empty() {
        return Ok(finished.events);
    }
    Err(format!("TIDEGATE_SEED={seed}\n{}\n{broken:#?}", finished.tail))
}

#[test]
fn whatever_the_network_does_what_is_retained_restores_and_one_line_goes_on() {
    if let Some(seed) = number("TIDEGATE_SEED") {
        holds(seed).unwrap_or_else(|broken| panic!("{broken}"));
        return;
    }
    let seeds = number("TIDEGATE_SEEDS").unwrap_or(SEEDS);
    let wanted = Mutex::new(ONCE_BROKEN.into_iter().chain(0..seeds));
    let (events, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                // A run that panics takes its thread with it, and the scope fails.
                while let Some(seed) = { wanted.lock().next() } {
                    match holds(seed) {
                        Ok(seen) => drop(events.fetch_add(seen, Ordering::Relaxed)),
                        Err(broken) => {
                            eprintln!("{broken}");
                            failed.lock().push(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "these seeds broke something, said above: {failed:?}");
    println!("{seeds} seeds, {} events", events.into_inner());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in number("TIDEGATE_SEED").map_or(0..3, |seed| seed..seed + 1) {
        let (one, other) = (run(seed), run(seed));
        assert_eq!((one.events, one.digest), (other.events, other.digest), "TIDEGATE_SEED={seed}");
    }
    assert_ne!(run(1).digest, run(2).digest);
}
