//! Values of the map, and references to chunks.
//!
//! The encoding of a value on its own, as the local map keeps it (a leaf keeps values in its own way,
//! see [`Node`](super::Node)):
//!
//! ```text
//! u8      1, the version
//! u8      r, number of references
//! r * 32  their ids
//!         their hints (see codec.rs)
//!         the payload: what is left
//! ```

use bytes::Bytes;
use tidegate_chunker::{ChunkId, Location};

use super::codec::{Malformed, Reader, put_hints, put_ids};
use super::{PAYLOAD_BYTES_MAX, REFS_MAX, TreeError};

const VERSION: u8 = 1;

/// A chunk by id, and where it was last known to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Which chunk.
    pub id: ChunkId,
    /// A hint; when it is stale or absent the index answers.
    pub at: Option<Location>,
}

impl ChunkRef {
    /// A reference without a hint.
    pub const fn new(id: ChunkId) -> Self {
        Self { id, at: None }
    }
}

/// What a key of the map holds.
///
/// Two values are the same content if payloads and ids of references are equal; hints do not count
/// there, but do in `==`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Opaque here; at most [`PAYLOAD_BYTES_MAX`] bytes. Must not depend on where chunks lie.
    pub payload: Bytes,
    /// The data chunks that this entry keeps alive, at most [`REFS_MAX`].
    pub refs: Vec<ChunkRef>,
}

impl Value {
    /// A value without references.
    pub fn plain(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), refs: Vec::new() }
    }

    /// Encodes the value with its hints.
    ///
    /// # Panics
    ///
    /// With more than [`REFS_MAX`] references.
    pub fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.refs.len()).expect("a value has at most REFS_MAX references");
        let mut out = Vec::with_capacity(3 + self.payload.len() + 52 * self.refs.len());
        out.extend_from_slice(&[VERSION, count]);
        put_ids(&mut out, &self.refs);
        put_hints(&mut out, self.refs.iter());
        out.extend_from_slice(&self.payload);
        out
    }

    /// Decodes what [`Value::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        Self::decode_owned(Bytes::copy_from_slice(bytes))
    }

    /// As [`Value::decode`], of bytes that are given away: their end becomes the payload, without a copy.
    pub fn decode_owned(bytes: Bytes) -> Result<Self, TreeError> {
        decode(bytes).map_err(|Malformed(what)| TreeError::BadValue { what })
    }

    /// Whether payload and ids are equal, whatever the hints say.
    pub fn same_content(&self, other: &Self) -> bool {
        self.payload == other.payload && same_ids(&self.refs, &other.refs)
    }

    /// The rule of the format that the value breaks, if any.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            Some("the payload is longer than 256 KiB")
        } else if self.refs.len() > REFS_MAX {
            Some("the value refers to more than 255 chunks")
        } else {
            None
        }
    }
}

/// Whether both lists name the same chunks in the same order.
pub(super) fn same_ids(one: &[ChunkRef], other: &[ChunkRef]) -> bool {
    one.iter().map(|reference| reference.id).eq(other.iter().map(|reference| reference.id))
}

fn decode(bytes: Bytes) -> Result<Value, Malformed> {
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Malformed("it is longer than any value"));
    }
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION {
        return Err(Malformed("its version is unknown"));
    }
    let count = reader.byte()?;
    let mut refs = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        refs.push(ChunkRef::new(reader.id()?));
    }
    reader.hints(&mut refs.iter_mut().collect::<Vec<_>>())?;
    let payload = reader.0;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Malformed("its payload is longer than 256 KiB"));
    }
    Ok(Value { payload, refs })
}

/// No encoded value is longer: each reference has an id, at most one pack and five numbers.
const VALUE_BYTES_MAX: usize = 2 + REFS_MAX * (32 + 32 + 2 + 4 * 5) + 2 + PAYLOAD_BYTES_MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_chunker::PackId;

    use super::*;

    fn reference() -> impl Strategy<Value = ChunkRef> {
        let location = (0..4_u8, any::<[u32; 4]>()).prop_map(|(pack, numbers)| Location {
            pack: PackId::new([pack; 32]),
            frame_offset: numbers[0],
            frame_bytes: numbers[1],
            chunk_offset: numbers[2],
            chunk_bytes: numbers[3],
        });
        (any::<[u8; 32]>(), proptest::option::of(location))
            .prop_map(|(id, at)| ChunkRef { id: ChunkId::new(id), at })
    }

    proptest! {
        #[test]
        fn values_round_trip(payload: Vec<u8>, refs in proptest::collection::vec(reference(), 0..20)) {
            let value = Value { payload: payload.into(), refs };
            prop_assert_eq!(Value::decode(&value.encode()).expect("decodes"), value);
        }

        #[test]
        fn any_bytes_decode_or_fail(mut bytes: Vec<u8>, refs: u8) {
            let _ = Value::decode(&bytes);
            bytes.splice(0..0, [VERSION, refs % 3]);
            let _ = Value::decode(&bytes);
        }
    }

    #[test]
    fn the_longest_value_round_trips() {
        let location = |pack: u8| Location {
            pack: PackId::new([pack; 32]),
            frame_offset: u32::MAX,
            frame_bytes: u32::MAX,
            chunk_offset: u32::MAX,
            chunk_bytes: u32::MAX,
        };
        let refs = (0..REFS_MAX as u8)
            .map(|place| ChunkRef { id: ChunkId::new([place; 32]), at: Some(location(place)) })
            .collect();
        let value = Value { payload: vec![7; PAYLOAD_BYTES_MAX].into(), refs };
        let encoded = value.encode();
        assert_eq!(encoded.len(), VALUE_BYTES_MAX - 127, "only places up to 127 take one byte");
        assert_eq!(Value::decode(&encoded).expect("decodes"), value);
        let mut longer = encoded;
        longer.push(0);
        assert!(Value::decode(&longer).is_err());
    }
}
