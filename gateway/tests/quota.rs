//! Claims about quotas. Goal: no sequence of changes, however many writers there are, takes a share past a
//! hard limit; nothing else is refused; and what the account says is what the files hold.
//!
//! Method: a table of edges against one namespace, and random changes by many tasks against a dumb model of
//! which bytes of which file have data. `TIDEGATE_SEED` repeats a run.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::{config, context, create, init, noise, open_at, slot_key, write};
use tidegate_gateway::appliance::{Appliance, AttachPoint, ShareConfig};
use tidegate_gateway::clock::Clock;
use tidegate_gateway::control::{ErrorKind, FilePath, JobHandle, Moment, RestoreRequest};
use tidegate_gateway::namespace::{Namespace, NewFile, SetHow};
use tidegate_gateway::share::{Limits, Quota};
use tidegate_gateway::{history, live::Usage};
use tidegate_protocols::view::{FsError, SetAttributes};
use tidegate_replicator::map::{InodeNumber, Kind, Timestamp};
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
const DAY: i64 = 86_400;

/// A clock that stands until it is turned.
#[derive(Debug)]
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.0.load(Ordering::Relaxed), nanos: 0 }
    }
}

fn quota(bytes: (u64, u64), inodes: (u64, u64)) -> Quota {
    let limits = |(soft, hard)| Limits { soft: Some(soft), hard: Some(hard) };
    Quota { bytes: limits(bytes), inodes: limits(inodes), grace: Duration::from_hours(7 * 24) }
}

fn hard(bytes: u64, inodes: u64) -> Quota {
    let limits = |hard| Limits { soft: None, hard: Some(hard) };
    Quota { bytes: limits(bytes), inodes: limits(inodes), ..Quota::default() }
}

fn with(quota: Quota) -> ShareConfig {
    ShareConfig { quota, ..config("docs") }
}

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: SlotKey,
    clock: Arc<Turned>,
    /// The folder of the appliance.
    place: &'static str,
    appliance: Arc<Appliance>,
}

impl Scene {
    async fn new(quota: Quota) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let clock = Arc::new(Turned(AtomicI64::new(1_000 * DAY)));
        let appliance = open_at(&folder.path().join("home"), store.clone(), &key, clock.clone()).await;
        appliance.serve(with(quota)).await.unwrap();
        Self { folder, store, key, clock, place: "home", appliance }
    }

    fn namespace(&self) -> Namespace {
        self.appliance.namespace("docs").unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn set(&self, quota: Quota) {
        self.appliance.serve(with(quota)).await.unwrap();
    }

    async fn open(&self, place: &str) -> Arc<Appliance> {
        open_at(&self.folder.path().join(place), self.store.clone(), &self.key, self.clock.clone()).await
    }

    async fn restart(&mut self, quota: Quota) {
        self.appliance.close().await.unwrap();
        // The old appliance must let go of its folder first.
        let spare = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let spare = self.open(spare.to_str().unwrap()).await;
        drop(std::mem::replace(&mut self.appliance, spare));
        self.appliance = self.open(self.place).await;
        self.set(quota).await;
    }

    /// Goes on elsewhere, from the newest head.
    async fn move_away(&mut self, quota: Quota) {
        self.appliance.commit("docs").await.unwrap();
        self.place = "away";
        self.appliance = self.open(self.place).await;
        self.appliance.attach("docs", AttachPoint::Newest).await.unwrap();
        self.set(quota).await;
    }

    /// That the account agrees with RocksDB, and with all files of the root directory.
    async fn check(&self) -> Usage {
        let namespace = self.namespace();
        let share = namespace.share();
        let used = share.usage();
        share.live().settle().await.unwrap();
        assert_eq!(share.live().usage(share.map().map).unwrap(), used, "RocksDB says otherwise");
        let (mut bytes, mut inodes, mut cookie) = (0, 1, 2);
        let root = namespace.reader().node(ROOT_INODE).await.unwrap();
        loop {
            let page = namespace.reader().list(&root, cookie, 100).await.unwrap();
            for entry in page.entries {
                cookie = entry.cookie;
                bytes += namespace.reader().node(entry.number).await.unwrap().inode.used;
                inodes += 1;
            }
            if page.end {
                break;
            }
        }
        assert_eq!(used, Usage { bytes, inodes }, "the files say otherwise");
        used
    }
}

async fn resize(namespace: &Namespace, file: InodeNumber, size: u64) -> Result<(), FsError> {
    let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
    namespace.set_attributes(context(), file, set, None).await.map(drop)
}

async fn make(namespace: &Namespace, kind: Kind, name: &[u8]) -> Result<(), FsError> {
    let new = NewFile { target: Bytes::from_static(b"x"), ..NewFile::new(kind, SetAttributes::default()) };
    namespace.make(context(), ROOT_INODE, name, new, None).await.map(drop)
}

const KINDS: [Kind; 7] =
    [Kind::Regular, Kind::Directory, Kind::Symlink, Kind::Block, Kind::Character, Kind::Fifo, Kind::Socket];

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_refused_from_the_first_beyond_the_limit_and_nothing_else_is() {
    let scene = Scene::new(hard(100_000, 1_000)).await;
    let namespace = scene.namespace();
    let full = create(&namespace, ROOT_INODE, b"full").await.unwrap();
    let other = create(&namespace, ROOT_INODE, b"other").await.unwrap();
    assert_eq!(write(&namespace, full, 0, &noise(1, 100_001)).await, Err(FsError::Quota));
    assert_eq!(scene.check().await.bytes, 0, "a refused write leaves nothing");
    write(&namespace, full, 0, &noise(1, 100_000)).await.unwrap();

    // At the limit: what adds nothing goes.
    assert_eq!(write(&namespace, full, 100_000, b"x").await, Err(FsError::Quota));
    assert_eq!(write(&namespace, other, 0, b"x").await, Err(FsError::Quota));
    write(&namespace, full, 0, &noise(2, 100_000)).await.unwrap();
    write(&namespace, full, 99_999, b"").await.unwrap();
    assert_eq!(write(&namespace, full, 99_999, b"xy").await, Err(FsError::Quota), "the second byte is new");
    resize(&namespace, other, 1 << 40).await.unwrap();
    namespace
        .set_extended(context(), other, b"user.a", noise(3, 60_000).into(), SetHow::Either)
        .await
        .unwrap();
    for kind in KINDS {
        make(&namespace, kind, format!("{kind:?}").as_bytes()).await.unwrap();
    }
    assert_eq!(scene.check().await.bytes, 100_000);

    // What is freed can be used again: by cutting, by a removal, by a rename over it.
    resize(&namespace, full, 60_000).await.unwrap();
    write(&namespace, other, 1 << 30, &noise(4, 40_000)).await.unwrap();
    assert_eq!(write(&namespace, other, 1 << 20, b"x").await, Err(FsError::Quota), "a hole is not room");
    namespace.rename(context(), (ROOT_INODE, b"other"), (ROOT_INODE, b"full")).await.unwrap();
    assert_eq!(scene.check().await.bytes, 40_000);
    namespace.remove(context(), ROOT_INODE, b"full").await.unwrap();
    assert_eq!(scene.check().await.bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn inodes_are_refused_for_every_kind_and_other_names_are_not() {
    // The root directory is one.
    let scene = Scene::new(hard(1 << 30, 3)).await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    make(&namespace, Kind::Directory, b"directory").await.unwrap();
    for kind in KINDS {
        assert_eq!(make(&namespace, kind, b"more").await, Err(FsError::Quota), "{kind:?}");
    }
    assert_eq!(create(&namespace, ROOT_INODE, b"file").await, Err(FsError::Exists), "the nearer reason");
    namespace.link(context(), file, ROOT_INODE, b"other name").await.unwrap();
    namespace.rename(context(), (ROOT_INODE, b"file"), (ROOT_INODE, b"moved")).await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"other name").await.unwrap();
    assert_eq!(make(&namespace, Kind::Fifo, b"more").await, Err(FsError::Quota), "that was only a name");
    namespace.remove_directory(context(), ROOT_INODE, b"directory").await.unwrap();
    make(&namespace, Kind::Fifo, b"more").await.unwrap();
    scene.check().await;

    // What is open without a name counts until it is closed.
    namespace.open(file).await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"moved").await.unwrap();
    assert_eq!(make(&namespace, Kind::Fifo, b"again").await, Err(FsError::Quota));
    namespace.close(file).await.unwrap();
    make(&namespace, Kind::Fifo, b"again").await.unwrap();
    assert_eq!(scene.check().await.inodes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_below_what_is_used_takes_effect_at_once_and_lets_shrink() {
    let scene = Scene::new(Quota::default()).await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, &noise(1, 100_000)).await.unwrap();
    scene.set(hard(50_000, 1)).await;
    assert_eq!(write(&namespace, file, 100_000, b"x").await, Err(FsError::Quota));
    assert_eq!(make(&namespace, Kind::Fifo, b"more").await, Err(FsError::Quota));
    write(&namespace, file, 50_000, b"in place").await.unwrap();
    resize(&namespace, file, 50_001).await.unwrap();
    assert_eq!(write(&namespace, file, 50_001, b"x").await, Err(FsError::Quota));
    resize(&namespace, file, 49_999).await.unwrap();
    write(&namespace, file, 49_999, b"x").await.unwrap();
    scene.set(Quota::default()).await;
    write(&namespace, file, 50_000, b"no limit any more").await.unwrap();
    make(&namespace, Kind::Fifo, b"more").await.unwrap();
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_counts_as_hard_after_the_grace_period() {
    let scene = Scene::new(quota((1_000, 2_000), (2, 4))).await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, &noise(1, 1_000)).await.unwrap();
    let since = |scene: &Scene| scene.namespace().share().account().over_since();
    assert_eq!((since(&scene).bytes, since(&scene).inodes), (None, None), "at the limit is not above it");
    write(&namespace, file, 1_000, b"x").await.unwrap();
    let first = since(&scene).bytes.unwrap();
    scene.pass(7 * DAY - 1);
    write(&namespace, file, 1_001, &noise(2, 900)).await.unwrap();
    assert_eq!(since(&scene).bytes, Some(first), "the first time counts");
    assert_eq!(write(&namespace, file, 1_901, &noise(2, 100)).await, Err(FsError::Quota), "the hard limit");
    scene.pass(1);
    assert_eq!(write(&namespace, file, 1_901, b"x").await, Err(FsError::Quota), "the grace period is over");
    write(&namespace, file, 0, &noise(3, 1_901)).await.unwrap();
    let report = namespace.share().account().report(scene.clock.utc());
    assert_eq!(
        (report.bytes.total(), report.bytes.free(), report.bytes.available()),
        (Some(2_000), Some(99), Some(0))
    );

    // The other resource has a grace period of its own.
    make(&namespace, Kind::Fifo, b"third").await.unwrap();
    assert!(since(&scene).inodes > since(&scene).bytes);

    // Down to the limit it begins anew; one byte above it does not.
    resize(&namespace, file, 1_001).await.unwrap();
    assert_eq!(write(&namespace, file, 1_001, b"x").await, Err(FsError::Quota));
    resize(&namespace, file, 1_000).await.unwrap();
    assert_eq!(since(&scene).bytes, None);
    write(&namespace, file, 1_000, &noise(4, 1_000)).await.unwrap();
    scene.pass(-30 * DAY);
    write(&namespace, file, 0, b"a clock set back does not end it").await.unwrap();
    scene.pass(37 * DAY);
    let report = namespace.share().account().report(scene.clock.utc());
    assert!(report.bytes.grace_is_over && report.inodes.grace_is_over);
    assert_eq!(make(&namespace, Kind::Fifo, b"fourth").await, Err(FsError::Quota));
    // A higher soft limit ends it too.
    scene.set(quota((2_000, 2_000), (4, 4))).await;
    make(&namespace, Kind::Fifo, b"fourth").await.unwrap();
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_runs_on_through_restarts_changes_retirement_and_a_move() {
    let limits = quota((1_000, 2_000), (100, 200));
    let mut scene = Scene::new(limits).await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, &noise(1, 1_500)).await.unwrap();
    let since = namespace.share().account().over_since();
    assert!(since.bytes.is_some());
    drop(namespace);
    let over_since = |scene: &Scene| scene.namespace().share().account().over_since();

    scene.pass(DAY);
    scene.restart(limits).await;
    assert_eq!(over_since(&scene), since, "after a restart");
    assert_eq!(scene.check().await.bytes, 1_500);
    scene.set(quota((1_100, 1_900), (100, 200))).await;
    assert_eq!(over_since(&scene), since, "under other limits");
    scene.appliance.withdraw_named("docs").await.unwrap();
    scene.set(limits).await;
    assert_eq!(over_since(&scene), since, "after it was not served");
    scene.pass(DAY);
    scene.move_away(limits).await;
    assert_eq!(over_since(&scene), since, "on another machine");
    scene.restart(limits).await;
    scene.pass(5 * DAY);
    let namespace = scene.namespace();
    assert_eq!(write(&namespace, file, 1_500, b"x").await, Err(FsError::Quota), "all of it was counted");
    // And what ended does not come back.
    resize(&namespace, file, 1_000).await.unwrap();
    drop(namespace);
    scene.restart(limits).await;
    assert_eq!(over_since(&scene).bytes, None);
    write(&scene.namespace(), file, 1_000, b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_period_that_begins_with_the_settings_survives_without_any_write() {
    let mut scene = Scene::new(Quota::default()).await;
    let file = create(&scene.namespace(), ROOT_INODE, b"file").await.unwrap();
    write(&scene.namespace(), file, 0, &noise(1, 1_500)).await.unwrap();
    let limits = quota((1_000, 2_000), (100, 200));
    scene.set(limits).await;
    scene.pass(7 * DAY);
    scene.restart(limits).await;
    assert_eq!(write(&scene.namespace(), file, 1_500, b"x").await, Err(FsError::Quota));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_tells_what_its_gateway_uses() {
    let scene = Scene::new(hard(1 << 30, 100)).await;
    create(&scene.namespace(), ROOT_INODE, b"one").await.unwrap();
    scene.appliance.commit("docs").await.unwrap();
    let follower = scene.open("follower").await;
    let follow = ShareConfig { follow: true, rpo: Duration::from_millis(20), ..with(hard(1 << 30, 100)) };
    follower.serve(follow).await.unwrap();
    let used = || follower.namespace("docs").unwrap().share().usage();
    assert_eq!(used(), scene.namespace().share().usage());
    let file = create(&scene.namespace(), ROOT_INODE, b"two").await.unwrap();
    write(&scene.namespace(), file, 0, &noise(1, 70_000)).await.unwrap();
    scene.appliance.commit("docs").await.unwrap();
    let wanted = scene.namespace().share().usage();
    let followed = async {
        while used() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), followed).await.expect("the newer head is followed");
}

fn request(path: &str) -> RestoreRequest {
    let path: FilePath = path.parse().unwrap();
    RestoreRequest { from: Moment::NewestHead, path, remove_newer: false, dry_run: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_would_pass_the_limit_is_refused_before_anything_is_done() {
    let scene = Scene::new(hard(100_000, 10)).await;
    let namespace = scene.namespace();
    for name in [b"a", b"b", b"c"] {
        let file = create(&namespace, ROOT_INODE, name).await.unwrap();
        write(&namespace, file, 0, &noise(1, 30_000)).await.unwrap();
    }
    let (_, head) = scene.appliance.commit("docs").await.unwrap();
    let from = scene.appliance.frozen_map(&head).unwrap();
    let restore = async |request: &RestoreRequest| {
        history::restore(&from, &namespace, request, &JobHandle::new()).await
    };
    let all = request("/");

    // Two of three gone, and their room taken.
    for name in [b"b", b"c"] {
        namespace.remove(context(), ROOT_INODE, name).await.unwrap();
    }
    let new = create(&namespace, ROOT_INODE, b"new").await.unwrap();
    write(&namespace, new, 0, &noise(2, 10_001)).await.unwrap();
    let before = scene.check().await;
    assert_eq!(restore(&all).await.unwrap_err().kind, ErrorKind::Full);
    let dry = RestoreRequest { dry_run: true, ..all.clone() };
    assert_eq!(restore(&dry).await.unwrap_err().kind, ErrorKind::Full, "a dry run says so too");
    assert_eq!(scene.check().await, before, "nothing was done");

    // With what is newer gone it fits, and so it does with one byte less.
    let report = restore(&RestoreRequest { remove_newer: true, ..all.clone() }).await.unwrap();
    assert_eq!((report.files, report.removed), (2, 1));
    assert_eq!(scene.check().await, Usage { bytes: 90_000, inodes: 4 });
    for name in [b"b", b"c"] {
        namespace.remove(context(), ROOT_INODE, name).await.unwrap();
    }
    let new = create(&namespace, ROOT_INODE, b"new").await.unwrap();
    write(&namespace, new, 0, &noise(2, 10_000)).await.unwrap();
    restore(&all).await.unwrap();
    assert_eq!(scene.check().await.bytes, 100_000);

    // In place of what grew; under another name that stays, and needs its room.
    resize(&namespace, new, 0).await.unwrap();
    let a = support::lookup(&namespace, ROOT_INODE, b"a").await.unwrap();
    write(&namespace, a, 30_000, &noise(3, 10_000)).await.unwrap();
    namespace.link(context(), a, ROOT_INODE, b"other name").await.unwrap();
    assert_eq!(restore(&request("/a")).await.unwrap_err().kind, ErrorKind::Full);
    namespace.remove(context(), ROOT_INODE, b"other name").await.unwrap();
    restore(&request("/a")).await.unwrap();
    assert_eq!(scene.check().await.bytes, 90_000);

    // Inodes count as well.
    scene.set(hard(100_000, 5)).await;
    namespace.remove(context(), ROOT_INODE, b"b").await.unwrap();
    make(&namespace, Kind::Fifo, b"in its place").await.unwrap();
    assert_eq!(restore(&request("/b")).await.unwrap_err().kind, ErrorKind::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_may_exceed_the_quota_and_a_clone_has_its_own() {
    let limits = quota((1_000, 2_000), (100, 200));
    let scene = Scene::new(Quota::default()).await;
    let file = create(&scene.namespace(), ROOT_INODE, b"file").await.unwrap();
    write(&scene.namespace(), file, 0, &noise(1, 10_000)).await.unwrap();
    let (_, large) = scene.appliance.commit("docs").await.unwrap();
    resize(&scene.namespace(), file, 1_500).await.unwrap();
    scene.set(limits).await;
    let since = scene.namespace().share().account().over_since();
    scene.pass(DAY);
    scene.appliance.roll_back("docs", &large).await.unwrap();
    let namespace = scene.namespace();
    assert_eq!(namespace.share().usage().bytes, 10_000);
    assert_eq!(namespace.share().account().over_since(), since, "the grace period runs on");
    assert_eq!(write(&namespace, file, 10_000, b"x").await, Err(FsError::Quota));
    write(&namespace, file, 0, b"in place").await.unwrap();
    resize(&namespace, file, 1_200).await.unwrap();
    write(&namespace, file, 1_200, b"x").await.unwrap();

    scene.appliance.clone_share(&large, "copy").await.unwrap();
    scene.appliance.serve(ShareConfig { quota: hard(10_001, 100), ..config("copy") }).await.unwrap();
    let copy = scene.appliance.namespace("copy").unwrap();
    write(&copy, file, 10_000, b"x").await.unwrap();
    assert_eq!(write(&copy, file, 10_001, b"x").await, Err(FsError::Quota));
}

/// Chance, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Hard limits of the random runs: soon reached.
const BYTES_MAX: u64 = 400_000;
const INODES_MAX: u64 = 40;
/// The longest file of a random run, in bytes.
const FILE_MAX: u64 = 60_000;

/// A file of the model: which bytes have data.
#[derive(Default)]
struct File {
    number: Option<InodeNumber>,
    has_data: Vec<bool>,
}

impl File {
    fn used(&self) -> u64 {
        self.has_data.iter().filter(|has| **has).count() as u64
    }
}

/// One of the tasks: it alone knows its files, and checks every answer.
struct Task {
    namespace: Namespace,
    chance: Chance,
    name: usize,
    files: BTreeMap<u64, File>,
    /// Whether nobody else writes, so that every refusal can be foretold.
    alone: bool,
    refused: u64,
}

impl Task {
    /// Checks an answer against what it adds; whether it was carried out.
    fn judge(&mut self, answer: Result<(), FsError>, bytes: i64, inodes: i64, before: Usage) -> bool {
        let used = self.namespace.share().usage();
        assert!(used.bytes <= BYTES_MAX && used.inodes <= INODES_MAX, "past the limit: {used:?}");
        let grows = bytes > 0 || inodes > 0;
        match answer {
            Ok(()) => {
                assert!(!self.alone || used == before.plus(bytes, inodes), "{used:?} after {before:?}");
                true
            }
            Err(FsError::Quota) => {
                let wanted = before.plus(bytes, inodes);
                let fits = wanted.bytes <= BYTES_MAX && wanted.inodes <= INODES_MAX;
                assert!(grows && !(self.alone && fits), "refused: {bytes} and {inodes} more over {before:?}");
                self.refused += 1;
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn step(&mut self) {
        let (id, before) = (self.chance.below(12), self.namespace.share().usage());
        let name = format!("{}-{id}", self.name).into_bytes();
        let Some(mut file) = self.files.remove(&id) else {
            let made = create(&self.namespace, ROOT_INODE, &name).await;
            if self.judge(made.map(drop), 0, 1, before) {
                self.files.insert(id, File { number: Some(made.unwrap()), ..File::default() });
            }
            return;
        };
        let number = file.number.unwrap();
        match self.chance.below(10) {
            0 => {
                let removed = self.namespace.remove(context(), ROOT_INODE, &name).await.map(drop);
                assert!(self.judge(removed, -(file.used() as i64), -1, before), "a removal always goes");
                return;
            }
            1 | 2 => {
                let size = self.chance.below(FILE_MAX);
                let mut after = file.has_data.clone();
                after.resize(size as usize, false);
                let after = File { has_data: after, ..File::default() };
                let less = after.used() as i64 - file.used() as i64;
                let resized = resize(&self.namespace, number, size).await;
                assert!(self.judge(resized, less, 0, before), "a change of size always goes");
                file.has_data = after.has_data;
            }
            _ => {
                let start = self.chance.below(FILE_MAX) as usize;
                let length = 1 + self.chance.below(FILE_MAX - start as u64) as usize;
                let mut after = file.has_data.clone();
                after.resize(after.len().max(start + length), false);
                after[start..start + length].fill(true);
                let after = File { has_data: after, ..File::default() };
                let more = (after.used() - file.used()) as i64;
                let data = noise(self.chance.below(1 << 40), length);
                let wrote = write(&self.namespace, number, start as u64, &data).await;
                if self.judge(wrote, more, 0, before) {
                    file.has_data = after.has_data;
                }
            }
        }
        self.files.insert(id, file);
    }
}

async fn run(seed: u64, tasks: usize, steps: usize) -> u64 {
    println!("TIDEGATE_SEED={seed} with {tasks} tasks");
    let mut scene = Scene::new(hard(BYTES_MAX, INODES_MAX)).await;
    let running: Vec<_> = (0..tasks)
        .map(|name| {
            let chance = Chance((seed + name as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let (namespace, alone) = (scene.namespace(), tasks == 1);
            let mut task = Task { namespace, chance, name, files: BTreeMap::new(), alone, refused: 0 };
            tokio::spawn(async move {
                for _ in 0..steps {
                    task.step().await;
                }
                let used = task.files.values().map(File::used).sum::<u64>();
                (Usage { bytes: used, inodes: task.files.len() as u64 }, task.refused)
            })
        })
        .collect();
    let (mut wanted, mut refused) = (Usage { bytes: 0, inodes: 1 }, 0);
    for task in running {
        let (used, refusals) = task.await.unwrap();
        wanted = wanted.plus(used.bytes as i64, used.inodes as i64);
        refused += refusals;
    }
    assert_eq!(scene.check().await, wanted, "the model says otherwise");
    let (_, head) = scene.appliance.commit("docs").await.unwrap();
    assert_eq!((head.usage.bytes, head.usage.inodes), (wanted.bytes, wanted.inodes));
    scene.restart(hard(BYTES_MAX, INODES_MAX)).await;
    assert_eq!(scene.check().await, wanted, "after a restart");
    refused
}

async fn run_all(tasks: usize, steps: usize) {
    let mut refused = 0;
    for seed in seeds() {
        refused += run(seed, tasks, steps).await;
    }
    assert!(refused > 0, "the limits were never reached, whatever the seed");
}

fn seeds() -> Vec<u64> {
    let usual = || vec![1, 2, u64::from(std::process::id())];
    std::env::var("TIDEGATE_SEED").map_or_else(|_| usual(), |seed| vec![seed.parse().expect("a number")])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_is_refused_exactly_what_the_model_refuses() {
    run_all(1, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_at_once_never_pass_the_limit_and_add_up() {
    run_all(16, 120).await;
}
