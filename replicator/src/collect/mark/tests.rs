//! Tests of marking: which packs live by what is reached, without a store.

use std::collections::HashMap;

use tidegate_chunker::ChunkId;

use super::*;

/// Chunks of a pack, and their length.
const PACK_CHUNKS: u64 = 1000;
const CHUNK_BYTES: u32 = 65_536;

fn pack(number: u64) -> PackId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    PackId::new(id)
}

fn chunk(number: u64) -> ChunkId {
    let mixed =
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut id = [0; 32];
    id[..8].copy_from_slice(&mixed.to_be_bytes());
    id[8..16].copy_from_slice(&number.to_be_bytes());
    ChunkId::new(id)
}

fn at(number: u64) -> Location {
    let pack = pack(number);
    Location { pack, frame_offset: 48, frame_bytes: 9, chunk_offset: 0, chunk_bytes: CHUNK_BYTES }
}

fn marked(number: u64) -> MarkedPack {
    let (id, modified) = (pack(number), SystemTime::UNIX_EPOCH);
    MarkedPack::listed(PackObject { id, bytes: 1, modified, class: None })
}

fn book(packs: u64) -> (Book, Vec<MarkedPack>) {
    let folder = std::env::temp_dir();
    let reached = Spill::create(&folder).expect("room");
    let facts = Spill::create(&folder).expect("room");
    let marked: Vec<_> = (0..packs).map(marked).collect();
    let packs = marked.iter().map(|pack| pack.id).collect();
    (
        Book {
            packs,
            with_metadata: vec![false; marked.len()],
            reached,
            facts,
            lately: vec![[0; REACHED]; LATELY],
            cut: HashSet::new(),
            void: VoidPacks::default(),
        },
        marked,
    )
}

/// The most memory that this process has had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// `TIDEGATE_CHUNKS` makes the index larger. With 100 million, which is 6 TiB of data, memory is measured too:
/// run it alone then.
#[test]
fn every_pack_is_as_alive_as_its_chunks_are_in_bounded_memory() {
    let chunks = std::env::var("TIDEGATE_CHUNKS").map_or(200_000, |text| text.parse().expect("a number"));
    let packs = chunks / PACK_CHUNKS;
    let before = peak_bytes();
    let (mut book, mut marked) = book(packs);
    // Of pack p the first p chunks in every hundred are reached, each twice; of pack 0 none.
    let is_reached = |number: u64| number % 100 < (number / PACK_CHUNKS) % 100;
    for number in 0..chunks {
        let (id, at) = (chunk(number), at(number / PACK_CHUNKS));
        book.fact(id.as_bytes(), &at, ChunkKind::Data).expect("room");
        if is_reached(number) {
            book.reach(&ChunkRef { id, at: Some(at) }, false).expect("room");
            book.reach(&ChunkRef { id, at: None }, false).expect("room");
        }
    }
    book.join(&mut marked).expect("joined");
    for (number, pack) in marked.iter().enumerate() {
        let live = (number as u64 % 100) * PACK_CHUNKS / 100;
        assert_eq!(pack.live_bytes, live * u64::from(CHUNK_BYTES), "pack {number}");
        assert_eq!(pack.chunk_bytes, PACK_CHUNKS * u64::from(CHUNK_BYTES));
        assert_eq!((pack.is_dead(), pack.is_sparse(50)), (live == 0, live < 500));
    }
    if chunks >= 100_000_000 {
        let grown = peak_bytes() - before;
        println!("{chunks} chunks in {packs} packs: {} MiB of memory", grown >> 20);
        assert!(grown < 128 << 20, "{grown} bytes: half of the budget is for reading trees");
    }
}

#[test]
fn a_chunk_in_a_condemned_pack_is_dead_only_where_a_replacement_has_it() {
    let (mut book, mut packs) = book(5);
    // 1: in packs 0 and 1, a replacement. 2: in pack 0 alone. 3: in packs 0 and 3, both condemned. 4: in pack 2,
    // known by a hint alone. 5: in packs 0 and 4, of which nobody has verified the latter.
    for (number, places) in [(1, &[0, 1][..]), (2, &[0]), (3, &[0, 3]), (5, &[0, 4])] {
        for place in places {
            book.fact(chunk(number).as_bytes(), &at(*place), ChunkKind::Data).expect("room");
        }
        book.reach(&ChunkRef { id: chunk(number), at: Some(at(places[0])) }, false).expect("room");
    }
    book.reach(&ChunkRef { id: chunk(4), at: Some(at(2)) }, false).expect("room");
    packs[0].condemned = true;
    packs[1].replaces = true;
    packs[3].condemned = true;
    book.join(&mut packs).expect("joined");
    let live: Vec<u64> = packs.iter().map(|pack| pack.live_bytes / u64::from(CHUNK_BYTES)).collect();
    assert_eq!(live, [3, 1, 0, 1, 1]);
    assert!(packs.iter().all(|pack| !pack.is_dead()));
}

#[test]
fn what_is_to_be_copied_is_all_that_lives_but_what_was_copied_before() {
    let (mut book, mut packs) = book(4);
    // Packs 0 and 1 shall go, 2 is a replacement. 1 lies in both, 2 in 0 and in 2, 3 in 1; 4 is reached by nothing.
    for (number, places) in [(1, &[0, 1][..]), (2, &[0, 2]), (3, &[1]), (4, &[0])] {
        for place in places {
            book.fact(chunk(number).as_bytes(), &at(*place), ChunkKind::Data).expect("room");
        }
        if number < 4 {
            book.reach(&ChunkRef { id: chunk(number), at: None }, false).expect("room");
        }
    }
    packs[2].replaces = true;
    let replaces: Vec<bool> = packs.iter().map(|pack| pack.replaces).collect();
    let found = book.live_in(&[0, 1], &replaces).expect("found");
    let half = |number| {
        let mut half = [0; HALF];
        half.copy_from_slice(&chunk(number).as_bytes()[..HALF]);
        half
    };
    assert_eq!(found, [(0, Live::from([half(1)])), (1, Live::from([half(1), half(3)]))]);
}

#[test]
fn a_stray_is_what_is_reached_and_nothing_leads_to() {
    let (mut book, mut packs) = book(2);
    // 1: by its hint. 2: by the index. 3: both say a pack that came after the listing. 4: its hint says one that is gone.
    // 5: without a hint. 6: reached by nobody. 7: of a fork.
    let (later, gone) = (Some(at(7)), Some(at(8)));
    for (number, at) in [(1, Some(at(0))), (2, gone), (3, later), (4, gone), (5, None)] {
        book.reach(&ChunkRef { id: chunk(number), at }, false).expect("room");
    }
    for (number, at) in [(4, gone), (7, gone)] {
        book.reach(&ChunkRef { id: chunk(number), at }, true).expect("room");
    }
    for (number, at) in [(2, at(1)), (3, at(7)), (6, at(1))] {
        book.fact(chunk(number).as_bytes(), &at, ChunkKind::Data).expect("room");
    }
    let strays = book.join(&mut packs).expect("joined");
    let half = |number| chunk(number).as_bytes()[..HALF].try_into().expect("half");
    let expected = HashMap::from([(half(4), true), (half(5), true), (half(7), false)]);
    assert_eq!(*strays.found(), expected);
}

#[test]
fn a_pack_with_tree_nodes_is_told_from_one_of_data() {
    let (mut book, mut packs) = book(2);
    book.fact(chunk(1).as_bytes(), &at(0), ChunkKind::Data).expect("room");
    book.fact(chunk(2).as_bytes(), &at(1), ChunkKind::Data).expect("room");
    book.fact(chunk(3).as_bytes(), &at(1), ChunkKind::Node).expect("room");
    book.join(&mut packs).expect("joined");
    assert_eq!(packs.iter().map(|pack| pack.has_metadata).collect::<Vec<_>>(), [false, true]);
}
