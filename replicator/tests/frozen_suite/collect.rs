//! Claims about garbage collection that need no gateway: what goes and what stays, who is waited for, what is
//! refused; and that a collector which dies anywhere leaves what the next one finishes.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::PackId;
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{
    CollectError, CollectOptions, PLAN_AGE_MAX, Progress, Proposal, Silent, VoidPacks, carry_out, condemn,
    propose, tidy,
};
use tidegate_replicator::repository::{
    Head, HeadName, KeptHead, Opened, Plan, PlanId, Repository, RepositoryError, UtcNanos, pack_name,
};
use tidegate_replicator::store::{
    Body, ErrorKind, Fault, FaultStore, MemoryStore, Operation, PutMode, Rule, Store,
};
use tidegate_replicator::tree::ChunkRef;

use super::dying_store::DyingStore;
use super::support::{CHUNK_BYTES, ROOT, Share, noise, quick_key};

/// A byte of the first sealed bytes of a pack: after its header and that of a frame.
const FIRST_FRAME_BYTE: usize = 48 + 52;

/// A share with two heads, of which the first alone reaches the data of a file.
struct Scene {
    share: Share,
    first: (HeadName, Head),
    scratch: tempfile::TempDir,
}

fn now() -> UtcNanos {
    UtcNanos::from(std::time::SystemTime::now())
}

fn kept((name, head): &(HeadName, Head)) -> KeptHead {
    KeptHead { name: *name, frozen_at: head.frozen_at }
}

impl Scene {
    async fn new() -> Self {
        let mut share = Share::new().await;
        share.file(ROOT, b"stays", &noise(1, CHUNK_BYTES));
        let goes = share.file(ROOT, b"goes", &noise(2, CHUNK_BYTES));
        let first = share.publish().await;
        share.remove(ROOT, b"goes", goes);
        share.file(ROOT, b"comes", &noise(3, CHUNK_BYTES));
        share.kept = vec![kept(&first)];
        let second = share.publish().await;
        // The third does not name the first as kept.
        share.kept = vec![kept(&second)];
        share.publish().await;
        Self { share, first, scratch: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> CollectOptions {
        let options = CollectOptions::new(now(), self.scratch.path().to_path_buf());
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, repack_below_percent: 0, ..options }
    }

    fn repository(&self) -> &Arc<Repository<Opened>> {
        &self.share.repository
    }

    async fn proposal(&self) -> Proposal {
        propose(self.repository(), &self.options(), &Silent).await.unwrap()
    }

    /// Condemns what can be, and has the share honour it.
    async fn honoured_plan(&mut self) -> PlanId {
        let proposal = self.proposal().await;
        tidy(self.repository(), &proposal).await.unwrap();
        // What only passed heads reached shows after they have gone.
        let proposal = self.proposal().await;
        let plan = condemn(self.repository(), proposal, &self.options(), &Silent).await.unwrap().unwrap();
        self.share.plans_honoured = vec![plan];
        self.share.publish().await;
        plan
    }

    async fn carry_out(&self, plan: PlanId) -> Progress {
        carry_out(self.repository(), plan, &self.options(), &Silent).await.unwrap()
    }
}

async fn has_pack(repository: &Repository<Opened>, pack: PackId) -> bool {
    repository.pack_modified(pack).await.unwrap().is_some()
}

async fn is_clean(repository: &Arc<Repository<Opened>>) {
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(repository, &options, &check::Silent).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

async fn copy_of(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    let mut after = None;
    loop {
        let page = store.list("", after.as_ref(), 1000).await.unwrap();
        for object in &page.objects {
            let bytes = store.get(&object.name, None).await.unwrap();
            copy.put(&object.name, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
        }
        after = page.objects.last().map(|object| object.name.clone());
        if !page.more {
            return copy;
        }
    }
}

#[tokio::test]
async fn what_a_passed_head_alone_reached_goes_and_all_else_stays() {
    let mut scene = Scene::new().await;
    let proposal = scene.proposal().await;
    assert_eq!(proposal.passed_heads, [(super::support::SHARE, scene.first.0)]);
    assert_eq!(proposal.roots, 2, "the newest head and its parent have one root each");
    let plan = scene.honoured_plan().await;
    let condemned = scene.repository().read_plan(plan).await.unwrap().condemned;
    let Progress::Done(collected) = scene.carry_out(plan).await else { panic!("it is honoured") };
    assert_eq!((collected.deleted, collected.spared), (condemned.len() as u64, 0));
    assert!(collected.deleted_bytes > 0 && collected.index_objects > 0);
    for pack in &condemned {
        assert!(!has_pack(scene.repository(), *pack).await);
    }
    is_clean(scene.repository()).await;
    assert_eq!(scene.proposal().await.condemned, []);
}

#[tokio::test]
async fn a_snapshot_keeps_what_it_reaches_for_as_long_as_it_is_there() {
    let mut scene = Scene::new().await;
    let snapshot = scene.share.snapshot(&scene.first).await;
    let proposal = scene.proposal().await;
    tidy(scene.repository(), &proposal).await.unwrap();
    assert_eq!(scene.proposal().await.condemned, []);
    scene.repository().remove_snapshot(super::support::SHARE, snapshot).await.unwrap();
    assert!(!scene.proposal().await.condemned.is_empty());
    let plan = scene.honoured_plan().await;
    assert!(matches!(scene.carry_out(plan).await, Progress::Done(_)));
    is_clean(scene.repository()).await;
}

#[tokio::test]
async fn a_plan_waits_for_the_publisher_and_is_given_up_in_the_end() {
    let scene = Scene::new().await;
    let proposal = scene.proposal().await;
    tidy(scene.repository(), &proposal).await.unwrap();
    let proposal = scene.proposal().await;
    let plan =
        condemn(scene.repository(), proposal.clone(), &scene.options(), &Silent).await.unwrap().unwrap();
    let Progress::Waiting(waiting) = scene.carry_out(plan).await else { panic!("nobody honours it") };
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].name.as_deref(), Some("documents"));
    assert!(waiting[0].leader.is_some());
    assert_eq!(scene.proposal().await.condemned, [], "it is left to the plan that waits");
    let late = now().as_nanos() + PLAN_AGE_MAX.as_nanos() as i64 + 1_000_000_000;
    let options = CollectOptions { now: UtcNanos::new(late), ..scene.options() };
    let progress = carry_out(scene.repository(), plan, &options, &Silent).await.unwrap();
    assert_eq!(progress, Progress::GivenUp);
    for pack in &proposal.condemned {
        assert!(has_pack(scene.repository(), *pack).await);
    }
    assert_eq!(scene.proposal().await.condemned, proposal.condemned, "it counts as garbage again");
    let mut void = VoidPacks::default();
    void.refresh(scene.repository()).await.unwrap();
    assert!(proposal.condemned.iter().all(|pack| void.contains(pack)), "once condemned, never counted again");
}

#[tokio::test]
async fn a_condemned_pack_that_something_came_to_reach_is_spared() {
    let mut scene = Scene::new().await;
    let plan = scene.honoured_plan().await;
    // The head that was passed comes back as a snapshot: whoever took it had begun before.
    let snapshot = scene.share.snapshot(&scene.first).await;
    let Progress::Done(collected) = scene.carry_out(plan).await else { panic!("it is honoured") };
    assert_eq!(collected.deleted, 0);
    assert!(collected.spared > 0);
    is_clean(scene.repository()).await;
    let mut void = VoidPacks::default();
    void.refresh(scene.repository()).await.unwrap();
    for pack in scene.repository().read_outcome(plan).await.unwrap().unwrap().spared {
        assert!(!void.counts(&pack), "nobody comes to refer to it anew");
    }
    scene.repository().remove_snapshot(super::support::SHARE, snapshot).await.unwrap();
    assert!(!scene.proposal().await.condemned.is_empty());
}

#[tokio::test]
async fn nothing_is_condemned_where_something_cannot_be_read() {
    let scene = Scene::new().await;
    let root = scene.first.1.root.at.unwrap();
    let object = pack_name(root.pack);
    let bytes = scene.share.store.get(&object, None).await.unwrap();
    scene.share.store.delete(&object).await.unwrap();
    // The first head is passed; a snapshot makes its tree matter.
    scene.share.snapshot(&scene.first).await;
    let error = propose(scene.repository(), &scene.options(), &Silent).await.unwrap_err();
    assert!(
        matches!(&error, CollectError::Unreadable { what, .. } if what.starts_with("snapshots/")),
        "{error}"
    );
    scene.share.store.put(&object, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
    propose(scene.repository(), &scene.options(), &Silent).await.unwrap();
    // A snapshot that does not open may reach anything.
    let name = scene.share.store.list("snapshots/", None, 1).await.unwrap().objects.remove(0).name;
    scene.share.store.damage(&name, b"damaged".to_vec().into());
    let error = propose(scene.repository(), &scene.options(), &Silent).await.unwrap_err();
    assert!(matches!(&error, CollectError::Unreadable { what, .. } if *what == name.to_string()), "{error}");
}

#[tokio::test]
async fn young_packs_too_much_at_once_and_a_wrong_clock_are_refused() {
    let scene = Scene::new().await;
    let proposal = scene.proposal().await;
    tidy(scene.repository(), &proposal).await.unwrap();
    let day = Duration::from_hours(24);
    let options = CollectOptions { grace: day, ..scene.options() };
    let young = propose(scene.repository(), &options, &Silent).await.unwrap();
    assert_eq!(young.condemned, []);
    assert!(young.deferred > 0 && young.deferred_bytes > 0);
    let later = UtcNanos::new(now().as_nanos() + 2 * day.as_nanos() as i64);
    let old = propose(scene.repository(), &CollectOptions { now: later, ..options }, &Silent).await.unwrap();
    assert_eq!(old.condemned.len() as u64, young.deferred);
    let options = CollectOptions { delete_percent_max: 0, ..scene.options() };
    let error = condemn(scene.repository(), old, &options, &Silent).await.unwrap_err();
    assert!(matches!(error, CollectError::TooMuch { percent_max: 0, .. }), "{error}");
    assert_eq!(scene.repository().plans().await.unwrap(), []);
    let earlier = UtcNanos::new(now().as_nanos() - day.as_nanos() as i64);
    let options = CollectOptions { now: earlier, ..scene.options() };
    let error = propose(scene.repository(), &options, &Silent).await.unwrap_err();
    assert!(matches!(error, CollectError::Clock { .. }), "{error}");
}

#[tokio::test]
async fn a_pack_of_which_little_is_alive_is_copied_and_goes() {
    let mut scene = Scene::new().await;
    let file = noise(1, CHUNK_BYTES);
    let at = scene.share.place_of(&file);
    let proposal = scene.proposal().await;
    tidy(scene.repository(), &proposal).await.unwrap();
    let options = CollectOptions { repack_below_percent: 60, ..scene.options() };
    let proposal = propose(scene.repository(), &options, &Silent).await.unwrap();
    assert!(proposal.sparse.iter().any(|pack| pack.id == at.pack), "one of its two chunks is dead");
    let plan = condemn(scene.repository(), proposal, &options, &Silent).await.unwrap().unwrap();
    scene.share.plans_honoured = vec![plan];
    scene.share.publish().await;
    let read = scene.repository().read_plan(plan).await.unwrap();
    assert!(!read.replacements.is_empty() && read.condemned.contains(&at.pack));
    // A second round finds nothing more to copy, and what waits is left to its plan.
    let again = propose(scene.repository(), &options, &Silent).await.unwrap();
    assert!(again.sparse.is_empty() && again.condemned.is_empty(), "{again:?}");
    let Progress::Done(collected) = scene.carry_out(plan).await else { panic!("it is honoured") };
    assert_eq!((collected.deleted, collected.spared), (read.condemned.len() as u64, 0));
    assert!(!has_pack(scene.repository(), at.pack).await);
    is_clean(scene.repository()).await;
    // The hints of the tree lead nowhere now; the index does.
    let reference = ChunkRef { id: scene.share.id_of(&file), at: Some(at) };
    let found = scene.share.reader().chunks.read(&reference).await.unwrap();
    assert!(found.as_bytes()[..] == file[..]);
    // A check looks at what was moved where it is now.
    let object = pack_name(read.replacements[0]);
    let mut bytes = scene.share.store.get(&object, None).await.unwrap().to_vec();
    bytes[FIRST_FRAME_BYTE] ^= 4;
    scene.share.store.damage(&object, bytes.into());
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(scene.repository(), &options, &check::Silent).await.unwrap();
    assert!(report.findings.iter().any(|finding| finding.object == object.to_string()), "{report:#?}");
}

/// Carries out a plan when this part of a check begins.
struct Collecting {
    phase: &'static str,
    plan: PlanId,
    repository: Arc<Repository<Opened>>,
    options: CollectOptions,
}

impl check::Observer for Collecting {
    fn phase(&self, phase: &'static str) {
        if phase == self.phase {
            let collection = carry_out(&self.repository, self.plan, &self.options, &Silent);
            let progress =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(collection));
            assert!(matches!(progress.unwrap(), Progress::Done(_)), "{phase}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collection_moves_and_deletes_while_a_check_runs_is_no_finding() {
    for phase in [
        "read the ends of packs",
        "walk the trees",
        "compare the index",
        "hold the maps against their rules",
        "open frames",
    ] {
        let mut scene = Scene::new().await;
        tidy(scene.repository(), &scene.proposal().await).await.unwrap();
        let options = CollectOptions { repack_below_percent: 60, ..scene.options() };
        let proposal = propose(scene.repository(), &options, &Silent).await.unwrap();
        assert!(!proposal.sparse.is_empty());
        let plan = condemn(scene.repository(), proposal, &options, &Silent).await.unwrap().unwrap();
        scene.share.plans_honoured = vec![plan];
        scene.share.publish().await;
        let condemned = scene.repository().read_plan(plan).await.unwrap().condemned;
        let collecting = Collecting { phase, plan, repository: scene.repository().clone(), options };
        let store = FaultStore::new(Arc::new(scene.share.store.clone()), 0);
        let repository = Arc::new(Repository::open(Arc::new(store.clone()), &quick_key()).await.unwrap());
        if phase == "walk the trees" {
            // They go between the listing and the reading of their ends.
            for pack in condemned {
                let rule = Rule::on(Operation::GetTail).named(&pack.to_string());
                store.inject(rule, Fault::Before(ErrorKind::Missing));
            }
        }
        let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        let report = check(&repository, &options, &collecting).await.unwrap();
        assert!(report.is_clean(), "{phase}: {:#?}", report.findings);
        is_clean(scene.repository()).await;
    }
}

/// Of a chunk that was moved only the index knows where it lies.
#[tokio::test]
async fn what_the_index_has_lost_is_found_in_the_packs_before_anything_goes() {
    let mut scene = Scene::new().await;
    let file = noise(1, CHUNK_BYTES);
    let moved = ChunkRef { id: scene.share.id_of(&file), at: Some(scene.share.place_of(&file)) };
    tidy(scene.repository(), &scene.proposal().await).await.unwrap();
    let options = CollectOptions { repack_below_percent: 60, ..scene.options() };
    let proposal = propose(scene.repository(), &options, &Silent).await.unwrap();
    let plan = condemn(scene.repository(), proposal, &options, &Silent).await.unwrap().unwrap();
    scene.share.plans_honoured = vec![plan];
    scene.share.publish().await;
    assert!(matches!(scene.carry_out(plan).await, Progress::Done(_)));
    let replacements = scene.repository().read_plan(plan).await.unwrap().replacements;
    for name in scene.repository().index_names().await.unwrap() {
        let object = scene.repository().read_index_object(name).await.unwrap();
        if object.packs().any(|pack| replacements.contains(&pack)) {
            scene.repository().store().delete(&name.object()).await.unwrap();
        }
    }
    // Whoever condemned them before that spares them.
    let condemned = replacements.clone();
    let plan = Plan { made_at: now(), condemned, bytes: 1, replacements: Vec::new() };
    let plan = scene.repository().create_plan(&plan).await.unwrap();
    scene.share.plans_honoured = vec![plan];
    scene.share.publish().await;
    let Progress::Done(collected) = scene.carry_out(plan).await else { panic!("it is honoured") };
    assert_eq!((collected.deleted, collected.spared), (0, replacements.len() as u64));
    // And nobody condemns them; the index learns of them again.
    let proposal = propose(scene.repository(), &options, &Silent).await.unwrap();
    assert!(proposal.condemned.is_empty() && proposal.sparse.is_empty(), "{proposal:?}");
    assert!(replacements.iter().all(|pack| proposal.unindexed.contains(pack)), "{proposal:?}");
    tidy(scene.repository(), &proposal).await.unwrap();
    is_clean(scene.repository()).await;
    let found = scene.share.reader().chunks.read(&moved).await.unwrap();
    assert!(found.as_bytes()[..] == file[..]);
}

#[tokio::test]
async fn two_plans_never_rely_on_each_other() {
    let mut scene = Scene::new().await;
    let file = noise(1, CHUNK_BYTES);
    let at = scene.share.place_of(&file);
    let proposal = scene.proposal().await;
    tidy(scene.repository(), &proposal).await.unwrap();
    let options = CollectOptions { repack_below_percent: 60, ..scene.options() };
    let proposal = propose(scene.repository(), &options, &Silent).await.unwrap();
    let first = condemn(scene.repository(), proposal, &options, &Silent).await.unwrap().unwrap();
    // Another collector, which knew only the old place, condemns the copy.
    let copies = scene.repository().read_plan(first).await.unwrap().replacements;
    let plan = Plan { made_at: now(), condemned: copies.clone(), bytes: 1, replacements: Vec::new() };
    let second = scene.repository().create_plan(&plan).await.unwrap();
    scene.share.plans_honoured = vec![first, second];
    scene.share.publish().await;
    for plan in [first, second] {
        assert!(matches!(scene.carry_out(plan).await, Progress::Done(_)));
        is_clean(scene.repository()).await;
    }
    let places = [at.pack].into_iter().chain(copies);
    let mut left = 0;
    for pack in places {
        left += u32::from(has_pack(scene.repository(), pack).await);
    }
    assert!(left > 0, "one of both is still there");
}

#[tokio::test]
async fn a_fact_of_the_index_about_a_deleted_pack_counts_for_nothing() {
    let mut scene = Scene::new().await;
    // What a slow merge may write long after the pack has gone.
    let stale = copy_of(&scene.share.store).await;
    let plan = scene.honoured_plan().await;
    assert!(matches!(scene.carry_out(plan).await, Progress::Done(_)));
    for object in stale.list("index/", None, 1000).await.unwrap().objects {
        let bytes = stale.get(&object.name, None).await.unwrap();
        scene.share.store.put(&object.name, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
    }
    is_clean(scene.repository()).await;
    let mut void = VoidPacks::default();
    void.refresh(scene.repository()).await.unwrap();
    let generation = void.generation();
    void.refresh(scene.repository()).await.unwrap();
    assert_eq!(void.generation(), generation, "nothing new");
    let condemned = scene.repository().read_plan(plan).await.unwrap().condemned;
    assert!(condemned.iter().all(|pack| void.contains(pack)));
    assert_eq!(void.open_plans(), []);
    let mut kept = VoidPacks::default();
    void.rows().for_each(|row| kept.restore(row));
    assert!(condemned.iter().all(|pack| kept.contains(pack)));
}

/// What there is to see when a plan has been carried out, whoever did it.
async fn outcome(repository: &Arc<Repository<Opened>>, plan: PlanId) -> (Vec<PackId>, Vec<PackId>) {
    let (packs, more) = repository.list_packs(None, 1000).await.unwrap();
    assert!(!more);
    (packs, repository.read_outcome(plan).await.unwrap().unwrap().spared)
}

#[tokio::test]
async fn a_collector_that_dies_anywhere_leaves_what_the_next_one_finishes() {
    let mut scene = Scene::new().await;
    let plan = scene.honoured_plan().await;
    let before = copy_of(&scene.share.store).await;
    assert!(matches!(scene.carry_out(plan).await, Progress::Done(_)));
    let meant = outcome(scene.repository(), plan).await;
    let mut deaths = 0;
    for changes in 0.. {
        let mut has_died = false;
        for applied in [false, true] {
            let store = copy_of(&before).await;
            let dying = Arc::new(DyingStore::new(Arc::new(store.clone()), changes, applied));
            let repository = Arc::new(Repository::open(dying.clone(), &quick_key()).await.unwrap());
            let carried = carry_out(&repository, plan, &scene.options(), &Silent).await;
            has_died |= dying.is_dead();
            if dying.is_dead() {
                deaths += 1;
                let said = matches!(carried, Err(CollectError::Repository(RepositoryError::Store(_))));
                assert!(said || carried.is_ok(), "{carried:?}");
            }
            let next = Arc::new(Repository::open(Arc::new(store), &quick_key()).await.unwrap());
            is_clean(&next).await;
            let progress = carry_out(&next, plan, &scene.options(), &Silent).await.unwrap();
            assert!(matches!(progress, Progress::Done(_)), "{progress:?}");
            assert_eq!(outcome(&next, plan).await, meant, "after {changes} changes");
            is_clean(&next).await;
        }
        if !has_died {
            break;
        }
    }
    assert!(deaths > 4, "{deaths} deaths");
}
