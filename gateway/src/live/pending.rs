//! The memory layer: changes that are in the journal but not yet in RocksDB.
//!
//! Owns the newest value of every key that a record appended to the journal has set and that the
//! applier has not reached yet. Readers look here first. Split into shards by inode, so that all keys
//! of one inode are under one lock.
//!
//! A record appears at once: all shards that it touches are locked, in the order of their numbers, before one of them is
//! changed. So whoever has seen a part of it sees the rest when he looks for it, also in another shard. It goes shard by
//! shard, since RocksDB shows the same by then. A reader holds one lock at a time.
//!
//! Relations, each under the shard's lock:
//! * an entry's sequence is that of the newest record that set the key;
//! * an entry or range goes only after RocksDB holds a value at least as new;
//! * a range is newer than every entry that it covers was when it came, and older than every entry
//!   that it covers now.
//!
//! Bounded by the bytes that the journal admits between two syncs; see [`super::Limits`].

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};

use super::change::{Batch, Change};
use super::full_key;
use crate::journal::Sequence;

const SHARDS: usize = 64;

/// What a layer knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has this encoded value.
    Value(Bytes),
    /// It is not there, whatever a lower layer says.
    Deleted,
    /// A lower layer must be asked.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    sequence: Sequence,
    value: Option<Bytes>,
}

#[derive(Debug)]
struct HiddenRange {
    sequence: Sequence,
    keys: Range<Vec<u8>>,
}

/// One shard: keys are full keys (map id, then key).
#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: BTreeMap<Vec<u8>, Entry>,
    ranges: Vec<HiddenRange>,
}

impl Shard {
    fn get(&self, key: &[u8]) -> Known {
        match self.entries.get(key) {
            Some(Entry { value: Some(value), .. }) => Known::Value(value.clone()),
            Some(Entry { value: None, .. }) => Known::Deleted,
            None if self.ranges.iter().any(|range| contains(&range.keys, key)) => Known::Deleted,
            None => Known::Unknown,
        }
    }

    /// The entries of a range of full keys, in order; none stands for a removed key.
    pub(super) fn entries<'a>(
        &'a self,
        range: &'a Range<Vec<u8>>,
    ) -> impl Iterator<Item = (&'a Vec<u8>, Option<&'a Bytes>)> {
        let bounds = (Bound::Included(range.start.as_slice()), Bound::Excluded(range.end.as_slice()));
        self.entries.range::<[u8], _>(bounds).map(|(key, entry)| (key, entry.value.as_ref()))
    }

    /// The ranges that hide lower layers and meet `range`.
    pub(super) fn hidden(&self, range: &Range<Vec<u8>>) -> impl Iterator<Item = &Range<Vec<u8>>> {
        self.ranges
            .iter()
            .map(|hidden| &hidden.keys)
            .filter(|keys| keys.start < range.end && range.start < keys.end)
    }
}

/// All shards.
#[derive(Debug)]
pub(super) struct Pending {
    shards: Vec<RwLock<Shard>>,
    bytes: AtomicUsize,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), bytes: AtomicUsize::new(0) }
    }

    /// What this layer knows of a full key.
    pub(super) fn get(&self, key: &[u8]) -> Known {
        self.shards[shard_of(key)].read().get(key)
    }

    /// The shard of a full key, locked: while it is held no change of that inode moves on to RocksDB.
    pub(super) fn lock(&self, key: &[u8]) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard_of(key)].read()
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes in a record. Records of one inode must come in the order of their sequences.
    pub(super) fn insert(&self, sequence: Sequence, batch: &Batch) {
        self.bytes.fetch_add(batch.encoded_bytes(), Ordering::Relaxed);
        let lock = |number: usize| (number, self.shards[number].write());
        let mut locked: Vec<_> = touched(batch).into_iter().map(lock).collect();
        for (number, shard) in &mut locked {
            insert_ranges(shard, *number, sequence, batch);
            insert_points(shard, *number, sequence, batch);
        }
    }

    /// Forgets a record that RocksDB holds now.
    pub(super) fn remove(&self, sequence: Sequence, batch: &Batch) {
        self.bytes.fetch_sub(batch.encoded_bytes(), Ordering::Relaxed);
        for shard in touched(batch) {
            let mut guard = self.shards[shard].write();
            guard.ranges.retain(|range| range.sequence != sequence);
            for (key, _) in points(batch).filter(|(key, _)| shard_of(key) == shard) {
                if guard.entries.get(&key).is_some_and(|entry| entry.sequence == sequence) {
                    guard.entries.remove(&key);
                }
            }
        }
    }
}

fn insert_ranges(shard: &mut Shard, number: usize, sequence: Sequence, batch: &Batch) {
    for keys in ranges(batch).filter(|keys| shard_of(&keys.start) == number) {
        let covered: Vec<_> = shard.entries(&keys).map(|(key, _)| key.clone()).collect();
        for key in covered {
            shard.entries.remove(&key);
        }
        shard.ranges.push(HiddenRange { sequence, keys });
    }
}

fn insert_points(shard: &mut Shard, number: usize, sequence: Sequence, batch: &Batch) {
    for (key, value) in points(batch).filter(|(key, _)| shard_of(key) == number) {
        shard.entries.insert(key, Entry { sequence, value: value.cloned() });
    }
}

/// Full keys that a batch sets or removes one by one.
fn points(batch: &Batch) -> impl Iterator<Item = (Vec<u8>, Option<&Bytes>)> {
    batch.changes.iter().filter_map(|change| match change {
        Change::Put { map, key, value } => Some((full_key(*map, key), Some(value))),
        Change::Delete { map, key } => Some((full_key(*map, key), None)),
        Change::PutPayload { .. } => unreachable!("payloads are resolved before a batch gets here"),
        Change::DeleteRange { .. }
        | Change::Rebase { .. }
        | Change::System { .. }
        | Change::Usage { .. }
        | Change::Outcome { .. } => None,
    })
}

fn ranges(batch: &Batch) -> impl Iterator<Item = Range<Vec<u8>>> {
    batch.changes.iter().filter_map(|change| match change {
        Change::DeleteRange { map, range } => Some(full_key(*map, &range.start)..full_key(*map, &range.end)),
        _ => None,
    })
}

/// The numbers of the shards of a batch, in order.
fn touched(batch: &Batch) -> Vec<usize> {
    let of_points = points(batch).map(|(key, _)| shard_of(&key));
    let mut shards: Vec<_> = of_points.chain(ranges(batch).map(|keys| shard_of(&keys.start))).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}

/// The shard of a full key: by map and inode, its first sixteen bytes.
fn shard_of(key: &[u8]) -> usize {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        let end = key.len().min(at + 8);
        bytes[..end - at].copy_from_slice(&key[at..end]);
        u64::from_be_bytes(bytes)
    };
    let mixed = (word(0) ^ word(8).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % SHARDS
}

fn contains(range: &Range<Vec<u8>>, key: &[u8]) -> bool {
    range.start.as_slice() <= key && key < range.end.as_slice()
}

#[cfg(test)]
mod tests {
    use super::super::MapId;
    use super::*;

    const MAP: MapId = MapId(1);

    fn key(text: &str) -> Bytes {
        Bytes::from([b"inode--7", text.as_bytes()].concat())
    }

    fn put(text: &str, value: &'static str) -> Change {
        Change::Put { map: MAP, key: key(text), value: Bytes::from_static(value.as_bytes()) }
    }

    fn batch(changes: Vec<Change>) -> Batch {
        Batch { changes }
    }

    fn get(pending: &Pending, text: &str) -> Known {
        pending.get(&full_key(MAP, &key(text)))
    }

    #[test]
    fn a_newer_value_stays_when_the_older_record_goes() {
        let pending = Pending::new();
        let (old, new) = (batch(vec![put("a", "1")]), batch(vec![put("a", "2")]));
        pending.insert(Sequence(1), &old);
        pending.insert(Sequence(2), &new);
        pending.remove(Sequence(1), &old);
        assert_eq!(get(&pending, "a"), Known::Value(Bytes::from_static(b"2")));
        pending.remove(Sequence(2), &new);
        assert_eq!(get(&pending, "a"), Known::Unknown);
        assert_eq!(pending.bytes(), 0);
    }

    #[test]
    fn nobody_sees_a_part_of_a_record_and_finds_no_other_part() {
        let pending = Pending::new();
        let full = |inode: u64| full_key(MAP, &inode.to_be_bytes());
        let shard = |inode: u64| &pending.shards[shard_of(&full(inode))];
        let elsewhere =
            (2..100).find(|inode| shard_of(&full(*inode)) != shard_of(&full(1))).expect("there are many");
        let mut inodes = [1, elsewhere];
        inodes.sort_by_key(|inode| shard_of(&full(*inode)));
        let [first, second] = inodes;
        let put = |inode: u64| {
            let key = Bytes::copy_from_slice(&inode.to_be_bytes());
            Change::Put { map: MAP, key, value: Bytes::from_static(b"here") }
        };
        let record = batch(vec![put(first), put(second)]);
        let reader = pending.lock(&full(second));
        let is_hidden = std::thread::scope(|scope| {
            scope.spawn(|| pending.insert(Sequence(1), &record));
            // A lock that somebody waits for to write is not given to further readers.
            while shard(second).try_read().is_some() {
                std::thread::yield_now();
            }
            let is_hidden = shard(first).try_read().is_none();
            drop(reader);
            is_hidden
        });
        assert!(is_hidden, "the first part can be seen, and the second not yet");
        for inode in inodes {
            assert_eq!(pending.get(&full(inode)), Known::Value(Bytes::from_static(b"here")));
        }
    }

    #[test]
    fn a_range_hides_what_came_before_it_and_not_what_comes_after() {
        let pending = Pending::new();
        let first = batch(vec![put("b", "1")]);
        let range =
            batch(vec![put("c", "same record"), Change::DeleteRange { map: MAP, range: key("a")..key("z") }]);
        pending.insert(Sequence(1), &first);
        pending.insert(Sequence(2), &range);
        assert_eq!(get(&pending, "b"), Known::Deleted);
        assert_eq!(get(&pending, "never seen"), Known::Deleted);
        assert_eq!(get(&pending, "c"), Known::Value(Bytes::from_static(b"same record")));
        pending.remove(Sequence(1), &first);
        pending.remove(Sequence(2), &range);
        assert_eq!(get(&pending, "b"), Known::Unknown);
    }
}
