//! Claims about eviction and about the cache of gathered frames, below the appliance: against a real
//! ledger, with a disk whose room the test sets.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use tidegate_chunker::{ChunkKind, DomainId, FrameHeader, PackHeader, PackId, UnverifiedFrame};
use tidegate_replicator::fetch::{FrameAt, LocalFrames};

use super::{DiskCache, DiskCacheBounds, Keeper, Policy, Room, Unit, Volume};
use crate::ledger::{Ledger, Stage};
use crate::live::Database;

const PACK_BYTES: u64 = 1000;

/// A disk with as much room as the test says.
struct Told(AtomicU64);

impl Volume for Told {
    fn room(&self) -> io::Result<Room> {
        Ok(Room { total_bytes: 1 << 40, free_bytes: self.0.load(Ordering::Relaxed) })
    }
}

const PLENTY: u64 = 1 << 39;

struct Setup {
    ledger: Arc<Ledger>,
    keeper: Keeper,
    volume: Arc<Told>,
}

fn bounds(cache_bytes: u64) -> DiskCacheBounds {
    DiskCacheBounds { cache_bytes, index_bytes: 1 << 20, queue_bytes: 1 << 20 }
}

fn setup(folder: &Path, cache_bytes: u64) -> Setup {
    let database =
        Arc::new(Database::open(&folder.join("meta"), 1 << 20, 8 << 20).expect("a sound database"));
    let ledger = Ledger::open(database, folder.join("packs"), &[]).expect("a sound ledger");
    let volume = Arc::new(Told(AtomicU64::new(PLENTY)));
    let policy = Arc::new(Mutex::new(Policy::new(cache_bytes)));
    let disk = DiskCache::open(&folder.join("cache"), policy.clone(), volume.clone(), bounds(cache_bytes));
    let packs = Arc::new(LocalFrames::new(ledger.folder().to_path_buf()));
    let keeper = Keeper::open(
        ledger.clone(),
        packs,
        Arc::new(disk.expect("a sound folder")),
        policy,
        (volume.clone(), cache_bytes),
    );
    Setup { ledger, keeper: keeper.expect("a sound folder"), volume }
}

fn pack(number: u8) -> PackId {
    PackId::new([number; 32])
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Make(u8),
    Upload(u8),
    Index(u8),
    Sweep,
    SweepWithoutRoom,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30u8).prop_map(Step::Make),
        3 => (0..30u8).prop_map(Step::Upload),
        3 => (0..30u8).prop_map(Step::Index),
        2 => Just(Step::Sweep),
        1 => Just(Step::SweepWithoutRoom),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn only_indexed_packs_are_evicted_and_the_bound_holds(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let bound = 5 * PACK_BYTES;
        let mut open = setup(folder.path(), bound);
        let mut model: HashMap<u8, Stage> = HashMap::new();
        for step in steps {
            match step {
                Step::Make(number) if !model.contains_key(&number) => {
                    open.ledger.put_for_test(pack(number), PACK_BYTES, DomainId::new([1; DomainId::LEN]));
                    model.insert(number, Stage::Local);
                }
                Step::Upload(number) if model.get(&number) == Some(&Stage::Local) => {
                    open.ledger.advance(&pack(number), Stage::Uploaded).expect("sound");
                    model.insert(number, Stage::Uploaded);
                }
                Step::Index(number) if model.get(&number) == Some(&Stage::Uploaded) => {
                    open.ledger.advance(&pack(number), Stage::Indexed).expect("sound");
                    model.insert(number, Stage::Indexed);
                }
                Step::Make(_) | Step::Upload(_) | Step::Index(_) => {}
                Step::Sweep => {
                    open.keeper.sweep(0);
                    let here = model.iter().filter(|(number, stage)| {
                        **stage == Stage::Indexed && open.ledger.path(&pack(**number)).exists()
                    });
                    prop_assert!(here.count() as u64 * PACK_BYTES <= bound);
                }
                Step::SweepWithoutRoom => {
                    open.volume.0.store(0, Ordering::Relaxed);
                    open.keeper.sweep(0);
                    open.volume.0.store(PLENTY, Ordering::Relaxed);
                    prop_assert_eq!(open.keeper.bytes(), 0);
                }
                Step::Restart => {
                    drop(open);
                    open = setup(folder.path(), bound);
                }
            }
            for (number, stage) in &model {
                if *stage < Stage::Indexed {
                    prop_assert!(open.ledger.path(&pack(*number)).exists(), "{number} is needed");
                }
                let told = open.ledger.record(&pack(*number)).expect("sound").map(|record| record.stage);
                prop_assert_eq!(told, Some(*stage));
            }
        }
    }
}

#[test]
fn packs_of_names_stay_while_data_goes_through_also_those_of_before_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut open = setup(folder.path(), 5 * PACK_BYTES);
    let put = |open: &Setup, number: u8, kind: ChunkKind| {
        let id = pack(number);
        open.ledger.put_for_test(id, PACK_BYTES, DomainId::new([1; DomainId::LEN]));
        let mut bytes = vec![0; PackHeader::LEN];
        bytes.extend_from_slice(frame_of(kind, number.into()).1.as_bytes());
        bytes.resize(PACK_BYTES as usize, 0);
        std::fs::write(open.ledger.path(&id), bytes).expect("room");
        for stage in [Stage::Uploaded, Stage::Indexed] {
            open.ledger.advance(&id, stage).expect("sound");
        }
        open.keeper.sweep(0);
    };
    put(&open, 0, ChunkKind::Node);
    for number in 1..40 {
        put(&open, number, ChunkKind::Data);
        if number == 20 {
            drop(open);
            open = setup(folder.path(), 5 * PACK_BYTES);
        }
        assert!(open.ledger.path(&pack(0)).exists(), "driven out by {number}");
    }
    assert!(!open.ledger.path(&pack(1)).exists(), "data goes");
    open.volume.0.store(0, Ordering::Relaxed);
    open.keeper.sweep(0);
    assert!(!open.ledger.path(&pack(0)).exists(), "a full disk takes names too");
}

/// A frame of the right shape; nobody opens it here.
fn frame(number: u32) -> (FrameAt, UnverifiedFrame) {
    frame_of(ChunkKind::Data, number)
}

fn frame_of(kind: ChunkKind, number: u32) -> (FrameAt, UnverifiedFrame) {
    let sealed_bytes = 100 + number % 50;
    let mut bytes = vec![1, 0, kind as u8, 0];
    for field in [0, number, 100, sealed_bytes] {
        bytes.extend_from_slice(&u32::to_le_bytes(field));
    }
    bytes.resize(FrameHeader::LEN + sealed_bytes as usize, number as u8);
    let at = FrameAt { pack: pack((number % 7) as u8), offset: number * 1000, bytes: bytes.len() as u32 };
    (at, UnverifiedFrame::new(Bytes::from(bytes)).expect("shaped like a frame"))
}

fn gathered(folder: &Path, volume: &Arc<Told>, bounds: DiskCacheBounds) -> DiskCache {
    DiskCache::open(folder, Arc::default(), volume.clone(), bounds).expect("a sound folder")
}

fn is_here(cache: &DiskCache, number: u32) -> bool {
    is_here_of(cache, ChunkKind::Data, number)
}

fn is_here_of(cache: &DiskCache, kind: ChunkKind, number: u32) -> bool {
    let (at, frame) = frame_of(kind, number);
    cache.get(at).is_some_and(|found| found.as_bytes() == frame.as_bytes())
}

#[test]
fn gathered_frames_are_there_at_once_and_after_a_restart_but_not_once_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = Arc::new(Told(AtomicU64::new(PLENTY)));
    let cache = gathered(folder.path(), &volume, bounds(1 << 20));
    for number in 0..100 {
        let (at, frame) = frame(number);
        cache.offer(at, &frame);
        assert!(is_here(&cache, number), "{number}");
    }
    assert!(cache.forget(frame(13).0));
    drop(cache);
    let cache = gathered(folder.path(), &volume, bounds(1 << 20));
    let here = (0..100).filter(|number| is_here(&cache, *number)).count();
    assert!(here >= 99, "{here}");
    let (at, spoilt) = frame(14);
    assert!(cache.forget(at));
    assert!(!cache.forget(at));
    cache.offer(at, &spoilt);
    assert!(!is_here(&cache, 14), "what did not open is not kept again");
}

#[test]
fn gathered_names_leave_after_all_data_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = Arc::new(Told(AtomicU64::new(PLENTY)));
    let cache = gathered(folder.path(), &volume, bounds(1 << 20));
    for number in 0..100 {
        // The file of names is the older one.
        let kind = if number % 5 == 0 { ChunkKind::Node } else { ChunkKind::Data };
        let (at, frame) = frame_of(kind, number);
        cache.offer(at, &frame);
    }
    drop(cache);
    let policy = Arc::new(Mutex::new(Policy::new(1 << 20)));
    let cache =
        DiskCache::open(folder.path(), policy.clone(), volume, bounds(1 << 20)).expect("a sound folder");
    let is_of_names = |unit| {
        let Unit::Gathered(number) = unit else { panic!("{unit:?} was gathered") };
        cache.remove(number).expect("it can be deleted");
        (0..100).step_by(5).all(|number| !is_here_of(&cache, ChunkKind::Node, number))
    };
    let left: Vec<bool> = std::iter::from_fn(|| policy.lock().victim()).map(is_of_names).collect();
    assert_eq!(left.iter().filter(|of_names| **of_names).count(), 1, "{left:?}");
    assert_eq!((left.len() > 1, left.last()), (true, Some(&true)), "names went before data: {left:?}");
}

#[test]
fn a_full_queue_or_a_full_disk_drops_frames_and_delays_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = Arc::new(Told(AtomicU64::new(0)));
    let cache = gathered(folder.path(), &volume, DiskCacheBounds { queue_bytes: 2000, ..bounds(1 << 20) });
    let begun = Instant::now();
    for number in 0..2000 {
        let (at, frame) = frame(number);
        cache.offer(at, &frame);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    cache.close();
    assert!((0..2000).all(|number| !is_here(&cache, number)));
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
}
