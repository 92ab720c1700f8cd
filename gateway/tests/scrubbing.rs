//! Goal: whatever is damaged on the target, what has a copy on this machine is healed, the rest is named exactly by
//! path, nobody ever reads wrong bytes, and what is written again is there again, for old snapshots too.
//!
//! Method: a gateway with a cache that holds less than half of what it has written; packs on its store are deleted, cut
//! and spoilt where chance says. Then it scrubs. An independent gateway, which has nothing but a copy of
//! the store, says what can be read, and a check with all frames what is damaged. `TIDEGATE_SEED` repeats a run.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_chunker::{ChunkKind, PackId, ShareId};
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets, ScrubConfig, Scrubber};
use tidegate_gateway::control::ScrubStatus;
use tidegate_gateway::namespace::Namespace;
use tidegate_replicator::check::{CheckOptions, CheckReport, Sample, check};
use tidegate_replicator::collect::Silent;
use tidegate_replicator::ingest::pack_file_name;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Repository, SlotKey, pack_name};
use tidegate_replicator::store::{Classes, MemoryStore, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
const FILES: u64 = 36;
const FILE_BYTES: usize = 1 << 20;

fn small_cache() -> Budgets {
    Budgets { memory_bytes: 128 << 20, dirty_bytes: 64 << 20, cache_bytes: 16 << 20 }
}

/// Numbers that follow from a seed.
struct Chance(u64);

impl Chance {
    fn announced() -> Self {
        let given = std::env::var("TIDEGATE_SEED").ok().map(|text| text.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| std::process::id().into());
        println!("TIDEGATE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn name_of(number: u64) -> String {
    format!("file-{number}")
}

fn content(number: u64) -> Vec<u8> {
    noise(1000 + number, FILE_BYTES)
}

async fn put(namespace: &Namespace, name: &str, content: &[u8]) {
    let file = create(namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
    write(namespace, file, 0, content).await.unwrap();
}

/// What of the files can be read; what is read must be right.
async fn readable(namespace: &Namespace) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for number in 0..FILES {
        let name = name_of(number);
        let Ok(file) = lookup(namespace, ROOT_INODE, name.as_bytes()).await else { continue };
        if let Ok(read) = read_all(namespace, file).await {
            assert!(read == content(number), "{name} is read wrong");
            found.insert(name);
        }
    }
    found
}

/// What can be read by a gateway that has nothing but the store.
async fn readable_elsewhere(store: &MemoryStore, key: &SlotKey) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let away = open(&folder.path().join("away"), Arc::new(store.fork()), key).await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    let share = away.serve(config("docs")).await.unwrap();
    let found = readable(&served(&away, share).namespace).await;
    away.close().await.unwrap();
    found
}

async fn checked(store: &MemoryStore, key: &SlotKey) -> CheckReport {
    let repository = Arc::new(Repository::open(Arc::new(store.clone()), key).await.unwrap());
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    check(&repository, &CheckOptions { read_data, ..CheckOptions::default() }, &Silent).await.unwrap()
}

fn paths_of_check(report: &CheckReport) -> BTreeSet<String> {
    report.damage().filter_map(|finding| finding.path.clone()).collect()
}

fn paths_of_scrub(status: &ScrubStatus) -> BTreeSet<String> {
    status.lost.iter().flat_map(|lost| &lost.users).filter_map(|user| user.path.clone()).collect()
}

/// Of all packs whether they hold nodes of trees.
async fn packs(store: &MemoryStore, key: &SlotKey) -> BTreeMap<PackId, bool> {
    let repository = Repository::open(Arc::new(store.clone()), key).await.unwrap();
    let (ids, _) = repository.list_packs(None, 1000).await.unwrap();
    let mut packs = BTreeMap::new();
    for id in ids {
        let (_, index) = repository.pack_index(id).await.unwrap();
        packs.insert(id, index.chunks().any(|chunk| chunk.kind == ChunkKind::Node));
    }
    packs
}

/// Deletes, cuts or spoils a pack.
async fn damage(store: &MemoryStore, pack: PackId, chance: &mut Chance) -> &'static str {
    let name = pack_name(pack);
    let mut bytes = store.get(&name, None).await.unwrap().to_vec();
    let length = bytes.len() as u64;
    let what = match chance.below(6) {
        0 => {
            store.delete(&name).await.unwrap();
            return "deleted";
        }
        1 => {
            bytes.truncate(chance.below(length) as usize);
            "cut"
        }
        2 => {
            bytes[chance.below(48) as usize] ^= 1;
            "spoilt in its header"
        }
        3 => {
            let at = length - 1 - chance.below(60);
            bytes[at as usize] ^= 1;
            "spoilt at its end"
        }
        4 => {
            for _ in 0..20 {
                bytes[chance.below(length) as usize] ^= 0x40;
            }
            "spoilt in many places"
        }
        _ => {
            bytes[chance.below(length) as usize] ^= 0x80;
            "spoilt in one place"
        }
    };
    store.damage(&name, Bytes::from(bytes));
    what
}

struct Scene {
    folder: tempfile::TempDir,
    store: MemoryStore,
    key: SlotKey,
    home: Arc<Appliance>,
    share: ShareId,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = (MemoryStore::new(), slot_key(folder.path()));
        drop(init(Arc::new(store.clone()), &key).await);
        let (home, share) = Self::start(folder.path(), &store, &key).await;
        let namespace = served(&home, share).namespace.clone();
        for number in 0..FILES {
            put(&namespace, &name_of(number), &content(number)).await;
            home.commit("docs").await.unwrap();
        }
        home.create_snapshot("docs", "kept", BTreeMap::new()).await.unwrap();
        Self { folder, store, key, home, share }
    }

    async fn start(folder: &Path, store: &MemoryStore, key: &SlotKey) -> (Arc<Appliance>, ShareId) {
        let home = open_within(&folder.join("home"), Arc::new(store.clone()), key, small_cache()).await;
        let share = home.serve(config("docs")).await.unwrap();
        (home, share)
    }

    /// The same with nothing left in memory.
    async fn restarted(self) -> Self {
        let Self { folder, store, key, home, share: _ } = self;
        home.close().await.unwrap();
        drop(home);
        let (home, share) = Self::start(folder.path(), &store, &key).await;
        Self { folder, store, key, home, share }
    }

    fn namespace(&self) -> Namespace {
        served(&self.home, self.share).namespace.clone()
    }

    /// Whether the file of a pack is on this machine.
    fn has_file(&self, pack: &PackId) -> bool {
        self.folder.path().join("home/packs").join(pack_file_name(pack)).exists()
    }

    fn scrubber(&self) -> Arc<Scrubber> {
        Scrubber::open(self.home.clone(), self.config())
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
            folder: self.folder.path().join("home"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_fail_are_counted_until_one_ends_well() {
    let scene = Scene::new().await;
    let scrubber = scene.scrubber();
    let folder = scene.folder.path().join("home");
    let config = |folder: std::path::PathBuf| ScrubConfig {
        every: Some(Duration::from_hours(24)),
        look_every: Duration::from_hours(24),
        daily_bytes: None,
        daily_requests: None,
        copies: true,
        memory_bytes_max: 64 << 20,
        classes: Classes::default(),
        folder,
    };
    scrubber.set(config(folder.join("not there")));
    for turns in 1..=2 {
        scrubber.turn().await.unwrap_err();
        let failure = scrubber.status().health().failure.unwrap();
        assert_eq!(failure.turns, turns);
        assert!(failure.message.contains("not there"), "{}", failure.message);
    }
    scrubber.set(config(folder));
    scrubber.turn().await.unwrap();
    let health = scrubber.status().health();
    assert_eq!((health.failure, health.late_seconds, health.every_seconds), (None, 0, Some(86_400)));
    scene.home.close().await.unwrap();
}

async fn read_one(scene: &Scene, number: u64) -> u64 {
    let before = scene.home.cache_report().store_requests;
    let namespace = scene.namespace();
    let file = lookup(&namespace, ROOT_INODE, name_of(number).as_bytes()).await.unwrap();
    assert!(read_all(&namespace, file).await.unwrap() == content(number));
    scene.home.cache_report().store_requests - before
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_copy_here_is_healed_the_rest_is_named_and_what_is_written_again_is_there_again() {
    let mut chance = Chance::announced();
    let scene = Scene::new().await;
    let gathered: BTreeSet<u64> = (0..8).map(|_| chance.below(FILES)).collect();
    for number in &gathered {
        read_one(&scene, *number).await;
    }
    // What of it is read without asking the store, once a commit has swept the cache, lies here and stays.
    let (mut scene, mut here) = (scene, gathered);
    loop {
        scene = scene.restarted().await;
        scene.home.commit("docs").await.unwrap();
        let count = here.len();
        for number in here.clone() {
            if read_one(&scene, number).await > 0 {
                here.remove(&number);
            }
        }
        if here.len() == count {
            break;
        }
    }
    let here: BTreeSet<String> = here.into_iter().map(name_of).collect();
    let mut before = BTreeMap::new();
    for (pack, has_nodes) in packs(&scene.store, &scene.key).await {
        // Without its nodes nobody could say what the paths were.
        if chance.below(5) < 2 && (!has_nodes || scene.has_file(&pack)) {
            before.insert(pack, scene.store.get(&pack_name(pack), None).await.unwrap());
            let what = damage(&scene.store, pack, &mut chance).await;
            println!("{pack} is {what}; its file is here: {}", scene.has_file(&pack));
        }
    }
    let scrubber = scene.scrubber();
    let run = scrubber.run(&Silent).await.unwrap();
    let status = scrubber.status();
    println!("{run:?}, {} files lie here wholly", here.len());
    for (pack, bytes) in before.iter().filter(|(pack, _)| scene.has_file(pack)) {
        assert!(scene.store.get(&pack_name(*pack), None).await.unwrap() == bytes, "{pack} is as it was");
    }
    let all: BTreeSet<String> = (0..FILES).map(name_of).collect();
    readable(&scene.namespace()).await;
    let elsewhere = readable_elsewhere(&scene.store, &scene.key).await;
    let lost: BTreeSet<String> = all.difference(&elsewhere).map(|name| format!("/{name}")).collect();
    assert_eq!(paths_of_scrub(&status), lost, "{status:#?}");
    assert!(here.is_subset(&elsewhere), "{here:?} lay here; {elsewhere:?} can be read");
    let of_check = paths_of_check(&checked(&scene.store, &scene.key).await);
    assert!(lost.is_subset(&of_check), "a check names {of_check:?}");
    assert_eq!(run.frames_lost > 0, !lost.is_empty());

    // Somebody writes the same again: it is stored again, for old snapshots too.
    let namespace = scene.namespace();
    for name in &lost {
        let number: u64 = name.trim_start_matches("/file-").parse().unwrap();
        put(&namespace, &format!("again-{number}"), &content(number)).await;
    }
    scene.home.commit("docs").await.unwrap();
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost, [], "written again");
    assert_eq!(readable_elsewhere(&scene.store, &scene.key).await, all);
    assert_eq!(scrubber.run(&Silent).await.unwrap().packs_healed, 0, "what was healed is whole");
    scene.home.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_are_gone_are_noticed_without_reading_any() {
    let scene = Scene::new().await;
    let data: Vec<PackId> = packs(&scene.store, &scene.key)
        .await
        .into_iter()
        .filter(|(_, nodes)| !nodes)
        .map(|(id, _)| id)
        .collect();
    let with_file = *data.iter().find(|pack| scene.has_file(pack)).unwrap();
    let without = *data.iter().find(|pack| !scene.has_file(pack)).unwrap();
    let before = scene.store.get(&pack_name(with_file), None).await.unwrap();
    for pack in [with_file, without] {
        scene.store.delete(&pack_name(pack)).await.unwrap();
    }
    let scrubber = scene.scrubber();
    scrubber.turn().await.unwrap();
    let status = scrubber.status();
    assert!(scene.store.get(&pack_name(with_file), None).await.unwrap() == before);
    assert!(status.lost.iter().all(|lost| lost.pack == without.to_string()) && !status.lost.is_empty());
    let all: BTreeSet<String> = (0..FILES).map(name_of).collect();
    let elsewhere = readable_elsewhere(&scene.store, &scene.key).await;
    let lost: BTreeSet<String> = all.difference(&elsewhere).map(|name| format!("/{name}")).collect();
    assert_eq!(paths_of_scrub(&status), lost);
    assert_eq!((status.round, status.last), (None, None), "no round was run");
    assert_eq!(scene.scrubber().status().lost, status.lost, "what is lost is remembered");
    scrubber.set(ScrubConfig { look_every: Duration::ZERO, ..scene.config() });
    scrubber.turn().await.unwrap();
    assert_eq!(scrubber.status().lost, status.lost, "it is lost at the next look, too");
    scene.home.close().await.unwrap();
}
