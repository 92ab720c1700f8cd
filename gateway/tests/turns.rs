//! Claims about whose turn it is to publish a share: a commit goes on to its end whether anybody waits for it or not, and none
//! takes place over a map that is not the share's any more.
//!
//! Method: a store in memory that takes its time with heads or snapshots, and commits that are given up, or wait, meanwhile.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint};
use tidegate_gateway::namespace::{Credentials, Reader};
use tidegate_protocols::view::{Call, Caller, CreateHow, FileView, SetAttributes};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Head, SlotKey};
use tidegate_replicator::store::{Fault, FaultStore, MemoryStore, Operation, Rule, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
/// How long the store takes over what is slow.
const TAKES: Duration = Duration::from_millis(300);

struct Scene {
    folder: tempfile::TempDir,
    key: SlotKey,
    store: FaultStore,
}

impl Scene {
    async fn new() -> (Self, Arc<Appliance>) {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store = FaultStore::new(Arc::new(MemoryStore::new()), 0);
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        drop(init(shared.clone(), &key).await);
        let home = open(&folder.path().join("home"), shared, &key).await;
        home.serve(config("docs")).await.unwrap();
        home.commit("docs").await.unwrap();
        (Self { folder, key, store }, home)
    }

    /// The next object of this folder takes its time.
    fn is_slow(&self, folder: &str) {
        let rule = Rule::on(Operation::Put).named(folder).times(1);
        self.store.inject(rule, Fault::Delay(TAKES));
    }

    /// Waits until the store is busy with it, after so many faults.
    async fn until_busy(&self, faults: u64) {
        while self.store.injected() == faults {
            tokio::task::yield_now().await;
        }
    }

    async fn away(&self) -> Arc<Appliance> {
        let away = open(&self.folder.path().join("away"), Arc::new(self.store.clone()), &self.key).await;
        away.attach("docs", AttachPoint::Newest).await.unwrap();
        away.serve(config("docs")).await.unwrap();
        away
    }
}

async fn names(appliance: &Appliance, head: &Head) -> BTreeSet<Vec<u8>> {
    let map = appliance.frozen_map(head).unwrap();
    let reader = Reader { map: &map };
    let root = reader.node(ROOT_INODE).await.unwrap();
    let mut found = BTreeSet::new();
    for name in [&b"kept"[..], b"old", b"new", b"late"] {
        if reader.lookup(&root, name, &Credentials::ROOT).await.is_ok() {
            found.insert(name.to_vec());
        }
    }
    found
}

async fn make(appliance: &Appliance, name: &[u8]) {
    create(&appliance.namespace("docs").unwrap(), ROOT_INODE, name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_waits_for_any_more_keeps_the_right_to_publish() {
    let (scene, home) = Scene::new().await;
    make(&home, b"old").await;
    scene.is_slow("heads/");
    {
        let mut commit = Box::pin(home.commit("docs"));
        tokio::select! {
            done = &mut commit => panic!("it waits for the store: {done:?}"),
            () = scene.until_busy(0) => {}
        }
    }
    make(&home, b"new").await;
    let (_, head) = home.commit("docs").await.unwrap();
    assert_eq!(names(&home, &head).await, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
    let away = scene.away().await;
    lookup(&away.namespace("docs").unwrap(), ROOT_INODE, b"new").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_while_a_rollback_begins_is_in_the_snapshot_of_before() {
    let (scene, home) = Scene::new().await;
    make(&home, b"kept").await;
    let kept = home.create_snapshot("docs", "kept", BTreeMap::new()).await.unwrap();
    make(&home, b"old").await;
    let files = home.files().clone();
    let address = ([127, 0, 0, 1], 700).into();
    let call = Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None };
    let root = files.mount(&call, b"/docs").await.unwrap();
    scene.is_slow("snapshots/");
    let rolling = {
        let home = home.clone();
        tokio::spawn(async move { home.roll_back("docs", &kept.snapshot.head).await })
    };
    scene.until_busy(0).await;
    let how = CreateHow::Guarded(SetAttributes::default());
    let answered = files.create(&call, &root, b"late", how).await;
    let before = rolling.await.unwrap().unwrap();
    let had = names(&home, &before.snapshot.head).await;
    assert!(had.contains(&b"old"[..]) && (answered.is_err() || had.contains(&b"late"[..])), "{had:?}");
    let namespace = home.namespace("docs").unwrap();
    lookup(&namespace, ROOT_INODE, b"kept").await.unwrap();
    lookup(&namespace, ROOT_INODE, b"old").await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_while_a_share_is_put_back_publish_what_it_is_then() {
    let (scene, home) = Scene::new().await;
    make(&home, b"kept").await;
    let kept = home.create_snapshot("docs", "kept", BTreeMap::new()).await.unwrap();
    let committing: Vec<_> = (0..4)
        .map(|_| {
            let home = home.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    let (name, head) = home.commit("docs").await.unwrap();
                    assert!(!head.root.is_empty(), "{name} is of a map that had gone");
                }
            })
        })
        .collect();
    for _ in 0..10 {
        make(&home, b"old").await;
        home.roll_back("docs", &kept.snapshot.head).await.unwrap();
    }
    for commits in committing {
        commits.await.unwrap();
    }
    make(&home, b"new").await;
    home.commit("docs").await.unwrap();
    let away = scene.away().await;
    let namespace = away.namespace("docs").unwrap();
    lookup(&namespace, ROOT_INODE, b"kept").await.unwrap();
    lookup(&namespace, ROOT_INODE, b"new").await.unwrap();
    lookup(&namespace, ROOT_INODE, b"old").await.unwrap_err();
}
