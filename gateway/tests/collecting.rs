//! Garbage collection beside gateways that write: nothing retained is ever missing, and what nobody needs goes.
//!
//! Method: two gateways in this process lead a share each on one store in memory, and a collector works on the
//! same store. Chance decides what is done next, and lets commits and the steps of collections run at once, of two
//! collectors too.
//! The contents of files come from a small pool, so that what was garbage a moment ago is wanted again. The
//! grace is nothing. From time to time everything that is retained is read from the store alone, and what
//! clients see is held against a model. `TIDEGATE_SEED` repeats a run, `TIDEGATE_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use support::*;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{Appliance, AttachPoint};
use tidegate_gateway::clock::Clock;
use tidegate_gateway::namespace::Namespace;
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{
    CollectOptions, Progress, Proposal, Silent, condemn, finish_open, propose, tidy,
};
use tidegate_replicator::map::{InodeNumber, Timestamp};
use tidegate_replicator::repository::{Binned, Opened, Repository, SlotKey, SnapshotId, UtcNanos};
use tidegate_replicator::store::{
    Body, Capabilities, ListPage, MemoryStore, ObjectInfo, ObjectName, PutMode, Store, StoreError,
};
use tokio::sync::{Notify, watch};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
/// Different contents that files can have.
const CONTENTS: u64 = 10;
/// Different names in a share.
const NAMES: u64 = 8;
const STEPS: u64 = 120;
/// Steps between two moments when everybody has published, so that plans come to their end.
const FINISH_EVERY: u64 = 12;
/// Steps between two looks at everything.
const CHECK_EVERY: u64 = 40;
/// Rounds in which a plan must come to its end when everybody publishes between them.
const ROUNDS_MAX: usize = 8;

/// A clock that stands until it is turned.
#[derive(Debug)]
struct Turned(AtomicI64);

impl Turned {
    fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.0.load(Ordering::Relaxed), nanos: 0 }
    }
}

/// A store in memory that dates its objects by the turned clock.
#[derive(Debug)]
struct Dated {
    inner: MemoryStore,
    clock: Arc<Turned>,
    dates: Mutex<BTreeMap<String, SystemTime>>,
    /// Holds deletions of packs up while it is closed.
    gate: Gate,
}

/// A place where somebody may be made to wait.
#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    arrived: Notify,
}

impl Gate {
    async fn pass(&self) {
        let mut open = self.open.subscribe();
        if !*open.borrow() {
            self.arrived.notify_one();
        }
        open.wait_for(|open| *open).await.unwrap();
    }
}

impl Dated {
    fn date(&self, info: ObjectInfo) -> ObjectInfo {
        let modified = self.dates.lock().unwrap().get(info.name.as_str()).copied();
        ObjectInfo { modified: modified.unwrap_or(info.modified), ..info }
    }
}

#[async_trait]
impl Store for Dated {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock.now().seconds as u64);
        self.dates.lock().unwrap().insert(name.to_string(), date);
        self.inner.put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.inner.get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.inner.get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.inner.head(name).await.map(|info| self.date(info))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let page = self.inner.list(prefix, after, limit).await?;
        let objects = page.objects.into_iter().map(|info| self.date(info)).collect();
        Ok(ListPage { objects, more: page.more })
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        if name.as_str().starts_with("packs/") {
            self.gate.pass().await;
        }
        self.inner.delete(name).await
    }
}

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

fn content(number: u64) -> Vec<u8> {
    noise(number + 1, 150_000 + number as usize * 10_000)
}

/// A gateway with one share, and what clients should see in it.
struct Site {
    name: &'static str,
    data: PathBuf,
    /// Always there, but for the moment of a restart.
    appliance: Option<Arc<Appliance>>,
    share: ShareId,
    files: BTreeMap<u64, u64>,
    snapshots: Vec<(SnapshotId, BTreeMap<u64, u64>)>,
    /// The same, in the bin.
    binned: Vec<(Binned, BTreeMap<u64, u64>)>,
}

/// What the sites and the collector share.
struct World {
    dated: Arc<Dated>,
    store: Arc<dyn Store>,
    key: SlotKey,
    clock: Arc<Turned>,
    repository: Arc<Repository<Opened>>,
    scratch: tempfile::TempDir,
    /// Packs that were deleted, and packs that were spared.
    deleted: AtomicU64,
    spared: AtomicU64,
}

impl World {
    async fn new(folder: &Path) -> Self {
        let key = slot_key(folder);
        let clock = Arc::new(Turned(AtomicI64::new(now_seconds())));
        let (inner, dates) = (MemoryStore::new(), Mutex::default());
        let gate = Gate { open: watch::Sender::new(true), arrived: Notify::new() };
        let dated = Arc::new(Dated { inner, clock: clock.clone(), dates, gate });
        let store: Arc<dyn Store> = dated.clone();
        let repository = Arc::new(init(store.clone(), &key).await);
        let scratch = tempfile::tempdir().unwrap();
        let (deleted, spared) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { dated, store, key, clock, repository, scratch, deleted, spared }
    }

    async fn site(&self, folder: &Path, name: &'static str) -> Site {
        let data = folder.join(name);
        let appliance = open_at(&data, self.store.clone(), &self.key, self.clock.clone()).await;
        let share = appliance.serve(config(name)).await.unwrap();
        Site {
            name,
            data,
            appliance: Some(appliance),
            share,
            files: BTreeMap::new(),
            snapshots: Vec::new(),
            binned: Vec::new(),
        }
    }

    /// The repository as a machine opens it that knows nothing yet.
    async fn opened(&self) -> Arc<Repository<Opened>> {
        Arc::new(Repository::open(self.store.clone(), &self.key).await.unwrap())
    }

    fn options(&self) -> CollectOptions {
        let options = CollectOptions::new(self.clock.utc(), self.scratch.path().to_path_buf());
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, repack_below_percent: 90, ..options }
    }

    /// One step of a collection: open plans are gone on with, or something new is condemned.
    async fn collect(&self, which: u64) {
        let options = self.options();
        if which == 2 {
            // Both may find the same plan open.
            tokio::join!(self.finish_open(), self.finish_open());
        } else if which == 0 {
            let proposal = propose(&self.repository, &options, &Silent).await.unwrap();
            tidy(&self.repository, &proposal).await.unwrap();
            condemn(&self.repository, proposal, &options, &Silent).await.unwrap();
        } else {
            self.finish_open().await;
        }
    }

    /// Goes on with open plans; whether none waits any more.
    async fn finish_open(&self) -> bool {
        let rounds = finish_open(&self.repository, &self.options(), &Silent).await.unwrap();
        for round in &rounds {
            if let Progress::Done(collected) = &round.progress {
                self.deleted.fetch_add(collected.deleted, Ordering::Relaxed);
                self.spared.fetch_add(collected.spared, Ordering::Relaxed);
            }
        }
        rounds.iter().all(|round| !matches!(round.progress, Progress::Waiting(_)))
    }

    /// Reads everything that is retained from the store.
    async fn everything_is_there(&self, when: &str) {
        let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        let report = check(&self.opened().await, &options, &check::Silent).await.unwrap();
        assert!(report.is_clean(), "{when}: {:#?}", report.findings);
    }

    async fn pack_bytes(&self) -> u64 {
        self.proposal().await.pack_bytes
    }

    async fn proposal(&self) -> Proposal {
        propose(&self.repository, &self.options(), &Silent).await.unwrap()
    }
}

fn now_seconds() -> i64 {
    UtcNanos::from(std::time::SystemTime::now()).as_nanos() / 1_000_000_000
}

impl Site {
    fn appliance(&self) -> &Arc<Appliance> {
        self.appliance.as_ref().unwrap()
    }

    fn namespace(&self) -> Namespace {
        served(self.appliance(), self.share).namespace.clone()
    }

    async fn put(&mut self, name: u64, number: u64) {
        let namespace = self.namespace();
        self.remove(name).await;
        let file = create(&namespace, ROOT_INODE, name.to_string().as_bytes()).await.unwrap();
        write(&namespace, file, 0, &content(number)).await.unwrap();
        self.files.insert(name, number);
    }

    async fn remove(&mut self, name: u64) {
        if self.files.remove(&name).is_some() {
            self.namespace().remove(context(), ROOT_INODE, name.to_string().as_bytes()).await.unwrap();
        }
    }

    async fn commit(&self) {
        self.appliance().commit(self.name).await.unwrap();
    }

    async fn snapshot(&mut self) {
        let entry = self.appliance().create_snapshot(self.name, "", BTreeMap::new()).await.unwrap();
        self.snapshots.push((entry.id, self.files.clone()));
    }

    async fn forget(&mut self, which: usize) {
        let (id, _) = self.snapshots.remove(which);
        self.appliance().remove_snapshot(self.name, id).await.unwrap();
    }

    /// Into the bin, for longer than the test runs.
    async fn bin(&mut self, which: usize) {
        let (id, files) = self.snapshots.remove(which);
        let long = Duration::from_hours(24 * 365);
        self.appliance().bin_snapshot(self.name, id, long).await.unwrap().unwrap();
        let entries = self.appliance().bin(self.name).await.unwrap();
        let inside = entries.into_iter().find(|entry| entry.of == Some(id)).unwrap();
        self.binned.push((inside, files));
    }

    async fn unbin(&mut self, which: usize) {
        let (inside, files) = self.binned.remove(which);
        let back = self.appliance().unbin_snapshot(self.name, &inside, None).await.unwrap().unwrap();
        self.snapshots.push((back.id, files));
    }

    /// Puts the share back to a snapshot, which may go at once: the pin holds what it needs.
    async fn roll_back(&mut self, which: usize, forget: bool) {
        let (id, files) = self.snapshots[which].clone();
        let entries = self.appliance().snapshots(self.name).await.unwrap();
        let snapshot = entries.into_iter().find(|entry| entry.id == id).unwrap().snapshot;
        self.appliance().pin(snapshot.head_name, &snapshot.head, "a test").await.unwrap();
        if forget {
            self.forget(which).await;
        }
        self.appliance().roll_back(self.name, &snapshot.head).await.unwrap();
        self.files = files;
    }

    async fn restart(&mut self, world: &World) {
        let appliance = self.appliance.take().unwrap();
        appliance.close().await.unwrap();
        drop(appliance);
        let appliance = open_at(&self.data, world.store.clone(), &world.key, world.clock.clone()).await;
        self.share = appliance.serve(config(self.name)).await.unwrap();
        self.appliance = Some(appliance);
    }

    async fn is_what_it_should_be(&self) {
        let namespace = self.namespace();
        for (name, number) in &self.files {
            let file = lookup(&namespace, ROOT_INODE, name.to_string().as_bytes()).await.unwrap();
            assert!(read_all(&namespace, file).await.unwrap() == content(*number), "file {name}");
        }
    }
}

/// One step of one site, beside which a step of a collection may run.
async fn step(world: &World, site: &mut Site, chance: &mut Chance) {
    world.clock.turn(20 + chance.below(1800) as i64);
    let (name, number) = (chance.below(NAMES), chance.below(CONTENTS));
    let (collects, which) = (chance.below(2) == 0, chance.below(3));
    let collecting = async {
        if collects {
            world.collect(which).await;
        }
    };
    let (snapshots, binned) = (site.snapshots.len() as u64, site.binned.len() as u64);
    let acting = async {
        match chance.below(100) {
            0..=29 => site.put(name, number).await,
            30..=39 => site.remove(name).await,
            40..=74 => site.commit().await,
            75..=82 => site.snapshot().await,
            83..=86 if snapshots > 0 => site.forget(chance.below(snapshots) as usize).await,
            87..=88 if snapshots > 0 => site.bin(chance.below(snapshots) as usize).await,
            89..=90 if binned > 0 => site.unbin(chance.below(binned) as usize).await,
            91..=95 if snapshots > 0 => {
                let (which, forget) = (chance.below(snapshots) as usize, chance.below(2) == 0);
                site.roll_back(which, forget).await;
            }
            96.. => site.restart(world).await,
            _ => {}
        }
    };
    tokio::join!(acting, collecting);
}

/// How many packs were deleted while the sites were at work.
async fn run(seed: u64, steps: u64) -> u64 {
    println!("TIDEGATE_SEED={seed} TIDEGATE_STEPS={steps}");
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let mut sites = [world.site(folder.path(), "docs").await, world.site(folder.path(), "media").await];
    let mut chance = Chance(seed);
    for number in 0..steps {
        let which = chance.below(2) as usize;
        Box::pin(step(&world, &mut sites[which], &mut chance)).await;
        if number % FINISH_EVERY == FINISH_EVERY - 1 {
            for site in &sites {
                site.commit().await;
            }
            world.finish_open().await;
        }
        if number % CHECK_EVERY == CHECK_EVERY - 1 {
            world.everything_is_there(&format!("after step {number}")).await;
            for site in &sites {
                site.is_what_it_should_be().await;
            }
        }
    }
    let (deleted, spared) = (world.deleted.load(Ordering::Relaxed), world.spared.load(Ordering::Relaxed));
    println!("{deleted} packs were deleted and {spared} spared while the sites were at work");
    finish(&world, &mut sites).await;
    let [home, _] = &sites;
    let away =
        open_at(&folder.path().join("away"), world.store.clone(), &world.key, world.clock.clone()).await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    let share = away.serve(config("docs")).await.unwrap();
    let moved = Site {
        name: "docs",
        data: folder.path().join("away"),
        appliance: Some(away),
        share,
        files: home.files.clone(),
        snapshots: Vec::new(),
        binned: Vec::new(),
    };
    moved.is_what_it_should_be().await;
    deleted
}

/// Once nothing is retained but what clients see, nothing else is left in the end.
async fn finish(world: &World, sites: &mut [Site; 2]) {
    for site in sites.iter_mut() {
        while !site.snapshots.is_empty() {
            site.forget(0).await;
        }
        for entry in site.appliance().bin(site.name).await.unwrap() {
            site.appliance().remove_snapshot(site.name, entry.id).await.unwrap();
        }
        for entry in site.appliance().snapshots(site.name).await.unwrap() {
            site.appliance().remove_snapshot(site.name, entry.id).await.unwrap();
        }
    }
    // Every head that there is now is older than the ladder reaches.
    world.clock.turn(40 * 86_400);
    for _ in 0..ROUNDS_MAX {
        world.clock.turn(3600);
        for site in sites.iter_mut() {
            for number in 0..2 {
                site.put(NAMES + number, number).await;
                site.commit().await;
            }
        }
        let options = world.options();
        let none_waits = world.finish_open().await;
        let proposal = world.proposal().await;
        tidy(&world.repository, &proposal).await.unwrap();
        let condemned = condemn(&world.repository, proposal, &options, &Silent).await.unwrap();
        if condemned.is_none() && none_waits {
            break;
        }
    }
    let proposal = world.proposal().await;
    assert_eq!(proposal.condemned, [], "everything that could go has gone");
    world.everything_is_there("in the end").await;
    // Both keep at most all contents of the pool and what their last two heads differ in.
    let pool: u64 = (0..CONTENTS).map(|number| content(number).len() as u64).sum();
    let bytes = world.pack_bytes().await;
    assert!(bytes < 3 * pool, "{bytes} bytes in packs for a pool of {pool}");
    for site in sites {
        site.is_what_it_should_be().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_retained_is_ever_missing_and_what_nobody_needs_goes() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let steps = setting("TIDEGATE_STEPS").unwrap_or(STEPS);
    if let Some(seed) = setting("TIDEGATE_SEED") {
        run(seed, steps).await;
        return;
    }
    let mut deleted = 0;
    for seed in [1, 2, u64::from(std::process::id())] {
        deleted += run(seed, steps).await;
    }
    assert!(deleted > 0, "nothing was collected: the runs say nothing");
}

/// The moment that matters most: everything has been marked, nothing is deleted yet, and what is about to go is
/// wanted again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_again_between_marking_and_deletion_is_stored_anew() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path()).await;
    let mut site = world.site(folder.path(), "docs").await;
    site.put(1, 1).await;
    site.commit().await;
    site.remove(1).await;
    // No head that is kept has the file.
    world.clock.turn(40 * 86_400);
    for number in 2..4 {
        site.put(number, number).await;
        site.commit().await;
    }
    world.collect(0).await;
    site.commit().await;
    world.dated.gate.open.send_replace(false);
    let wanting = async {
        world.dated.gate.arrived.notified().await;
        site.put(1, 1).await;
        site.commit().await;
        world.dated.gate.open.send_replace(true);
    };
    tokio::join!(wanting, world.finish_open());
    assert!(world.deleted.load(Ordering::Relaxed) > 0, "what was there before is gone");
    world.everything_is_there("after the deletion").await;
    site.is_what_it_should_be().await;
}
