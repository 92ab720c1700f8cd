//! Policies over a real appliance: what is due is in the repository, what the rules keep no more is gone from it, and
//! a gateway that was off makes up for it.
//!
//! Method: an appliance over a store in memory, by a clock that the test turns.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::*;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::assembly::{AppliancePolicies, ApplianceSources};
use tidegate_gateway::clock::{Clock, SystemClock};
use tidegate_gateway::control::{JobHandle, PolicyRunRequest};
use tidegate_gateway::policy::{Engine, Plan};
use tidegate_gateway::settings::Settings;
use tidegate_replicator::map::{InodeNumber, Timestamp};
use tidegate_replicator::repository::Snapshot;
use tidegate_replicator::store::{ErrorKind, Fault, FaultStore, MemoryStore, Operation, Rule, Store};

/// 2027-01-15T08:00:00Z.
const BEGIN: i64 = 1_800_000_000;

#[derive(Debug)]
struct Turned(AtomicI64);

impl Turned {
    fn pass(&self, hours: i64) {
        self.0.fetch_add(hours * 3_600, Ordering::Relaxed);
    }
}

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.0.load(Ordering::Relaxed), nanos: 0 }
    }
}

/// A gateway with one share and one policy.
struct Scene {
    appliance: Arc<Appliance>,
    engine: Arc<Engine>,
    clock: Arc<Turned>,
}

impl Scene {
    async fn open(folder: &Path, store: &Arc<dyn Store>, clock: &Arc<Turned>) -> Self {
        let key = slot_key(folder);
        let appliance = open_at(&folder.join("data"), store.clone(), &key, clock.clone()).await;
        appliance.serve(config("docs")).await.unwrap();
        let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
            [[share]]\nname = \"docs\"\n\
            [[policy]]\nname = \"hourly\"\nshares = [\"docs\"]\nevery = \"1h\"\nkeep_last = 2\nkeep_daily = 3\n";
        let settings = Arc::new(Settings::parse(text).unwrap());
        let sources = ApplianceSources::new(appliance.clone(), settings.clone());
        let engine = Engine::new(AppliancePolicies::new(appliance.clone(), sources), clock.clone());
        engine.set(Plan::all(&settings));
        Self { appliance, engine, clock: clock.clone() }
    }

    async fn write(&self, name: &str) {
        let namespace = self.appliance.namespace("docs").unwrap();
        let file = create(&namespace, InodeNumber::ROOT, name.as_bytes()).await.unwrap();
        write(&namespace, file, 0, name.as_bytes()).await.unwrap();
    }

    /// Who took each snapshot, and how many inodes it has; oldest first.
    async fn snapshots(&self) -> Vec<(Option<String>, u64)> {
        let snapshots = self.appliance.snapshots("docs").await.unwrap();
        let seen = |entry: tidegate_gateway::appliance::SnapshotEntry| {
            (entry.snapshot.policy, entry.snapshot.head.usage.inodes)
        };
        snapshots.into_iter().map(seen).collect()
    }

    async fn hour(&self) {
        self.clock.pass(1);
        self.engine.run_due().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_a_share_in_the_repository_and_forgets_only_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &slot_key(folder.path())).await);
    let clock = Arc::new(Turned(AtomicI64::new(BEGIN)));
    {
        let scene = Scene::open(folder.path(), &store, &clock).await;
        scene.engine.run_due().await;
        assert_eq!(scene.snapshots().await, [], "nothing is due yet");
        for name in ["one", "two", "three", "four"] {
            scene.write(name).await;
            if name == "one" {
                scene.appliance.create_snapshot("docs", "by hand", BTreeMap::new()).await.unwrap();
            }
            scene.hour().await;
        }
        let own = |inodes| (Some("hourly".to_owned()), inodes);
        // The oldest of all stays as long as there are not three days.
        assert_eq!(scene.snapshots().await, [(None, 2), own(2), own(4), own(5)]);
        assert_eq!(scene.engine.statuses()[0].snapshots, 3);
        scene.hour().await;
        assert_eq!(scene.snapshots().await, [(None, 2), own(2), own(5), own(5)], "also of what is unchanged");
        scene.appliance.close().await.unwrap();
    }
    clock.pass(50);
    let scene = Scene::open(folder.path(), &store, &clock).await;
    scene.engine.run_due().await;
    let statuses = scene.engine.statuses();
    assert_eq!(statuses[0].last_run.as_ref().map(|run| run.error.clone()), Some(None));
    assert_eq!(scene.snapshots().await.len(), 1 + 3, "one more for all that was missed, and one less");
    scene.engine.run_due().await;
    assert_eq!(scene.engine.statuses(), statuses, "once");
    scene.appliance.close().await.unwrap();
}

/// The policies of settings with three shares.
fn policies_over(appliance: &Arc<Appliance>, clock: &Arc<Turned>, policy: &str) -> Arc<Engine> {
    let shares: String =
        ["orders", "bills", "letters"].map(|name| format!("[[share]]\nname = \"{name}\"\n")).concat();
    let text = format!(
        "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
         {shares}[[policy]]\n{policy}\nevery = \"1h\"\n"
    );
    let settings = Arc::new(Settings::parse(&text).unwrap());
    let sources = ApplianceSources::new(appliance.clone(), settings.clone());
    let engine = Engine::new(AppliancePolicies::new(appliance.clone(), sources), clock.clone());
    engine.set(Plan::all(&settings));
    engine
}

/// What a policy took of a share, oldest first.
async fn taken_by(appliance: &Appliance, policy: &str, share: &str) -> Vec<Snapshot> {
    let snapshots = appliance.snapshots(share).await.unwrap().into_iter().map(|entry| entry.snapshot);
    snapshots.filter(|snapshot| snapshot.policy.as_deref() == Some(policy)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_policy_takes_its_shares_as_of_one_moment_or_not_at_all() {
    const RUNS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let (store, key): (Arc<dyn Store>, _) = (Arc::new(MemoryStore::new()), slot_key(folder.path()));
    drop(init(store.clone(), &key).await);
    let clock = Arc::new(Turned(AtomicI64::new(BEGIN)));
    let appliance = open_at(&folder.path().join("data"), store, &key, clock.clone()).await;
    for name in ["orders", "bills"] {
        appliance.serve(config(name)).await.unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    // An order, then its bill: in no state of the world are there more bills than orders, nor two orders without one.
    let writer = tokio::spawn({
        let (appliance, stop) = (appliance.clone(), stop.clone());
        async move {
            let mut number = 0_u64;
            while !stop.is_cancelled() {
                for name in ["orders", "bills"] {
                    let namespace = appliance.namespace(name).unwrap();
                    create(&namespace, InodeNumber::ROOT, format!("{number}").as_bytes()).await.unwrap();
                }
                number += 1;
            }
            number
        }
    });
    let together =
        "name = \"together\"\nshares = [\"orders\", \"bills\"]\nconsistent = true\nkeep_last = 100";
    let engine = policies_over(&appliance, &clock, together);
    engine.run_due().await;
    for _ in 0..RUNS {
        clock.pass(1);
        engine.run_due().await;
    }
    stop.cancel();
    assert!(writer.await.unwrap() > 0);
    let orders = taken_by(&appliance, "together", "orders").await;
    let bills = taken_by(&appliance, "together", "bills").await;
    assert_eq!((orders.len(), bills.len()), (RUNS, RUNS));
    for (orders, bills) in orders.iter().zip(&bills) {
        let (orders, bills) = (orders.head.usage.inodes, bills.head.usage.inodes);
        assert!(orders == bills || orders == bills + 1, "{orders} orders, {bills} bills");
    }
    // One of its shares cannot be frozen, so none gets a snapshot.
    let apart = "name = \"apart\"\nshares = [\"orders\", \"letters\"]\nconsistent = true\nkeep_last = 100";
    let engine = policies_over(&appliance, &clock, apart);
    let error = engine.run_now("apart", &PolicyRunRequest::default(), &JobHandle::new()).await.unwrap_err();
    assert!(error.to_string().contains("letters"), "{error}");
    assert_eq!(taken_by(&appliance, "apart", "orders").await.len(), 0);
    appliance.close().await.unwrap();
}

/// A file more in each of these shares.
async fn grow(appliance: &Appliance, name: &str) {
    for share in ["orders", "bills"] {
        let namespace = appliance.namespace(share).unwrap();
        create(&namespace, InodeNumber::ROOT, name.as_bytes()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_one_share_misses_leaves_nothing_and_makes_no_whole_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    drop(init(store.clone(), &key).await);
    let clock = Arc::new(Turned(AtomicI64::new(BEGIN)));
    let appliance = open_at(&folder.path().join("data"), store.clone(), &key, clock.clone()).await;
    appliance.serve(config("orders")).await.unwrap();
    let bills = appliance.serve(config("bills")).await.unwrap();
    let policy = "name = \"together\"\nshares = [\"orders\", \"bills\"]\nconsistent = true\nkeep_last = 2";
    let engine = policies_over(&appliance, &clock, policy);
    engine.run_due().await;
    for name in ["one", "two"] {
        grow(&appliance, name).await;
        clock.pass(1);
        engine.run_due().await;
    }
    let orders = taken_by(&appliance, "together", "orders").await;
    assert_eq!(orders.len(), 2);
    let before = (orders, taken_by(&appliance, "together", "bills").await);
    // First the head of one share cannot be written, after all were frozen; then its snapshot, after that of the other was.
    for kind in ["heads", "snapshots"] {
        let refused = Rule::on(Operation::Put).named(&format!("{kind}/{bills}/"));
        store.inject(refused, Fault::Before(ErrorKind::Transient));
        for turn in 0..3 {
            grow(&appliance, &format!("{kind} {turn}")).await;
            clock.pass(1);
            engine.run_due().await;
            let last = engine.statuses()[0].last_run.clone().unwrap();
            assert!(last.error.is_some_and(|error| error.contains("bills")), "{kind} {turn}");
            let now = (
                taken_by(&appliance, "together", "orders").await,
                taken_by(&appliance, "together", "bills").await,
            );
            assert_eq!(now, before, "{kind} {turn}");
        }
        store.clear();
    }
    clock.pass(1);
    engine.run_due().await;
    assert_eq!(engine.statuses()[0].last_run.clone().and_then(|run| run.error), None);
    for (share, before) in [("orders", before.0), ("bills", before.1)] {
        let now = taken_by(&appliance, "together", share).await;
        assert_eq!((now.len(), &now[0]), (2, &before[1]), "{share}");
        assert_eq!(now[1].head.usage.inodes, before[1].head.usage.inodes + 6, "{share}");
    }
    appliance.close().await.unwrap();
}

/// A source whose command says that it has begun, and ends when something is written to its gate.
fn gated(folder: &Path, name: &str) -> String {
    let (begun, gate) = (folder.join(format!("{name}.begun")), folder.join(format!("{name}.gate")));
    mknodat(CWD, &gate, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let script = format!("touch {}; cat {}", begun.display(), gate.display());
    format!("[[source]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_frozen_while_the_sources_of_others_have_all_places() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), store, &key).await;
    let mut text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\n\
        address = \"file:///nowhere/repository\"\n"
        .to_owned();
    let frozen = folder.path().join("frozen");
    for name in ["one", "two", "three"] {
        text += &gated(folder.path(), name);
    }
    for name in ["one", "two", "three"] {
        text += &format!(
            "[[policy]]\nname = \"{name}\"\nsources = [\"{name}\"]\nevery = \"1h\"\nkeep_last = 1\n"
        );
    }
    text += &format!("before = [\"/bin/sh\", \"-c\", \"touch {}\"]\n", frozen.display());
    let settings = Arc::new(Settings::parse(&text).unwrap());
    let sources = ApplianceSources::new(appliance.clone(), settings.clone());
    let host = AppliancePolicies::new(appliance.clone(), sources);
    let engine = Engine::new(host, Arc::new(SystemClock));
    engine.set(Plan::all(&settings));
    let run = |policy: &'static str, job: JobHandle| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.run_now(policy, &PolicyRunRequest::default(), &job).await })
    };
    let open_gate =
        |name: &str| std::fs::write(folder.path().join(format!("{name}.gate")), b"go on").unwrap();
    let others = ["one", "two"].map(|name| run(name, JobHandle::new()));
    while !["one", "two"].iter().all(|name| folder.path().join(format!("{name}.begun")).exists()) {
        tokio::task::yield_now().await;
    }
    let job = JobHandle::new();
    let third = run("three", job.clone());
    while job.progress().phase != "wait for other sources" && !frozen.exists() {
        tokio::task::yield_now().await;
    }
    assert!(!frozen.exists(), "both places are taken");
    open_gate("one");
    while !folder.path().join("three.begun").exists() {
        tokio::task::yield_now().await;
    }
    assert!(frozen.exists(), "it has a place now");
    open_gate("three");
    third.await.unwrap().unwrap();
    open_gate("two");
    for other in others {
        other.await.unwrap().unwrap();
    }
    appliance.close().await.unwrap();
}
