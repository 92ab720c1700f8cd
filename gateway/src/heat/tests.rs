//! What is counted, and what of it is hot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use tidegate_chunker::{Location, PackId, ShareId};
use tidegate_replicator::map::Timestamp;
use tidegate_replicator::repository::{HEAT_BYTES_MAX, HOT_RANGE_BYTES_MAX, Heat, HotKind};

use super::{Meter, REGIONS_MAX, load, save};
use crate::clock::Clock;

const FRAME: u32 = 128 << 10;
const DAY: i64 = 86_400;

#[derive(Debug)]
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.0.load(Ordering::Relaxed), nanos: 0 }
    }
}

fn meter() -> (Meter, Arc<Turned>) {
    let clock = Arc::new(Turned(AtomicI64::new(1_700_000_000)));
    (Meter::new(clock.clone()), clock)
}

fn pass(clock: &Turned, seconds: i64) {
    clock.0.fetch_add(seconds, Ordering::Relaxed);
}

fn pack(number: u32) -> PackId {
    // As random as ids are.
    PackId::new(*blake_like(number))
}

fn blake_like(number: u32) -> Box<[u8; 32]> {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut id = Box::new([0; 32]);
    for piece in id.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.copy_from_slice(&state.to_le_bytes());
    }
    id
}

/// The frame of that number in a pack of frames of equal length.
fn frame(number: u32, place: u32) -> Location {
    let frame_offset = 48 + place * FRAME;
    Location { pack: pack(number), frame_offset, frame_bytes: FRAME, chunk_offset: 0, chunk_bytes: 1 }
}

fn all(_: &PackId) -> bool {
    false
}

fn bytes_of(heat: &Heat, wanted: PackId) -> u64 {
    let of_pack = heat.packs().iter().filter(|pack| pack.pack == wanted);
    of_pack.flat_map(|pack| &pack.ranges).map(|range| u64::from(range.end - range.start)).sum()
}

#[test]
fn a_frame_counts_once_a_minute_however_often_it_is_read() {
    let (meter, clock) = meter();
    for _ in 0..10_000 {
        meter.note(&frame(1, 0), HotKind::Data);
    }
    for _ in 0..3 {
        meter.note(&frame(2, 0), HotKind::Data);
        pass(&clock, 60);
    }
    let weights: BTreeMap<_, _> =
        meter.regions().1.iter().map(|region| (region.pack, region.weight)).collect();
    assert!((weights[&pack(1)] - 1.0).abs() < 0.01, "{weights:?}");
    assert!((weights[&pack(2)] - 3.0).abs() < 0.01, "{weights:?}");
}

#[test]
fn what_is_used_again_and_again_outweighs_a_scan() {
    let (meter, clock) = meter();
    for _ in 0..40 {
        (0..64).for_each(|place| meter.note(&frame(1, place), HotKind::Data));
        pass(&clock, 60);
    }
    for number in 10..4_000 {
        (0..64).for_each(|place| meter.note(&frame(number, place), HotKind::Data));
    }
    let heat = meter.summary(all);
    assert_eq!(heat.packs()[0].pack, pack(1), "the hottest pack comes first");
    assert_eq!(bytes_of(&heat, pack(1)), 64 * u64::from(FRAME), "and all of it");
    assert!(heat.encode().len() <= HEAT_BYTES_MAX);
    assert!(meter.regions().1.len() <= REGIONS_MAX * 5 / 4, "a scan does not fill the memory");
}

#[test]
fn old_uses_fade() {
    let (meter, clock) = meter();
    (0..20).for_each(|_| {
        meter.note(&frame(1, 0), HotKind::Data);
        pass(&clock, 60);
    });
    pass(&clock, 30 * DAY);
    meter.note(&frame(2, 0), HotKind::Data);
    let heat = meter.summary(all);
    assert_eq!((heat.packs().len(), heat.packs()[0].pack), (1, pack(2)));
}

#[test]
fn the_scale_begins_anew_before_it_is_used_up() {
    let (meter, clock) = meter();
    for _ in 0..2_000 {
        pass(&clock, DAY);
        meter.note(&frame(1, 0), HotKind::Data);
    }
    let weight = meter.regions().1[0].weight;
    assert!((1.9..2.1).contains(&weight), "one a day with half a day's worth lost each: {weight}");
}

#[test]
fn nodes_stand_first_and_packs_that_are_gone_are_left_out() {
    let (meter, _) = meter();
    meter.note(&frame(1, 0), HotKind::Data);
    meter.note(&frame(2, 0), HotKind::Nodes);
    meter.note_written([frame(3, 0), frame(3, 1)].into_iter());
    let heat = meter.summary(|gone| *gone == pack(1));
    let packs: Vec<_> = heat.packs().iter().map(|pack| (pack.kind, pack.pack)).collect();
    assert_eq!(packs, [(HotKind::Nodes, pack(2)), (HotKind::Data, pack(3))]);
    assert_eq!(heat.requests(HotKind::Data), 1, "neighbours come together");
}

#[test]
fn it_outlives_a_restart_and_a_takeover() {
    let folder = tempfile::tempdir().expect("a folder");
    let share = ShareId::new([7; 16]);
    let (meter, _) = meter();
    (0..50).for_each(|place| meter.note(&frame(1, place), HotKind::Data));
    meter.note(&frame(2, 3), HotKind::Nodes);
    save(folder.path(), share, &meter).expect("room");
    let (again, _) = self::meter();
    assert!(load(folder.path(), share, &again));
    assert_eq!(again.summary(all), meter.summary(all));
    let (elsewhere, _) = self::meter();
    elsewhere.begin_with(&meter.summary(all));
    assert_eq!(elsewhere.summary(all), meter.summary(all));
    let path = folder.path().join(share.to_string());
    let whole = std::fs::read(&path).expect("there");
    for place in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        std::fs::write(&path, &flipped).expect("writable");
        assert!(!load(folder.path(), share, &self::meter().0), "byte {place} flipped");
        std::fs::write(&path, &whole[..place]).expect("writable");
        assert!(!load(folder.path(), share, &self::meter().0), "cut at {place}");
    }
}

proptest! {
    /// Whatever is used: a summary fits, its ranges rise and do not overlap, begin and end with frames, and hold
    /// nothing of packs that nobody used.
    #[test]
    fn a_summary_names_whole_frames_once(
        uses in prop::collection::vec((0..60u32, 0..500u32, any::<bool>(), 0..200i64), 0..600),
    ) {
        let (meter, clock) = meter();
        for (number, place, is_node, passed) in uses {
            // A pack holds frames of one kind here.
            let (number, kind) = if is_node { (number + 100, HotKind::Nodes) } else { (number, HotKind::Data) };
            meter.note(&frame(number, place), kind);
            pass(&clock, passed);
        }
        let heat = meter.summary(all);
        prop_assert!(heat.encode().len() <= HEAT_BYTES_MAX);
        prop_assert_eq!(Heat::decode(&heat.encode()), Some(heat.clone()));
        for pack in heat.packs() {
            let mut end = 0;
            for range in &pack.ranges {
                prop_assert!(range.start >= end && range.start < range.end);
                prop_assert!(range.end - range.start <= HOT_RANGE_BYTES_MAX);
                prop_assert_eq!(((range.start - 48) % FRAME, (range.end - 48) % FRAME), (0, 0));
                end = range.end;
            }
        }
    }
}
