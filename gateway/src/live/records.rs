//! How records stand in RocksDB: their keys and values, as [`super::db`] draws them.

use std::ops::Range;

use bytes::{Buf, Bytes};

use super::pending::Known;
use super::{LiveError, MapId, full_key};
use crate::journal::Sequence;

/// A key that hides what the base has.
pub(super) const TOMBSTONE: u8 = 0;
/// A key with a value, which follows.
pub(super) const VALUE: u8 = 1;

/// What the files of a map use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are not holes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Usage {
    /// The sum with what came and went.
    #[must_use]
    pub fn plus(self, bytes: i64, inodes: i64) -> Self {
        Self {
            bytes: self.bytes.saturating_add_signed(bytes),
            inodes: self.inodes.saturating_add_signed(inodes),
        }
    }

    pub(super) fn encode(self) -> [u8; 16] {
        (u128::from(self.bytes) | u128::from(self.inodes) << 64).to_le_bytes()
    }

    pub(super) fn decode(record: &[u8]) -> Self {
        let both = record.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        Self { bytes: both as u64, inodes: (both >> 64) as u64 }
    }
}

/// A range of full keys that the base may not show, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    /// Full keys.
    pub(crate) keys: Range<Vec<u8>>,
    /// The record that hid them.
    pub(crate) sequence: Sequence,
}

/// What a value of the family `map` says.
pub(super) fn known_from(value: &[u8]) -> Known {
    match value {
        [VALUE, value @ ..] => Known::Value(Bytes::copy_from_slice(value)),
        _ => Known::Deleted,
    }
}

/// As [`known_from`], of a value that is given away: what it says is not copied.
pub(super) fn known_in(value: Box<[u8]>) -> Known {
    let mut value = Bytes::from(value);
    if value.first() == Some(&VALUE) {
        value.advance(1);
        Known::Value(value)
    } else {
        Known::Deleted
    }
}

/// How the keys of bases begin.
pub(super) const BASES: &[u8] = b"base/";

pub(super) fn base_key(map: MapId) -> Vec<u8> {
    [BASES, &map.0.to_be_bytes()[..]].concat()
}

pub(super) fn usage_key(map: MapId) -> Vec<u8> {
    [b"usage/", &map.0.to_be_bytes()[..]].concat()
}

pub(super) fn map_range(map: MapId) -> Range<Vec<u8>> {
    full_key(map, b"")..full_key(MapId(map.0 + 1), b"")
}

pub(super) fn hidden_key(start: &[u8], sequence: Sequence) -> Vec<u8> {
    [&start[..16], &sequence.0.to_be_bytes()].concat()
}

pub(super) fn hidden_from(key: &[u8], value: &[u8]) -> Result<Hidden, LiveError> {
    let bad = || LiveError::Undecodable("a hidden range");
    let sequence = key.last_chunk().map(|bytes| Sequence(u64::from_be_bytes(*bytes))).ok_or_else(bad)?;
    let (length, keys) = value.split_first_chunk().ok_or_else(bad)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (start, end) = keys.split_at_checked(length).ok_or_else(bad)?;
    Ok(Hidden { keys: start.to_vec()..end.to_vec(), sequence })
}

pub(super) fn sequence_from(bytes: &[u8]) -> Sequence {
    Sequence(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// The first key after all that start with `prefix`.
pub(super) fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; prefix.len() + 1]
}
