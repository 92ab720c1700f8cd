//! The root: the name of a frozen map.

use serde::{Deserialize, Serialize};
use tidegate_chunker::{ChunkId, Location, PackId};

use super::ChunkRef;
use super::node::LEVEL_MAX;

/// Names a tree. Equal maps have equal ids, heights and counts; only the hint may differ.
///
/// As JSON: `{"id": hex, "at": location or null, "height": number, "entries": number}`, where a location
/// is `{"pack": hex, "frame_offset": number, "frame_bytes": number, "chunk_offset": number,
/// "chunk_bytes": number}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "RootText", try_from = "RootText")]
pub struct Root {
    /// The root node; all zero for the empty map.
    pub id: ChunkId,
    /// Where the root node was last known to lie.
    pub at: Option<Location>,
    /// Levels of nodes; 0 for the empty map, 1 if the root is a leaf.
    pub height: u8,
    /// Entries of the map.
    pub entries: u64,
}

impl Root {
    /// The root of the empty map, which has no nodes.
    pub const EMPTY: Self = Self { id: ChunkId::new([0; 32]), at: None, height: 0, entries: 0 };

    /// Whether the map has no entries.
    pub fn is_empty(&self) -> bool {
        self.height == 0
    }

    /// The root node's reference and level; `None` for the empty map.
    pub(super) fn top(&self) -> Option<(ChunkRef, u8)> {
        let level = self.height.checked_sub(1)?;
        Some((ChunkRef { id: self.id, at: self.at }, level))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootText {
    id: String,
    at: Option<LocationText>,
    height: u8,
    entries: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocationText {
    pack: String,
    frame_offset: u32,
    frame_bytes: u32,
    chunk_offset: u32,
    chunk_bytes: u32,
}

impl From<Root> for RootText {
    fn from(root: Root) -> Self {
        let at = root.at.map(|at| LocationText {
            pack: at.pack.to_string(),
            frame_offset: at.frame_offset,
            frame_bytes: at.frame_bytes,
            chunk_offset: at.chunk_offset,
            chunk_bytes: at.chunk_bytes,
        });
        Self { id: root.id.to_string(), at, height: root.height, entries: root.entries }
    }
}

impl TryFrom<RootText> for Root {
    type Error = &'static str;

    fn try_from(text: RootText) -> Result<Self, Self::Error> {
        let id = ChunkId::from_hex(&text.id).ok_or("the id of a root is 64 digits of lower-case hex")?;
        let at = text.at.map(Location::try_from).transpose()?;
        let root = Self { id, at, height: text.height, entries: text.entries };
        if root.height > LEVEL_MAX + 1 {
            return Err("the height of a root is out of range");
        }
        let empty = [root.height == 0, root.entries == 0, root.id == Self::EMPTY.id];
        if empty.contains(&true) && root != Self::EMPTY {
            return Err("the empty root has height 0, no entries, no location and an id of zeros");
        }
        Ok(root)
    }
}

impl TryFrom<LocationText> for Location {
    type Error = &'static str;

    fn try_from(text: LocationText) -> Result<Self, Self::Error> {
        let pack = PackId::from_hex(&text.pack).ok_or("a pack id is 64 digits of lower-case hex")?;
        Ok(Self {
            pack,
            frame_offset: text.frame_offset,
            frame_bytes: text.frame_bytes,
            chunk_offset: text.chunk_offset,
            chunk_bytes: text.chunk_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_round_trip_as_json() {
        let at = Location {
            pack: PackId::new([0xab; 32]),
            frame_offset: 1,
            frame_bytes: 2,
            chunk_offset: 3,
            chunk_bytes: u32::MAX,
        };
        let root = Root { id: ChunkId::new([0xcd; 32]), at: Some(at), height: 3, entries: u64::MAX };
        for root in [Root::EMPTY, root, Root { at: None, ..root }] {
            let text = serde_json::to_string(&root).expect("serialises");
            assert_eq!(serde_json::from_str::<Root>(&text).expect("parses"), root);
        }
    }

    #[test]
    fn roots_that_cannot_be_are_refused() {
        let root = Root { id: ChunkId::new([1; 32]), at: None, height: 1, entries: 1 };
        let wrong = [
            Root { height: 0, ..root },
            Root { entries: 0, ..root },
            Root { id: Root::EMPTY.id, ..root },
            Root { height: LEVEL_MAX + 2, ..root },
        ];
        for root in wrong {
            let text = serde_json::to_string(&root).expect("serialises");
            assert!(serde_json::from_str::<Root>(&text).is_err(), "{text}");
        }
    }
}
