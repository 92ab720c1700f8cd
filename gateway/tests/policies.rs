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

use support::*;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::assembly::{AppliancePolicies, ApplianceSources};
use tidegate_gateway::clock::Clock;
use tidegate_gateway::policy::{Engine, Plan};
use tidegate_gateway::settings::Settings;
use tidegate_replicator::map::{InodeNumber, Timestamp};
use tidegate_replicator::store::{MemoryStore, Store};

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
