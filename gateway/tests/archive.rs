//! Goal: clients of a share whose data sleeps see every name, and are told to try later when they read; where the share allows
//! it their reads have the store asked, once, and when it has thawed they read what was written.
//!
//! Method: a gateway over a store in memory that has a class that sleeps, attached anew so that nothing is in its cache; the
//! store's clock and its requests are the test's.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use support::*;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{
    Appliance, ArchiveConfig, AttachPoint, ShareConfig, TargetRules, ThawRule,
};
use tidegate_protocols::view::FsError;
use tidegate_replicator::archive::ArchiveRule;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{
    Classes, MemoryStore, MeteredStore, Operation, RequestCounts, StorageClass, Store, ThawRequest, ThawTier,
};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
const DAY: Duration = Duration::from_hours(24);
const THAW: Duration = Duration::from_hours(5);
/// How long what must happen soon may take.
const SOON: Duration = Duration::from_mins(2);

fn glacier() -> StorageClass {
    "GLACIER".parse().unwrap()
}

struct Scene {
    folder: tempfile::TempDir,
    store: MemoryStore,
    clock: Arc<Mutex<SystemTime>>,
    key: SlotKey,
}

/// A gateway that knows nothing but the store.
struct Away {
    appliance: Arc<Appliance>,
    share: ShareId,
    counts: Arc<RequestCounts>,
}

impl Scene {
    /// Two files, archived.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Mutex::new(SystemTime::now() - DAY * 100));
        let now = {
            let clock = clock.clone();
            Arc::new(move || *clock.lock())
        };
        let store = MemoryStore::dating(now).freezing(&[glacier()], Classes::default(), THAW);
        let key = slot_key(folder.path());
        drop(init(Arc::new(store.clone()), &key).await);
        let scene = Self { folder, store, clock, key };
        let home = open(&scene.folder.path().join("home"), Arc::new(scene.store.clone()), &scene.key).await;
        let share = home.serve(config("docs")).await.unwrap();
        let namespace = served(&home, share).namespace.clone();
        for number in [1, 2] {
            let name = format!("file-{number}");
            let file = create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
            write(&namespace, file, 0, &content(number)).await.unwrap();
            home.commit("docs").await.unwrap();
        }
        scene.pass(DAY * 100);
        home.set_archive(scene.archive(0));
        home.archive_once().await;
        home.close().await.unwrap();
        scene
    }

    fn pass(&self, time: Duration) {
        *self.clock.lock() += time;
    }

    fn archive(&self, unread_days: u32) -> ArchiveConfig {
        let (after, unread_for) = (DAY * 30, DAY * unread_days);
        let rules = vec![ArchiveRule { class: glacier(), after, unread_for, bytes_min: 1 }];
        let request = ThawRequest { days: 2, tier: ThawTier::Standard };
        let thaw = ThawRule { request, daily_bytes: 1 << 30 };
        ArchiveConfig {
            targets: vec![TargetRules {
                target: "lead".into(),
                address: self.store.address(),
                rules,
                packs_max: 100,
            }],
            thaw: HashMap::from([(glacier(), thaw)]),
            repack_below_percent: 50,
            memory_bytes_max: 64 << 20,
            scratch: self.folder.path().to_path_buf(),
            ..ArchiveConfig::default()
        }
    }

    /// Packs that sleep.
    async fn sleepers(&self) -> usize {
        let packs = self.store.list("packs/", None, 1000).await.unwrap().objects;
        packs.iter().filter(|pack| pack.class == Some(glacier())).count()
    }

    /// Attaches the share elsewhere, with nothing in any cache.
    async fn attach(&self, name: &str, config: ShareConfig) -> Away {
        let metered = MeteredStore::new(Arc::new(self.store.clone()), "cold");
        let counts = metered.counts();
        let appliance = open(&self.folder.path().join(name), Arc::new(metered), &self.key).await;
        appliance.attach("docs", AttachPoint::Newest).await.unwrap();
        let share = appliance.serve(config).await.unwrap();
        appliance.set_archive(self.archive(0));
        Away { appliance, share, counts }
    }
}

impl Away {
    async fn read(&self, number: u64) -> Result<Vec<u8>, FsError> {
        let namespace = served(&self.appliance, self.share).namespace.clone();
        let file = lookup(&namespace, ROOT_INODE, format!("file-{number}").as_bytes()).await.unwrap();
        read_all(&namespace, file).await
    }

    /// Waits until the store has had so many requests that change something.
    async fn has_asked(&self, changes: u64) {
        let until = Instant::now() + SOON;
        while self.counts.requests(Operation::Change) < changes {
            assert!(Instant::now() < until, "the store was not asked");
            tokio::task::yield_now().await;
        }
    }
}

fn content(number: u64) -> Vec<u8> {
    noise(number, 300_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_to_try_later_and_has_what_sleeps_thawed_once() {
    let scene = Scene::new().await;
    assert_eq!(scene.sleepers().await, 2, "the packs of both files, and nothing else");
    let thawing = ShareConfig { thaw_on_read: true, ..config("docs") };
    let away = scene.attach("away", thawing).await;
    let changes = away.counts.requests(Operation::Change);
    for _ in 0..5 {
        assert_eq!(away.read(1).await.unwrap_err(), FsError::TryLater);
    }
    away.has_asked(changes + 1).await;
    scene.pass(THAW);
    let until = Instant::now() + SOON;
    let read = loop {
        match away.read(1).await {
            Err(FsError::TryLater) => assert!(Instant::now() < until, "it is thawed, and not read"),
            read => break read,
        }
        tokio::task::yield_now().await;
    };
    assert!(read.unwrap() == content(1), "what came back differs");
    assert_eq!(away.counts.requests(Operation::Change), changes + 1, "one pack was asked for, once");
    assert_eq!(away.read(2).await.unwrap_err(), FsError::TryLater, "nobody had read it");
    away.has_asked(changes + 2).await;
    away.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_does_not_allow_it_has_nothing_thawed_and_names_are_seen_all_the_same() {
    let scene = Scene::new().await;
    let away = scene.attach("away", config("docs")).await;
    let changes = away.counts.requests(Operation::Change);
    for number in [1, 2, 1] {
        assert_eq!(away.read(number).await.unwrap_err(), FsError::TryLater);
    }
    let namespace = served(&away.appliance, away.share).namespace.clone();
    for name in ["file-1", "file-2"] {
        lookup(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
    }
    let file = create(&namespace, ROOT_INODE, b"new").await.unwrap();
    write(&namespace, file, 0, b"written while the rest sleeps").await.unwrap();
    away.appliance.commit("docs").await.unwrap();
    assert_eq!(away.counts.requests(Operation::Change), changes);
    away.appliance.close().await.unwrap();
}
