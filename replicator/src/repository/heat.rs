//! Heat: what of a share was used lately, as ranges of packs.
//!
//! Whoever takes a share over fetches that first. A range begins where a frame begins and ends where one ends, and
//! the frames between say themselves how long they are, so a reader needs no index for it.
//!
//! ```text
//! heat = packs, one after the other: those of tree nodes before those of file data, in both the hottest first
//! pack = pack id 32 | varint: 2 × number of ranges, plus 1 for file data
//!      | for each range, rising: varint gap since the range before (or the beginning) | varint length
//! ```
//!
//! Varints are unsigned LEB128. In a head it stands as hex. Bound: [`HEAT_BYTES_MAX`]; what does not fit is left out,
//! the coldest first. It names no file, and is a hint: what it names may be gone.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_chunker::PackId;

use super::hex;

/// Greatest length of a heat in bytes; twice that as hex.
pub const HEAT_BYTES_MAX: usize = 32 << 10;
/// A range is at most so long, in bytes, unless it is one frame that is longer.
pub const HOT_RANGE_BYTES_MAX: u32 = 4 << 20;
/// Longest varint of 32 bits.
const VARINT_BYTES_MAX: usize = 5;

/// What frames hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HotKind {
    /// Tree nodes, and values outside them.
    Nodes,
    /// File data.
    Data,
}

/// What is hot of a pack, of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotPack {
    /// What it is.
    pub kind: HotKind,
    /// The pack.
    pub pack: PackId,
    /// Bytes of it: rising, not empty, and apart or touching.
    pub ranges: Vec<Range<u32>>,
}

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heat(Vec<HotPack>);

impl Heat {
    /// Takes the packs, hottest first; what does not fit is left out, and so are ranges that cannot be.
    pub fn new(packs: impl IntoIterator<Item = HotPack>) -> Self {
        let mut packs: Vec<HotPack> = packs.into_iter().collect();
        // Stable: within a kind the order stays.
        packs.sort_by_key(|pack| pack.kind);
        let (mut kept, mut room) = (Vec::new(), HEAT_BYTES_MAX);
        for pack in packs {
            let Some(left) = room.checked_sub(PackId::LEN + VARINT_BYTES_MAX) else { break };
            let (mut ranges, mut end, mut left) = (Vec::new(), 0, left);
            for range in pack.ranges {
                if range.is_empty() || range.start < end {
                    continue;
                }
                let bytes = varint_bytes(range.start - end) + varint_bytes(range.end - range.start);
                let Some(rest) = left.checked_sub(bytes) else { break };
                (left, end) = (rest, range.end);
                ranges.push(range);
            }
            if !ranges.is_empty() {
                // The count takes less than was set aside for it.
                room = left + VARINT_BYTES_MAX - varint_bytes((ranges.len() as u32) << 1 | 1);
                kept.push(HotPack { ranges, ..pack });
            }
        }
        Self(kept)
    }

    /// What is hot: nodes before data, the hottest packs first.
    pub fn packs(&self) -> &[HotPack] {
        &self.0
    }

    /// Whether nothing is known to be hot.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length of what is hot of this kind, in bytes as stored.
    pub fn bytes(&self, kind: HotKind) -> u64 {
        self.ranges(kind).map(|range| u64::from(range.end - range.start)).sum()
    }

    /// How many ranges of this kind there are: as many requests bring them.
    pub fn requests(&self, kind: HotKind) -> u64 {
        self.ranges(kind).count() as u64
    }

    fn ranges(&self, kind: HotKind) -> impl Iterator<Item = &Range<u32>> {
        self.0.iter().filter(move |pack| pack.kind == kind).flat_map(|pack| &pack.ranges)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for pack in &self.0 {
            out.extend_from_slice(pack.pack.as_bytes());
            let is_data = u32::from(pack.kind == HotKind::Data);
            put_varint(&mut out, (pack.ranges.len() as u32) << 1 | is_data);
            let mut end = 0;
            for range in &pack.ranges {
                put_varint(&mut out, range.start - end);
                put_varint(&mut out, range.end - range.start);
                end = range.end;
            }
        }
        out
    }

    /// Reads what [`Heat::encode`] made; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > HEAT_BYTES_MAX {
            return None;
        }
        let (mut rest, mut packs) = (bytes, Vec::<HotPack>::new());
        while !rest.is_empty() {
            let (pack, after) = rest.split_first_chunk::<{ PackId::LEN }>()?;
            rest = after;
            let count = take_varint(&mut rest)?;
            let kind = if count & 1 == 0 { HotKind::Nodes } else { HotKind::Data };
            if packs.last().is_some_and(|last| last.kind > kind) || count >> 1 == 0 {
                return None;
            }
            let (mut ranges, mut end) = (Vec::new(), 0_u32);
            for _ in 0..count >> 1 {
                let start = end.checked_add(take_varint(&mut rest)?)?;
                end = start.checked_add(take_varint(&mut rest)?)?;
                if start == end {
                    return None;
                }
                ranges.push(start..end);
            }
            packs.push(HotPack { kind, pack: PackId::new(*pack), ranges });
        }
        Some(Self(packs))
    }
}

fn varint_bytes(number: u32) -> usize {
    (32 - number.leading_zeros()).div_ceil(7).max(1) as usize
}

fn put_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Numbers have one spelling.
fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for place in 0..VARINT_BYTES_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let is_short = place == 0 || *byte != 0;
            return u32::try_from(number).ok().filter(|_| is_short);
        }
    }
    None
}

impl Serialize for Heat {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        hex::bytes::serialize(&self.encode(), serializer)
    }
}

impl<'de> Deserialize<'de> for Heat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let bytes = hex::bytes::deserialize(deserializer)?;
        Self::decode(&bytes).ok_or_else(|| serde::de::Error::custom("expected ranges of packs"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(number: u16, kind: HotKind, lengths: &[(u32, u32)]) -> HotPack {
        let (mut ranges, mut end) = (Vec::new(), 0_u32);
        for (gap, length) in lengths {
            let start = end.saturating_add(*gap);
            end = start.saturating_add(*length);
            ranges.push(start..end);
        }
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_le_bytes());
        HotPack { kind, pack: PackId::new(id), ranges }
    }

    #[test]
    fn nodes_come_first_and_the_order_stays() {
        let given = [
            pack(1, HotKind::Data, &[(48, 9)]),
            pack(2, HotKind::Nodes, &[(0, 1)]),
            pack(3, HotKind::Data, &[(7, 8)]),
        ];
        let heat = Heat::new(given.clone());
        assert_eq!(heat.packs(), [given[1].clone(), given[0].clone(), given[2].clone()]);
        assert_eq!((heat.bytes(HotKind::Data), heat.requests(HotKind::Nodes)), (17, 1));
    }

    #[test]
    fn what_does_not_fit_is_left_out_at_the_end() {
        let many: Vec<_> = (0..2_000).map(|number| pack(number, HotKind::Data, &[(48, 1 << 20)])).collect();
        let heat = Heat::new(many.clone());
        assert!(heat.encode().len() <= HEAT_BYTES_MAX);
        assert!(heat.packs().len() > 800);
        assert_eq!(heat.packs(), &many[..heat.packs().len()]);
        let one = Heat::new([pack(1, HotKind::Data, &vec![(70_000, 70_000); 30_000])]);
        assert!(one.encode().len() <= HEAT_BYTES_MAX && one.requests(HotKind::Data) > 5_000);
    }

    proptest! {
        #[test]
        fn it_round_trips(packs in prop::collection::vec(
            (any::<u16>(), any::<bool>(), prop::collection::vec((any::<u32>(), any::<u32>()), 0..20)), 0..20,
        )) {
            let kind = |data| if data { HotKind::Data } else { HotKind::Nodes };
            let heat = Heat::new(packs.iter().map(|(number, data, ranges)| pack(*number, kind(*data), ranges)));
            prop_assert_eq!(Heat::decode(&heat.encode()), Some(heat.clone()));
            let text = serde_json::to_string(&heat).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<Heat>(&text).expect("reads"), heat);
        }

        #[test]
        fn what_reads_has_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(heat) = Heat::decode(&bytes) {
                prop_assert_eq!(heat.encode(), bytes);
            }
        }

        #[test]
        fn flipped_bytes_are_refused_or_mean_something_else(place in 0..60_usize, bit in 0..8) {
            let heat = Heat::new([pack(9, HotKind::Nodes, &[(1, 300), (2, 70_000)]), pack(8, HotKind::Data, &[(5, 6)])]);
            let mut bytes = heat.encode();
            let place = place % bytes.len();
            bytes[place] ^= 1_u8 << bit;
            prop_assert_ne!(Heat::decode(&bytes), Some(heat));
        }
    }
}
