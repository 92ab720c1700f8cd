//! Goal: a read gives the right bytes or a named error, whatever store and disk do; and it costs no
//! more requests than it must.
//! Method: packs made by an ingest, put into a memory store and a folder, then damaged, deleted, made
//! to hang; requests are counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::support::{MapIndex, Moody, Packs, noise, put_packs};
use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackId};
use tidegate_replicator::fetch::{
    ChunkReader, FetchError, FetchErrorKind, FrameSource, Layered, LocalFrames, Locate, Origin, ReadOptions,
    StoreFrames, StoreFramesOptions,
};
use tidegate_replicator::ingest::FinishedPack;
use tidegate_replicator::repository::pack_name;
use tidegate_replicator::store::Store;
use tidegate_replicator::tree::ChunkRef;

/// A share's worth of data in packs on a store, and a reader of it.
struct Scene {
    packs: Packs,
    store: Moody,
    frames: Arc<StoreFrames>,
    index: Arc<MapIndex>,
    data: Vec<u8>,
    chunks: Vec<ChunkRef>,
    finished: Vec<FinishedPack>,
}

impl Scene {
    async fn new() -> Self {
        let packs = Packs::new();
        let data = noise(7, 300_000);
        let chunks = packs.take_in(&data);
        let (store, finished) = (Moody::default(), packs.known.take());
        put_packs(&store.inner, &finished).await;
        let frames = Arc::new(StoreFrames::new(Arc::new(store.clone()), StoreFramesOptions::default()));
        Self { packs, store, frames, index: Arc::default(), data, chunks, finished }
    }

    fn reader(&self) -> Arc<ChunkReader> {
        self.reader_over(Arc::clone(&self.frames) as Arc<dyn FrameSource>)
    }

    fn reader_over(&self, source: Arc<dyn FrameSource>) -> Arc<ChunkReader> {
        let options = ReadOptions { wait_max: Duration::from_millis(500), ..ReadOptions::default() };
        let keys = Arc::clone(&self.packs.keys);
        Arc::new(ChunkReader::new(keys, source, Arc::clone(&self.index) as _, options))
    }

    /// Another copy of everything, in packs of another run, known to the index only.
    async fn copy_known_to_the_index(&self) {
        let other = Packs::new();
        let _first_run = other.take_in(b"uses up the pack ids of the first run");
        other.known.take();
        let copies = other.take_in(&self.data);
        put_packs(&self.store.inner, &other.known.take()).await;
        let places = copies.into_iter().filter_map(|chunk| Some((chunk.id, chunk.at?)));
        self.index.places.lock().extend(places);
    }

    async fn spoil(&self, damage: Damage) {
        for pack in &self.finished {
            let name = pack_name(pack.pack);
            let bytes = self.store.inner.get(&name, None).await.expect("stored");
            match damage {
                Damage::Delete => self.store.inner.delete(&name).await.expect("deleted"),
                Damage::Truncate => self.store.inner.damage(&name, bytes.slice(..60)),
                Damage::Flip => {
                    let flipped: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x10).collect();
                    self.store.inner.damage(&name, flipped.into());
                }
            }
        }
    }

    fn spoil_local_files(&self, damage: Damage) {
        for pack in &self.finished {
            let mut bytes = std::fs::read(&pack.path).expect("readable");
            match damage {
                Damage::Delete => std::fs::remove_file(&pack.path).expect("removed"),
                Damage::Truncate => std::fs::write(&pack.path, &bytes[..60]).expect("written"),
                Damage::Flip => {
                    bytes = bytes.into_iter().map(|byte| byte ^ 0x10).collect();
                    std::fs::write(&pack.path, bytes).expect("written");
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Delete,
    Truncate,
    Flip,
}

const DAMAGES: [Damage; 3] = [Damage::Delete, Damage::Truncate, Damage::Flip];

async fn read_all(reader: &ChunkReader, chunks: &[ChunkRef]) -> Vec<u8> {
    let mut data = Vec::new();
    for chunk in chunks {
        data.extend_from_slice(&reader.read(chunk).await.expect("readable"));
    }
    data
}

#[tokio::test]
async fn a_frame_is_fetched_once_for_all_its_chunks() {
    let scene = Scene::new().await;
    let reader = scene.reader();
    assert_eq!(read_all(&reader, &scene.chunks).await, scene.data);
    let frames: usize = scene.finished.iter().map(|pack| pack.index.frames().len()).sum();
    assert_eq!(scene.frames.counts().requests, frames as u64);
    assert_eq!(read_all(&reader, &scene.chunks).await, scene.data);
    assert_eq!(scene.frames.counts().requests, frames as u64);
}

/// An index that names places one after the other, as long as they have not turned out bad.
struct Places(Vec<Location>, Mutex<Vec<Location>>);

#[async_trait]
impl Locate for Places {
    async fn locate(&self, _: &ChunkId) -> Result<Option<Location>, FetchError> {
        Ok(self.0.iter().find(|at| !self.1.lock().contains(at)).copied())
    }

    fn found_bad(&self, _: &ChunkId, at: &Location) {
        self.1.lock().push(*at);
    }
}

#[tokio::test]
async fn a_chunk_is_found_behind_any_number_of_places_that_it_has_left() {
    let scene = Scene::new().await;
    let chunk = scene.chunks[0];
    let good = chunk.at.expect("placed");
    let gone = |number: u8| Location { pack: PackId::new([number; 32]), ..good };
    let places = Places((1..40).map(gone).chain([good]).collect(), Mutex::default());
    let keys = Arc::clone(&scene.packs.keys);
    let source = Arc::clone(&scene.frames) as Arc<dyn FrameSource>;
    let reader = ChunkReader::new(keys, source, Arc::new(places), ReadOptions::default());
    let moved = ChunkRef { at: Some(gone(0)), ..chunk };
    let (read, at) = reader.read_placed(&moved).await.expect("it is there");
    assert!(scene.data.starts_with(&read));
    assert_eq!(at, good);
    let lost = ChunkRef { id: scene.chunks[1].id, at: None };
    let error = reader.read(&lost).await.expect_err("it lies elsewhere");
    assert_eq!(error.kind(), FetchErrorKind::Damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_of_one_chunk_cause_one_request() {
    let scene = Scene::new().await;
    let reader = scene.reader();
    scene.store.delay_ms.store(20, SeqCst);
    let reads = (0..50).map(|_| {
        let (reader, chunk) = (Arc::clone(&reader), scene.chunks[0]);
        tokio::spawn(async move { reader.read(&chunk).await.expect("readable").into_bytes() })
    });
    let read = join_all(reads).await;
    assert_eq!(scene.frames.counts().requests, 1);
    assert_eq!(reader.counts().fetches, 1);
    let first = read[0].as_ref().expect("no panic");
    assert!(scene.data.starts_with(first));
    assert!(read.iter().all(|bytes| bytes.as_ref().expect("no panic") == first));
}

#[tokio::test]
async fn neighbouring_frames_come_in_one_request_a_pack() {
    let scene = Scene::new().await;
    let reader = scene.reader();
    reader.prefetch(&scene.chunks).await;
    let after_prefetch = scene.frames.counts().requests;
    assert_eq!(after_prefetch, scene.finished.len() as u64);
    assert_eq!(read_all(&reader, &scene.chunks).await, scene.data);
    assert_eq!(scene.frames.counts().requests, after_prefetch);
}

#[tokio::test]
async fn frames_far_apart_come_in_requests_of_their_own() {
    let scene = Scene::new().await;
    let options = StoreFramesOptions { gap_bytes_max: 0, ..StoreFramesOptions::default() };
    let frames = Arc::new(StoreFrames::new(Arc::new(scene.store.clone()), options));
    let reader = scene.reader_over(Arc::clone(&frames) as _);
    let first_pack = scene.finished[0].index.frames();
    let apart: Vec<ChunkRef> = scene
        .chunks
        .iter()
        .filter(|chunk| {
            let at = chunk.at.expect("placed");
            at.pack == scene.finished[0].pack
                && [first_pack[0].offset, first_pack[2].offset, first_pack[4].offset]
                    .contains(&at.frame_offset)
        })
        .copied()
        .collect();
    reader.prefetch(&apart).await;
    assert_eq!(frames.counts().requests, 3);
}

#[tokio::test]
async fn damage_is_healed_by_another_copy_that_the_index_knows() {
    for damage in DAMAGES {
        let scene = Scene::new().await;
        scene.copy_known_to_the_index().await;
        scene.spoil(damage).await;
        assert_eq!(read_all(&scene.reader(), &scene.chunks).await, scene.data, "{damage:?}");
        assert!(!scene.index.bad.lock().is_empty(), "{damage:?} was not reported");
    }
}

#[tokio::test]
async fn damage_without_another_copy_is_a_named_error() {
    for damage in DAMAGES {
        let scene = Scene::new().await;
        scene.spoil(damage).await;
        let reader = scene.reader();
        for chunk in &scene.chunks {
            let error = reader.read(chunk).await.expect_err("no copy");
            let expected = match damage {
                Damage::Delete => FetchErrorKind::Missing,
                Damage::Truncate | Damage::Flip => FetchErrorKind::Damaged,
            };
            assert_eq!((error.kind(), error.chunk()), (expected, Some(&chunk.id)), "{damage:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_damaged_local_pack_is_healed_from_the_store() {
    for damage in DAMAGES {
        let scene = Scene::new().await;
        scene.spoil_local_files(damage);
        let local = Arc::new(LocalFrames::new(scene.packs.folder.path().to_owned()));
        let reader = scene.reader_over(Arc::new(Layered::new(local, Arc::clone(&scene.frames) as _)));
        assert_eq!(read_all(&reader, &scene.chunks).await, scene.data, "{damage:?}");
        assert!(scene.index.bad.lock().is_empty(), "the frame is not bad, a copy of it is");
    }
}

#[tokio::test]
async fn a_spoilt_header_of_a_local_frame_is_healed_whatever_it_claims() {
    // Of another epoch, of a later format, of another pack: see the header in `docs/format.md`.
    const HEADER_BYTES: u32 = 52;
    let scene = Scene::new().await;
    for place in 0..HEADER_BYTES {
        for pack in &scene.finished {
            let whole = std::fs::read(&pack.path).expect("readable");
            let mut spoilt = whole.clone();
            let frames = scene.chunks.iter().filter_map(|chunk| chunk.at).filter(|at| at.pack == pack.pack);
            let frames: HashSet<u32> = frames.map(|at| at.frame_offset).collect();
            for offset in &frames {
                spoilt[(offset + place) as usize] ^= 1;
            }
            std::fs::write(&pack.path, spoilt).expect("written");
            let local = Arc::new(LocalFrames::new(scene.packs.folder.path().to_owned()));
            let reader = scene.reader_over(Arc::new(Layered::new(local, Arc::clone(&scene.frames) as _)));
            let before = scene.frames.counts().requests;
            assert_eq!(read_all(&reader, &scene.chunks).await, scene.data, "byte {place}");
            assert!(scene.frames.counts().requests > before, "byte {place}: the copy here was taken");
            std::fs::write(&pack.path, whole).expect("written");
        }
    }
    assert!(scene.index.bad.lock().is_empty(), "the frame is not bad, a copy of it is");
}

#[tokio::test]
async fn local_packs_are_read_without_the_store() {
    let scene = Scene::new().await;
    scene.store.away.store(true, SeqCst);
    let local = Arc::new(LocalFrames::new(scene.packs.folder.path().to_owned()));
    let reader = scene.reader_over(Arc::new(Layered::new(local, Arc::clone(&scene.frames) as _)));
    reader.prefetch(&scene.chunks).await;
    assert_eq!(read_all(&reader, &scene.chunks).await, scene.data);
    assert_eq!(scene.frames.counts().requests, 0);
}

#[tokio::test]
async fn a_read_tells_where_it_waited_and_nothing_when_it_did_not() {
    let scene = Scene::new().await;
    let local = Arc::new(LocalFrames::new(scene.packs.folder.path().to_owned()));
    let places: [(Arc<dyn FrameSource>, Origin); 2] =
        [(Arc::clone(&scene.frames) as _, Origin::Store), (local, Origin::Here)];
    for (source, expected) in places {
        let told: Arc<Mutex<Vec<Origin>>> = Arc::default();
        let (keys, index) = (Arc::clone(&scene.packs.keys), Arc::clone(&scene.index) as _);
        let listener = Arc::clone(&told);
        let reader = ChunkReader::new(keys, source, index, ReadOptions::default())
            .telling(move |origin, _| listener.lock().push(origin));
        reader.read(&scene.chunks[0]).await.expect("readable");
        assert_eq!(*told.lock(), [expected]);
        reader.read(&scene.chunks[0]).await.expect("readable");
        assert_eq!(told.lock().len(), 1, "it was in memory");
        reader.prefetch(&scene.chunks).await;
        assert!(told.lock()[1..].iter().all(|origin| *origin == expected));
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_never_taken_for_one_without_the_chunk() {
    let scene = Scene::new().await;
    scene.store.away.store(true, SeqCst);
    let nothing_local = tempfile::tempdir().expect("a temporary folder");
    let local = Arc::new(LocalFrames::new(nothing_local.path().to_owned()));
    let reader = scene.reader_over(Arc::new(Layered::new(local, Arc::clone(&scene.frames) as _)));
    let error = reader.read(&scene.chunks[0]).await.expect_err("away");
    assert_eq!(error.kind(), FetchErrorKind::Unreachable);
    assert!(scene.index.bad.lock().is_empty());
    scene.store.away.store(false, SeqCst);
    assert_eq!(read_all(&reader, &scene.chunks).await, scene.data);
}

#[tokio::test]
async fn a_hanging_store_costs_a_reader_its_time_and_the_answer_is_kept_for_the_next() {
    let scene = Scene::new().await;
    let reader = scene.reader();
    scene.store.hangs.store(true, SeqCst);
    let error = reader.read(&scene.chunks[0]).await.expect_err("hangs");
    assert_eq!(error.kind(), FetchErrorKind::Unreachable);
    // The first request is still on its way: another reader waits for it and sends none.
    assert!(reader.read(&scene.chunks[0]).await.is_err());
    assert_eq!(scene.frames.counts().requests, 1);
}

#[tokio::test]
async fn a_reader_who_goes_away_leaves_the_fetch_to_others() {
    let scene = Scene::new().await;
    let reader = scene.reader();
    scene.store.delay_ms.store(20, SeqCst);
    let cancelled = tokio::time::timeout(Duration::from_millis(1), reader.read(&scene.chunks[0])).await;
    assert!(cancelled.is_err());
    reader.read(&scene.chunks[0]).await.expect("readable");
    assert_eq!(scene.frames.counts().requests, 1);
}

#[tokio::test]
async fn hints_that_are_stale_absent_or_wrong_are_made_good_by_the_index() {
    let scene = Scene::new().await;
    scene.copy_known_to_the_index().await;
    let reader = scene.reader();
    let absent = ChunkRef { at: None, ..scene.chunks[0] };
    let mut stale = scene.chunks[1];
    stale.at.as_mut().expect("placed").pack = PackId::new([9; 32]);
    let wrong = ChunkRef { at: scene.chunks[3].at, ..scene.chunks[2] };
    let mut outside = scene.chunks[3];
    outside.at.as_mut().expect("placed").chunk_offset = u32::MAX;
    let read = read_all(&reader, &[absent, stale, wrong, outside]).await;
    assert!(scene.data.starts_with(&read) && !read.is_empty());
}

#[tokio::test]
async fn a_damaged_neighbour_in_one_request_costs_nobody_else() {
    let scene = Scene::new().await;
    let (pack, last) = {
        let pack = &scene.finished[0];
        (pack, *pack.index.frames().last().expect("frames"))
    };
    let name = pack_name(pack.pack);
    let bytes = scene.store.inner.get(&name, None).await.expect("stored");
    scene.store.inner.damage(&name, bytes.slice(..=last.offset as usize));
    let reader = scene.reader();
    let here: Vec<ChunkRef> =
        scene.chunks.iter().filter(|chunk| chunk.at.expect("placed").pack == pack.pack).copied().collect();
    reader.prefetch(&here).await;
    for chunk in here {
        let lost = chunk.at.expect("placed").frame_offset == last.offset;
        assert_eq!(reader.read(&chunk).await.is_err(), lost);
    }
}

#[tokio::test]
async fn memory_for_opened_frames_is_bounded() {
    let scene = Scene::new().await;
    let options = ReadOptions { cache_bytes_max: 40_000, ..ReadOptions::default() };
    let source = Arc::clone(&scene.frames) as Arc<dyn FrameSource>;
    let keys = Arc::clone(&scene.packs.keys);
    let reader = ChunkReader::new(keys, source, Arc::clone(&scene.index) as _, options);
    for _ in 0..2 {
        for chunk in &scene.chunks {
            reader.read(chunk).await.expect("readable");
            assert!(reader.cached_bytes() <= 40_000);
        }
    }
}
