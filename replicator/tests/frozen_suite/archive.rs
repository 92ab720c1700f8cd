//! Goal: only data comes to cold classes; while it sleeps everything else works, says that it sleeps, and loses nothing;
//! what is thawed is read; and nothing is done to a pack before its class's minimum storage duration is over.
//!
//! Method: shares made by hand on a store in memory that has classes, whose clock the test turns.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_chunker::PackId;
use tidegate_replicator::archive::{
    ArchiveOptions, ArchivePlan, ArchiveRule, Archived, LastReads, Need, NeedError, Reason, Scrubbed,
    SleepingPack, ThawPlan, ask, need_of, plan, plan_thaw, run,
};
use tidegate_replicator::check::{self, CheckOptions, CheckReport, Sample, check};
use tidegate_replicator::collect::{
    CollectOptions, Progress, Proposal, Silent, carry_out, condemn, propose, seal_usage,
};
use tidegate_replicator::frozen::ReadError;
use tidegate_replicator::mirror::{Mirror, MirrorOptions, PassReport, Stranger, prepare};
use tidegate_replicator::repository::{HeadName, Opened, Repository, UtcNanos, pack_name};
use tidegate_replicator::restore::{self, Plan, RestoreError, RestoreOptions};
use tidegate_replicator::store::{
    ClassTraits, Classes, ErrorKind, FaultStore, MemoryStore, SpecialStore, StorageClass, Store, ThawRequest,
    ThawTier,
};
use tidegate_replicator::tree::Root;
use tokio::sync::RwLock;

use super::restore::restore_to;
use super::support::{CHUNK_BYTES, ROOT, SHARE, Share, noise};

const DAY: Duration = Duration::from_hours(24);
const THAW: Duration = Duration::from_hours(5);
const REQUEST: ThawRequest = ThawRequest { days: 2, tier: ThawTier::Standard };

fn glacier() -> StorageClass {
    "GLACIER".parse().unwrap()
}

/// A share whose store has a class that sleeps, and a clock.
struct Cold {
    share: Share,
    clock: Arc<Mutex<SystemTime>>,
    scratch: tempfile::TempDir,
}

impl Cold {
    async fn new() -> Self {
        Self::with(&[glacier()], Classes::default()).await
    }

    /// Of a store that has these classes, and knows this of them.
    async fn with(classes: &[StorageClass], known: Classes) -> Self {
        let clock = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + DAY * 20_000));
        let now = {
            let clock = clock.clone();
            Arc::new(move || *clock.lock())
        };
        let store = MemoryStore::dating(now).freezing(classes, known, THAW);
        Self { share: Share::on(store).await, clock, scratch: tempfile::tempdir().unwrap() }
    }

    /// Publishes, and takes away the head before, so that what it alone reached is garbage.
    async fn publish_alone(&mut self, before: &[HeadName]) {
        self.share.publish().await;
        for head in before {
            self.repository().remove_head(SHARE, head).await.unwrap();
        }
    }

    fn pass(&self, time: Duration) {
        *self.clock.lock() += time;
    }

    fn repository(&self) -> &Arc<Repository<Opened>> {
        &self.share.repository
    }

    fn collect_options(&self) -> CollectOptions {
        let now = UtcNanos::from(*self.clock.lock());
        let options = CollectOptions::new(now, self.scratch.path().to_path_buf());
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, ..options }
    }

    fn options(&self) -> ArchiveOptions {
        let (after, unread_for) = (DAY * 30, DAY * 7);
        let rule = ArchiveRule { class: glacier(), after, unread_for, bytes_min: 1 };
        ArchiveOptions { rules: vec![rule], ..plain(self.collect_options()) }
    }

    async fn plan(&self, reads: &LastReads) -> ArchivePlan {
        plan(self.repository(), &self.options(), reads, &Silent).await.unwrap()
    }

    /// Archives what there is to archive; how many packs.
    async fn archive(&self) -> u64 {
        let planned = self.plan(&LastReads::default()).await;
        self.run(&planned).await.moved.packs
    }

    async fn run(&self, planned: &ArchivePlan) -> Archived {
        run(self.repository(), planned, &RwLock::default(), &Silent).await.unwrap()
    }

    async fn propose(&self) -> Proposal {
        propose(self.repository(), &self.collect_options(), &Silent).await.unwrap()
    }

    async fn need(&self, root: &Root, path: &[&str]) -> Result<Need, NeedError> {
        let path: Vec<Vec<u8>> = path.iter().map(|name| name.as_bytes().to_vec()).collect();
        let domain = self.repository().default_domain();
        need_of(self.repository(), (domain, root), &path, 64 << 20, &Silent).await
    }

    async fn look(&self, root: &Root, path: &[&str]) -> ThawPlan {
        let need = self.need(root, path).await.unwrap();
        plan_thaw(self.repository(), &need, &Classes::default(), &Silent).await.unwrap()
    }

    async fn thaw(&self, packs: &[SleepingPack]) {
        let asked = ask(self.repository(), packs, REQUEST, &Silent).await.unwrap();
        assert_eq!((asked.asked.packs, asked.gone), (packs.len() as u64, 0));
        self.pass(THAW);
    }

    async fn check(&self, read_data: bool) -> CheckReport {
        let read_data = read_data.then_some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        check(self.repository(), &options, &check::Silent).await.unwrap()
    }

    async fn mirror_to(&self, copy: &MemoryStore) -> PassReport {
        let copy = Arc::new(prepare(self.repository(), Arc::new(copy.clone())).await.unwrap());
        let scratch = self.scratch.path().to_path_buf();
        let options = MirrorOptions { parallel: 3, scratch, classes: Classes::default() };
        Mirror::new(self.repository().clone(), copy, Arc::new(Stranger), options).pass(&Silent).await.unwrap()
    }

    /// Packs of the class, in order.
    async fn sleepers(&self) -> Vec<PackId> {
        let (packs, _) = self.repository().list_pack_objects(None, 1000).await.unwrap();
        let cold = packs.into_iter().filter(|pack| pack.class == Some(glacier()));
        cold.map(|pack| pack.id).collect()
    }
}

fn plain(collect: CollectOptions) -> ArchiveOptions {
    let (rules, copies, scrubbed) = Default::default();
    ArchiveOptions { rules, collect, packs_max: 100, copies, scrubbed }
}

fn packs(of: &[SleepingPack]) -> Vec<PackId> {
    of.iter().map(|pack| pack.id).collect()
}

async fn restored_to(cold: &Cold, root: &Root, name: &str) -> Result<(), RestoreError> {
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("to");
    let plan = Plan::make(&cold.share.source(root, &[name]), &to, RestoreOptions::default()).await?;
    plan.execute(&restore::Silent).await.map(drop)
}

#[tokio::test]
async fn only_data_comes_to_cold_classes_and_only_when_nobody_reads_it() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"one", &noise(1, CHUNK_BYTES));
    cold.share.publish().await;
    cold.share.file(ROOT, b"two", &noise(2, CHUNK_BYTES));
    cold.share.publish().await;
    let [one, two] = [1, 2].map(|seed| cold.share.place_of(&noise(seed, CHUNK_BYTES)).pack);
    let young = cold.plan(&LastReads::default()).await;
    assert_eq!((young.moves.len(), young.stay[&Reason::Young].packs), (0, 2));
    cold.pass(DAY * 31);
    let mut reads = LastReads::default();
    reads.note(one, DAY * 6);
    let planned = cold.plan(&reads).await;
    assert_eq!(planned.moves.iter().map(|one| one.pack).collect::<Vec<_>>(), [two]);
    assert_eq!(planned.stay[&Reason::Read].packs, 1);
    assert!(planned.stay[&Reason::Metadata].packs >= 2, "{planned:?}");
    assert_eq!(cold.archive().await, 2);
    let mut expected = vec![one, two];
    expected.sort_unstable();
    assert_eq!(cold.sleepers().await, expected);
    let again = cold.plan(&LastReads::default()).await;
    assert_eq!((again.moves.len(), again.stay[&Reason::Asleep].packs), (0, 2));
    let bounded = ArchiveOptions { packs_max: 0, ..cold.options() };
    let bounded = plan(cold.repository(), &bounded, &LastReads::default(), &Silent).await.unwrap();
    assert_eq!((bounded.moves.len(), bounded.later.packs), (0, 0), "nothing is left that could");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_data_sleeps_all_else_works_and_what_is_thawed_is_read() {
    let mut cold = Cold::new().await;
    let folder = cold.share.folder(ROOT, b"folder");
    cold.share.file(folder, b"one", &noise(1, CHUNK_BYTES));
    cold.share.publish().await;
    cold.share.file(ROOT, b"two", &noise(2, CHUNK_BYTES));
    let (_, head) = cold.share.publish().await;
    cold.pass(DAY * 31);
    assert_eq!(cold.archive().await, 2);

    let report = cold.check(false).await;
    assert!(report.is_clean() && report.counts.packs_asleep == 2, "{:#?}", report.findings);
    let report = cold.check(true).await;
    assert!(report.is_clean() && report.counts.packs_asleep == 2, "{:#?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.what.contains("tidegate thaw")));
    let usage = seal_usage(cold.repository(), &Silent).await.unwrap();
    assert_eq!((usage.asleep, usage.unreadable), (2, 0));
    let error = restored_to(&cold, &head.root, "two").await.expect_err("it sleeps");
    assert!(matches!(&error, RestoreError::Read(ReadError::Asleep(_))), "{error:?}");

    let all = cold.look(&head.root, &[]).await;
    assert_eq!((all.asleep.len(), all.needed.packs, all.lost), (2, 2, 0));
    assert!(matches!(cold.need(&head.root, &["no", "such"]).await, Err(NeedError::NoSuchPath)));
    let two = cold.look(&head.root, &["two"]).await;
    assert_eq!(packs(&two.asleep), [cold.share.place_of(&noise(2, CHUNK_BYTES)).pack]);
    assert_eq!(packs(&cold.look(&head.root, &["folder"]).await.asleep).len(), 1);
    ask(cold.repository(), &two.asleep, REQUEST, &Silent).await.unwrap();
    let looked = cold.look(&head.root, &["two"]).await;
    assert_eq!((looked.asleep.len(), looked.thawing.len()), (0, 1));
    cold.pass(THAW);
    let looked = cold.look(&head.root, &["two"]).await;
    assert_eq!((looked.unreadable().count(), looked.thawed.packs), (0, 1));
    assert_eq!(looked.sleeps_again, Some(*cold.clock.lock() + DAY * 2));
    let to = tempfile::tempdir().unwrap();
    let report = restore_to(&cold.share, &head.root, &["two"], &to.path().join("to")).await;
    assert!(report.is_complete() && report.files == 1, "{report:?}");
    assert!(restored_to(&cold, &head.root, "folder").await.is_err(), "nobody asked for that");
    cold.pass(DAY * 2);
    assert!(restored_to(&cold, &head.root, "two").await.is_err(), "it sleeps again");
}

#[tokio::test]
async fn before_its_minimum_is_over_a_pack_is_neither_deleted_nor_repacked_nor_read() {
    let mut cold = Cold::new().await;
    let alone = cold.share.file(ROOT, b"alone", &noise(1, CHUNK_BYTES));
    let (first, _) = cold.share.publish().await;
    cold.share.file(ROOT, b"stays", &noise(2, CHUNK_BYTES));
    let goes = [3, 4].map(|seed| {
        let name = format!("goes-{seed}");
        let number = cold.share.file(ROOT, name.as_bytes(), &noise(seed, CHUNK_BYTES));
        (name, number)
    });
    let (second, _) = cold.share.publish().await;
    let [dead, sparse] = [1, 2].map(|seed| cold.share.place_of(&noise(seed, CHUNK_BYTES)).pack);
    cold.pass(DAY * 31);
    assert_eq!(cold.archive().await, 2);
    cold.share.remove(ROOT, b"alone", alone);
    for (name, number) in goes {
        cold.share.remove(ROOT, name.as_bytes(), number);
    }
    cold.publish_alone(&[first, second]).await;

    cold.pass(DAY * 89);
    let proposal = cold.propose().await;
    assert_eq!((proposal.paid.packs, proposal.asleep), (2, 0), "{proposal:?}");
    assert!(!proposal.condemned.contains(&dead) && proposal.sparse.is_empty());
    let planned = cold.plan(&LastReads::default()).await;
    assert_eq!(planned.stay[&Reason::Going].packs, 2 + proposal.condemned.len() as u64);
    cold.pass(DAY);
    let proposal = cold.propose().await;
    assert!(proposal.condemned.contains(&dead) && !proposal.condemned.contains(&sparse));
    assert_eq!((proposal.paid.packs, proposal.asleep), (0, 1), "what sleeps is not repacked");
    let plan = condemn(cold.repository(), proposal, &cold.collect_options(), &Silent).await.unwrap().unwrap();
    cold.share.plans_honoured = vec![plan];
    cold.share.publish().await;
    let progress = carry_out(cold.repository(), plan, &cold.collect_options(), &Silent).await.unwrap();
    assert!(matches!(progress, Progress::Done(done) if done.spared == 0), "{progress:?}");
    let gone = cold.share.store.head(&pack_name(dead)).await.expect_err("it was deleted");
    assert_eq!(gone.kind(), ErrorKind::Missing);
    assert!(cold.check(false).await.is_clean());
}

#[tokio::test]
async fn what_a_collection_will_take_is_not_archived() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"stays", &noise(1, CHUNK_BYTES));
    let goes = [2, 3].map(|seed| {
        let name = format!("goes-{seed}");
        (cold.share.file(ROOT, name.as_bytes(), &noise(seed, CHUNK_BYTES)), name)
    });
    let (first, _) = cold.share.publish().await;
    for (number, name) in goes {
        cold.share.remove(ROOT, name.as_bytes(), number);
    }
    cold.publish_alone(&[first]).await;
    cold.pass(DAY * 31);
    assert_eq!(cold.archive().await, 0);
    assert!(cold.plan(&LastReads::default()).await.stay[&Reason::Going].packs >= 1);
}

#[tokio::test]
async fn a_copy_that_lacks_what_sleeps_says_so_and_goes_on_when_it_is_thawed() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"one", &noise(1, CHUNK_BYTES));
    let (_, head) = cold.share.publish().await;
    cold.pass(DAY * 31);
    assert_eq!(cold.archive().await, 1);
    let copy = MemoryStore::new();
    let report = cold.mirror_to(&copy).await;
    assert_eq!((report.asleep.clone(), report.holes.len()), (cold.sleepers().await, 0));
    assert!(!report.is_whole() && report.shares.iter().all(|share| share.newest.is_none()), "{report:?}");
    cold.thaw(&cold.look(&head.root, &[]).await.asleep).await;
    let report = cold.mirror_to(&copy).await;
    assert!(report.is_whole(), "{report:?}");
    let error = cold.share.store.change_class(&pack_name(cold.sleepers().await[0]), &glacier()).await;
    assert!(error.is_ok(), "what is thawed can be copied, and sleeps anew");
}

#[tokio::test]
async fn packs_of_a_store_that_locks_are_refused_with_the_reason() {
    use tidegate_replicator::store::{LockMode, LockRule};
    let rule = LockRule { mode: LockMode::Compliance, days: 30 };
    let store = MemoryStore::locking(rule, Arc::new(SystemTime::now));
    let share = Share::on(store).await;
    let scratch = tempfile::tempdir().unwrap();
    let collect = CollectOptions::new(UtcNanos::from(SystemTime::now()), scratch.path().to_path_buf());
    let options = plain(collect);
    let error = plan(&share.repository, &options, &LastReads::default(), &Silent).await.expect_err("refused");
    assert!(error.to_string().contains("lifecycle rule"), "{error}");
}

#[tokio::test]
async fn what_is_damaged_is_not_put_to_sleep_whoever_finds_it() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"whole", &noise(1, CHUNK_BYTES));
    cold.share.publish().await;
    cold.share.file(ROOT, b"spoilt", &noise(2, CHUNK_BYTES));
    cold.share.publish().await;
    let [whole, spoilt] = [1, 2].map(|seed| cold.share.place_of(&noise(seed, CHUNK_BYTES)).pack);
    let mut bytes = cold.share.store.get(&pack_name(spoilt), None).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    cold.share.store.damage(&pack_name(spoilt), Bytes::from(bytes));
    cold.pass(DAY * 31);

    let known = Scrubbed { wounded: [spoilt].into(), ..Scrubbed::default() };
    let options = ArchiveOptions { scrubbed: known, ..cold.options() };
    let told = plan(cold.repository(), &options, &LastReads::default(), &Silent).await.unwrap();
    assert_eq!(told.stay[&Reason::Wounded].packs, 1);
    assert_eq!(told.moves.iter().map(|one| (one.pack, one.to_be_read)).collect::<Vec<_>>(), [(whole, true)]);

    let planned = cold.plan(&LastReads::default()).await;
    assert_eq!(planned.moves.len(), 2, "nobody has looked yet");
    let done = cold.run(&planned).await;
    assert_eq!((done.moved.packs, done.wounded, done.left), (1, 1, 0));
    assert_eq!(cold.sleepers().await, [whole]);
}

#[tokio::test]
async fn what_a_scrub_has_read_is_not_read_again_and_what_came_later_is() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"early", &noise(1, CHUNK_BYTES));
    cold.share.publish().await;
    cold.pass(DAY);
    let scrub = *cold.clock.lock();
    cold.pass(DAY);
    cold.share.file(ROOT, b"late", &noise(2, CHUNK_BYTES));
    cold.share.publish().await;
    cold.pass(DAY * 31);
    let scrubbed = Scrubbed { whole_before: Some(scrub), ..Scrubbed::default() };
    let options = ArchiveOptions { scrubbed, ..cold.options() };
    let planned = plan(cold.repository(), &options, &LastReads::default(), &Silent).await.unwrap();
    let late = cold.share.place_of(&noise(2, CHUNK_BYTES)).pack;
    for one in &planned.moves {
        assert_eq!(one.to_be_read, one.pack == late, "{one:?}");
    }
    assert_eq!(cold.run(&planned).await.moved.packs, 2);
}

#[tokio::test]
async fn what_a_copy_lacks_stays_and_so_it_does_while_the_copy_does_not_answer() {
    let mut cold = Cold::new().await;
    cold.share.file(ROOT, b"one", &noise(1, CHUNK_BYTES));
    cold.share.publish().await;
    cold.pass(DAY * 31);
    let copy = MemoryStore::new();
    let before = owed_to(&cold, Arc::new(copy.clone())).await;
    assert_eq!(before, (0, 1));
    assert!(cold.mirror_to(&copy).await.is_whole());
    assert_eq!(owed_to(&cold, Arc::new(copy.clone())).await, (1, 0));
    let silent = FaultStore::new(Arc::new(copy), 1);
    silent.partition(true);
    assert_eq!(owed_to(&cold, Arc::new(silent)).await, (0, 1));
}

/// Packs that move, and that stay for a copy.
async fn owed_to(cold: &Cold, copy: Arc<dyn Store>) -> (usize, u64) {
    let options = ArchiveOptions { copies: vec![copy], ..cold.options() };
    let planned = plan(cold.repository(), &options, &LastReads::default(), &Silent).await.unwrap();
    (planned.moves.len(), planned.stay.get(&Reason::Owed).map_or(0, |owed| owed.packs))
}

#[tokio::test]
async fn a_sparse_pack_that_sleeps_unknown_to_the_rules_keeps_nothing_dead_alive() {
    let cave: StorageClass = "CAVE".parse().unwrap();
    let known = Classes::default().with(cave.clone(), ClassTraits { sleeps: true, ..ClassTraits::default() });
    let mut cold = Cold::with(std::slice::from_ref(&cave), known).await;
    let alone = cold.share.file(ROOT, b"alone", &noise(1, CHUNK_BYTES));
    let (first, _) = cold.share.publish().await;
    cold.share.file(ROOT, b"stays", &noise(2, CHUNK_BYTES));
    let goes = [3, 4].map(|seed| {
        let name = format!("goes-{seed}");
        let number = cold.share.file(ROOT, name.as_bytes(), &noise(seed, CHUNK_BYTES));
        (name, number)
    });
    let (second, _) = cold.share.publish().await;
    let [dead, sparse] = [1, 2].map(|seed| cold.share.place_of(&noise(seed, CHUNK_BYTES)).pack);
    cold.share.store.change_class(&pack_name(sparse), &cave).await.unwrap();
    cold.share.remove(ROOT, b"alone", alone);
    for (name, number) in goes {
        cold.share.remove(ROOT, name.as_bytes(), number);
    }
    cold.publish_alone(&[first, second]).await;
    cold.pass(DAY);
    let proposal = cold.propose().await;
    assert!(proposal.sparse.iter().any(|pack| pack.id == sparse), "nobody has said that it sleeps");
    let plan = condemn(cold.repository(), proposal, &cold.collect_options(), &Silent).await.unwrap().unwrap();
    cold.share.plans_honoured = vec![plan];
    cold.share.publish().await;
    let progress = carry_out(cold.repository(), plan, &cold.collect_options(), &Silent).await.unwrap();
    assert!(matches!(progress, Progress::Done(_)), "{progress:?}");
    let gone = cold.share.store.head(&pack_name(dead)).await.expect_err("it was deleted");
    assert_eq!(gone.kind(), ErrorKind::Missing);
    assert!(cold.share.store.head(&pack_name(sparse)).await.is_ok(), "it is left");
}
