//! Rebase: a map gets a new base, and what only told it from the old one is swept away in pieces.
//!
//! A commit freezes a map *through* a record; its tree becomes the base. From then on every mark up to that record (a
//! key that changed, a range that was hidden) says nothing any more, and neither does a tombstone under such a mark.
//! There may be millions. So a rebase is one small write: the base, and a note of how far marks are stale. Readers
//! of marks pass over stale ones at once ([`Database::stale_through`]); the applier takes them away between groups of
//! records, a bounded piece at a time, one map after the other, and then the note. Writers wait for none of it. Whether
//! anything has changed at all is known from the newest change of a map, without a look at marks.
//!
//! A reader of values sees the new base under entries that are equal or newer, swept or not. A crash leaves note and
//! marks as they are; the next start goes on from the beginning, and finds what is left.

use std::collections::{HashMap, VecDeque};

use rocksdb::{Snapshot, WriteBatch};

use super::db::{DIRTY, Database, HIDDEN, KEYS_MAX, MAP, SYSTEM};
use super::records::{TOMBSTONE, base_key, hidden_from, hidden_key, map_range, sequence_from, successor};
use super::{LiveError, MapId};
use crate::journal::Sequence;

/// How the key of a note begins; the map follows, big-endian.
const NOTE: &[u8] = b"sweep/";
/// How the key of the newest change of a map begins; the map follows, big-endian.
const NEWEST: &[u8] = b"newest/";
/// Marks that a piece looks at: a part of them may be newer than the base, and stays.
const MARKS_MAX: usize = 4 * KEYS_MAX;

/// A map with stale marks, and where the next piece begins.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    map: MapId,
    through: Sequence,
    /// None once all hidden ranges have been looked at.
    hidden_from: Option<Vec<u8>>,
    changed_from: Vec<u8>,
}

impl Sweep {
    /// Whether it is of the same map.
    fn is_of_map_of(&self, other: &Self) -> bool {
        self.map == other.map
    }

    /// Takes over what has become known: a map with more stale marks is begun anew, one that is under way goes on.
    pub(super) fn join(sweeps: &mut VecDeque<Self>, found: Vec<Self>) {
        for sweep in found {
            match sweeps.iter_mut().find(|known| known.is_of_map_of(&sweep)) {
                Some(known) if known.through == sweep.through => {}
                Some(known) => *known = sweep,
                None => sweeps.push_back(sweep),
            }
        }
    }
}

fn newest_key(map: MapId) -> Vec<u8> {
    [NEWEST, &map.0.to_be_bytes()].concat()
}

fn note_key(map: MapId) -> Vec<u8> {
    [NOTE, &map.0.to_be_bytes()].concat()
}

impl Database {
    /// Puts a rebase into a batch.
    pub(super) fn rebase(&self, map: MapId, through: Sequence, base: &[u8], writes: &mut WriteBatch) {
        writes.put_cf(self.family(SYSTEM), base_key(map), base);
        writes.put_cf(self.family(SYSTEM), note_key(map), through.0.to_le_bytes());
    }

    /// Up to which record the marks of a map are stale.
    pub(super) fn stale_through(&self, snapshot: &Snapshot<'_>, map: MapId) -> Result<Sequence, LiveError> {
        let note = snapshot.get_cf(self.family(SYSTEM), note_key(map))?;
        Ok(note.as_deref().map_or(Sequence(0), sequence_from))
    }

    /// The newest record that changed a key of a map.
    pub(super) fn newest_change(&self, snapshot: &Snapshot<'_>, map: MapId) -> Result<Sequence, LiveError> {
        let newest = snapshot.get_cf(self.family(SYSTEM), newest_key(map))?;
        Ok(newest.as_deref().map_or(Sequence(0), sequence_from))
    }

    /// Puts the newest changes of maps into a batch.
    pub(super) fn note_newest(&self, newest: &HashMap<MapId, Sequence>, writes: &mut WriteBatch) {
        for (map, sequence) in newest {
            writes.put_cf(self.family(SYSTEM), newest_key(*map), sequence.0.to_le_bytes());
        }
    }

    /// The maps with stale marks.
    pub(super) fn sweeps(&self) -> Result<Vec<Sweep>, LiveError> {
        let mut sweeps = Vec::new();
        let snapshot = self.snapshot();
        for item in self.iterate(&snapshot, SYSTEM, &(NOTE.to_vec()..successor(NOTE))) {
            let (key, value) = item?;
            let Some(map) = key[NOTE.len()..].first_chunk().map(|map| MapId(u64::from_be_bytes(*map))) else {
                return Err(LiveError::Undecodable("the note of a rebase"));
            };
            let start = map_range(map).start;
            let through = sequence_from(&value);
            sweeps.push(Sweep { map, through, hidden_from: Some(start.clone()), changed_from: start });
        }
        Ok(sweeps)
    }

    /// Takes a piece of the stale marks away; whether that was the last.
    pub(super) fn sweep_piece(&self, sweep: &mut Sweep) -> Result<bool, LiveError> {
        if let Some(from) = &sweep.hidden_from {
            sweep.hidden_from = self.sweep_hidden(sweep, from.clone())?;
            return Ok(false);
        }
        if let Some(from) = self.sweep_changed(sweep)? {
            sweep.changed_from = from;
            return Ok(false);
        }
        let mut writes = WriteBatch::default();
        writes.delete_cf(self.family(SYSTEM), note_key(sweep.map));
        self.write(writes)?;
        Ok(true)
    }

    /// Forgets hidden ranges; gives where to go on, if there is more.
    fn sweep_hidden(&self, sweep: &Sweep, from: Vec<u8>) -> Result<Option<Vec<u8>>, LiveError> {
        let (snapshot, mut writes, mut next) = (self.snapshot(), WriteBatch::default(), None);
        let range = from..map_range(sweep.map).end;
        for (seen, item) in self.iterate(&snapshot, HIDDEN, &range).enumerate() {
            let (key, value) = item?;
            if seen == MARKS_MAX {
                next = Some(key.into_vec());
                break;
            }
            let hidden = hidden_from(&key, &value)?;
            if hidden.sequence <= sweep.through {
                writes.delete_cf(self.family(HIDDEN), hidden_key(&hidden.keys.start, hidden.sequence));
            }
        }
        self.write(writes)?;
        Ok(next)
    }

    /// Forgets that keys have changed; gives where to go on, if there is more.
    fn sweep_changed(&self, sweep: &Sweep) -> Result<Option<Vec<u8>>, LiveError> {
        let (snapshot, mut keys, mut next) = (self.snapshot(), Vec::new(), None);
        let range = sweep.changed_from.clone()..map_range(sweep.map).end;
        for (seen, item) in self.iterate(&snapshot, DIRTY, &range).enumerate() {
            let (key, mark) = item?;
            if seen == MARKS_MAX || keys.len() == KEYS_MAX {
                next = Some(key.into_vec());
                break;
            }
            if sequence_from(&mark) <= sweep.through {
                keys.push(key.into_vec());
            }
        }
        let mut writes = WriteBatch::default();
        for (key, value) in keys.iter().zip(self.values(&keys)) {
            writes.delete_cf(self.family(DIRTY), key);
            if value?.is_some_and(|value| value.first() == Some(&TOMBSTONE)) {
                writes.delete_cf(self.family(MAP), key);
            }
        }
        self.write(writes)?;
        Ok(next)
    }

    /// Forgets the note of a map that is dropped.
    pub(super) fn drop_note(&self, map: MapId, writes: &mut WriteBatch) {
        writes.delete_cf(self.family(SYSTEM), note_key(map));
        writes.delete_cf(self.family(SYSTEM), newest_key(map));
    }
}
