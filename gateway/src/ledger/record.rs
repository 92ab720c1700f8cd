//! What the ledger notes of a pack: version u8 = 2, stage u8, bytes u64, domain id, contents u8; little-endian.

use tidegate_chunker::{ChunkKind, DomainId, PackId, PackIndex};

use crate::live::LiveError;

const VERSION: u8 = 2;
/// Of records that end with the domain, and do not say what the pack holds.
const VERSION_WITHOUT_CONTENTS: u8 = 1;

/// How far a pack has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Only here.
    Local,
    /// On the target.
    Uploaded,
    /// On the target, and named by its index.
    Indexed,
}

/// What a pack is there for. Commits and collections never mix the two in one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// File data alone.
    Data,
    /// Tree nodes and large values: without them no name is found.
    Names,
}

impl Contents {
    pub(super) fn of(index: &PackIndex) -> Self {
        let is_data = index.frames().iter().all(|frame| frame.kind == ChunkKind::Data);
        if is_data { Self::Data } else { Self::Names }
    }
}

/// What the ledger says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// How far it has come.
    pub stage: Stage,
    /// Length in bytes.
    pub bytes: u64,
    /// The domain that sealed it.
    pub domain: DomainId,
    /// What it holds; what an earlier program noted counts as data.
    pub contents: Contents,
}

/// A pack whose file is here and may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evictable {
    pub(crate) pack: PackId,
    pub(crate) bytes: u64,
    pub(crate) contents: Contents,
}

impl PackRecord {
    pub(super) fn evictable(&self, pack: PackId) -> Evictable {
        Evictable { pack, bytes: self.bytes, contents: self.contents }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let stage = match self.stage {
            Stage::Local => 0,
            Stage::Uploaded => 1,
            Stage::Indexed => 2,
        };
        let contents = match self.contents {
            Contents::Data => 0,
            Contents::Names => 1,
        };
        [&[VERSION, stage][..], &self.bytes.to_le_bytes(), self.domain.as_bytes(), &[contents]].concat()
    }

    pub(super) fn decode(record: &[u8]) -> Result<Self, LiveError> {
        let bad = || LiveError::Undecodable("the record of a pack");
        let (head, rest) = record.split_first_chunk::<2>().ok_or_else(bad)?;
        let (bytes, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (domain, contents) = rest.split_at_checked(DomainId::LEN).ok_or_else(bad)?;
        let contents = match (head[0], contents) {
            (VERSION_WITHOUT_CONTENTS, []) | (VERSION, [0]) => Contents::Data,
            (VERSION, [1]) => Contents::Names,
            _ => return Err(bad()),
        };
        let stage = match head[1] {
            0 => Stage::Local,
            1 => Stage::Uploaded,
            2 => Stage::Indexed,
            _ => return Err(bad()),
        };
        let domain = DomainId::from_slice(domain).ok_or_else(bad)?;
        Ok(Self { stage, bytes: u64::from_le_bytes(*bytes), domain, contents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_say_what_they_were_made_of_and_those_of_before_count_as_data() {
        let domain = DomainId::new([7; DomainId::LEN]);
        for stage in [Stage::Local, Stage::Uploaded, Stage::Indexed] {
            for contents in [Contents::Data, Contents::Names] {
                let record = PackRecord { stage, bytes: 1 << 33, domain, contents };
                assert_eq!(PackRecord::decode(&record.encode()).expect("sound"), record);
            }
        }
        let of_before = [&[1, 2][..], &5_u64.to_le_bytes(), domain.as_bytes()].concat();
        let record = PackRecord { stage: Stage::Indexed, bytes: 5, domain, contents: Contents::Data };
        assert_eq!(PackRecord::decode(&of_before).expect("sound"), record);
        for unknown in [&[3, 2][..], &[2, 3], &[0, 0]] {
            let bytes = [unknown, &of_before[2..], &[0]].concat();
            assert!(PackRecord::decode(&bytes).is_err(), "{unknown:?}");
        }
        assert!(
            PackRecord::decode(&[&[2, 2][..], &of_before[2..], &[2]].concat()).is_err(),
            "contents unknown"
        );
    }
}
