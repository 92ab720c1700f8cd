//! Claims about fencing: of two gateways that believe that they lead a share one line of heads goes on, and what the other
//! had acknowledged is a branch.
//!
//! Method: appliances in this process over one store in memory; files through the namespace, as the file server uses them.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_gateway::appliance::{Appliance, ApplianceError, AttachPoint, Handles, Rejoin, ShareConfig};
use tidegate_gateway::namespace::{Credentials, Reader};
use tidegate_gateway::share::{FrozenMap, MapRead};
use tidegate_protocols::view::{Call, Caller, CreateHow, FileView, SetAttributes, Stability};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Branch, BranchCause, Head, SlotKey};
use tidegate_replicator::store::{MemoryStore, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;

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

async fn put(gateway: &Appliance, name: &str, data: &[u8]) {
    let namespace = gateway.namespace("docs").unwrap();
    let file = match lookup(&namespace, ROOT_INODE, name.as_bytes()).await {
        Ok(file) => file,
        Err(_) => create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap(),
    };
    write(&namespace, file, 0, data).await.unwrap();
}

async fn get(gateway: &Appliance, name: &str) -> Option<Vec<u8>> {
    let namespace = gateway.namespace("docs").unwrap();
    let file = lookup(&namespace, ROOT_INODE, name.as_bytes()).await.ok()?;
    Some(read_all(&namespace, file).await.unwrap())
}

/// A file of a frozen state, read through a gateway.
async fn get_frozen(gateway: &Appliance, head: &Head, name: &str) -> Option<Vec<u8>> {
    let map = gateway.frozen_map(head).unwrap();
    let reader = Reader { map: &map };
    let root = reader.node(ROOT_INODE).await.unwrap();
    let file = reader.lookup(&root, name.as_bytes(), &Credentials::ROOT).await.ok()?;
    Some(read_frozen(gateway, &map, file.number, file.inode.size).await)
}

async fn read_frozen(gateway: &Appliance, map: &FrozenMap, file: InodeNumber, size: u64) -> Vec<u8> {
    let namespace = gateway.namespace("docs").unwrap();
    let _: &dyn MapRead = map;
    let read = Reader { map }.read(namespace.share(), file, 0..size, &Credentials::ROOT).await.unwrap();
    read.pieces.concat()
}

/// Waits until a share that was superseded has set its changes aside.
async fn set_aside(gateway: &Appliance) -> Option<String> {
    let joined = async {
        loop {
            let report = gateway.report().remove(0);
            assert!(report.superseded);
            if report.branch.is_some() {
                return report.branch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), joined).await.expect("it sets its changes aside")
}

async fn only_branch(gateway: &Appliance) -> Branch {
    let mut branches = gateway.branches("docs").await.unwrap();
    assert_eq!(branches.len(), 1, "{branches:?}");
    branches.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_superseded_gateway_had_acknowledged_is_a_branch_that_everybody_sees() {
    let (scene, home) = Scene::new().await;
    let content = noise(5, 300_000);
    put(&home, "published", &content).await;
    let (ancestor, _) = home.commit("docs").await.unwrap();
    let away = scene.attach("away").await;
    put(&away, "elsewhere", b"on the line").await;
    away.commit("docs").await.unwrap();
    // Home does not know yet.
    put(&home, "late", &noise(6, 200_000)).await;
    put(&home, "published", b"changed").await;
    home.commit("docs").await.unwrap_err();
    let name = set_aside(&home).await.unwrap();

    let branch = only_branch(&away).await;
    assert_eq!(
        (branch.name.as_str(), branch.cause, branch.lacks),
        (name.as_str(), BranchCause::Superseded, 0)
    );
    assert_eq!(branch.ancestor, Some(ancestor));
    assert!(name.starts_with("docs@test-20"), "{name}");
    assert_eq!(get_frozen(&away, &branch.head, "late").await.unwrap(), noise(6, 200_000));
    let mut changed = content.clone();
    changed[..7].copy_from_slice(b"changed");
    assert!(get_frozen(&away, &branch.head, "published").await.unwrap() == changed);
    assert_eq!(get_frozen(&away, &branch.head, "elsewhere").await, None);
    // The line has nothing of it, and who attaches gets the line.
    assert!(get(&away, "published").await.unwrap() == content);
    let third = scene.attach("third").await;
    assert_eq!(get(&third, "late").await, None);
    assert_eq!(get(&third, "elsewhere").await.unwrap(), b"on the line");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_unpublished_changes_there_is_no_branch() {
    let (scene, home) = Scene::new().await;
    put(&home, "file", b"published").await;
    home.commit("docs").await.unwrap();
    let away = scene.attach("away").await;
    let refused = away.rejoin("docs", Rejoin::Follow).await.unwrap_err();
    assert!(matches!(refused, ApplianceError::Leads { .. }), "{refused}");
    let joined = home.rejoin("docs", Rejoin::Follow).await.unwrap();
    assert!(joined.follows && joined.branch.is_none(), "{joined:?}");
    assert!(away.branches("docs").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_down_sets_its_changes_aside_when_it_comes_back() {
    let (scene, home) = Scene::new().await;
    put(&home, "file", b"published").await;
    home.commit("docs").await.unwrap();
    put(&home, "late", b"acknowledged").await;
    home.close().await.unwrap();
    drop(home);
    let away = scene.attach("away").await;
    away.commit("docs").await.unwrap();

    let home = reopen(&scene.place("home"), scene.store.clone(), &scene.key).await;
    home.serve(config("docs")).await.unwrap();
    let name = set_aside(&home).await.unwrap();
    let branch = only_branch(&away).await;
    assert_eq!(branch.name, name);
    assert_eq!(get_frozen(&away, &branch.head, "late").await.unwrap(), b"acknowledged");
    // It is done once, whatever restarts there are.
    home.close().await.unwrap();
    drop(home);
    let home = reopen(&scene.place("home"), scene.store.clone(), &scene.key).await;
    home.serve(config("docs")).await.unwrap();
    assert_eq!(set_aside(&home).await, Some(name));
    only_branch(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_site_joins_again_as_a_follower_and_leads_again_at_failback() {
    let (scene, home) = Scene::new().await;
    put(&home, "file", b"published").await;
    home.commit("docs").await.unwrap();
    let away = scene.attach("away").await;
    put(&home, "late", b"acknowledged").await;
    put(&away, "file", b"elsewhere").await;
    away.commit("docs").await.unwrap();
    home.commit("docs").await.unwrap_err();

    let joined = home.rejoin("docs", Rejoin::Follow).await.unwrap();
    assert!(joined.follows && joined.branch.is_some(), "{joined:?}");
    assert_eq!(get(&home, "file").await.unwrap(), b"elsewhere");
    assert_eq!(get(&home, "late").await, None);
    assert!(home.report()[0].follows && !home.report()[0].superseded);
    // Through a restart too, although the settings do not say so.
    home.close().await.unwrap();
    drop(home);
    let home = reopen(&scene.place("home"), scene.store.clone(), &scene.key).await;
    home.serve(ShareConfig { rpo: Duration::from_millis(10), ..config("docs") }).await.unwrap();
    assert!(home.report()[0].follows);

    // Nobody leads who was not let.
    let refused = home.rejoin("docs", Rejoin::Lead).await.unwrap_err();
    assert!(matches!(refused, ApplianceError::LedElsewhere { .. }), "{refused}");
    let facts = home.failback_facts("docs").await.unwrap();
    assert!(!facts.handed_over && !facts.leads);
    put(&away, "more", &noise(9, 500_000)).await;
    away.hand_over("docs").await.unwrap();
    let facts = home.failback_facts("docs").await.unwrap();
    assert!(facts.handed_over, "{facts:?}");
    let joined = home.rejoin("docs", Rejoin::Lead).await.unwrap();
    assert!(matches!(joined.handles, Handles::Kept { .. }), "{joined:?}");
    assert_eq!(get(&home, "more").await.unwrap(), noise(9, 500_000));
    put(&home, "file", b"at home again").await;
    home.commit("docs").await.unwrap();

    // And the other site follows, with nothing to set aside.
    let joined = away.rejoin("docs", Rejoin::Follow).await.unwrap();
    assert_eq!(joined.branch, None);
    assert_eq!(get(&away, "file").await.unwrap(), b"at home again");
    let branch = only_branch(&home).await;
    assert_eq!(get_frozen(&home, &branch.head, "late").await.unwrap(), b"acknowledged");
    home.remove_branch("docs", &branch).await.unwrap();
    assert!(away.branches("docs").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_at_an_older_state_keeps_what_is_newer_as_a_branch() {
    let (scene, home) = Scene::new().await;
    put(&home, "file", b"old").await;
    let (old, old_head) = home.commit("docs").await.unwrap();
    put(&home, "file", b"new").await;
    put(&home, "newer", b"newer").await;
    let (newest, newest_head) = home.commit("docs").await.unwrap();
    let away = scene.gateway("away").await;
    away.attach("docs", AttachPoint::Head(old)).await.unwrap();
    away.serve(config("docs")).await.unwrap();
    assert_eq!(get(&away, "file").await.unwrap(), b"old");
    assert_eq!(get(&away, "newer").await, None);
    let branch = only_branch(&away).await;
    assert_eq!((branch.cause, branch.head.root), (BranchCause::PassedOver, newest_head.root));
    assert_eq!((branch.ancestor, branch.base), (Some(old), Some(old_head.root)));
    let (_, head) = away.commit("docs").await.unwrap();
    assert_eq!(head.parent, Some(newest), "the line goes on");
    assert_eq!(head.root, old_head.root);
    put(&away, "file", b"and on").await;
    away.commit("docs").await.unwrap();
    let third = scene.attach("third").await;
    assert_eq!(get(&third, "file").await.unwrap(), b"and on");
    assert_eq!(get_frozen(&third, &only_branch(&third).await.head, "newer").await.unwrap(), b"newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_stay_valid_after_a_takeover_only_if_the_policy_says_so() {
    let (scene, home) = Scene::new().await;
    home.serve(ShareConfig { keep_handles: true, ..config("docs") }).await.unwrap();
    put(&home, "file", b"published").await;
    let (_, head) = home.commit("docs").await.unwrap();
    assert!(head.keep_handles.is_some());
    let away = scene.gateway("away").await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    away.serve(config("docs")).await.unwrap();
    let handles = away.report()[0].handles.clone().unwrap();
    assert!(handles.contains("keep_handles"), "{handles}");
    put(&away, "file", b"elsewhere").await;
    let (_, head) = away.commit("docs").await.unwrap();
    assert_eq!(head.keep_handles, None, "the policy is that of whoever leads");
    let third = scene.attach("third").await;
    let handles = third.report()[0].handles.clone().unwrap();
    assert!(handles.contains("without a handover"), "{handles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_verifier_is_another_one_after_a_share_has_joined_its_line_again_although_handles_stay() {
    let (scene, home) = Scene::new().await;
    let keeping = || ShareConfig { keep_handles: true, ..config("docs") };
    home.serve(keeping()).await.unwrap();
    let files = home.files();
    let address = ([127, 0, 0, 1], 700).into();
    let call = Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None };
    let root = files.mount(&call, b"/docs").await.unwrap();
    let how = CreateHow::Guarded(SetAttributes::default());
    let file = files.create(&call, &root, b"file", how).await.unwrap().object.unwrap().0;
    home.commit("docs").await.unwrap();

    let away = scene.gateway("away").await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    away.serve(keeping()).await.unwrap();
    put(&away, "elsewhere", b"on the line").await;
    away.commit("docs").await.unwrap();
    // Home does not know yet: what a client writes there now will be on a branch.
    let data = || Bytes::from_static(b"late");
    let written = files.write(&call, &file, 0, data(), Stability::Unstable).await.unwrap().verifier;
    assert_eq!(files.commit(&call, &file).await.unwrap().0, written, "nothing is lost yet");
    home.commit("docs").await.unwrap_err();
    let joined = home.rejoin("docs", Rejoin::TakeOver).await.unwrap();
    assert!(matches!(joined.handles, Handles::KeptByPolicy { .. }), "{joined:?}");
    assert!(joined.branch.is_some(), "{joined:?}");

    let now = files.commit(&call, &file).await.expect("its handle is valid").0;
    assert_ne!(now, written, "the client has to send again what it has not committed");
    let read = files.read(&call, &file, 0, 10).await.unwrap();
    assert!(read.pieces.concat().is_empty(), "what was written is not on the line");
    let again = files.write(&call, &file, 0, data(), Stability::Unstable).await.unwrap().verifier;
    assert_eq!(again, now);
    assert_eq!(get(&home, "file").await.unwrap(), b"late");
}
