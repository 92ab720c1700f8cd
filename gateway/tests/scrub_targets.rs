//! Goal: with several targets, whatever is damaged on one of them and whole on another is put back, also on those that follow;
//! what is whole nowhere is named, and asked for again.
//!
//! Method: two targets that are directories. Their files are deleted and spoilt; local packs are removed, so that only the other
//! target can help. Then the gateway scrubs, and the files are compared with what they were.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::{budgets, config, create, init, noise, slot_key, write};
use tidegate_chunker::PackId;
use tidegate_gateway::appliance::{Appliance, CopyTarget, Parts, ScrubConfig, Scrubber, Targets};
use tidegate_gateway::clock::SystemClock;
use tidegate_replicator::collect::Silent;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Claimant, Ladder, Plan, Repository, SlotKey, UtcNanos};
use tidegate_replicator::store::{
    Classes, DirectoryStore, ErrorKind, Fault, FaultStore, Operation, Rule, Store, StoreGroup,
};

/// A gateway with a target that leads, `home`, and one that follows, `away`.
struct Scene {
    folder: tempfile::TempDir,
    key: SlotKey,
    /// The way to `home`.
    way: FaultStore,
}

impl Scene {
    /// Two commits and a snapshot, on both targets, and nowhere else.
    async fn new() -> (Self, Arc<Appliance>) {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        for site in ["home", "away"] {
            std::fs::create_dir(folder.path().join(site)).unwrap();
        }
        let home = Arc::new(DirectoryStore::open(&folder.path().join("home")).unwrap());
        let scene = Self { folder, key, way: FaultStore::new(home, 1) };
        init(scene.store("home"), &scene.key).await;
        let appliance = scene.open().await;
        for number in 0..2 {
            let namespace = appliance.namespace("docs").unwrap();
            let name = format!("file {number}").into_bytes();
            let file = create(&namespace, InodeNumber::ROOT, &name).await.unwrap();
            write(&namespace, file, 0, &noise(number + 1, 400_000)).await.unwrap();
            appliance.commit("docs").await.unwrap();
        }
        appliance.create_snapshot("docs", "kept", BTreeMap::new()).await.unwrap();
        assert!(appliance.copy_now("away").await.unwrap().is_whole());
        appliance.close().await.unwrap();
        drop(appliance);
        for entry in std::fs::read_dir(scene.path("gateway/packs")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let appliance = scene.open().await;
        (scene, appliance)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, site: &str) -> Arc<dyn Store> {
        Arc::new(DirectoryStore::open(&self.path(site)).unwrap())
    }

    async fn open(&self) -> Arc<Appliance> {
        let targets = Targets {
            group: StoreGroup::new(Arc::new(self.way.clone())),
            lead: "home".into(),
            copies: vec![CopyTarget { name: "away".into(), store: self.store("away") }],
            required: 1,
        };
        let repository = Repository::open(targets.group.clone(), &self.key).await.unwrap();
        let appliance = Appliance::open(Parts {
            data: self.path("gateway"),
            repository,
            targets,
            clock: Arc::new(SystemClock),
            claimant: Claimant { host: "test".into(), instance: "gateway".into() },
            settle: Duration::from_millis(1),
            budgets: budgets(),
            ladder: Ladder::default(),
            drill: false,
        })
        .await
        .unwrap();
        appliance.serve(config("docs")).await.unwrap();
        appliance
    }

    fn config(&self) -> ScrubConfig {
        ScrubConfig {
            every: None,
            look_every: Duration::from_hours(24),
            daily_bytes: None,
            daily_requests: None,
            copies: true,
            memory_bytes_max: 64 << 20,
            classes: Classes::default(),
            folder: self.path("gateway"),
        }
    }

    /// The files of all objects of a target below a prefix, in order, with their content.
    async fn objects(&self, site: &str, prefix: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let page = self.store(site).list(prefix, None, 1000).await.unwrap();
        let read = |path: PathBuf| {
            let content = std::fs::read(&path).unwrap();
            (path, content)
        };
        page.objects.iter().map(|object| read(self.path(site).join(object.name.as_str()))).collect()
    }

    /// The packs of a target, largest first: before the others those with what was written to the files, in the same order on
    /// each target.
    async fn packs(&self, site: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut packs = self.objects(site, "packs/").await;
        packs.sort_by_key(|(_, content)| std::cmp::Reverse(content.len()));
        packs
    }
}

/// Another byte in the middle of a file.
fn spoil(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x40;
    std::fs::write(path, content).unwrap();
}

fn is_as_it_was(objects: &[(PathBuf, Vec<u8>)]) {
    for (path, content) in objects {
        assert!(std::fs::read(path).unwrap() == *content, "{} is as it was", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lead_has_lost_or_spoilt_is_put_back_from_a_target_that_follows() {
    let (scene, appliance) = Scene::new().await;
    let (packs, snapshots) =
        (scene.objects("home", "packs/").await, scene.objects("home", "snapshots/").await);
    assert!(packs.len() >= 2 && snapshots.len() == 1);
    std::fs::remove_file(&packs[0].0).unwrap();
    spoil(&packs[1].0);
    spoil(&snapshots[0].0);
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    assert_eq!(scrubber.status().lost_count(), 0, "{:#?}", scrubber.status());
    is_as_it_was(&packs);
    is_as_it_was(&snapshots);
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_a_target_that_follows_is_put_back_there() {
    let (scene, appliance) = Scene::new().await;
    let mut objects = scene.objects("away", "packs/").await;
    let packs = objects.len() as u64;
    std::fs::remove_file(&objects[0].0).unwrap();
    spoil(&objects[1].0);
    for prefix in ["heads/", "snapshots/"] {
        let found = scene.objects("away", prefix).await;
        spoil(&found[0].0);
        objects.extend(found);
    }
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert_eq!(status.lost_count(), 0, "{status:#?}");
    is_as_it_was(&objects);
    let copy = &status.copies[0];
    let last = copy.last.as_ref().unwrap();
    assert_eq!((copy.target.as_str(), copy.failure.as_ref()), ("away", None));
    assert_eq!((last.packs, last.packs_healed), (packs, 2));
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_nowhere_is_named_and_asked_for_again() {
    let (scene, appliance) = Scene::new().await;
    let (packs, snapshots) =
        (scene.objects("home", "packs/").await, scene.objects("home", "snapshots/").await);
    let elsewhere = scene.objects("away", "snapshots/").await;
    spoil(&packs[0].0);
    for (path, _) in snapshots.iter().chain(&elsewhere) {
        spoil(path);
    }
    // The only target that has the pack whole is away.
    std::fs::rename(scene.path("away"), scene.path("shelf")).unwrap();
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert!(!status.lost.is_empty() && status.unreadable.len() == 1, "{status:#?}");
    assert!(status.copies[0].failure.is_some(), "{status:#?}");
    std::fs::rename(scene.path("shelf"), scene.path("away")).unwrap();
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost, []);
    is_as_it_was(&packs);
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert_eq!((status.unreadable.len(), status.copies[0].unreadable.len()), (1, 1), "{status:#?}");
    assert_eq!(status.lost_count(), 2);
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collection_has_condemned_is_neither_put_back_nor_lost() {
    let (scene, appliance) = Scene::new().await;
    let packs = scene.packs("home").await;
    spoil(&packs[0].0);
    std::fs::remove_file(&packs[1].0).unwrap();
    std::fs::rename(scene.path("away"), scene.path("shelf")).unwrap();
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let id = |path: &Path| PackId::from_hex(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let mut condemned: Vec<PackId> = packs[..2].iter().map(|(path, _)| id(path)).collect();
    condemned.sort();
    let status = scrubber.status();
    for pack in &condemned {
        assert!(status.lost.iter().any(|lost| lost.pack == pack.to_string()), "{status:#?}");
    }
    let repository = Repository::open(scene.store("home"), &scene.key).await.unwrap();
    let plan = Plan { made_at: UtcNanos::new(1), condemned, bytes: 0, replacements: Vec::new() };
    repository.create_plan(&plan).await.unwrap();
    std::fs::rename(scene.path("shelf"), scene.path("away")).unwrap();
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost, []);
    scrubber.run(&Silent).await.unwrap();
    assert_eq!(scrubber.status().lost, []);
    assert!(std::fs::read(&packs[0].0).unwrap() != packs[0].1, "it is left alone");
    assert!(!packs[1].0.exists(), "it is not put back");
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_a_target_that_follows_is_asked_for_again_without_a_round() {
    let (scene, appliance) = Scene::new().await;
    let mut at_home = scene.packs("home").await;
    let mut away = scene.packs("away").await;
    at_home.truncate(1);
    away.truncate(1);
    at_home.extend(scene.objects("home", "snapshots/").await);
    away.extend(scene.objects("away", "snapshots/").await);
    for (path, _) in at_home.iter().chain(&away) {
        spoil(path);
    }
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert!(!status.lost.is_empty() && !status.copies[0].lost.is_empty(), "{status:#?}");
    assert_eq!((status.unreadable.len(), status.copies[0].unreadable.len()), (1, 1), "{status:#?}");
    // Somebody puts the files back on the target that leads.
    for (path, content) in &at_home {
        std::fs::write(path, content).unwrap();
    }
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost_count(), 0, "{:#?}", scrubber.status());
    is_as_it_was(&at_home);
    is_as_it_was(&away);
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_which_only_the_end_is_bad_is_named_until_another_target_can_give_it() {
    let (scene, appliance) = Scene::new().await;
    let packs = scene.packs("home").await;
    let mut content = packs[0].1.clone();
    *content.last_mut().unwrap() ^= 0x40;
    std::fs::write(&packs[0].0, content).unwrap();
    std::fs::rename(scene.path("away"), scene.path("shelf")).unwrap();
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert_eq!(status.lost.len(), 1, "{status:#?}");
    std::fs::rename(scene.path("shelf"), scene.path("away")).unwrap();
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost, []);
    is_as_it_was(&packs);
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_refused_and_foreign_names_keep_nothing_else_from_being_healed() {
    let (scene, appliance) = Scene::new().await;
    let (packs, snapshots) =
        (scene.objects("home", "packs/").await, scene.objects("home", "snapshots/").await);
    let heads = scene.objects("home", "heads/").await;
    spoil(&packs[0].0);
    spoil(&snapshots[0].0);
    let foreign = snapshots[0].0.with_file_name("foreign");
    std::fs::write(&foreign, b"x").unwrap();
    scene.way.inject(Rule::on(Operation::GetTail).named("heads/"), Fault::Before(ErrorKind::Denied));
    let scrubber = Scrubber::open(appliance.clone(), scene.config());
    scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    assert_eq!(status.unreadable.len(), heads.len(), "{status:#?}");
    assert!(status.unreadable.iter().all(|head| head.object.starts_with("heads/")), "{status:#?}");
    assert_eq!(status.lost, []);
    is_as_it_was(&packs);
    is_as_it_was(&snapshots);
    scene.way.clear();
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().unreadable, []);
    std::fs::remove_file(&foreign).unwrap();
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_over_targets_that_follow_begin_by_the_clock_unless_they_are_left_out() {
    let (scene, appliance) = Scene::new().await;
    let every = Some(Duration::from_hours(24));
    let scrubber = Scrubber::open(appliance.clone(), ScrubConfig { every, copies: false, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().copies, []);
    scrubber.set(ScrubConfig { every, ..scene.config() });
    scrubber.turn().await.unwrap();
    let status = scrubber.status();
    let round = status.copies[0].round.as_ref().unwrap();
    assert!(round.packs_total >= 2 && round.ended.is_none(), "{status:#?}");
    // The book is kept.
    let again = Scrubber::open(appliance.clone(), ScrubConfig { every, ..scene.config() });
    assert_eq!(again.status().copies, status.copies);
    appliance.close().await.unwrap();
}
