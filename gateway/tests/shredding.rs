//! A share with keys of its own is shredded: nobody reads it any more, nothing else is touched, and nothing waits for it.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{Appliance, AttachPoint, ShareConfig};
use tidegate_replicator::check::{CheckOptions, Sample, check};
use tidegate_replicator::collect::{CollectOptions, Progress, Silent, finish_open};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::mirror::prepare;
use tidegate_replicator::repository::{Opened, Repository, SlotKey, UtcNanos};
use tidegate_replicator::shred::{ShredError, shred_everywhere, shreddable};
use tidegate_replicator::store::{MemoryStore, Store};

const PAUSE: Duration = Duration::from_millis(1);

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
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
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
    let before = names(&scene.store, "packs/").await;
    let what = shreddable(&lead, scene.share).await.unwrap();
    assert_eq!((what.name.as_str(), what.snapshots.len()), ("secret", 1));
    let now = UtcNanos::from(std::time::SystemTime::now());
    let (done, plan) = shred_everywhere(&lead, &[copy], &what, now, PAUSE).await.unwrap();
    assert!(plan.is_some() && done[0].keys_held == 0, "{done:?}");
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
    assert!(names(&scene.store, "packs/").await < before, "its packs are gone");
    is_clean(&fresh).await;
    gateway.close().await.unwrap();
}

async fn put_more(gateway: &Appliance) {
    let namespace = gateway.namespace("docs").unwrap();
    create(&namespace, InodeNumber::ROOT, b"more").await.unwrap();
    gateway.commit("docs").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_knows_a_shredded_share_goes_on_with_the_others() {
    let scene = Scene::new().await;
    let lead = scene.repository().await;
    let what = shreddable(&lead, scene.share).await.unwrap();
    let now = UtcNanos::from(std::time::SystemTime::now());
    shred_everywhere(&lead, &[], &what, now, PAUSE).await.unwrap();
    let gateway = reopen(&scene.place("data"), scene.store.clone(), &scene.key).await;
    gateway.serve(config("docs")).await.unwrap();
    gateway.retire_unserved().unwrap();
    let shortened = async {
        for number in 0.. {
            let namespace = gateway.namespace("docs").unwrap();
            let name = format!("filler {number}");
            let file = create(&namespace, InodeNumber::ROOT, name.as_bytes()).await.unwrap();
            write(&namespace, file, 0, &noise(number, 1 << 20)).await.unwrap();
            gateway.commit("docs").await.unwrap();
            if number > 40 && gateway.journal_report().segments <= 2 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), shortened).await.expect("nobody holds the journal");
    gateway.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_under_keys_that_others_need_is_not_shredded() {
    let scene = Scene::new().await;
    let gateway = reopen(&scene.place("data"), scene.store.clone(), &scene.key).await;
    let docs = gateway.serve(config("docs")).await.unwrap();
    gateway.serve(own("secret")).await.unwrap();
    let lead = scene.repository().await;
    let refused = shreddable(&lead, docs).await.unwrap_err();
    assert!(matches!(refused, ShredError::CommonKeys), "{refused}");
    let head = lead.newest_head(scene.share).await.unwrap().unwrap().head;
    gateway.clone_share(&head, "twin").await.unwrap();
    gateway.serve(own("twin")).await.unwrap();
    gateway.commit("twin").await.unwrap();
    let refused = shreddable(&lead, scene.share).await.unwrap_err();
    assert!(matches!(&refused, ShredError::SharedKeys { other } if other == "twin"), "{refused}");
    gateway.close().await.unwrap();
}
