//! Decayed uses of regions of packs, and what of them is hot. Pure.
//!
//! A *region* is what frames take that begin within one [`REGION_BYTES`] of a pack, as far as they were used: from the
//! first to the last of them. A use loses half of its weight in [`HALF_LIFE_SECONDS`]; weights are kept on a scale that
//! grows instead, so that nothing is touched for it.
//!
//! *Hot* is the smallest set of regions that had [`COVERED_PART`] of the weight of all, as far as it fits a head: a scan
//! that read everything once lets everything be equally warm, and then what was used last goes first.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use tidegate_chunker::{Location, PackId};
use tidegate_replicator::repository::{HEAT_BYTES_MAX, HOT_RANGE_BYTES_MAX, Heat, HotKind, HotPack};

/// A power of two, in bytes.
const REGION_BYTES: u32 = 1 << 20;
/// Regions that are remembered; beyond a quarter more the least used go.
pub(crate) const REGIONS_MAX: usize = 16_384;
const REGIONS_SLACK: usize = REGIONS_MAX / 4;
/// After this time a use counts half.
const HALF_LIFE_SECONDS: f64 = 86_400.0;
/// Half-lives after which the scale begins anew: far within what a float holds.
const SCALE_HALF_LIVES_MAX: f64 = 256.0;
/// The part of all weight that the hot set has.
const COVERED_PART: f64 = 0.95;
/// What weighs less is forgotten in a summary: one use, about a week ago.
const WEIGHT_MIN: f64 = 1.0 / 128.0;
/// Cold bytes between two hot ranges that are rather taken along than skipped.
const GAP_BYTES_MAX: u32 = 64 << 10;
/// The part of a head's heat that tree nodes may take.
const NODES_PART: usize = 2;
/// What a pack and a range cost in a head, in bytes, about.
const PACK_COST: usize = PackId::LEN + 2;
const RANGE_COST: usize = 7;
/// What was hot elsewhere counts as if it had been used so often now.
const SEED_WEIGHT: f64 = 2.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Region {
    pack: PackId,
    number: u16,
    kind: HotKind,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    start: u32,
    end: u32,
    /// On the scale of the table.
    weight: f64,
}

/// A region and its weight now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RegionUse {
    pub(crate) pack: PackId,
    pub(crate) kind: HotKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) weight: f64,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub(super) struct Table {
    regions: HashMap<Region, Used>,
    /// Where the scale is 1, in seconds since 1970.
    began: i64,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The frame at this place was used now.
    pub(super) fn used(&mut self, now: i64, at: &Location, kind: HotKind) {
        let end = at.frame_offset.saturating_add(at.frame_bytes);
        self.add(now, RegionUse { pack: at.pack, kind, start: at.frame_offset, end, weight: 1.0 });
    }

    /// All regions, with their weights as of now.
    pub(super) fn regions(&self, now: i64) -> Vec<RegionUse> {
        let scale = scale(now - self.began);
        let region = |(region, used): (&Region, &Used)| RegionUse {
            pack: region.pack,
            kind: region.kind,
            start: used.start,
            end: used.end,
            weight: used.weight / scale,
        };
        self.regions.iter().map(region).collect()
    }

    /// Takes in regions with their weights as of `saved_at`.
    pub(super) fn restore(&mut self, now: i64, saved_at: i64, regions: Vec<RegionUse>) {
        let passed = scale((now - saved_at).max(0));
        for region in regions.into_iter().filter(|region| region.start < region.end) {
            if region.weight.is_finite() && region.weight > 0.0 {
                self.add(now, RegionUse { weight: region.weight / passed, ..region });
            }
        }
    }

    /// Takes in what was hot elsewhere.
    pub(super) fn seed(&mut self, now: i64, heat: &Heat) {
        let known = |pack: &HotPack| {
            let (id, kind) = (pack.pack, pack.kind);
            let region = move |range: &Range<u32>| RegionUse {
                pack: id,
                kind,
                start: range.start,
                end: range.end,
                weight: SEED_WEIGHT,
            };
            pack.ranges.iter().map(region).collect::<Vec<_>>()
        };
        for region in heat.packs().iter().flat_map(known) {
            self.add(now, region);
        }
    }

    fn add(&mut self, now: i64, more: RegionUse) {
        if self.regions.is_empty() {
            self.began = now;
        }
        if (now - self.began) as f64 > HALF_LIFE_SECONDS * SCALE_HALF_LIVES_MAX {
            let passed = scale(now - self.began);
            self.regions.values_mut().for_each(|used| used.weight /= passed);
            self.began = now;
        }
        let region = Region { pack: more.pack, number: (more.start / REGION_BYTES) as u16, kind: more.kind };
        // A clock that was set back makes no use weigh less than one at the beginning.
        let weight = more.weight * scale((now - self.began).max(0));
        let used =
            self.regions.entry(region).or_insert(Used { start: more.start, end: more.end, weight: 0.0 });
        used.start = used.start.min(more.start);
        used.end = used.end.max(more.end);
        used.weight += weight;
        if self.regions.len() > REGIONS_MAX + REGIONS_SLACK {
            self.forget_least();
        }
    }

    fn forget_least(&mut self) {
        let mut weights: Vec<f64> = self.regions.values().map(|used| used.weight).collect();
        let (_, bound, _) = weights.select_nth_unstable_by(REGIONS_SLACK, f64::total_cmp);
        let bound = *bound;
        let greater = self.regions.values().filter(|used| used.weight > bound).count();
        let mut room = REGIONS_MAX.saturating_sub(greater);
        self.regions.retain(|_, used| match used.weight.total_cmp(&bound) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => {
                let stays = room > 0;
                room = room.saturating_sub(1);
                stays
            }
        });
    }

    /// What is hot, as a head says it.
    pub(super) fn summary(mut regions: Vec<RegionUse>, is_gone: impl Fn(&PackId) -> bool) -> Heat {
        regions.retain(|region| region.weight >= WEIGHT_MIN && !is_gone(&region.pack));
        regions.sort_unstable_by(|one, other| {
            let place = |region: &RegionUse| (region.pack, region.start);
            other.weight.total_cmp(&one.weight).then_with(|| place(one).cmp(&place(other)))
        });
        let (nodes, data): (Vec<_>, Vec<_>) =
            regions.into_iter().partition(|region| region.kind == HotKind::Nodes);
        let (nodes, taken) = hottest(&nodes, HEAT_BYTES_MAX / NODES_PART);
        let (data, _) = hottest(&data, HEAT_BYTES_MAX - taken);
        Heat::new(nodes.into_iter().chain(data))
    }
}

fn scale(seconds: i64) -> f64 {
    (seconds as f64 / HALF_LIFE_SECONDS).exp2()
}

/// The first of these regions, hottest first, that have their part of the weight and fit `room` bytes; by pack. And
/// what they take of the room, about.
fn hottest(regions: &[RegionUse], room: usize) -> (Vec<HotPack>, usize) {
    let wanted = regions.iter().map(|region| region.weight).sum::<f64>() * COVERED_PART;
    let mut packs: HashMap<PackId, (f64, Vec<Range<u32>>)> = HashMap::new();
    let (mut covered, mut taken) = (0.0, 0);
    for region in regions {
        let cost = RANGE_COST + if packs.contains_key(&region.pack) { 0 } else { PACK_COST };
        if covered >= wanted || taken + cost > room {
            break;
        }
        covered += region.weight;
        taken += cost;
        let (weight, ranges) = packs.entry(region.pack).or_default();
        *weight += region.weight;
        ranges.push(region.start..region.end);
    }
    let mut packs: Vec<_> = packs.into_iter().collect();
    packs.sort_unstable_by(|one, other| {
        other.1.0.total_cmp(&one.1.0).then_with(|| one.0.as_bytes().cmp(other.0.as_bytes()))
    });
    let kind = regions.first().map_or(HotKind::Data, |region| region.kind);
    let pack = |(pack, (_, ranges))| HotPack { kind, pack, ranges: joined(ranges) };
    (packs.into_iter().map(pack).collect(), taken)
}

/// Ranges in order and apart; those with little between become one, as long as that is not too long.
fn joined(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.end <= last.end => {}
            Some(last)
                if range.start <= last.end.saturating_add(GAP_BYTES_MAX)
                    && range.end - last.start <= HOT_RANGE_BYTES_MAX =>
            {
                last.end = range.end;
            }
            // Where they meet in the middle a frame ends.
            Some(last) => {
                let start = range.start.max(last.end);
                joined.push(start..range.end);
            }
            None => joined.push(range),
        }
    }
    joined
}
