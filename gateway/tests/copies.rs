//! Claims about a repository on several targets: copies follow and can be served alone; what too few have stays
//! here; a copy is promoted while clients write, or when the lead is gone, and nothing published is ever lost.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use support::{budgets, config, create, init, lookup, noise, read_all, served, slot_key, write};
use tidegate_chunker::PackId;
use tidegate_gateway::appliance::{
    Appliance, ApplianceError, AttachPoint, CopyTarget, LockConfig, Parts, ShareConfig, Targets,
};
use tidegate_gateway::clock::SystemClock;
use tidegate_protocols::view::FsError;
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::ingest::{pack_file_name, pack_of_file_name};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Claimant, Ladder, Repository, SlotKey};
use tidegate_replicator::store::{
    Address, Credentials, DirectoryStore, ErrorKind, FaultStore, LockMode, LockRule, MemoryStore, Store,
    StoreError, StoreGroup, StoreSettings, open_late,
};

/// A target of a test: its store, and the way to it, which may be cut.
struct Site {
    name: &'static str,
    store: MemoryStore,
    way: Arc<FaultStore>,
}

impl Site {
    fn new(name: &'static str) -> Self {
        let store = MemoryStore::new();
        let way = Arc::new(FaultStore::new(Arc::new(store.clone()), 1));
        Self { name, store, way }
    }

    fn target(&self) -> CopyTarget {
        CopyTarget { name: self.name.into(), store: self.way.clone() }
    }
}

/// Two sites, and what was written.
struct Scene {
    folder: tempfile::TempDir,
    key: SlotKey,
    sites: [Site; 2],
    written: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let sites = [Site::new("home"), Site::new("away")];
        init(sites[0].way.clone(), &key).await;
        Self { folder, key, sites, written: BTreeMap::new() }
    }

    fn targets(&self, lead: usize, required: usize) -> Targets {
        Targets {
            group: StoreGroup::new(self.sites[lead].way.clone()),
            lead: self.sites[lead].name.into(),
            copies: vec![self.sites[1 - lead].target()],
            required,
        }
    }

    async fn open(&self, lead: usize, required: usize) -> Arc<Appliance> {
        self.try_open("gateway", self.targets(lead, required)).await.unwrap()
    }

    async fn try_open(&self, data: &str, targets: Targets) -> Result<Arc<Appliance>, ApplianceError> {
        let data = self.folder.path().join(data);
        let repository = Repository::open(targets.group.clone(), &self.key).await?;
        let appliance = Appliance::open(Parts {
            data: data.clone(),
            repository,
            targets,
            clock: Arc::new(SystemClock),
            claimant: Claimant { host: "test".into(), instance: data.display().to_string() },
            settle: Duration::from_millis(1),
            budgets: budgets(),
            ladder: Ladder::default(),
            drill: false,
        })
        .await?;
        Ok(appliance)
    }

    async fn serve(&self, appliance: &Arc<Appliance>) {
        appliance.serve(documents()).await.unwrap();
    }

    /// A new file, acknowledged.
    async fn write(&mut self, appliance: &Appliance) {
        let number = self.written.len();
        let name = format!("file {number}").into_bytes();
        let data = noise(number as u64 + 1, 300_000);
        write_file(appliance, &name, &data).await.unwrap();
        self.written.insert(name, data);
    }

    async fn is_all_there(&self, appliance: &Appliance) {
        let namespace = appliance.namespace("documents").unwrap();
        for (name, data) in &self.written {
            let file = lookup(&namespace, InodeNumber::ROOT, name).await.unwrap();
            assert!(read_all(&namespace, file).await.unwrap() == *data, "{name:?}");
        }
    }

    /// Everything that heads reach is at a site, and opens.
    async fn is_sound(&self, site: usize) {
        self.is_sound_at(Arc::new(self.sites[site].store.clone())).await;
    }

    async fn is_sound_at(&self, store: Arc<dyn Store>) {
        let repository = Arc::new(Repository::open(store, &self.key).await.unwrap());
        let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        let report = check(&repository, &options, &check::Silent).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }

    fn packs_here(&self) -> Vec<PackId> {
        packs_in(&self.folder.path().join("gateway/packs"))
    }
}

fn documents() -> ShareConfig {
    config("documents")
}

async fn write_file(appliance: &Appliance, name: &[u8], data: &[u8]) -> Result<(), FsError> {
    let namespace = appliance.namespace("documents").unwrap();
    let file = create(&namespace, InodeNumber::ROOT, name).await?;
    write(&namespace, file, 0, data).await
}

fn packs_in(folder: &Path) -> Vec<PackId> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| pack_of_file_name(name.to_str()?)).collect()
}

/// Closes, and lets go of the folder.
async fn close(appliance: Arc<Appliance>) {
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_follows_and_is_served_alone_when_everything_else_is_lost() {
    let mut scene = Scene::new().await;
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    let (head, _) = appliance.commit("documents").await.unwrap();
    let report = appliance.copy_now("away").await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.shares[0].newest.unwrap().0, head);
    let stands = appliance.copies_report().remove(0);
    assert_eq!((stands.owed.packs, stands.owed.bytes, stands.owed.whole_once), (0, 0, true));
    assert_eq!(stands.behind, Some(Duration::ZERO));
    scene.is_sound(1).await;
    close(appliance).await;
    let alone = Targets::only(Arc::new(scene.sites[1].store.clone()));
    let elsewhere = scene.try_open("elsewhere", alone).await.unwrap();
    elsewhere.attach("documents", AttachPoint::Newest).await.unwrap();
    scene.serve(&elsewhere).await;
    scene.is_all_there(&elsewhere).await;
    close(elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_away_is_owed_what_was_made_and_catches_up() {
    let mut scene = Scene::new().await;
    scene.sites[1].way.partition(true);
    let appliance = scene.open(0, 2).await;
    scene.serve(&appliance).await;
    for _ in 0..3 {
        scene.write(&appliance).await;
        appliance.commit("documents").await.unwrap();
    }
    let stands = appliance.copies_report().remove(0);
    assert!(stands.owed.packs >= 3 && stands.owed.bytes > 900_000, "{stands:?}");
    assert!(appliance.dirty_bytes() > 900_000, "two must have it and one has it: it stays here");
    assert!(matches!(appliance.copy_now("away").await, Err(ApplianceError::Copy(_))));
    assert!(appliance.copies_report()[0].failure.is_some());
    // The debt outlives a restart.
    close(appliance).await;
    let appliance = scene.open(0, 2).await;
    scene.serve(&appliance).await;
    assert_eq!(appliance.copies_report()[0].owed.packs, stands.owed.packs);
    let dirty = appliance.dirty_bytes();
    assert!(dirty > 900_000);
    scene.sites[1].way.partition(false);
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    assert_eq!(appliance.copies_report()[0].owed.packs, 0);
    assert!(appliance.dirty_bytes() + 900_000 <= dirty, "{} of {dirty}", appliance.dirty_bytes());
    scene.is_sound(1).await;
    close(appliance).await;
}

/// A copy on a disk that may not be mounted yet.
fn on_disk(disk: &Path) -> CopyTarget {
    let settings = StoreSettings::new(Address::Directory(disk.to_path_buf()));
    let none_needed = || async { Ok::<_, StoreError>(Credentials::Environment) }.boxed();
    CopyTarget { name: "away".into(), store: open_late("away", &settings, Box::new(none_needed)).store }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_disk_comes_after_the_start_is_opened_then_and_what_it_is_owed_is_not_forgotten() {
    let mut scene = Scene::new().await;
    let (disk, shelf) = (scene.folder.path().join("disk"), scene.folder.path().join("shelf"));
    let targets = |scene: &Scene| Targets { copies: vec![on_disk(&disk)], ..scene.targets(0, 2) };
    let appliance = scene.try_open("gateway", targets(&scene)).await.unwrap();
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    assert!(matches!(appliance.copy_now("away").await, Err(ApplianceError::Copy(_))));
    let stands = appliance.copies_report().remove(0);
    assert!(stands.failure.is_some() && stands.owed.packs > 0 && stands.behind.is_some(), "{stands:?}");
    assert!(appliance.dirty_bytes() > 250_000, "two must have it and one has it: it stays here");
    std::fs::create_dir(&disk).unwrap();
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    close(appliance).await;
    // It is away again when the gateway starts the next time.
    std::fs::rename(&disk, &shelf).unwrap();
    let appliance = scene.try_open("gateway", targets(&scene)).await.unwrap();
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    assert!(appliance.copy_now("away").await.is_err());
    let stands = appliance.copies_report().remove(0);
    assert!(stands.owed.whole_once && stands.owed.packs > 0 && stands.behind.is_some(), "{stands:?}");
    std::fs::rename(&shelf, &disk).unwrap();
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    let stands = appliance.copies_report().remove(0);
    assert_eq!((stands.owed.packs, stands.behind, stands.failure), (0, Some(Duration::ZERO), None));
    scene.is_sound_at(Arc::new(DirectoryStore::open(&disk).unwrap())).await;
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_in_the_place_of_a_whole_copy_is_not_filled() {
    let mut scene = Scene::new().await;
    let (disk, shelf) = (scene.folder.path().join("disk"), scene.folder.path().join("shelf"));
    let targets = |scene: &Scene| Targets { copies: vec![on_disk(&disk)], ..scene.targets(0, 2) };
    std::fs::create_dir(&disk).unwrap();
    let appliance = scene.try_open("gateway", targets(&scene)).await.unwrap();
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    close(appliance).await;
    // At the next start there is nothing but the place that the disk is mounted on.
    std::fs::rename(&disk, &shelf).unwrap();
    std::fs::create_dir(&disk).unwrap();
    let appliance = scene.try_open("gateway", targets(&scene)).await.unwrap();
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    for _ in 0..2 {
        let error = appliance.copy_now("away").await.unwrap_err();
        assert!(matches!(&error, ApplianceError::CopyIsGone { .. }), "{error}");
    }
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0, "nothing is written there");
    let stands = appliance.copies_report().remove(0);
    assert!(stands.owed.whole_once && stands.owed.packs > 0 && stands.failure.is_some(), "{stands:?}");
    close(appliance).await;
    std::fs::remove_dir(&disk).unwrap();
    std::fs::rename(&shelf, &disk).unwrap();
    let appliance = scene.try_open("gateway", targets(&scene)).await.unwrap();
    scene.serve(&appliance).await;
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    assert_eq!(appliance.copies_report()[0].owed.packs, 0);
    scene.is_sound_at(Arc::new(DirectoryStore::open(&disk).unwrap())).await;
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_a_copy_that_cannot_be_opened_are_accounted_for() {
    let scene = Scene::new().await;
    let rule = LockRule { mode: LockMode::Governance, days: 30 };
    let bucket = Address::Bucket { bucket: "away".into(), prefix: "backup".into() };
    let settings = StoreSettings { lock: Some(rule), ..StoreSettings::new(bucket) };
    let nobody_gives = || {
        async { Err::<Credentials, _>(StoreError::new(ErrorKind::Denied, "read the credentials")) }.boxed()
    };
    let store = open_late("away", &settings, Box::new(nobody_gives)).store;
    let copies = vec![CopyTarget { name: "away".into(), store }];
    let targets = Targets { copies, ..scene.targets(0, 1) };
    let appliance = scene.try_open("gateway", targets).await.unwrap();
    let report = appliance.lock_reports().remove(0);
    assert_eq!((report.address.as_str(), report.rule), ("s3://away/backup", rule));
    assert_eq!((report.ended, report.failure, report.is_late), (None, None, false));
    let config = LockConfig { memory_bytes_max: 64 << 20, folder: scene.folder.path().to_path_buf() };
    appliance.extend_due_locks(&config).await;
    let report = appliance.lock_reports().remove(0);
    assert!(report.ended.is_none() && report.failure.is_some(), "{report:?}");
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_the_lead_has_lost_is_read_from_a_copy() {
    let mut scene = Scene::new().await;
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    appliance.copy_now("away").await.unwrap();
    close(appliance).await;
    for object in scene.sites[0].store.list("packs/", None, 1000).await.unwrap().objects {
        scene.sites[0].store.delete(&object.name).await.unwrap();
    }
    for pack in scene.packs_here() {
        std::fs::remove_file(scene.folder.path().join("gateway/packs").join(pack_file_name(&pack))).unwrap();
    }
    assert!(scene.packs_here().is_empty());
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.is_all_there(&appliance).await;
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_promoted_while_clients_write_and_what_led_follows() {
    let mut scene = Scene::new().await;
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    appliance.copy_now("away").await.unwrap();
    scene.write(&appliance).await;
    let writer = tokio::spawn({
        let appliance = appliance.clone();
        async move {
            for number in 0..20_u64 {
                let name = format!("beside {number}").into_bytes();
                write_file(&appliance, &name, &noise(1000 + number, 50_000)).await.unwrap();
            }
        }
    });
    let targets = scene.targets(1, 1);
    appliance.promote(&targets, scene.sites[1].way.clone(), false).await.unwrap();
    writer.await.unwrap();
    for number in 0..20_u64 {
        scene.written.insert(format!("beside {number}").into_bytes(), noise(1000 + number, 50_000));
    }
    scene.write(&appliance).await;
    let (head, _) = appliance.commit("documents").await.unwrap();
    assert_eq!(head.epoch, 256);
    let id = appliance.share_id("documents").unwrap();
    let away = Repository::open(Arc::new(scene.sites[1].store.clone()), &scene.key).await.unwrap();
    assert_eq!(away.newest_head_name(id).await.unwrap(), Some(head));
    let report = appliance.copy_now("home").await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    let home = Repository::open(Arc::new(scene.sites[0].store.clone()), &scene.key).await.unwrap();
    assert_eq!(home.newest_head_name(id).await.unwrap(), Some(head));
    scene.is_all_there(&appliance).await;
    scene.is_sound(0).await;
    scene.is_sound(1).await;
    close(appliance).await;
    // It leads from there after a restart, too, and goes back as it came.
    let appliance = scene.open(1, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    appliance.promote(&scene.targets(0, 1), scene.sites[0].way.clone(), false).await.unwrap();
    scene.write(&appliance).await;
    assert_eq!(appliance.commit("documents").await.unwrap().0.epoch, 512);
    scene.is_all_there(&appliance).await;
    scene.is_sound(0).await;
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_lead_lost_a_copy_leads_only_if_it_has_what_was_published() {
    let mut scene = Scene::new().await;
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    appliance.copy_now("away").await.unwrap();
    scene.sites[1].way.partition(true);
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    scene.sites[0].way.partition(true);
    scene.sites[1].way.partition(false);
    let targets = scene.targets(1, 1);
    let error = appliance.promote(&targets, scene.sites[1].way.clone(), true).await.unwrap_err();
    assert!(
        matches!(&error, ApplianceError::NotToBePromoted { lacks, .. } if lacks.contains("documents")),
        "{error}"
    );
    // Nothing was changed: the lead comes back and goes on.
    scene.sites[0].way.partition(false);
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    // Now it is lost for good, with changes that nobody has published.
    scene.sites[0].way.partition(true);
    scene.write(&appliance).await;
    assert!(appliance.commit("documents").await.is_err());
    appliance.promote(&targets, scene.sites[1].way.clone(), true).await.unwrap();
    let (head, _) = appliance.commit("documents").await.unwrap();
    assert_eq!(head.epoch, 256);
    scene.is_all_there(&appliance).await;
    scene.is_sound(1).await;
    close(appliance).await;
    let alone = Targets::only(Arc::new(scene.sites[1].store.clone()));
    let elsewhere = scene.try_open("elsewhere", alone).await.unwrap();
    elsewhere.attach("documents", AttachPoint::Newest).await.unwrap();
    scene.serve(&elsewhere).await;
    scene.is_all_there(&elsewhere).await;
    close(elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_another_lead_in_the_settings_promotes_it() {
    let mut scene = Scene::new().await;
    scene.sites[1].way.partition(true);
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    // Never brought up to date: refused, and nothing is changed.
    close(appliance).await;
    scene.sites[1].way.partition(false);
    let error = scene.try_open("gateway", scene.targets(1, 1)).await.err();
    assert!(error.is_some());
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    assert!(appliance.copy_now("away").await.unwrap().is_whole());
    close(appliance).await;
    let appliance = scene.open(1, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    assert_eq!(appliance.commit("documents").await.unwrap().0.epoch, 256);
    scene.is_all_there(&appliance).await;
    scene.is_sound(1).await;
    close(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_copy_was_taken_over_takes_no_more_changes() {
    let mut scene = Scene::new().await;
    let appliance = scene.open(0, 1).await;
    scene.serve(&appliance).await;
    scene.write(&appliance).await;
    appliance.commit("documents").await.unwrap();
    appliance.copy_now("away").await.unwrap();
    // The disaster that was none: somebody serves the copy.
    let alone = Targets::only(Arc::new(scene.sites[1].store.clone()));
    let elsewhere = scene.try_open("elsewhere", alone).await.unwrap();
    elsewhere.attach("documents", AttachPoint::Newest).await.unwrap();
    scene.serve(&elsewhere).await;
    scene.write(&elsewhere).await;
    elsewhere.commit("documents").await.unwrap();
    scene.is_all_there(&elsewhere).await;
    appliance.copy_now("away").await.unwrap();
    let report = appliance.report().remove(0);
    assert!(report.superseded, "{:?}", report.last_error);
    let share = appliance.share_id("documents").unwrap();
    assert!(served(&appliance, share).rules.read_only);
    scene.is_sound(1).await;
    close(appliance).await;
    close(elsewhere).await;
}
