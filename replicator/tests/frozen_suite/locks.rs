//! Claims about locks: nothing that is retained is ever unlocked, and nothing is locked longer than the rule says; what is
//! locked is no garbage yet; who may only add deletes nothing; what was hidden comes back.
//!
//! Method: a store in memory that keeps versions and locks, under a virtual clock; random commits, snapshots, forgetting,
//! deduplication against old packs, rounds that extend, collections and sweeps against a dumb model, from a seed
//! (`TIDEGATE_SEED`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_chunker::{Location, PackId};
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{
    CollectOptions, Extended, Progress, Silent, VoidPacks, condemn, extend_locks, finish_open, propose,
    revive, sweep_hidden, tampered, tidy,
};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{
    Head, HeadName, KeptHead, Opened, Repository, SnapshotId, UtcNanos, pack_name,
};
use tidegate_replicator::store::{
    Body, ErrorKind, Fault, FaultStore, LockMode, LockRule, MemoryStore, ObjectName, Operation, PutMode,
    Rule, SpecialStore,
};

use super::support::{CHUNK_BYTES, ROOT, SHARE, Share, noise};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const RULE: LockRule = LockRule { mode: LockMode::Compliance, days: 12 };

/// Lives of the random test.
const LIVES: u64 = 4;

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

/// A share on a store that locks, and what should be in it.
struct Scene {
    share: Share,
    hours: Arc<AtomicU64>,
    scratch: tempfile::TempDir,
    /// The files now: what is in them, by number of the content.
    files: BTreeMap<InodeNumber, u64>,
    /// Where each content was last stored.
    places: BTreeMap<u64, Location>,
    /// What is retained: the packs that each root must have.
    heads: Vec<((HeadName, Head), BTreeSet<PackId>)>,
    snapshots: BTreeMap<SnapshotId, BTreeSet<PackId>>,
    void: VoidPacks,
    named: u64,
}

impl Scene {
    async fn new() -> Self {
        let hours = Arc::new(AtomicU64::new(24 * 20_000));
        let clock = hours.clone();
        let now = Arc::new(move || UNIX_EPOCH + HOUR * clock.load(Ordering::Relaxed) as u32);
        let share = Share::on(MemoryStore::locking(RULE, now)).await;
        let (files, places, heads, snapshots, void) = Default::default();
        let scratch = tempfile::tempdir().unwrap();
        Self { share, hours, scratch, files, places, heads, snapshots, void, named: 0 }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + HOUR * self.hours.load(Ordering::Relaxed) as u32
    }

    fn pass(&self, hours: u64) {
        self.hours.fetch_add(hours, Ordering::Relaxed);
    }

    fn options(&self) -> CollectOptions {
        let options = CollectOptions::new(UtcNanos::from(self.now()), self.scratch.path().to_path_buf());
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, repack_below_percent: 0, ..options }
    }

    fn repository(&self) -> &Arc<Repository<Opened>> {
        &self.share.repository
    }

    fn content(number: u64) -> Vec<u8> {
        noise(number + 1, CHUNK_BYTES / 4)
    }

    /// A file with this content: as a duplicate, if it was stored before and counts.
    fn write(&mut self, number: u64) {
        self.named += 1;
        let name = format!("f{}", self.named);
        let known = self.places.get(&number).copied().filter(|at| self.void.counts(&at.pack));
        let file = match known {
            Some(at) => self.share.file_at(ROOT, name.as_bytes(), &Self::content(number), at),
            None => self.share.file(ROOT, name.as_bytes(), &Self::content(number)),
        };
        self.files.insert(file, number);
    }

    async fn publish(&mut self) {
        self.void.refresh(&self.share.repository.clone()).await.unwrap();
        self.share.plans_honoured = self.void.open_plans();
        let line: Vec<KeptHead> = self.heads.iter().rev().take(2).map(|(head, _)| kept(head)).collect();
        self.share.kept = line;
        let head = self.share.publish().await;
        let mut packs = BTreeSet::from_iter(head.1.root.at.map(|at| at.pack));
        for number in self.files.values() {
            let at = self.share.place_of(&Self::content(*number));
            self.places.insert(*number, at);
            packs.insert(at.pack);
        }
        self.heads.push((head, packs));
        let first = self.heads.len().saturating_sub(3);
        self.heads.drain(..first);
    }

    async fn snapshot(&mut self) {
        let Some((head, packs)) = self.heads.last() else { return };
        self.snapshots.insert(self.share.snapshot(head).await, packs.clone());
    }

    async fn extend(&self) -> Extended {
        extend_locks(self.repository(), None, &self.options(), (&Silent, &())).await.unwrap()
    }

    async fn collect(&self) -> Vec<Progress> {
        let rounds = finish_open(self.repository(), &self.options(), &Silent).await.unwrap();
        let proposal = propose(self.repository(), &self.options(), &Silent).await.unwrap();
        tidy(self.repository(), &proposal).await.unwrap();
        condemn(self.repository(), proposal, &self.options(), &Silent).await.unwrap();
        sweep_hidden(self.repository(), &Silent).await.unwrap();
        rounds.into_iter().map(|round| round.progress).collect()
    }

    /// What the model says must be there.
    fn needed(&self) -> BTreeSet<PackId> {
        let of_heads = self.heads.iter().flat_map(|(_, packs)| packs);
        of_heads.chain(self.snapshots.values().flatten()).copied().collect()
    }

    async fn check_locks(&self, told: &str) {
        let store = &self.share.store;
        for pack in self.needed() {
            let state = store.lock(&pack_name(pack)).await.unwrap_or_else(|error| panic!("{told}: {error}"));
            assert!(state.is_locked(), "{told}: pack {pack} is needed, and locked until {:?}", state.until);
        }
        for name in store.names() {
            let state = store.lock(&name).await.unwrap();
            let most = self.now() + RULE.period() + RULE.margin();
            assert!(state.until.is_none_or(|until| until <= most), "{told}: {name} is locked for too long");
            let lasts = ["config", "keys/", "domains/", "index/", "snapshots/"];
            if lasts.iter().any(|folder| name.as_str().starts_with(folder)) {
                assert!(state.is_locked(), "{told}: {name}");
            }
        }
    }

    async fn check_clean(&self) {
        let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        let report = check(self.repository(), &options, &check::Silent).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }
}

fn kept((name, head): &(HeadName, Head)) -> KeptHead {
    KeptHead { name: *name, frozen_at: head.frozen_at }
}

fn seed() -> u64 {
    std::env::var("TIDEGATE_SEED").map_or(1, |text| text.parse().expect("a number"))
}

async fn random_life(seed: u64) {
    let (mut scene, mut chance) = (Scene::new().await, Chance(seed));
    let (mut round_at, mut collect_at) = (scene.now(), scene.now());
    for step in 0..70 {
        let told = format!("seed {seed}, step {step}");
        match chance.below(10) {
            0..4 => {
                if scene.share.packs_made() < 90 {
                    scene.void.refresh(&scene.share.repository.clone()).await.unwrap();
                    scene.write(chance.below(12));
                    scene.publish().await;
                }
            }
            4 => scene.snapshot().await,
            5 if !scene.snapshots.is_empty() => {
                let at = chance.below(scene.snapshots.len() as u64) as usize;
                let id = *scene.snapshots.keys().nth(at).unwrap();
                scene.repository().remove_snapshot(SHARE, id).await.unwrap();
                scene.snapshots.remove(&id);
            }
            6 if !scene.files.is_empty() && scene.share.packs_made() < 90 => {
                let at = chance.below(scene.files.len() as u64) as usize;
                let file = *scene.files.keys().nth(at).unwrap();
                scene.files.remove(&file);
                scene.share.remove_file(ROOT, file);
                scene.publish().await;
            }
            _ => scene.pass(1 + chance.below(24)),
        }
        // As the loops of a gateway do, however much time has passed at once.
        if scene.now() >= collect_at {
            scene.collect().await;
            collect_at = scene.now() + DAY;
        }
        if scene.now() >= round_at {
            assert_eq!(scene.extend().await.failed, 0, "{told}");
            round_at = scene.now() + RULE.round_every() - DAY;
        }
        scene.check_locks(&told).await;
    }
    if !scene.heads.is_empty() {
        scene.check_clean().await;
    }
}

#[tokio::test]
async fn what_is_retained_is_never_unlocked_and_nothing_is_locked_for_longer_than_the_rule() {
    let first = seed();
    println!("seeds from {first}");
    for seed in first..first + LIVES {
        random_life(seed).await;
    }
}

/// Two heads, of which the first alone reaches the content 1; gives its pack.
async fn with_garbage(scene: &mut Scene) -> PackId {
    scene.write(1);
    scene.publish().await;
    let pack = scene.places[&1].pack;
    let file = *scene.files.keys().next().unwrap();
    scene.files.clear();
    scene.share.remove_file(ROOT, file);
    for _ in 0..4 {
        scene.write(2);
        scene.publish().await;
    }
    let proposal = propose(scene.repository(), &scene.options(), &Silent).await.unwrap();
    tidy(scene.repository(), &proposal).await.unwrap();
    pack
}

#[tokio::test]
async fn what_is_locked_is_reported_and_goes_when_its_lock_has_ended() {
    let mut scene = Scene::new().await;
    let pack = with_garbage(&mut scene).await;
    let proposal = propose(scene.repository(), &scene.options(), &Silent).await.unwrap();
    assert!(proposal.condemned.is_empty() && proposal.held.packs >= 1, "{proposal:?}");
    assert!(proposal.held.first_until > Some(UtcNanos::from(scene.now() + RULE.period())));
    // Shortly before the lock ends nobody may refer to it anew; it is condemned, held, and deleted later.
    scene.pass(24 * 13);
    scene.extend().await;
    scene.collect().await;
    scene.publish().await;
    let Some(Progress::Done(collected)) = scene.collect().await.pop() else { panic!("it is honoured") };
    assert!(collected.deleted == 0 && collected.held.packs >= 1, "{collected:?}");
    assert!(scene.void.contains(&pack) && !scene.void.counts(&pack));
    scene.pass(24 * 4);
    scene.collect().await;
    scene.publish().await;
    let Some(Progress::Done(collected)) = scene.collect().await.pop() else { panic!("it is honoured") };
    assert!(collected.deleted >= 1 && collected.held.packs == 0, "{collected:?}");
    let versions = scene.share.store.versions(pack_name(pack).as_str(), None, 10).await.unwrap();
    assert_eq!(versions.versions, [], "it is gone for good");
    scene.check_clean().await;
}

#[tokio::test]
async fn who_may_only_add_plans_and_somebody_else_carries_the_plan_out() {
    let mut scene = Scene::new().await;
    let pack = with_garbage(&mut scene).await;
    scene.pass(24 * 17);
    scene.extend().await;
    let daily = Arc::new(scene.repository().on(Arc::new(scene.share.store.append_only())));
    let proposal = propose(&daily, &scene.options(), &Silent).await.unwrap();
    condemn(&daily, proposal, &scene.options(), &Silent).await.unwrap().expect("there is garbage");
    scene.publish().await;
    let rounds = finish_open(&daily, &scene.options(), &Silent).await.unwrap();
    assert_eq!(rounds[0].progress, Progress::Ready);
    let error = daily.store().purge(&pack_name(pack)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    let rounds = finish_open(scene.repository(), &scene.options(), &Silent).await.unwrap();
    assert!(matches!(rounds[0].progress, Progress::Done(collected) if collected.deleted >= 1), "{rounds:?}");
    assert!(scene.share.store.lock(&pack_name(pack)).await.is_err());
}

#[tokio::test]
async fn what_was_hidden_or_stored_over_is_named_and_comes_back_without_deleting() {
    let mut scene = Scene::new().await;
    scene.write(1);
    scene.publish().await;
    scene.write(2);
    scene.publish().await;
    let (hidden, over) = (pack_name(scene.places[&1].pack), pack_name(scene.places[&2].pack));
    let config = ObjectName::new("config").unwrap();
    let daily = Arc::new(scene.repository().on(Arc::new(scene.share.store.append_only())));
    assert_eq!(tampered(&daily, &Silent).await.unwrap(), []);
    daily.store().delete(&hidden).await.unwrap();
    for name in [&over, &config] {
        let evil = Body::Bytes("evil".into());
        daily.store().put(name, evil, PutMode::Overwrite).await.unwrap();
    }
    // A request that is repeated stores the same bytes twice, which is no tampering.
    let twice = scene
        .share
        .store
        .names()
        .into_iter()
        .find(|name| name.as_str().starts_with("packs/") && *name != hidden && *name != over);
    let twice = twice.unwrap();
    let bytes = daily.store().get(&twice, None).await.unwrap();
    daily.store().put(&twice, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
    let found = tampered(&daily, &Silent).await.unwrap();
    let names: BTreeSet<_> = found.iter().map(|found| (found.name.clone(), found.is_hidden)).collect();
    assert_eq!(names, BTreeSet::from([(hidden, true), (over, false), (config, false)]));
    for found in &found {
        revive(&daily, found).await.unwrap();
    }
    assert_eq!(tampered(&daily, &Silent).await.unwrap(), []);
    scene.check_clean().await;
}

#[tokio::test]
async fn what_is_hidden_goes_for_good_when_its_time_is_over_and_not_before() {
    let mut scene = Scene::new().await;
    scene.write(1);
    scene.publish().await;
    scene.snapshot().await;
    let id = *scene.snapshots.keys().next().unwrap();
    let name = id.object(SHARE);
    scene.repository().remove_snapshot(SHARE, id).await.unwrap();
    let left = async |scene: &Scene| {
        scene.share.store.versions(name.as_str(), None, 10).await.unwrap().versions.len()
    };
    scene.pass(24 * 11);
    sweep_hidden(scene.repository(), &Silent).await.unwrap();
    assert_eq!(left(&scene).await, 2);
    // Long enough hidden, and locked still.
    scene.pass(24 * 2);
    let swept = sweep_hidden(scene.repository(), &Silent).await.unwrap();
    assert!(left(&scene).await == 2 && swept.locked >= 1, "{swept:?}");
    scene.pass(24 * 4);
    let swept = sweep_hidden(scene.repository(), &Silent).await.unwrap();
    assert!(swept.versions >= 2, "{swept:?}");
    assert_eq!(left(&scene).await, 0);
    scene.check_clean().await;
}

#[tokio::test]
async fn a_round_that_is_cut_extends_the_rest_when_it_is_called_again() {
    let mut scene = Scene::new().await;
    for number in 0..6 {
        scene.write(number);
        scene.publish().await;
    }
    scene.pass(24 * 3);
    let faulty = FaultStore::new(Arc::new(scene.share.store.clone()), seed());
    let repository = Arc::new(scene.repository().on(Arc::new(faulty.clone())));
    let options = scene.options();
    let mut rounds = 0;
    faulty.inject(Rule::on(Operation::Change).chance(0.2), Fault::Before(ErrorKind::Transient));
    faulty.inject(Rule::on(Operation::Change).chance(0.2), Fault::After(ErrorKind::Transient));
    while extend_locks(&repository, None, &options, (&Silent, &())).await.is_err() {
        rounds += 1;
        assert!(rounds < 1000, "it gets on");
    }
    assert!(rounds > 0, "faults have met it");
    for pack in scene.needed() {
        let until = scene.share.store.lock(&pack_name(pack)).await.unwrap().until;
        assert_eq!(until, Some(RULE.until(scene.now())), "pack {pack}");
    }
    assert_eq!(scene.extend().await.extended, 0, "nothing is extended twice");
}

#[tokio::test]
async fn a_target_without_a_rule_is_left_alone() {
    let share = Share::new().await;
    let scratch = tempfile::tempdir().unwrap();
    let options = CollectOptions::new(UtcNanos::from(SystemTime::now()), scratch.path().to_path_buf());
    let done = extend_locks(&share.repository, None, &options, (&Silent, &())).await.unwrap();
    assert_eq!(done, Extended::default());
    assert_eq!(sweep_hidden(&share.repository, &Silent).await.unwrap().versions, 0);
}
