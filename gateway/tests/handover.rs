//! Claims about handing a share over: what clients hold stays valid exactly when nothing was lost.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_gateway::appliance::{Appliance, ApplianceError, AttachPoint, ShareConfig};
use tidegate_protocols::view::{
    Call, Caller, CreateHow, FileView, FsError, Handle, SetAttributes, Stability,
};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

use support::{config, init, open, reopen, slot_key};

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: SlotKey,
}

impl Scene {
    async fn new() -> (Self, Arc<Appliance>) {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let scene = Self { folder, store, key };
        let home = scene.gateway("home").await;
        home.serve(config("docs")).await.unwrap();
        (scene, home)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn gateway(&self, name: &str) -> Arc<Appliance> {
        open(&self.place(name), self.store.clone(), &self.key).await
    }

    async fn attach(&self, name: &str) -> Arc<Appliance> {
        let gateway = self.gateway(name).await;
        gateway.attach("docs", AttachPoint::Newest).await.unwrap();
        gateway.serve(config("docs")).await.unwrap();
        gateway
    }
}

fn call() -> Call {
    let address = "127.0.0.1:700".parse().unwrap();
    Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None }
}

async fn write(gateway: &Appliance, file: &Handle, data: &'static [u8]) -> Result<(), FsError> {
    let data = Bytes::from_static(data);
    let written = gateway.files().write(&call(), file, 0, data, Stability::FileSync).await;
    written.map(drop).map_err(|failure| failure.error)
}

async fn create(gateway: &Appliance, name: &[u8], data: &'static [u8]) -> Handle {
    let root = gateway.files().mount(&call(), b"/docs").await.unwrap();
    let set = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
    let made = gateway.files().create(&call(), &root, name, CreateHow::Guarded(set)).await.unwrap();
    let (file, _) = made.object.unwrap();
    write(gateway, &file, data).await.unwrap();
    file
}

async fn read(gateway: &Appliance, file: &Handle) -> Result<Vec<u8>, FsError> {
    let read = gateway.files().read(&call(), file, 0, 1 << 20).await;
    Ok(read.map_err(|failure| failure.error)?.pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_stay_valid_through_a_handover_and_writers_only_wait() {
    let (scene, home) = Scene::new().await;
    let file = create(&home, b"file", b"at home").await;
    let (_, head) = home.hand_over("docs").await.unwrap();
    assert!(head.handover.is_some());
    assert_eq!(write(&home, &file, b"too late").await, Err(FsError::TryLater));
    let refused = home.admit_change("docs").map(drop).unwrap_err();
    assert!(matches!(refused, ApplianceError::NotLed { .. }), "{refused}");
    assert_eq!(read(&home, &file).await.unwrap(), b"at home");

    let away = scene.attach("away").await;
    assert_eq!(read(&away, &file).await.unwrap(), b"at home");
    write(&away, &file, b"elsewhere").await.unwrap();
    let (_, head) = away.commit("docs").await.unwrap();
    assert_eq!(head.handover, None, "the next head promises nothing");

    // And on: what was made at the second gateway is valid at the third.
    let newer = create(&away, b"newer", b"newer").await;
    away.hand_over("docs").await.unwrap();
    let third = scene.attach("third").await;
    assert_eq!(read(&third, &file).await.unwrap(), b"elsewhere");
    assert_eq!(read(&third, &newer).await.unwrap(), b"newer");
    assert_eq!(write(&home, &file, b"at home").await, Err(FsError::TryLater), "home still waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attaches_what_was_handed_over_publishes_how_it_is_served_although_nothing_changes() {
    let (scene, home) = Scene::new().await;
    create(&home, b"file", b"at home").await;
    home.hand_over("docs").await.unwrap();
    let away = scene.gateway("away").await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    let settings = serde_json::json!({ "share": { "name": "docs" } });
    away.serve(ShareConfig { settings: settings.clone(), ..config("docs") }).await.unwrap();
    // The first finds out what is published; a gateway that has just begun may know it before.
    away.commit("docs").await.unwrap();
    let (_, head) = away.commit("docs").await.unwrap();
    assert_eq!((head.handover, head.settings), (None, settings));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_waits_for_what_an_operator_is_changing() {
    let (scene, home) = Scene::new().await;
    let file = create(&home, b"file", b"before").await;
    let served = home.admit_change("docs").unwrap();
    let handing = tokio::spawn({
        let home = home.clone();
        async move { home.hand_over("docs").await.map(drop) }
    });
    while write(&home, &file, b"client").await != Err(FsError::TryLater) {
        tokio::task::yield_now().await;
    }
    let inode = support::lookup(&served.namespace, InodeNumber::ROOT, b"file").await.unwrap();
    support::write(&served.namespace, inode, 0, b"operator").await.unwrap();
    assert!(!handing.is_finished(), "the change may go on");
    drop(served);
    handing.await.unwrap().unwrap();
    let away = scene.attach("away").await;
    assert_eq!(read(&away, &file).await.unwrap(), b"operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_stale_where_something_may_have_been_lost() {
    let (scene, home) = Scene::new().await;
    let file = create(&home, b"file", b"at home").await;
    // A takeover without a handover.
    home.commit("docs").await.unwrap();
    let away = scene.attach("away").await;
    assert_eq!(read(&away, &file).await, Err(FsError::Stale));

    // A handover, and somebody has served the share since and published nothing of what he was told.
    let file = create(&away, b"newer", b"newer").await;
    away.hand_over("docs").await.unwrap();
    let third = scene.attach("third").await;
    write(&third, &file, b"lost").await.unwrap();
    let fourth = scene.attach("fourth").await;
    assert_eq!(read(&fourth, &file).await, Err(FsError::Stale));

    // A handover that was taken back.
    let file = create(&fourth, b"newest", b"newest").await;
    fourth.hand_over("docs").await.unwrap();
    let (_, head) = fourth.take_back("docs").await.unwrap();
    assert_eq!(head.handover, None);
    write(&fourth, &file, b"served").await.unwrap();
    assert_eq!(read(&fourth, &file).await.unwrap(), b"served");
    let fifth = scene.attach("fifth").await;
    assert_eq!(read(&fifth, &file).await, Err(FsError::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_was_handed_over_waits_through_a_restart_and_can_be_handed_over_again() {
    let (scene, home) = Scene::new().await;
    let file = create(&home, b"file", b"data").await;
    let (first, _) = home.hand_over("docs").await.unwrap();
    home.close().await.unwrap();
    drop(home);
    let home = reopen(&scene.place("home"), scene.store.clone(), &scene.key).await;
    home.serve(config("docs")).await.unwrap();
    assert_eq!(write(&home, &file, b"late").await, Err(FsError::TryLater));
    let (second, _) = home.hand_over("docs").await.unwrap();
    assert!(second.is_newer_than(&first));
    home.take_back("docs").await.unwrap();
    write(&home, &file, b"here").await.unwrap();
    home.commit("docs").await.unwrap();
    assert_eq!(read(&home, &file).await.unwrap(), b"here");

    let away = scene.attach("away").await;
    let refused = home.hand_over("docs").await.unwrap_err();
    assert!(matches!(refused, ApplianceError::Commit(_)), "{refused}");
    drop(away);
}
