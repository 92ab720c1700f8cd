//! Claims about packs: what goes in comes out, whichever way it was sealed, and damage shows.

use std::io;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::testing::{keys, keys_of, noise};
use crate::{Decompressor, ErrorKind, OpenFrame, PackTail};

const PACK: PackId = PackId::new([0xa1; 32]);

fn small_frames() -> PackOptions {
    PackOptions { frame_target: FrameTarget::new(4096).expect("in range"), ..PackOptions::default() }
}

fn create(options: PackOptions) -> PackWriter<Vec<u8>> {
    PackWriter::create(Vec::new(), &keys(), PACK, options).expect("memory")
}

fn index(keys: &DomainKeys, pack: PackId, tail: &[u8]) -> Result<PackIndex> {
    match PackIndex::from_tail(keys, pack, tail)? {
        PackTail::Index(index) => Ok(index),
        PackTail::NeedsBytes(bytes) => panic!("{} given, {bytes} wanted", tail.len()),
    }
}

fn frame(object: &[u8], placed: &PlacedChunk, origin: Option<PackId>) -> Result<OpenFrame> {
    let start = placed.location.frame_offset as usize;
    let bytes = &object[start..start + placed.location.frame_bytes as usize];
    UnverifiedFrame::new(Bytes::copy_from_slice(bytes))?.open(&keys(), origin, &mut Decompressor::new())
}

/// All chunks of a pack, read through its index.
fn read_all(object: &[u8]) -> Vec<(ChunkKind, Vec<u8>)> {
    index(&keys(), PACK, object)
        .expect("ours")
        .chunks()
        .map(|placed| {
            let open = frame(object, &placed, None).expect("ours");
            assert_eq!(open.kind(), placed.kind);
            (placed.kind, open.chunk(&keys(), &placed.location, placed.id).expect("verified").to_vec())
        })
        .collect()
}

fn small_pack() -> Vec<u8> {
    let mut writer = create(PackOptions::default());
    for chunk in [&b"one"[..], b"two"] {
        writer.push(ChunkKind::Data, keys().chunk_id(chunk), chunk).expect("fits");
    }
    writer.finish().expect("memory").0
}

proptest! {
    #[test]
    fn a_pack_gives_back_what_it_took(
        chunks in prop::collection::vec((0..3usize, 1..9000usize, any::<u64>(), any::<bool>()), 0..30),
    ) {
        let keys = keys();
        let mut writer = create(small_frames());
        let mut given = Vec::new();
        let mut placed = Vec::new();
        for (kind, length, seed, flush) in chunks {
            let (kind, data) = (ChunkKind::ALL[kind], noise(seed, length));
            writer.push(kind, keys.chunk_id(&data), &data).expect("fits");
            given.push((kind, data));
            if flush {
                writer.flush().expect("memory");
                placed.extend(writer.take_placed());
                prop_assert_eq!(placed.len(), given.len());
                prop_assert_eq!(writer.open_bytes(), 0);
            }
        }
        let (object, summary) = writer.finish().expect("memory");
        prop_assert_eq!(summary.bytes, object.len() as u64);
        prop_assert_eq!(&index(&keys, PACK, &object).expect("ours"), &summary.index);
        let told = placed.len();
        prop_assert_eq!(placed, summary.index.chunks().take(told).collect::<Vec<_>>());
        let mut read = read_all(&object);
        read.sort();
        given.sort();
        prop_assert_eq!(read, given);
    }
}

#[test]
fn frames_sealed_by_workers_are_appended_in_any_order() {
    let keys = keys();
    let mut writer = create(small_frames());
    let slots: Vec<_> = (0..8).map(|_| writer.next_slot().expect("few")).collect();
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = slots
            .into_iter()
            .enumerate()
            .map(|(worker, slot)| {
                let keys = &keys;
                scope.spawn(move || {
                    let data = noise(worker as u64, 1000);
                    let mut group = ChunkGroup::new(ChunkKind::Data);
                    group.push(keys.chunk_id(&data), &data).expect("small");
                    slot.seal(&group, &mut Compressor::new(CompressionLevel::default())).expect("not empty")
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    // The fourth is given up: it leaves no hole.
    for frame in sealed.iter().rev().enumerate().filter(|&(at, _)| at != 3).map(|(_, frame)| frame) {
        writer.append(frame).expect("memory");
    }
    let (object, _) = writer.finish().expect("memory");
    let mut read = read_all(&object);
    read.sort();
    let mut expected: Vec<_> =
        (0..8).filter(|&worker| worker != 4).map(|worker| (ChunkKind::Data, noise(worker, 1000))).collect();
    expected.sort();
    assert_eq!(read, expected);
}

#[test]
fn no_two_frames_of_a_pack_have_the_same_nonce() {
    let mut writer = create(small_frames());
    let data = noise(1, 3000);
    for _ in 0..5 {
        drop(writer.next_slot().expect("few"));
        writer.push(ChunkKind::Data, keys().chunk_id(&data), &data).expect("fits");
    }
    let (object, summary) = writer.finish().expect("memory");
    let sequences: std::collections::HashSet<_> = summary
        .index
        .chunks()
        .map(|placed| frame(&object, &placed, Some(PACK)).expect("ours").header().sequence)
        .collect();
    assert_eq!(sequences.len(), summary.index.frames().len());
}

#[test]
fn a_frame_copied_into_another_pack_opens_under_its_origin() {
    let object = small_pack();
    let old = index(&keys(), PACK, &object).expect("ours");
    let rows: Vec<_> = old.chunks().map(|placed| (placed.id, placed.location.chunk_bytes)).collect();
    let (start, end) = (PackHeader::LEN, PackHeader::LEN + old.frames()[0].bytes as usize);
    let copied = UnverifiedFrame::new(Bytes::copy_from_slice(&object[start..end])).expect("whole");

    let pack = PackId::new([0xb2; 32]);
    let mut writer = PackWriter::create(Vec::new(), &keys(), pack, PackOptions::default()).expect("memory");
    assert_eq!(writer.copy_frame(&copied, &rows[..1]).expect_err("short").kind(), ErrorKind::Misuse);
    writer.copy_frame(&copied, &rows).expect("memory");
    let (object, summary) = writer.finish().expect("memory");
    let placed = summary.index.chunks().nth(1).expect("two");
    assert_eq!(frame(&object, &placed, Some(pack)).expect_err("origin").kind(), ErrorKind::Damaged);
    let open = frame(&object, &placed, None).expect("ours");
    assert_eq!(&open.chunk(&keys(), &placed.location, placed.id).expect("verified")[..], b"two");
}

#[test]
fn every_flipped_bit_of_a_pack_is_detected_by_who_reads_all_of_it() {
    let object = small_pack();
    let whole = |bytes: &[u8]| -> Result<()> {
        let header = PackHeader::from_prefix(bytes)?;
        let index = index(&keys(), PACK, bytes)?;
        assert_eq!(header.pack, PACK);
        for placed in index.chunks() {
            frame(bytes, &placed, Some(PACK))?.chunk(&keys(), &placed.location, placed.id)?;
        }
        Ok(())
    };
    whole(&object).expect("undamaged");
    for bit in 0..8 * object.len() {
        let mut flipped = object.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(whole(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_pack_under_another_name_repository_or_domain_is_refused() {
    let object = small_pack();
    let error = index(&keys(), PackId::new([0xb2; 32]), &object).expect_err("renamed");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    for stranger in [keys_of(9, 2, 3), keys_of(1, 9, 3)] {
        assert_eq!(index(&stranger, PACK, &object).expect_err("moved").kind(), ErrorKind::NotAuthentic);
    }
}

#[test]
fn a_pack_that_was_cut_short_was_never_finished() {
    let object = small_pack();
    for length in 0..object.len() {
        assert!(index(&keys(), PACK, &object[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_tail_without_the_whole_index_says_how_much_to_fetch() {
    let object = small_pack();
    let footer = PackFooter::from_tail(PACK, &object).expect("ours");
    assert_eq!(footer.pack_bytes(), object.len() as u64);
    let range = footer.index_range();
    let sealed = &object[range.start as usize..range.end as usize];
    let opened = PackIndex::open(&keys(), &footer, sealed).expect("ours");
    let short = &object[object.len() - PackFooter::LEN..];
    let PackTail::NeedsBytes(bytes) = PackIndex::from_tail(&keys(), PACK, short).expect("footer") else {
        panic!("the index is not in the footer");
    };
    let tail = &object[object.len() - bytes as usize..];
    assert_eq!(index(&keys(), PACK, tail).expect("enough"), opened);
}

#[test]
fn a_frame_of_another_pack_is_not_appended() {
    let mut other = PackWriter::create(Vec::new(), &keys(), PackId::new([2; 32]), PackOptions::default())
        .expect("memory");
    let mut group = ChunkGroup::new(ChunkKind::Data);
    group.push(keys().chunk_id(b"x"), b"x").expect("small");
    let slot = other.next_slot().expect("first");
    let frame = slot.seal(&group, &mut Compressor::new(CompressionLevel::default())).expect("one chunk");
    assert_eq!(create(small_frames()).append(&frame).expect_err("foreign").kind(), ErrorKind::Misuse);
}

#[test]
fn a_pack_whose_output_failed_takes_no_more() {
    /// Takes so many bytes, then fails.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = PackWriter::create(Full(100), &keys(), PACK, small_frames()).expect("the header fits");
    let data = noise(1, 3000);
    writer.push(ChunkKind::Data, keys().chunk_id(&data), &data).expect("gathered");
    assert_eq!(writer.flush().expect_err("full").kind(), ErrorKind::Output);
    assert_eq!(writer.finish().err().expect("broken").kind(), ErrorKind::Misuse);
}

#[test]
fn an_empty_pack_is_a_pack() {
    let (object, summary) = create(small_frames()).finish().expect("memory");
    assert_eq!(index(&keys(), PACK, &object).expect("ours"), summary.index);
    assert_eq!(summary.index.chunk_count(), 0);
}

#[test]
fn nothing_of_the_plaintext_and_no_id_shows_in_a_pack() {
    let keys = keys();
    let data = noise(1, 500);
    let mut writer = create(PackOptions::default());
    writer.push(ChunkKind::Data, keys.chunk_id(&data), &data).expect("fits");
    let (object, _) = writer.finish().expect("memory");
    let shows = |needle: &[u8]| object.windows(needle.len()).any(|window| window == needle);
    assert!(!shows(&data[..16]) && !shows(&keys.chunk_id(&data).as_bytes()[..16]));
}

#[test]
fn a_full_pack_refuses_more_chunks_and_can_be_finished() {
    let id = keys().chunk_id(b"x");
    let mut writer = create(PackOptions::default());
    for _ in 0..crate::PACK_CHUNKS_MAX {
        writer.push(ChunkKind::Data, id, b"x").expect("fits");
    }
    assert_eq!(writer.push(ChunkKind::Data, id, b"x").expect_err("full").kind(), ErrorKind::LimitExceeded);
    let (object, summary) = writer.finish().expect("memory");
    assert_eq!(summary.index.chunk_count() as u64, crate::PACK_CHUNKS_MAX);
    assert_eq!(index(&keys(), PACK, &object).expect("ours"), summary.index);
}
