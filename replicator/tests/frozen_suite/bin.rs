//! Claims about the bin: what is in it is as safe from collections as what is not, for its whole time and no longer;
//! whoever dies while something goes in, out, or ends, leaves it retained under one id or the other; copies have it too.
//!
//! Method: a share of which the first state is reached by one snapshot alone. It goes through the bin on a store that dies
//! at each change; then a collection runs to its end, and everything that is retained is read and verified.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{
    CollectOptions, Progress, Proposal, Silent, carry_out, condemn, propose, tidy,
};
use tidegate_replicator::repository::{
    Head, HeadName, KeptHead, Opened, Repository, SnapshotId, UtcNanos, is_binned,
};
use tidegate_replicator::store::{MemoryStore, Store};

use super::dying_store::DyingStore;
use super::support::{CHUNK_BYTES, ROOT, SHARE, Share, noise, quick_key};

const DAY: i64 = 86_400_000_000_000;

fn now() -> UtcNanos {
    UtcNanos::from(std::time::SystemTime::now())
}

fn days(number: i64) -> UtcNanos {
    UtcNanos::new(now().as_nanos() + number * DAY)
}

fn kept((name, head): &(HeadName, Head)) -> KeptHead {
    KeptHead { name: *name, frozen_at: head.frozen_at }
}

/// A share whose first state is reached by a snapshot alone.
struct Scene {
    share: Share,
    snapshot: SnapshotId,
    /// The heads that are kept, newest first.
    line: Vec<KeptHead>,
    scratch: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let mut share = Share::new().await;
        share.file(ROOT, b"stays", &noise(1, CHUNK_BYTES));
        let goes = share.file(ROOT, b"goes", &noise(2, CHUNK_BYTES));
        let first = share.publish().await;
        let snapshot = share.snapshot(&first).await;
        share.remove(ROOT, b"goes", goes);
        share.kept = vec![kept(&first)];
        let second = share.publish().await;
        let line = vec![kept(&second)];
        let mut scene = Self { share, snapshot, line, scratch: tempfile::tempdir().unwrap() };
        scene.publish().await;
        tidy(scene.repository(), &scene.proposal(now()).await).await.unwrap();
        scene
    }

    fn repository(&self) -> &Arc<Repository<Opened>> {
        &self.share.repository
    }

    /// The next head, which passes none.
    async fn publish(&mut self) {
        self.share.kept.clone_from(&self.line);
        let head = self.share.publish().await;
        self.line.insert(0, kept(&head));
    }

    fn options(&self, now: UtcNanos) -> CollectOptions {
        let options = CollectOptions::new(now, self.scratch.path().to_path_buf());
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, repack_below_percent: 0, ..options }
    }

    async fn proposal(&self, now: UtcNanos) -> Proposal {
        propose(self.repository(), &self.options(now), &Silent).await.unwrap()
    }

    /// A round at that time, to its end; how many packs it deleted.
    async fn collect(&mut self, now: UtcNanos) -> u64 {
        let proposal = self.proposal(now).await;
        tidy(self.repository(), &proposal).await.unwrap();
        let condemned = condemn(self.repository(), proposal, &self.options(now), &Silent).await.unwrap();
        let Some(plan) = condemned else { return 0 };
        self.share.plans_honoured.push(plan);
        self.publish().await;
        let progress = carry_out(self.repository(), plan, &self.options(now), &Silent).await.unwrap();
        let Progress::Done(collected) = progress else { panic!("it is honoured") };
        collected.deleted
    }

    async fn bin(&self) -> Vec<SnapshotId> {
        self.repository().bin(SHARE).await.unwrap().into_iter().map(|entry| entry.id).collect()
    }
}

async fn is_clean(repository: &Arc<Repository<Opened>>) {
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(repository, &options, &check::Silent).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

async fn copy_of(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    for object in store.list("", None, 1000).await.unwrap().objects {
        let bytes = store.get(&object.name, None).await.unwrap();
        let mode = tidegate_replicator::store::PutMode::Overwrite;
        copy.put(&object.name, tidegate_replicator::store::Body::Bytes(bytes), mode).await.unwrap();
    }
    copy
}

/// Snapshots that are in the lists, and those in the bin.
async fn seen(repository: &Repository<Opened>) -> (usize, usize) {
    let listed = repository.list_snapshots(SHARE).await.unwrap();
    let here = listed.iter().filter(|(_, snapshot)| !is_binned(snapshot.as_ref().unwrap())).count();
    (here, repository.bin(SHARE).await.unwrap().len())
}

#[tokio::test]
async fn what_is_in_the_bin_outlives_collections_until_its_time_is_over_and_goes_then() {
    let mut scene = Scene::new().await;
    let before = scene.repository().read_snapshot(SHARE, scene.snapshot).await.unwrap();
    let id = scene.repository().bin_snapshot(SHARE, scene.snapshot, now(), days(7)).await.unwrap().unwrap();
    assert_eq!(scene.bin().await, [id]);
    assert_eq!(scene.repository().bin(SHARE).await.unwrap()[0].snapshot, before);
    let around = scene.repository().moments_around(SHARE, before.head.frozen_at).await.unwrap();
    assert!(around.before.is_none(), "nobody is put back to what was removed: {around:?}");
    // Also by a clock that is far ahead: what is over is told by the store's newest pack as well.
    for day in [0, 6, 400] {
        assert_eq!(scene.collect(days(day)).await, 0, "on day {day}");
        assert_eq!(scene.bin().await, [id]);
        is_clean(scene.repository()).await;
    }
    let back = scene.repository().unbin_snapshot(SHARE, id, None, now()).await.unwrap().unwrap();
    let id = scene.repository().bin_snapshot(SHARE, back, now(), now()).await.unwrap().unwrap();
    scene.share.file(ROOT, b"later", &noise(4, CHUNK_BYTES));
    scene.publish().await;
    // The round in which its time is over takes the object, and the next one what that alone reached.
    assert_eq!(scene.proposal(now()).await.ended_in_bin, [(SHARE, id)]);
    assert_eq!(scene.collect(now()).await, 0);
    assert_eq!(scene.bin().await, []);
    assert!(scene.collect(now()).await > 0);
    is_clean(scene.repository()).await;
}

#[tokio::test]
async fn what_comes_back_out_of_the_bin_is_retained_as_before_and_under_its_name() {
    let mut scene = Scene::new().await;
    let before = scene.repository().read_snapshot(SHARE, scene.snapshot).await.unwrap();
    let inside =
        scene.repository().bin_snapshot(SHARE, scene.snapshot, now(), days(1)).await.unwrap().unwrap();
    let gone = scene.repository().bin_snapshot(SHARE, scene.snapshot, now(), days(1)).await.unwrap();
    assert_eq!(gone, None, "it is not there any more");
    let twice = scene.repository().bin_snapshot(SHARE, inside, now(), days(1)).await.unwrap();
    assert_eq!(twice, None, "it is there already");
    let back = scene.repository().unbin_snapshot(SHARE, inside, None, now()).await.unwrap().unwrap();
    assert_eq!(scene.repository().read_snapshot(SHARE, back).await.unwrap(), before);
    assert_eq!(scene.repository().unbin_snapshot(SHARE, inside, None, now()).await.unwrap(), None);
    assert_eq!(scene.repository().unbin_snapshot(SHARE, back, None, now()).await.unwrap(), None);
    assert_eq!(seen(scene.repository()).await, (1, 0));
    assert_eq!(scene.collect(days(30)).await, 0);
    is_clean(scene.repository()).await;
    let inside = scene.repository().bin_snapshot(SHARE, back, now(), days(1)).await.unwrap().unwrap();
    let named =
        scene.repository().unbin_snapshot(SHARE, inside, Some("another"), now()).await.unwrap().unwrap();
    assert_eq!(scene.repository().read_snapshot(SHARE, named).await.unwrap().label, "another");
    let long = "x".repeat(2_000);
    let inside = scene.repository().bin_snapshot(SHARE, named, now(), days(1)).await.unwrap().unwrap();
    assert!(scene.repository().unbin_snapshot(SHARE, inside, Some(&long), now()).await.is_err());
    assert_eq!(scene.bin().await, [inside]);
}

/// What is done to a snapshot, or to what it became in the bin.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    In,
    Out,
    End,
}

async fn go(repository: &Repository<Opened>, way: Way, id: SnapshotId) -> Result<(), String> {
    let done = match way {
        Way::In => repository.bin_snapshot(SHARE, id, now(), days(7)).await.map(drop),
        Way::Out => repository.unbin_snapshot(SHARE, id, None, now()).await.map(drop),
        Way::End => repository.remove_snapshot(SHARE, id).await,
    };
    done.map_err(|error| error.to_string())
}

#[tokio::test]
async fn who_dies_on_the_way_in_or_out_leaves_it_retained_and_the_next_one_gets_there() {
    let (mut deaths, mut twins) = (0, 0);
    for (way, meant) in [(Way::In, (0, 1)), (Way::Out, (1, 0)), (Way::End, (0, 0))] {
        for (changes, applied) in (0..3).flat_map(|changes| [(changes, false), (changes, true)]) {
            let mut scene = Scene::new().await;
            let mut id = scene.snapshot;
            if way != Way::In {
                id = scene.repository().bin_snapshot(SHARE, id, now(), days(7)).await.unwrap().unwrap();
            }
            let dying = Arc::new(DyingStore::new(Arc::new(scene.share.store.clone()), changes, applied));
            let repository = Repository::open(dying.clone(), &quick_key()).await.unwrap();
            let went = go(&repository, way, id).await;
            assert_eq!(went.is_err(), dying.is_dead(), "{way:?} after {changes} changes: {went:?}");
            deaths += u32::from(dying.is_dead());
            let what = format!("{way:?} died after {changes} changes, applied: {applied}");
            let (here, inside) = seen(scene.repository()).await;
            if way != Way::End {
                assert!(here + inside >= 1, "{what}");
                assert!(way == Way::Out || here + inside == 1, "{what}: shown once");
            }
            // Nothing that is retained loses anything to a collection, whatever is left.
            let deleted = scene.collect(now()).await;
            assert_eq!(deleted > 0, here + inside == 0, "{what}");
            is_clean(scene.repository()).await;
            // Whoever asks again gets there. What had come back already comes back a second time.
            go(scene.repository(), way, id).await.unwrap();
            let meant = if way == Way::Out { (here + inside, 0) } else { meant };
            assert_eq!(seen(scene.repository()).await, meant, "{what}");
            is_clean(scene.repository()).await;
            if way == Way::In {
                let entry = scene.repository().bin(SHARE).await.unwrap().remove(0);
                let objects = scene.repository().list_snapshots(SHARE).await.unwrap().len();
                assert_eq!(objects, 1 + entry.twins.len(), "{what}: its twins are known");
                twins += entry.twins.len();
            }
        }
    }
    assert_eq!(deaths, 4 + 4 + 2);
    assert_eq!(twins, 2, "left by whoever wrote the copy and died before the removal");
}

#[tokio::test]
async fn what_went_while_its_copy_was_written_is_not_kept_half() {
    // The snapshot goes by another hand; its copy would have been without a keeper for a while.
    let scene = Scene::new().await;
    let copy = copy_of(&scene.share.store).await;
    let other = Repository::open(Arc::new(copy.clone()), &quick_key()).await.unwrap();
    other.remove_snapshot(SHARE, scene.snapshot).await.unwrap();
    assert_eq!(other.bin_snapshot(SHARE, scene.snapshot, now(), days(7)).await.unwrap(), None);
    assert_eq!(seen(&other).await, (0, 0));
}
