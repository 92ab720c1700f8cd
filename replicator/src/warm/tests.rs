//! Ranges become the frames that they hold, within the room that there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use proptest::prelude::*;
use tidegate_chunker::{ChunkKind, Encoding, FrameHeader, PackHeader, PackId, SealEpoch, UnverifiedFrame};

use super::{Keep, PackRange, WarmOptions, WarmReport, warm};
use crate::fetch::FrameAt;
use crate::observer::{Observer, Silent};
use crate::repository::pack_name;
use crate::store::{Body, Classes, MemoryStore, PutMode, SpecialStore, Store};

/// A cache that keeps everything there is room for.
#[derive(Default)]
struct Kept {
    frames: Mutex<BTreeMap<FrameAt, Bytes>>,
    room: AtomicU64,
}

impl Kept {
    fn with_room(room: u64) -> Self {
        Self { room: AtomicU64::new(room), ..Self::default() }
    }
}

#[async_trait]
impl Keep for Kept {
    fn lacks(&self, wanted: &PackRange) -> bool {
        let frames = self.frames.lock();
        let here = frames.keys().filter(|at| {
            at.pack == wanted.pack
                && at.range().start >= wanted.range.start
                && at.range().end <= wanted.range.end
        });
        here.map(|at| u64::from(at.bytes)).sum::<u64>() < wanted.bytes()
    }

    fn has(&self, frame: &FrameAt) -> bool {
        self.frames.lock().contains_key(frame)
    }

    fn room_bytes(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    async fn keep(&self, at: FrameAt, frame: &UnverifiedFrame) -> bool {
        self.room.fetch_sub(u64::from(at.bytes), Ordering::Relaxed);
        self.frames.lock().insert(at, frame.as_bytes().clone());
        true
    }
}

fn pack(number: u8) -> PackId {
    PackId::new([number; 32])
}

/// A pack of frames of these lengths, shaped like frames and otherwise nothing; its bytes, and where the frames are.
fn packed(id: PackId, lengths: &[u32]) -> (Bytes, Vec<FrameAt>) {
    let mut bytes = PackHeader { pack: id, epoch: SealEpoch(1) }.to_bytes().to_vec();
    let mut frames = Vec::new();
    for (sequence, sealed) in lengths.iter().enumerate() {
        let header = FrameHeader {
            encoding: Encoding::Zstd,
            kind: ChunkKind::Data,
            epoch: SealEpoch(1),
            sequence: sequence as u32,
            plaintext_bytes: *sealed,
            sealed_bytes: *sealed,
            pack: id,
        };
        frames.push(FrameAt { pack: id, offset: bytes.len() as u32, bytes: header.frame_bytes() });
        bytes.extend_from_slice(&header.to_bytes());
        bytes.resize(bytes.len() + *sealed as usize, sequence as u8);
    }
    (bytes.into(), frames)
}

async fn stored(packs: &[(PackId, Bytes)]) -> MemoryStore {
    let store = MemoryStore::new();
    for (id, bytes) in packs {
        store.put(&pack_name(*id), Body::Bytes(bytes.clone()), PutMode::Overwrite).await.expect("stored");
    }
    store
}

fn range(frames: &[FrameAt]) -> PackRange {
    let (first, last) = (frames[0], frames[frames.len() - 1]);
    PackRange { pack: first.pack, range: first.range().start..last.range().end }
}

async fn run(
    store: &MemoryStore,
    ranges: Vec<PackRange>,
    keep: &Kept,
    observer: &dyn Observer,
) -> WarmReport {
    warm(store, stream::iter(ranges), keep, WarmOptions::default(), observer)
        .await
        .expect("the store answers")
}

#[tokio::test]
async fn what_is_gone_or_damaged_is_passed_over() {
    let (good, frames) = packed(pack(1), &[100, 200, 300]);
    let (mut bad, bad_frames) = packed(pack(2), &[100, 200, 300]);
    let mut spoilt = bad.to_vec();
    spoilt[bad_frames[1].offset as usize] = 9;
    bad = spoilt.into();
    let store = stored(&[(pack(1), good), (pack(2), bad)]).await;
    let keep = Kept::with_room(1 << 20);
    let absent = PackRange { pack: pack(3), range: 48..1000 };
    let ranges = vec![absent, range(&bad_frames), range(&frames)];
    let report = run(&store, ranges, &keep, &Silent).await;
    assert_eq!((report.gone, report.frames, report.requests), (2, 4, 3), "{report:?}");
    assert!(frames.iter().all(|frame| keep.has(frame)));
    let again = run(&store, vec![range(&frames)], &keep, &Silent).await;
    assert_eq!((again.here, again.requests), (1, 0));
}

#[tokio::test]
async fn it_ends_with_the_room_and_when_it_is_told_to() {
    struct Stopped;
    impl Observer for Stopped {
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let (bytes, frames) = packed(pack(1), &[1000; 50]);
    let store = stored(&[(pack(1), bytes)]).await;
    let keep = Arc::new(Kept::with_room(10_000));
    let ranges: Vec<_> = frames.iter().map(|frame| range(&[*frame])).collect();
    let report = run(&store, ranges.clone(), &keep, &Silent).await;
    assert!(report.is_full && report.frames <= 10 + WarmOptions::default().requests_max as u64, "{report:?}");
    let report = run(&store, ranges, &Kept::with_room(1 << 20), &Stopped).await;
    assert!(report.is_cancelled && report.requests == 0);
}

#[tokio::test]
async fn a_pack_that_sleeps_is_asked_for_once_and_all_its_ranges_are_counted() {
    let (bytes, frames) = packed(pack(1), &[1000; 20]);
    let glacier: crate::store::StorageClass = "GLACIER".parse().expect("a class");
    let hours = std::time::Duration::from_hours(5);
    let store =
        stored(&[(pack(1), bytes)]).await.freezing(std::slice::from_ref(&glacier), Classes::default(), hours);
    store.change_class(&pack_name(pack(1)), &glacier).await.expect("changed");
    let ranges: Vec<_> = frames.iter().map(|frame| range(&[*frame])).collect();
    let keep = Kept::with_room(1 << 20);
    let options = WarmOptions { requests_max: 1 };
    let report = warm(&store, stream::iter(ranges), &keep, options, &Silent).await.expect("it answers");
    assert_eq!((report.asleep, report.requests, report.frames), (20, 1, 0), "{report:?}");
}

proptest! {
    #[test]
    fn exactly_the_frames_of_the_ranges_are_kept_as_they_are(
        lengths in prop::collection::vec(prop::collection::vec(17..3000_u32, 1..30), 1..5),
        cuts in prop::collection::vec((0..30_usize, 0..30_usize, 0..5_usize), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let packs: Vec<_> =
                lengths.iter().enumerate().map(|(at, lengths)| packed(pack(at as u8), lengths)).collect();
            let named: Vec<_> =
                packs.iter().enumerate().map(|(at, (bytes, _))| (pack(at as u8), bytes.clone())).collect();
            let store = stored(&named).await;
            let keep = Kept::with_room(1 << 30);
            let (mut ranges, mut wanted) = (Vec::new(), BTreeMap::new());
            for (one, other, at) in cuts {
                let (bytes, frames) = &packs[at % packs.len()];
                let (one, other) = (one % frames.len(), other % frames.len());
                let chosen = &frames[one.min(other)..=one.max(other)];
                ranges.push(range(chosen));
                for frame in chosen {
                    let range = frame.range();
                    wanted.insert(*frame, bytes.slice(range.start as usize..range.end as usize));
                }
            }
            let report = run(&store, ranges, &keep, &Silent).await;
            prop_assert_eq!(report.gone, 0);
            prop_assert_eq!(&*keep.frames.lock(), &wanted);
            Ok(())
        })?;
    }
}
