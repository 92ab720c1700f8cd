//! The index: where chunks lie.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::Bytes;
use super::{Read, expect};

const PAYLOAD_BYTES_MAX: usize = 8_388_608;
const ENTRIES_MAX: u32 = 32_768;
const REPLACED_MAX: u32 = 32;

/// The id of a chunk or of a pack.
pub(super) type Id = [u8; 32];

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) pack: Id,
    pub(super) frame_offset: u32,
    pub(super) frame_bytes: u32,
    pub(super) chunk_offset: u32,
    pub(super) chunk_bytes: u32,
}

/// Places of chunks, and the domain of each pack.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) places: BTreeMap<Id, BTreeSet<(u8, Location)>>,
    pub(super) packs: BTreeMap<Id, [u8; 16]>,
}

impl Index {
    /// Adds the payload of one object.
    pub(super) fn add(&mut self, payload: &[u8]) -> Read<()> {
        expect(payload.len() <= PAYLOAD_BYTES_MAX, "a payload is too long")?;
        let mut bytes = Bytes(payload);
        expect(bytes.u32()? == 1, "an index of another version")?;
        let (replaced, pack_count, entries) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
        expect(replaced <= REPLACED_MAX && entries <= ENTRIES_MAX, "an index that is too large")?;
        for _ in 0..replaced {
            bytes.array::<17>()?;
        }
        let mut packs = Vec::new();
        for _ in 0..pack_count {
            let (pack, domain) = (bytes.array()?, bytes.array()?);
            let known = self.packs.insert(pack, domain);
            expect(known.is_none_or(|known| known == domain), "a pack in two domains")?;
            packs.push(pack);
        }
        let mut before = None;
        for _ in 0..entries {
            let (id, kind, pack) = (bytes.array::<32>()?, bytes.u8()?, bytes.u32()?);
            expect((1..=3).contains(&kind), "an entry of an unknown kind")?;
            expect((pack as usize) < packs.len(), "an entry of a pack that is not listed")?;
            let location = Location {
                pack: packs[pack as usize],
                frame_offset: bytes.u32()?,
                frame_bytes: bytes.u32()?,
                chunk_offset: bytes.u32()?,
                chunk_bytes: bytes.u32()?,
            };
            let place = (id, location.pack, location.frame_offset, location.chunk_offset);
            expect(before.is_none_or(|before| before < place), "entries do not rise")?;
            before = Some(place);
            self.places.entry(id).or_default().insert((kind, location));
        }
        bytes.end()
    }
}
