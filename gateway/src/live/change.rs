//! Changes: what one journal record does to the live maps.
//!
//! A [`Batch`] is carried out as a whole or not at all, in three steps whatever the order in which
//! it was put together: first its ranges go, then its points are set, then its notes are taken.
//! It holds resolved values, never an operation that would have to be worked out again, so replaying
//! the journal gives the same maps.
//!
//! ```text
//! batch    version u8 = 1, then changes until its end
//! change   tag u8, then for each field of bytes: length u32, bytes (numbers are little-endian)
//!   1 put            map u64, key, value
//!   2 delete         map u64, key
//!   3 delete range   map u64, start, end
//!   4 rebase         map u64, through u64, base
//!   5 system         key, value
//!   6 system delete  key
//!   7 outcome        retry key (16 bytes, as a field), outcome
//!   8 put payload    map u64, offset u64, length u64, key
//!   9 usage          map u64, bytes i64, inodes i64
//! ```
//!
//! A record cannot hold the place of its own payload, which is known only once it has been appended:
//! it says "put payload", and [`Batch::resolve`] makes a put of it, after the append as in a replay.

use std::ops::Range;

use bytes::{Buf, Bytes};

use tidegate_replicator::map::{Extent, JournalPiece, Key, Source};

use super::{LiveError, MapId};
use crate::journal::Sequence;

const VERSION: u8 = 1;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key to an encoded value.
    Put {
        /// In which map.
        map: MapId,
        /// The key.
        key: Bytes,
        /// An encoded [`tidegate_replicator::tree::Value`].
        value: Bytes,
    },
    /// Sets the extent that ends at a key to a piece of this record's payload.
    PutPayload {
        /// In which map.
        map: MapId,
        /// The key of the extent.
        key: Bytes,
        /// Where in the payload the piece starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
    },
    /// Removes a key, also from sight in the base.
    Delete {
        /// In which map.
        map: MapId,
        /// The key.
        key: Bytes,
    },
    /// Removes every key of a range, also from sight in the base, without reading them. The range
    /// lies within one inode.
    DeleteRange {
        /// In which map.
        map: MapId,
        /// The keys.
        range: Range<Bytes>,
    },
    /// Moves the map onto a base that holds everything up to a sequence.
    Rebase {
        /// Which map.
        map: MapId,
        /// The newest change that the base holds.
        through: Sequence,
        /// The encoded base.
        base: Bytes,
    },
    /// Sets (or removes) a record of the gateway itself.
    System {
        /// Its key.
        key: Bytes,
        /// Its value; none removes it.
        value: Option<Bytes>,
    },
    /// Adds to what a map uses.
    Usage {
        /// Which map.
        map: MapId,
        /// Bytes that are not holes, more or less than before.
        bytes: i64,
        /// Inodes, more or less than before.
        inodes: i64,
    },
    /// Notes the outcome of a call that may be repeated.
    Outcome {
        /// Which call.
        retry: [u8; 16],
        /// The encoded outcome.
        outcome: Bytes,
    },
}

/// The changes of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In no particular order; see the head of this module. A key is set at most once.
    pub changes: Vec<Change>,
}

impl Batch {
    /// The maps of which it changes keys; one may come more than once.
    pub(super) fn changed_maps(&self) -> impl Iterator<Item = MapId> + '_ {
        self.changes.iter().filter_map(|change| match change {
            Change::Put { map, .. }
            | Change::PutPayload { map, .. }
            | Change::Delete { map, .. }
            | Change::DeleteRange { map, .. } => Some(*map),
            _ => None,
        })
    }

    /// Whether it gives a map a new base.
    pub(super) fn is_rebase(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Rebase { .. }))
    }

    /// Encodes the batch.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.encoded_bytes());
        out.push(VERSION);
        for change in &self.changes {
            encode_change(change, &mut out);
        }
        out
    }

    /// An upper bound of the encoded length in bytes; also what the batch costs in memory.
    pub fn encoded_bytes(&self) -> usize {
        let bytes = |change: &Change| match change {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { key, .. } | Change::PutPayload { key, .. } => 48 + key.len(),
            Change::Usage { .. } => 0,
            Change::DeleteRange { range, .. } => range.start.len() + range.end.len(),
            Change::Rebase { base, .. } => base.len(),
            Change::System { key, value } => key.len() + value.as_ref().map_or(0, Bytes::len),
            Change::Outcome { outcome, .. } => 16 + outcome.len(),
        };
        self.changes.iter().map(|change| 32 + bytes(change)).sum()
    }

    /// Turns pieces of the payload into puts, now that the payload lies at `payload`.
    pub fn resolve(&mut self, payload: JournalPiece) -> Result<(), LiveError> {
        for change in &mut self.changes {
            if let Change::PutPayload { map, key, offset, length } = change {
                let place = JournalPiece { offset: payload.offset + *offset, ..payload };
                let Ok(Key::Extent(_, end)) = Key::decode(key) else {
                    return Err(LiveError::Undecodable("a payload that is put under no extent"));
                };
                let start = end.checked_sub(*length).ok_or(LiveError::Undecodable("an extent"))?;
                let value = Extent { start, end, source: Source::Journal(place) }.to_value().encode();
                *change = Change::Put { map: *map, key: key.clone(), value: Bytes::from(value) };
            }
        }
        Ok(())
    }

    /// Decodes what [`Batch::encode`] made; the fields share `record`'s memory.
    pub fn decode(mut record: Bytes) -> Result<Self, LiveError> {
        if !record.has_remaining() || record.get_u8() != VERSION {
            return Err(LiveError::Undecodable("a journal batch of an unknown version"));
        }
        let mut changes = Vec::new();
        while record.has_remaining() {
            changes.push(decode_change(&mut record)?);
        }
        Ok(Self { changes })
    }
}

fn encode_change(change: &Change, out: &mut Vec<u8>) {
    let mut put = |tag: u8, numbers: &[u64], fields: &[&[u8]]| {
        out.push(tag);
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for field in fields {
            out.extend_from_slice(&(field.len() as u32).to_le_bytes());
            out.extend_from_slice(field);
        }
    };
    match change {
        Change::Put { map, key, value } => put(1, &[map.0], &[key, value]),
        Change::PutPayload { map, key, offset, length } => put(8, &[map.0, *offset, *length], &[key]),
        Change::Usage { map, bytes, inodes } => put(9, &[map.0, *bytes as u64, *inodes as u64], &[]),
        Change::Delete { map, key } => put(2, &[map.0], &[key]),
        Change::DeleteRange { map, range } => put(3, &[map.0], &[&range.start, &range.end]),
        Change::Rebase { map, through, base } => put(4, &[map.0, through.0], &[base]),
        Change::System { key, value: Some(value) } => put(5, &[], &[key, value]),
        Change::System { key, value: None } => put(6, &[], &[key]),
        Change::Outcome { retry, outcome } => put(7, &[], &[retry, outcome]),
    }
}

fn decode_change(record: &mut Bytes) -> Result<Change, LiveError> {
    Ok(match record.get_u8() {
        1 => Change::Put { map: MapId(number(record)?), key: field(record)?, value: field(record)? },
        2 => Change::Delete { map: MapId(number(record)?), key: field(record)? },
        3 => Change::DeleteRange { map: MapId(number(record)?), range: field(record)?..field(record)? },
        4 => Change::Rebase {
            map: MapId(number(record)?),
            through: Sequence(number(record)?),
            base: field(record)?,
        },
        5 => Change::System { key: field(record)?, value: Some(field(record)?) },
        6 => Change::System { key: field(record)?, value: None },
        7 => Change::Outcome {
            retry: field(record)?.as_ref().try_into().map_err(|_| truncated())?,
            outcome: field(record)?,
        },
        8 => {
            let (map, offset, length) = (MapId(number(record)?), number(record)?, number(record)?);
            Change::PutPayload { map, key: field(record)?, offset, length }
        }
        9 => Change::Usage {
            map: MapId(number(record)?),
            bytes: number(record)? as i64,
            inodes: number(record)? as i64,
        },
        _ => return Err(LiveError::Undecodable("a journal batch with an unknown kind of change")),
    })
}

fn truncated() -> LiveError {
    LiveError::Undecodable("a journal batch that ends too early")
}

fn number(record: &mut Bytes) -> Result<u64, LiveError> {
    record.try_get_u64_le().map_err(|_| truncated())
}

fn field(record: &mut Bytes) -> Result<Bytes, LiveError> {
    let length = record.try_get_u32_le().map_err(|_| truncated())? as usize;
    if length > record.remaining() {
        return Err(truncated());
    }
    Ok(record.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_change() -> Batch {
        let bytes = Bytes::from_static;
        let map = MapId(7);
        Batch {
            changes: vec![
                Change::Put { map, key: bytes(b"key"), value: bytes(b"value") },
                Change::Delete { map, key: bytes(b"") },
                Change::DeleteRange { map, range: bytes(b"a")..bytes(b"b") },
                Change::Rebase { map, through: Sequence(9), base: bytes(b"base") },
                Change::System { key: bytes(b"share"), value: Some(bytes(b"x")) },
                Change::System { key: bytes(b"share"), value: None },
                Change::Outcome { retry: [3; 16], outcome: bytes(b"done") },
                Change::PutPayload { map, key: bytes(b"key"), offset: 1, length: 2 },
                Change::Usage { map, bytes: -5, inodes: 1 },
            ],
        }
    }

    #[test]
    fn a_batch_round_trips() {
        let batch = every_change();
        let encoded = batch.encode();
        assert!(encoded.len() <= 1 + batch.encoded_bytes());
        assert_eq!(Batch::decode(Bytes::from(encoded)).expect("decodes"), batch);
    }

    #[test]
    fn a_batch_cut_anywhere_gives_a_prefix_or_an_error() {
        let encoded = Bytes::from(every_change().encode());
        for length in 0..encoded.len() {
            if let Ok(batch) = Batch::decode(encoded.slice(..length)) {
                assert!(every_change().changes.starts_with(&batch.changes));
            }
        }
    }
}
