//! A share with keys of its own is shredded: nobody reads it any more, nothing else is touched, and nothing waits for it.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tidegate_chunker::{PackId, ShareId};
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets, ShareConfig};
use tidegate_replicator::check::{CheckOptions, Sample, check};
use tidegate_replicator::collect::{CollectOptions, Progress, Silent, finish_open, tampered};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::mirror::prepare;
use tidegate_replicator::repository::{Opened, Repository, SlotKey, UtcNanos};
use tidegate_replicator::shred::{Done, ShredError, shred_everywhere, shreddable};
use tidegate_replicator::store::{
    Body, ErrorKind, Fault, FaultStore, LockMode, LockRule, MemoryStore, ObjectName, Operation, PutMode,
    Rule, Store,
};

const PAUSE: Duration = Duration::from_millis(1);

fn now() -> UtcNanos {
    UtcNanos::from(std::time::SystemTime::now())
}

fn own(name: &str) -> ShareConfig {
    ShareConfig { own_key: true, ..config(name) }
}

async fn put(appliance: &Appliance, share: &str, content: &[u8]) {
    let namespace = appliance.namespace(share).unwrap();
    let file = create(&namespace, InodeNumber::ROOT, b"file").await.unwrap();
    write(&namespace, file, 0, content).await.unwrap();
}

async fn get(appliance: &Appliance, share: &str) -> Vec<u8> {
    let namespace = appliance.namespace(share).unwrap();
    let file = lookup(&namespace, InodeNumber::ROOT, b"file").await.unwrap();
    read_all(&namespace, file).await.unwrap()
}

struct Scene {
    folder: tempfile::TempDir,
    key: SlotKey,
    store: Arc<dyn Store>,
    share: ShareId,
}

impl Scene {
    /// Two shares of one gateway, which is closed: `secret` with keys of its own, and `docs`. Both have the same content, and
    /// `secret` has a snapshot.
    async fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new())).await
    }

    async fn on(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        drop(init(store.clone(), &key).await);
        let appliance = open(&folder.path().join("data"), store.clone(), &key).await;
        let share = appliance.serve(own("secret")).await.unwrap();
        appliance.serve(config("docs")).await.unwrap();
        for name in ["secret", "docs"] {
            put(&appliance, name, &noise(7, 2_000_000)).await;
            appliance.commit(name).await.unwrap();
        }
        appliance.create_snapshot("secret", "kept", BTreeMap::new()).await.unwrap();
        appliance.close().await.unwrap();
        Self { folder, key, store, share }
    }

    async fn repository(&self) -> Arc<Repository<Opened>> {
        Arc::new(Repository::open(self.store.clone(), &self.key).await.unwrap())
    }

    fn place(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

async fn names(store: &Arc<dyn Store>, prefix: &str) -> usize {
    store.list(prefix, None, 1_000).await.unwrap().objects.len()
}

async fn is_clean(repository: &Arc<Repository<Opened>>) {
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(repository, &options, &tidegate_replicator::check::Silent).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

async fn collect(repository: &Arc<Repository<Opened>>, scratch: &Path) {
    let options = CollectOptions::new(UtcNanos::from(std::time::SystemTime::now()), scratch.to_owned());
    let rounds = finish_open(repository, &options, &Silent).await.unwrap();
    assert!(rounds.iter().all(|round| matches!(round.progress, Progress::Done(_))), "{rounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shredded_is_read_by_nobody_and_its_packs_go_here_and_on_a_copy() {
    let scene = Scene::new().await;
    let lead = scene.repository().await;
    let away: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let copy = prepare(&lead, away.clone()).await.unwrap();
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    assert_eq!((what.name.as_str(), what.snapshots.len()), ("secret", 1));
    let done = shred_everywhere(&lead, &[copy], &what, now(), PAUSE).await.unwrap();
    assert!(done.plans.len() == 1 && done.stores[0].keys_held == 0, "{done:?}");
    for store in [&scene.store, &away] {
        for folder in ["domains", "heads", "snapshots", "leases"] {
            let id = if folder == "domains" { what.domain.to_string() } else { scene.share.to_string() };
            assert_eq!(names(store, &format!("{folder}/{id}/")).await, 0, "{folder}");
        }
    }
    let fresh = scene.repository().await;
    assert!(fresh.domain_keys(what.domain).is_err());
    // Whoever still has the keys in memory finds out, and gives them to nobody.
    lead.learn_epochs().await.unwrap();
    assert!(lead.domain_keys(what.domain).is_err());
    lead.give_epochs().await.unwrap();
    assert_eq!(names(&scene.store, &format!("domains/{}/", what.domain)).await, 0);

    let gateway = open(&scene.place("other"), scene.store.clone(), &scene.key).await;
    gateway.attach("secret", AttachPoint::Newest).await.unwrap_err();
    gateway.attach("docs", AttachPoint::Newest).await.unwrap();
    gateway.serve(config("docs")).await.unwrap();
    assert_eq!(get(&gateway, "docs").await, noise(7, 2_000_000));
    // A head that has seen the plan, as whoever leads publishes one.
    put_more(&gateway).await;
    collect(&fresh, scene.folder.path()).await;
    let condemned = fresh.read_plan(done.plans[0]).await.unwrap().condemned;
    let left = everything(&scene.store).await;
    let is_left = |pack: &PackId| left.iter().any(|name| name.as_str().ends_with(&pack.to_string()));
    assert!(condemned.len() > 1 && !condemned.iter().any(is_left), "its packs are gone");
    is_clean(&fresh).await;
    gateway.close().await.unwrap();
}

async fn put_more(gateway: &Arc<Appliance>) {
    let namespace = gateway.namespace("docs").unwrap();
    let file = lookup(&namespace, InodeNumber::ROOT, b"file").await.unwrap();
    let size = read_all(&namespace, file).await.unwrap().len() as u64;
    write(&namespace, file, size, b"more").await.unwrap();
    gateway.commit("docs").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_knows_a_shredded_share_goes_on_with_the_others() {
    let scene = Scene::new().await;
    let lead = scene.repository().await;
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    shred_everywhere(&lead, &[], &what, now(), PAUSE).await.unwrap();
    let gateway = again(&scene).await;
    gateway.serve(config("docs")).await.unwrap();
    gateway.retire_unserved().unwrap();
    journal_is_shortened(&gateway).await;
    gateway.close().await.unwrap();
}

/// Again over the same state, with segments of the journal as short as they can be: 8 MiB.
async fn again(scene: &Scene) -> Arc<Appliance> {
    let small = Budgets { dirty_bytes: 96 << 20, ..budgets() };
    open_within(&scene.place("data"), scene.store.clone(), &scene.key, small).await
}

/// Writes until the journal has several segments, and commits until it is short: nobody holds it.
async fn journal_is_shortened(gateway: &Arc<Appliance>) {
    for number in 0..40 {
        let namespace = gateway.namespace("docs").unwrap();
        let name = format!("filler {number}");
        let file = create(&namespace, InodeNumber::ROOT, name.as_bytes()).await.unwrap();
        write(&namespace, file, 0, &noise(number, 1 << 20)).await.unwrap();
    }
    assert!(gateway.journal_report().segments > 2, "enough was written");
    let shortened = async {
        while gateway.journal_report().segments > 2 {
            put_more(gateway).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), shortened).await.expect("nobody holds the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_that_was_cut_off_had_of_it_becomes_no_branch() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let way = Arc::new(FaultStore::new(memory.clone(), 1));
    let scene = Scene::on(way.clone()).await;
    let gateway = again(&scene).await;
    gateway.serve(own("secret")).await.unwrap();
    gateway.serve(config("docs")).await.unwrap();
    way.partition(true);
    let namespace = gateway.namespace("secret").unwrap();
    let file = create(&namespace, InodeNumber::ROOT, b"late").await.unwrap();
    write(&namespace, file, 0, &noise(8, 2_000_000)).await.unwrap();
    gateway.commit("secret").await.unwrap_err();

    let elsewhere = open(&scene.place("other"), memory.clone(), &scene.key).await;
    elsewhere.attach("secret", AttachPoint::Newest).await.unwrap();
    elsewhere.close().await.unwrap();
    let lead = Repository::open(memory.clone(), &scene.key).await.unwrap();
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    shred_everywhere(&lead, &[], &what, now(), PAUSE).await.unwrap();
    way.partition(false);
    // As a heartbeat does.
    gateway.repository().learn_epochs().await.unwrap();
    gateway.commit("secret").await.unwrap_err();
    assert!(served(&gateway, scene.share).rules.read_only, "nothing more is acknowledged");
    drop(namespace);
    put_more(&gateway).await;
    assert_eq!(gateway.backlog().0, 0, "what nobody opens is kept by nobody");
    journal_is_shortened(&gateway).await;
    for folder in ["heads", "snapshots", "leases"] {
        assert_eq!(names(&memory, &format!("{folder}/{}/", scene.share)).await, 0, "{folder}");
    }
    let lead = scene.repository().await;
    collect(&lead, scene.folder.path()).await;
    is_clean(&lead).await;
    gateway.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredding_that_a_copy_did_not_answer_is_finished_by_the_next() {
    let scene = Scene::new().await;
    let lead = scene.repository().await;
    let away: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let way = Arc::new(FaultStore::new(away.clone(), 1));
    let copy = prepare(&lead, way.clone()).await.unwrap();
    // As a pass brings them.
    for folder in ["heads", "snapshots"] {
        for name in everything(&scene.store).await.iter().filter(|name| name.as_str().starts_with(folder)) {
            let bytes = scene.store.get(name, None).await.unwrap();
            away.put(name, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
        }
    }
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    for broken in 0..8 {
        way.clear();
        way.inject(
            Rule::on(Operation::Delete).skipping(broken).times(1),
            Fault::Before(ErrorKind::Transient),
        );
        let again = shreddable(&lead, scene.share, now()).await.expect("it is found by its name");
        assert_eq!(again.domain, what.domain);
        if shred_everywhere(&lead, std::slice::from_ref(&copy), &what, now(), PAUSE).await.is_ok() {
            assert!(broken > 0, "the first deletion failed");
            for store in [&scene.store, &away] {
                let left: Vec<_> = everything(store).await;
                let of_it = |name: &&ObjectName| {
                    let name = name.as_str();
                    if name.starts_with("shredded/") {
                        return false;
                    }
                    name.contains(&what.domain.to_string()) || name.contains(&scene.share.to_string())
                };
                assert_eq!(left.iter().find(of_it), None);
            }
            return;
        }
    }
    panic!("it never ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_holds_something_else_or_does_not_answer_stops_it_before_anything_goes() {
    let scene = Scene::new().await;
    let lead = scene.repository().await;
    let foreign: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(foreign.clone(), &scene.key).await);
    let silent = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    silent.partition(true);
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    let before = everything(&scene.store).await;
    for store in [foreign, silent as Arc<dyn Store>] {
        let copies = [lead.on(store)];
        let refused = shred_everywhere(&lead, &copies, &what, now(), PAUSE).await.unwrap_err();
        assert!(matches!(refused, ShredError::Copy(_)), "{refused}");
        assert_eq!(everything(&scene.store).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_locked_are_hidden_counted_and_not_taken_for_tampering() {
    let rule = LockRule { mode: LockMode::Compliance, days: 12 };
    let clock = Arc::new(std::time::SystemTime::now);
    let scene = Scene::on(Arc::new(MemoryStore::locking(rule, clock))).await;
    let lead = scene.repository().await;
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    let Done { stores, .. } = shred_everywhere(&lead, &[], &what, now(), PAUSE).await.unwrap();
    assert!(stores[0].keys_held > 0 && !stores[0].versions_unseen, "{stores:?}");
    let fresh = scene.repository().await;
    assert!(fresh.domain_keys(what.domain).is_err());
    assert_eq!(tampered(&fresh, &Silent).await.unwrap(), []);
    // Keys of a share that is there are another matter.
    let of_all = format!("domains/{}/", fresh.default_domain());
    let page = scene.store.list(&of_all, None, 10).await.unwrap();
    scene.store.delete(&page.objects[0].name).await.unwrap();
    assert_eq!(tampered(&fresh, &Silent).await.unwrap().len(), 1);
}

async fn everything(store: &Arc<dyn Store>) -> Vec<ObjectName> {
    let page = store.list("", None, 1_000).await.unwrap();
    page.objects.into_iter().map(|object| object.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_it_that_never_left_hold_nobody_up_and_go() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let way = Arc::new(FaultStore::new(memory.clone(), 1));
    let scene = Scene::on(way.clone()).await;
    let gateway = again(&scene).await;
    gateway.serve(own("secret")).await.unwrap();
    way.inject(Rule::on(Operation::Put).named("packs/"), Fault::Before(ErrorKind::Transient));
    let namespace = gateway.namespace("secret").unwrap();
    let file = create(&namespace, InodeNumber::ROOT, b"late").await.unwrap();
    write(&namespace, file, 0, &noise(8, 2_000_000)).await.unwrap();
    gateway.commit("secret").await.unwrap_err();
    let waiting = gateway.waiting_objects().unwrap();
    assert!(!waiting.is_empty());
    drop(namespace);
    gateway.close().await.unwrap();
    drop(gateway);
    way.clear();

    let lead = scene.repository().await;
    let what = shreddable(&lead, scene.share, now()).await.unwrap();
    shred_everywhere(&lead, &[], &what, now(), PAUSE).await.unwrap();
    let gateway = again(&scene).await;
    gateway.serve(config("docs")).await.unwrap();
    assert!(gateway.backlog().0 > 0);
    put_more(&gateway).await;
    assert_eq!(gateway.backlog().0, 0, "what nobody opens is kept by nobody");
    gateway.retire_unserved().unwrap();
    for file in std::fs::read_dir(scene.place("data").join("packs")).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let id = file.split('.').next().unwrap();
        assert!(waiting.iter().all(|name| !name.as_str().ends_with(id)), "{file} is here still");
    }
    journal_is_shortened(&gateway).await;
    gateway.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_under_keys_that_others_need_is_not_shredded() {
    let scene = Scene::new().await;
    let gateway = again(&scene).await;
    let docs = gateway.serve(config("docs")).await.unwrap();
    gateway.serve(own("secret")).await.unwrap();
    let lead = scene.repository().await;
    let refused = shreddable(&lead, docs, now()).await.unwrap_err();
    assert!(matches!(refused, ShredError::CommonKeys), "{refused}");
    let head = lead.newest_head(scene.share).await.unwrap().unwrap().head;
    gateway.clone_share(&head, "twin").await.unwrap();
    let refused = shreddable(&lead, scene.share, now()).await.unwrap_err();
    assert!(matches!(refused, ShredError::Unpublished { .. }), "{refused}");
    gateway.serve(own("twin")).await.unwrap();
    gateway.commit("twin").await.unwrap();
    let refused = shreddable(&lead, scene.share, now()).await.unwrap_err();
    assert!(matches!(&refused, ShredError::SharedKeys { other } if other == "twin"), "{refused}");
    gateway.close().await.unwrap();
}
