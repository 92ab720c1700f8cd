//! Goal: what is taken in comes back byte for byte, each content is stored once, and a run that fails
//! or is given up leaves nothing that counts.
//! Method: random streams with repetitions against the streams themselves (proptest prints and accepts
//! its seed); folders that vanish, a ledger that refuses, sources that break off.

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::support::{Packs, noise, pack_ids, small_chunks};
use proptest::prelude::*;
use tidegate_chunker::{ChunkId, ChunkKind, Cutter, Location};
use tidegate_replicator::fetch::{ChunkReader, LocalFrames, NoIndex, ReadOptions};
use tidegate_replicator::ingest::{FinishedPack, Ingest, IngestErrorKind, IngestOptions, Known};
use tidegate_replicator::tree::ChunkRef;

/// Reads chunks back from the local packs and joins them.
fn read_back(packs: &Packs, chunks: &[ChunkRef]) -> Vec<u8> {
    let source = Arc::new(LocalFrames::new(packs.folder.path().to_owned()));
    let reader = ChunkReader::new(Arc::clone(&packs.keys), source, Arc::new(NoIndex), ReadOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut data = Vec::new();
        for chunk in chunks {
            data.extend_from_slice(&reader.read(chunk).await.expect("readable"));
        }
        data
    })
}

/// A stream made of a few pieces, each perhaps several times.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0..6_u64, 1..30_000_usize, any::<bool>());
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let one = |(seed, length, text): (u64, usize, bool)| {
            if text {
                format!("line {seed} of a text\n").into_bytes().repeat(length / 18)
            } else {
                noise(seed, length)
            }
        };
        pieces.into_iter().flat_map(one).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn streams_come_back_and_each_content_is_stored_once(
        streams in prop::collection::vec(stream(), 1..5), workers in 1..4_usize,
    ) {
        let packs = Packs::new();
        let mut ingest = packs.start(IngestOptions { workers, ..packs.options() });
        let cut: Vec<_> = streams.iter().map(|data| ingest.cut_data(&data[..]).expect("cut")).collect();
        let report = ingest.finish().expect("finished");

        let finished = packs.known.take();
        let stored: Vec<ChunkId> =
            finished.iter().flat_map(|pack| pack.index.chunks().map(|chunk| chunk.id)).collect();
        let distinct: HashSet<ChunkId> = cut.iter().flatten().map(|chunk| chunk.id).collect();
        prop_assert_eq!(stored.len(), distinct.len());
        prop_assert_eq!(stored.into_iter().collect::<HashSet<_>>(), distinct);

        prop_assert_eq!(report.bytes_in, streams.iter().map(|data| data.len() as u64).sum::<u64>());
        prop_assert_eq!(report.packs, finished.len() as u64);
        prop_assert_eq!(report.stored_bytes, finished.iter().map(|pack| pack.bytes).sum::<u64>());
        prop_assert_eq!(report.unique_bytes, finished.iter().map(|pack| pack.index.plaintext_bytes()).sum::<u64>());
        for (data, chunks) in streams.iter().zip(&cut) {
            prop_assert_eq!(&read_back(&packs, &packs.placed(chunks)), data);
        }
    }
}

#[test]
fn the_number_of_workers_does_not_change_the_chunks() {
    let data = noise(1, 300_000);
    let cut = |workers| {
        let packs = Packs::new();
        let mut ingest = packs.start(IngestOptions { workers, ..packs.options() });
        let chunks = ingest.cut_data(&data[..]).expect("cut");
        chunks.into_iter().map(|chunk| (chunk.id, chunk.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(cut(1), cut(4));
}

#[test]
fn a_second_run_over_the_same_content_stores_nothing() {
    let packs = Packs::new();
    let data = noise(1, 200_000);
    let first = packs.take_in(&data);
    let files = packs.file_names().len();
    let mut again = packs.start(packs.options());
    let chunks = again.cut_data(&data[..]).expect("cut");
    let report = again.finish().expect("finished");
    assert_eq!((report.duplicates, report.unique_bytes, report.packs), (report.chunks, 0, 0));
    assert_eq!(
        chunks.iter().map(|chunk| chunk.at).collect::<Vec<_>>(),
        first.iter().map(|chunk| chunk.at).collect::<Vec<_>>()
    );
    assert_eq!(packs.file_names().len(), files);
}

#[test]
fn small_files_share_frames() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    for seed in 0..100 {
        ingest.cut_data(&noise(seed, 200)[..]).expect("cut");
    }
    let report = ingest.finish().expect("finished");
    assert_eq!((report.chunks, report.frames), (100, 2));
}

#[test]
fn chunks_of_different_kinds_lie_in_frames_of_their_own() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    for seed in 0..30_u64 {
        let bytes = noise(seed, 500);
        let (data, node) = (packs.keys.chunk_id(&bytes), packs.keys.node_id(&bytes));
        ingest.put(ChunkKind::Data, data, &bytes).expect("put");
        ingest.put(ChunkKind::Node, node, &bytes).expect("put");
    }
    ingest.finish().expect("finished");
    let finished = packs.known.take();
    let frames = finished[0].index.frames().iter().map(|frame| (frame.kind, frame.chunks));
    let mut frames: Vec<_> = frames.collect();
    // Several workers write frames nearly, not exactly, in the order of what is in them.
    frames.sort_by_key(|(kind, _)| *kind as u8);
    assert_eq!(frames, [(ChunkKind::Data, 30), (ChunkKind::Node, 30)]);
}

#[test]
fn packs_are_closed_before_they_grow_over_their_target() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    ingest.cut_data(&noise(1, 1 << 20)[..]).expect("cut");
    let report = ingest.finish().expect("finished");
    assert!((9..=12).contains(&report.packs), "{} packs", report.packs);
    for pack in packs.known.take() {
        let frames: u64 = pack.index.frames().iter().map(|frame| u64::from(frame.bytes)).sum();
        assert!(frames <= 128 << 10, "{frames} bytes of frames");
    }
}

#[test]
fn a_volume_is_cut_at_fixed_places() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    let cutter = Cutter::fixed(4096).expect("valid");
    let data = [noise(1, 4096), vec![0; 3 * 4096], noise(1, 4096), noise(2, 100)].concat();
    let mut chunks = Vec::new();
    let each = |chunk| {
        chunks.push(chunk);
        ControlFlow::Continue(())
    };
    ingest.cut_each(&cutter, &data[..], each).expect("cut");
    let report = ingest.finish().expect("finished");
    assert_eq!(
        chunks.iter().map(|chunk| chunk.bytes).collect::<Vec<_>>(),
        [4096, 4096, 4096, 4096, 4096, 100]
    );
    assert_eq!(report.duplicates, 3);
    assert_eq!(read_back(&packs, &packs.placed(&chunks)), data);
}

#[test]
fn the_caller_can_stop_a_stream_when_cuts_have_found_themselves_again() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    let (data, cutter) = (noise(1, 100_000), ingest.cutter());
    let mut seen = 0;
    let each = |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    ingest.cut_each(&cutter, &data[..], each).expect("cut");
    assert_eq!((seen, ingest.report().chunks), (3, 3));
    assert!(ingest.cut_data(&data[..]).expect("cut").len() > 20);
}

#[test]
fn places_are_known_after_settling_and_durable_after_their_pack() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    let chunks = ingest.cut_data(&noise(1, 20_000)[..]).expect("cut");
    let mark = ingest.mark();
    assert!(chunks.iter().all(|chunk| chunk.at.is_none()));
    ingest.settle().expect("settled");
    let places: Vec<_> = chunks.iter().map(|chunk| ingest.location(&chunk.id)).collect();
    assert!(places.iter().all(Option::is_some));
    assert!(ingest.durable() < mark);
    ingest.close_pack().expect("closed");
    while ingest.durable() < mark {
        std::thread::yield_now();
    }
    assert!(chunks.iter().zip(places).all(|(chunk, place)| packs.known.find(&chunk.id) == place));
}

#[test]
fn an_open_frame_of_another_kind_holds_the_mark_back() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    let value = b"a long value";
    ingest.put(ChunkKind::Value, packs.keys.chunk_id(value), value).expect("put");
    let mark = ingest.mark();
    ingest.cut_data(&noise(1, 1 << 20)[..]).expect("cut");
    assert!(ingest.durable() < mark);
    ingest.close_pack().expect("closed");
    while ingest.durable() < mark {
        std::thread::yield_now();
    }
}

#[test]
fn a_run_that_is_given_up_leaves_no_file() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    ingest.cut_data(&noise(1, 50_000)[..]).expect("cut");
    ingest.settle().expect("settled");
    drop(ingest);
    assert_eq!(packs.file_names(), Vec::<String>::new());
}

#[test]
fn a_source_that_breaks_off_fails_its_call_and_not_the_run() {
    struct Breaks(usize);
    impl Read for Breaks {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("gone"))?;
            out.fill(self.0 as u8);
            Ok(out.len())
        }
    }
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    assert_eq!(ingest.cut_data(Breaks(3)).expect_err("breaks off").kind(), IngestErrorKind::Source);
    let data = noise(1, 100_000);
    let chunks = ingest.cut_data(&data[..]).expect("cut");
    ingest.finish().expect("finished");
    assert_eq!(read_back(&packs, &packs.placed(&chunks)), data);
}

#[test]
fn a_folder_that_is_gone_ends_the_run_with_an_error() {
    let packs = Packs::new();
    let options = IngestOptions { folder: packs.folder.path().join("gone"), ..packs.options() };
    let mut ingest = packs.start(options);
    let error = ingest.cut_data(&noise(1, 1 << 20)[..]).expect_err("no folder");
    assert_eq!(error.kind(), IngestErrorKind::Local);
    assert!(ingest.finish().is_err());
}

/// Refuses the second pack.
struct Refusing(parking_lot::Mutex<u32>);

impl Known for Refusing {
    fn find(&self, _id: &ChunkId) -> Option<Location> {
        None
    }

    fn learn(&self, _pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        *self.0.lock() += 1;
        if *self.0.lock() == 2 { Err("no room in the ledger".into()) } else { Ok(()) }
    }
}

#[test]
fn a_pack_that_is_not_learned_ends_the_run_and_is_said_every_time() {
    let packs = Packs::new();
    let known = Arc::new(Refusing(parking_lot::Mutex::new(0)));
    let mut ingest =
        Ingest::start(Arc::clone(&packs.keys), small_chunks(), known, pack_ids(1), packs.options())
            .expect("started");
    let error = (0..100).find_map(|seed| ingest.cut_data(&noise(seed, 1 << 20)[..]).err()).expect("refused");
    assert_eq!(error.to_string(), "failed to take note of a local pack");
    assert_eq!(ingest.settle().expect_err("again").to_string(), error.to_string());
    assert_eq!(ingest.finish().expect_err("again").kind(), IngestErrorKind::Local);
}

#[test]
fn an_empty_chunk_is_refused() {
    let packs = Packs::new();
    let mut ingest = packs.start(packs.options());
    let error = ingest.put(ChunkKind::Data, packs.keys.chunk_id(b""), b"").expect_err("empty");
    assert_eq!(error.kind(), IngestErrorKind::Misuse);
    assert_eq!(ingest.cut_data(io::empty()).expect("nothing to cut"), []);
    assert_eq!(ingest.finish().expect("finished").packs, 0);
}
