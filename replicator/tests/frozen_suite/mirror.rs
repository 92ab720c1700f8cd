//! Claims about copies: at every moment a copy is a repository that can be served, whenever its mirror dies; in the
//! end it has what the lead has; and what is unknown, or another's, is left alone.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::{CollectOptions, Silent, carry_out, condemn, finish_open, propose, tidy};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::mirror::{
    Difference, Mirror, MirrorError, MirrorOptions, Obstacle, PassReport, Stranger, compare, fill_holes,
    prepare,
};
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Claimant, DurablePacks, Head, HeadName, KeptHead, Leadership, Opened, PlanId,
    Promotion, Published, RecoveryKey, Repository, RepositoryError, SlotKey, UtcNanos, pack_name,
};
use tidegate_replicator::store::{Body, Classes, MemoryStore, ObjectName, PutMode, Store};

use super::dying_store::DyingStore;
use super::support::{CHUNK_BYTES, ROOT, SHARE, Share, noise, quick_key};

/// Heads that a line keeps here.
const KEPT_MAX: usize = 3;

/// A share that changes at random, what its lead keeps of it, and a copy.
struct Scene {
    share: Share,
    line: Vec<(HeadName, Head)>,
    files: Vec<(Vec<u8>, InodeNumber)>,
    copy: MemoryStore,
    scratch: tempfile::TempDir,
    made: u64,
}

impl Scene {
    async fn new() -> Self {
        let mut scene = Self {
            share: Share::new().await,
            line: Vec::new(),
            files: Vec::new(),
            copy: MemoryStore::new(),
            scratch: tempfile::tempdir().unwrap(),
            made: 0,
        };
        scene.write().await;
        scene
    }

    fn lead(&self) -> &Arc<Repository<Opened>> {
        &self.share.repository
    }

    /// A new file, published.
    async fn write(&mut self) {
        self.made += 1;
        let name = format!("file {}", self.made).into_bytes();
        let number = self.share.file(ROOT, &name, &noise(self.made, CHUNK_BYTES));
        self.files.push((name, number));
        self.publish().await;
    }

    async fn remove(&mut self, at: usize) {
        if self.files.len() > 1 {
            let (name, number) = self.files.remove(at % self.files.len());
            self.share.remove(ROOT, &name, number);
            self.publish().await;
        }
    }

    /// Publishes, and removes what the line keeps no more.
    async fn publish(&mut self) {
        self.share.kept = self
            .line
            .iter()
            .map(|(name, head)| KeptHead { name: *name, frozen_at: head.frozen_at })
            .collect();
        self.share.plans_honoured = self.open_plans().await;
        let head = self.share.publish().await;
        self.line.insert(0, head);
        for (name, _) in self.line.drain(self.line.len().min(KEPT_MAX)..) {
            self.share.repository.remove_head(SHARE, &name).await.unwrap();
        }
    }

    async fn open_plans(&self) -> Vec<PlanId> {
        let plans = self.lead().plans().await.unwrap();
        plans.into_iter().filter(|plan| plan.open).map(|plan| plan.id).collect()
    }

    fn collect_options(&self, repack: bool) -> CollectOptions {
        let now = UtcNanos::from(std::time::SystemTime::now());
        let options = CollectOptions::new(now, self.scratch.path().to_path_buf());
        let repack_below_percent = if repack { 60 } else { 0 };
        CollectOptions { grace: Duration::ZERO, delete_percent_max: 100, repack_below_percent, ..options }
    }

    /// Goes on with open plans, or condemns anew.
    async fn collect(&self, repack: bool) {
        let options = self.collect_options(repack);
        finish_open(self.lead(), &options, &Silent).await.unwrap();
        let proposal = propose(self.lead(), &options, &Silent).await.unwrap();
        tidy(self.lead(), &proposal).await.unwrap();
        let proposal = propose(self.lead(), &options, &Silent).await.unwrap();
        condemn(self.lead(), proposal, &options, &Silent).await.unwrap();
    }

    async fn mirror_to(&self, store: Arc<dyn Store>) -> Result<PassReport, MirrorError> {
        let copy = Arc::new(prepare(self.lead(), store).await?);
        let options = MirrorOptions {
            parallel: 3,
            scratch: self.scratch.path().to_path_buf(),
            classes: Classes::default(),
        };
        Mirror::new(self.lead().clone(), copy, Arc::new(Stranger), options).pass(&Silent).await
    }

    async fn mirror(&self) -> PassReport {
        self.mirror_to(Arc::new(self.copy.clone())).await.unwrap()
    }

    /// The repository as somebody opens it who has nothing but the copy and a key.
    async fn opened_copy(&self) -> Arc<Repository<Opened>> {
        Arc::new(Repository::open(Arc::new(self.copy.clone()), &quick_key()).await.unwrap())
    }

    /// Everything that heads and snapshots of the copy reach is there and whole.
    async fn copy_is_sound(&self) {
        let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
        let options = CheckOptions { read_data, ..CheckOptions::default() };
        let report = check(&self.opened_copy().await, &options, &check::Silent).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }

    /// Nothing is missing on the copy but outcomes of plans and claims that nobody came to lead by, and it has
    /// nothing more than facts of its own past.
    async fn copy_is_complete(&self) {
        let found = compare(self.lead(), &*self.opened_copy().await, &Silent).await.unwrap();
        for difference in found.differences {
            let is_fine = match &difference {
                Difference::OnlySecond(object) => object.name.as_str().starts_with("index/"),
                Difference::OnlyFirst(_) | Difference::Length(..) => false,
            };
            assert!(is_fine, "{difference:?}");
        }
    }
}

async fn claim_on(repository: &Repository<Opened>, promotion: Option<Promotion>) -> Leadership {
    let state = repository.lease(SHARE).await.unwrap();
    let claimant = Claimant { host: "elsewhere".into(), instance: "test".into() };
    let options = ClaimOptions::new(claimant, UtcNanos::new(1), Duration::ZERO).unwrap();
    let options = match promotion {
        Some(promotion) => options.promoting(promotion),
        None => options,
    };
    match repository.claim(&state, &options).await.unwrap() {
        ClaimOutcome::Leading(leadership) => leadership,
        ClaimOutcome::Lost { to } => panic!("lost to {to}"),
    }
}

#[tokio::test]
async fn an_empty_store_becomes_a_copy_that_anybody_with_the_key_can_serve() {
    let mut scene = Scene::new().await;
    scene.share.snapshot(&scene.line[0]).await;
    scene.write().await;
    let report = scene.mirror().await;
    assert!(report.is_whole() && report.packs > 0 && report.bytes > CHUNK_BYTES as u64, "{report:?}");
    assert_eq!(report.shares.len(), 1);
    assert_eq!(report.shares[0].name.as_deref(), Some("documents"));
    scene.copy_is_sound().await;
    scene.copy_is_complete().await;
    let newest = scene.opened_copy().await.newest_head(SHARE).await.unwrap().unwrap();
    assert_eq!(newest.name, scene.line[0].0);
    let again = scene.mirror().await;
    assert_eq!((again.packs, again.objects, again.removed), (0, 0, 0), "nothing is sent twice: {again:?}");
}

/// One random life, with a mirror that dies now and then.
async fn live_at_random(seed: u64) {
    println!("TIDEGATE_SEED={seed}");
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % bound
    };
    let mut scene = Scene::new().await;
    let mut deaths = 0;
    for _ in 0..40 {
        match below(10) {
            0..=2 => scene.write().await,
            3 | 4 => scene.remove(below(1000) as usize).await,
            5 => {
                scene.share.snapshot(&scene.line[0]).await;
            }
            6 => {
                if let Some(oldest) = scene.lead().snapshot_ids(SHARE).await.unwrap().first() {
                    scene.lead().remove_snapshot(SHARE, *oldest).await.unwrap();
                }
            }
            7 => scene.collect(below(2) == 0).await,
            _ => {
                let changes = below(12);
                let dying = Arc::new(DyingStore::new(Arc::new(scene.copy.clone()), changes, below(2) == 0));
                let passed = scene.mirror_to(dying.clone()).await;
                assert!(dying.is_dead() || passed.is_ok(), "{passed:?}");
                deaths += u32::from(dying.is_dead());
                if scene.opened_copy_exists().await {
                    scene.copy_is_sound().await;
                }
            }
        }
    }
    // What was removed of snapshots since the last head is told by the next one.
    scene.publish().await;
    // Two: what a collection deletes goes one pass after the heads that reached it.
    scene.mirror().await;
    let report = scene.mirror().await;
    assert!(report.is_whole(), "{report:?}");
    scene.copy_is_sound().await;
    scene.copy_is_complete().await;
    println!("{deaths} deaths");
}

impl Scene {
    async fn opened_copy_exists(&self) -> bool {
        Repository::locate(Arc::new(self.copy.clone())).await.is_ok()
    }
}

#[tokio::test]
async fn a_copy_is_sound_whenever_its_mirror_dies_and_complete_in_the_end() {
    match std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => live_at_random(seed).await,
        None => {
            for seed in 0..12 {
                live_at_random(seed).await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_collection_deletes_goes_from_the_copy_too() {
    let mut scene = Scene::new().await;
    scene.write().await;
    scene.remove(0).await;
    scene.write().await;
    scene.write().await;
    scene.mirror().await;
    let before = scene.copy.bytes_stored();
    scene.collect(false).await;
    let plan = scene.open_plans().await[0];
    scene.publish().await;
    carry_out(scene.lead(), plan, &scene.collect_options(false), &Silent).await.unwrap();
    let report = scene.mirror().await;
    assert!(report.deleted_packs > 0, "{report:?}");
    assert!(scene.copy.bytes_stored() < before - CHUNK_BYTES as u64 / 2);
    scene.copy_is_sound().await;
    scene.copy_is_complete().await;
    assert_eq!(scene.mirror().await.deleted_packs, 0);
}

/// Wherever a pass dies that copies a merged index: what it has left of the objects that were merged goes when what they were
/// merged into is replaced.
#[tokio::test]
async fn index_objects_that_a_pass_left_when_it_died_go_in_the_end() {
    for changes in [0, 1, 2, 10, 18] {
        let mut scene = Scene::new().await;
        for _ in 0..17 {
            scene.write().await;
        }
        scene.mirror().await;
        assert_eq!(scene.lead().merge_index().await.unwrap().written, 1);
        let dying = Arc::new(DyingStore::new(Arc::new(scene.copy.clone()), changes, false));
        let passed = scene.mirror_to(dying.clone()).await;
        assert!(dying.is_dead() || passed.is_ok(), "{passed:?}");
        scene.remove(0).await;
        // Until no head that is kept reaches it.
        for _ in 0..KEPT_MAX {
            scene.write().await;
        }
        scene.collect(false).await;
        scene.publish().await;
        scene.collect(false).await;
        scene.mirror().await;
        scene.mirror().await;
        let there = scene.opened_copy().await.index_names().await.unwrap();
        assert_eq!(there, scene.lead().index_names().await.unwrap(), "died after {changes} changes");
        scene.copy_is_sound().await;
    }
}

#[tokio::test]
async fn an_index_object_that_the_lead_has_lost_stays_on_the_copy() {
    let mut scene = Scene::new().await;
    scene.write().await;
    scene.mirror().await;
    let lost = scene.lead().index_names().await.unwrap()[0];
    scene.lead().store().delete(&lost.object()).await.unwrap();
    for _ in 0..2 {
        scene.write().await;
        assert!(scene.mirror().await.is_whole());
    }
    assert!(scene.opened_copy().await.index_names().await.unwrap().contains(&lost));
    scene.copy_is_sound().await;
}

/// Merges sort by chunk, so that each of several objects names most packs: that another one names its packs says nothing.
#[tokio::test]
async fn a_part_of_what_the_index_says_of_a_pack_stays_where_the_lead_has_lost_it() {
    let scene = Scene::new().await;
    let lead = scene.lead();
    let whole = lead.index_names().await.unwrap()[0];
    let entries: Vec<_> = lead.read_index_object(whole).await.unwrap().entries().collect();
    let mut packs = DurablePacks::new();
    for pack in lead.list_pack_objects(None, 1000).await.unwrap().0 {
        packs.add(lead.confirm_pack(pack.id, pack.bytes).await.unwrap().expect("it is there"));
    }
    assert!(entries.len() > 1);
    for part in entries.chunks(entries.len().div_ceil(2)) {
        lead.write_index([Ok::<_, RepositoryError>(part.to_vec())], &packs).await.unwrap();
    }
    lead.store().delete(&whole.object()).await.unwrap();
    scene.mirror().await;
    let lost = lead.index_names().await.unwrap()[1];
    lead.store().delete(&lost.object()).await.unwrap();
    assert!(scene.mirror().await.is_whole());
    assert!(scene.opened_copy().await.index_names().await.unwrap().contains(&lost));
    scene.copy_is_sound().await;
    // Once the lead says it again, in whatever object, the old one goes.
    lead.write_index([Ok::<_, RepositoryError>(entries)], &packs).await.unwrap();
    scene.mirror().await;
    assert_eq!(scene.opened_copy().await.index_names().await.unwrap(), lead.index_names().await.unwrap());
}

#[tokio::test]
async fn another_repository_and_other_things_are_refused_and_untouched() {
    let scene = Scene::new().await;
    let other = Share::new().await;
    let error = scene.mirror_to(Arc::new(other.store.clone())).await.unwrap_err();
    assert!(matches!(error, MirrorError::Foreign { .. }), "{error}");
    let used = MemoryStore::new();
    let name = ObjectName::new("photos").unwrap();
    used.put(&name, Body::Bytes("mine".into()), PutMode::Overwrite).await.unwrap();
    let error = scene.mirror_to(Arc::new(used.clone())).await.unwrap_err();
    assert!(matches!(&error, MirrorError::Occupied { found, .. } if found == "photos"), "{error}");
    assert_eq!(used.names(), [name]);
}

#[tokio::test]
async fn a_hole_in_the_lead_holds_heads_back_until_it_is_filled() {
    let mut scene = Scene::new().await;
    scene.mirror().await;
    scene.write().await;
    let whole = scene.share.store.fork();
    let pack = scene.share.place_of(&noise(2, CHUNK_BYTES)).pack;
    scene.share.store.delete(&pack_name(pack)).await.unwrap();
    let report = scene.mirror().await;
    assert_eq!(report.holes, [pack]);
    assert!(!report.is_whole());
    let newest = scene.opened_copy().await.newest_head_name(SHARE).await.unwrap();
    assert_eq!(newest, Some(scene.line[1].0), "the copy keeps what it had");
    scene.copy_is_sound().await;
    // From a second copy, say.
    let whole = Repository::open(Arc::new(whole), &quick_key()).await.unwrap();
    let options = MirrorOptions {
        parallel: 1,
        scratch: scene.scratch.path().to_path_buf(),
        classes: Classes::default(),
    };
    let filled = fill_holes(&whole, scene.lead(), &options, &Silent).await.unwrap();
    assert_eq!((filled.packs, filled.failed.len()), (1, 0));
    assert!(scene.mirror().await.is_whole());
    scene.copy_is_sound().await;
    scene.copy_is_complete().await;
}

#[tokio::test]
async fn a_lead_that_shows_an_older_state_takes_nothing_from_the_copy() {
    let mut scene = Scene::new().await;
    let old = scene.share.store.fork();
    scene.share.snapshot(&scene.line[0]).await;
    scene.write().await;
    scene.mirror().await;
    let before = scene.copy.names();
    scene.share.repository = Arc::new(Repository::open(Arc::new(old), &quick_key()).await.unwrap());
    let report = scene.mirror().await;
    assert_eq!(report.shares[0].obstacle, Some(Obstacle::LeadIsOlder));
    assert!(!report.is_whole());
    assert_eq!(scene.copy.names(), before);
    // A lead that has lost all of its shares.
    let empty = MemoryStore::new();
    for folder in ["config", "keys/", "domains/"] {
        for object in scene.share.store.list(folder, None, 100).await.unwrap().objects {
            let bytes = scene.share.store.get(&object.name, None).await.unwrap();
            empty.put(&object.name, Body::Bytes(bytes), PutMode::Overwrite).await.unwrap();
        }
    }
    scene.share.repository = Arc::new(Repository::open(Arc::new(empty), &quick_key()).await.unwrap());
    let report = scene.mirror().await;
    assert!(report.shares[0].obstacle.is_some(), "{report:?}");
    assert_eq!(scene.copy.names(), before);
}

#[tokio::test]
async fn a_share_that_is_led_from_the_copy_is_left_alone_there() {
    for promotes in [false, true] {
        let mut scene = Scene::new().await;
        scene.mirror().await;
        let copy = scene.opened_copy().await;
        let after = copy.newest_head_name(SHARE).await.unwrap();
        let epoch = claim_on(&copy, promotes.then_some(Promotion { after })).await.epoch();
        assert_eq!(epoch, if promotes { 256 } else { 2 });
        scene.write().await;
        let report = scene.mirror().await;
        assert_eq!(report.shares[0].obstacle, Some(Obstacle::LedFromCopy { epoch, has_head: false }));
        assert_eq!(copy.newest_head_name(SHARE).await.unwrap(), after);
        scene.copy_is_sound().await;
    }
}

#[tokio::test]
async fn heads_that_a_promoted_copy_never_had_stay_where_they_are() {
    let mut scene = Scene::new().await;
    scene.mirror().await;
    // Published after the last pass: only the old lead has it.
    scene.write().await;
    let fork = scene.line[0].0;
    let promoted = scene.opened_copy().await;
    let after = promoted.newest_head_name(SHARE).await.unwrap();
    let leadership = claim_on(&promoted, Some(Promotion { after })).await;
    assert_eq!(leadership.epoch(), 256);
    // The copy leads from now on, and what led becomes a copy.
    let old_lead = scene.share.store.clone();
    let mut next = Head { epoch: 256, ..scene.line[1].1.clone() };
    next.sequence = 1000;
    next.parent = after;
    next.kept = scene.line[1..]
        .iter()
        .map(|(name, head)| KeptHead { name: *name, frozen_at: head.frozen_at })
        .collect();
    publish_on(&promoted, leadership, &next).await;
    let options = MirrorOptions {
        parallel: 1,
        scratch: scene.scratch.path().to_path_buf(),
        classes: Classes::default(),
    };
    let back = Arc::new(prepare(&promoted, Arc::new(old_lead.clone())).await.unwrap());
    let mut mirror = Mirror::new(promoted.clone(), back.clone(), Arc::new(Stranger), options);
    let report = mirror.pass(&Silent).await.unwrap();
    assert_eq!((report.strangers, report.removed), (1, 0), "{report:?}");
    assert!(back.head_names(SHARE).await.unwrap().contains(&fork));
    let newest = back.newest_head(SHARE).await.unwrap().unwrap();
    assert_eq!(newest.name.epoch, 256, "the fork is not the newest");
}

async fn publish_on(repository: &Repository<Opened>, leadership: Leadership, head: &Head) {
    let prepared = repository.prepare_head(&leadership, head).unwrap();
    let nothing = [Ok::<_, RepositoryError>(Vec::new())];
    let durable = repository.write_index(nothing, &DurablePacks::new()).await.unwrap();
    assert!(matches!(repository.publish(leadership, &prepared, &durable).await, Published::Done(_)));
}

#[tokio::test]
async fn a_key_slot_that_was_removed_opens_the_copy_no_more() {
    let scene = Scene::new().await;
    let recovery = RecoveryKey::generate().unwrap();
    let key = SlotKey::Recovery(recovery);
    let slot = scene.lead().add_slot(&key, "a sheet of paper", UtcNanos::new(2)).await.unwrap();
    scene.mirror().await;
    assert!(Repository::open(Arc::new(scene.copy.clone()), &key).await.is_ok());
    scene.lead().remove_slot(slot).await.unwrap();
    scene.mirror().await;
    assert!(Repository::open(Arc::new(scene.copy.clone()), &key).await.is_err());
    scene.opened_copy().await;
}
