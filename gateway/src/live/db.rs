//! RocksDB: the materialised view of the journal, and indexes that can be made again.
//!
//! Owns the database under `<data>/meta`: its column families, their keys, and how a journal record
//! is carried out in them.
//!
//! ```text
//! map       full key                          1, encoded value | 0 (hides the base)
//! dirty     full key                          sequence: changed since the base was frozen
//! hidden    map, inode, sequence              start length u32, start, end: keys of the base out of sight
//! system    "applied"                         sequence of the newest record carried out
//!           "base/" map                       encoded base
//!           "usage/" map                      bytes u64, inodes u64
//!           "newest/" map                     sequence of its newest change
//!           "sweep/" map                      sequence up to which its marks are stale
//!           others                            the gateway's own records
//! outcomes  sequence                          retry key, encoded outcome
//! chunks    chunk id                          location: where a durable frame of it is (dedup)
//! packs     pack id                           its state, once the target's index names it
//! waiting   pack id                           its state until then
//! void      see `ledger/void.rs`              packs that count for nothing, and the plans behind that
//! full key = map u64 big-endian, key of the map (which begins with the inode)
//! ```
//!
//! Order of writes. The write-ahead log is off: the journal is the log. Records are carried out in
//! the order of their sequences, each group in one write batch that also sets "applied"; all column
//! families flush together. A crash therefore leaves a prefix of the journal, and replay goes on
//! after "applied". `chunks`, `packs` and `waiting` are not journaled: a loss there costs work, not data. `void` is flushed
//! before anything relies on it.
//!
//! A rebase sets the base; what only told the map from the old one goes later ([`super::sweep`]).

use std::collections::{HashMap, hash_map};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DBPinnableSlice, FlushOptions, IteratorMode, Options, ReadOptions, SliceTransform,
    Snapshot, WriteBatch, WriteOptions,
};

use super::change::{Batch, Change};
use super::outcomes::Kept;
use super::pending::Known;
use super::records::{
    BASES, Hidden, TOMBSTONE, Usage, VALUE, base_key, hidden_from, hidden_key, known_from, known_in,
    map_range, sequence_from, successor, usage_key,
};
use super::{LiveError, MapId, full_key};
use crate::journal::Sequence;

pub(super) const MAP: &str = "map";
pub(super) const DIRTY: &str = "dirty";
pub(super) const HIDDEN: &str = "hidden";
pub(super) const SYSTEM: &str = "system";
pub(super) const OUTCOMES: &str = "outcomes";
const CHUNKS: &str = "chunks";
const PACKS: &str = "packs";
const WAITING: &str = "waiting";
const VOID: &str = "void";
const OWED: &str = "owed";
const FAMILIES: [&str; 10] = [MAP, DIRTY, HIDDEN, SYSTEM, OUTCOMES, CHUNKS, PACKS, WAITING, VOID, OWED];

const APPLIED: &[u8] = b"applied";

/// Keys that are read together, or forgotten in one write batch.
pub(super) const KEYS_MAX: usize = 512;
/// One family's memtable is at most this part of what all hold: one in this many bytes.
const MEMTABLE_PART: usize = 2;

/// The database.
#[derive(Debug)]
pub(crate) struct Database {
    db: DB,
    /// Which outcomes of calls it holds.
    pub(super) kept: Kept,
}

/// A key of the overlay and its value; none stands for a removed key.
pub(super) type OverlayEntry = (Vec<u8>, Option<Bytes>);
/// A key and a value as RocksDB gives them.
type RawEntry = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>;

/// Which of the side tables that are not journaled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SideTable {
    /// Chunk id to location.
    Chunks,
    /// Pack id to state, of packs that the target's index names.
    Packs,
    /// Pack id to state, of packs that still have a way to go.
    Waiting,
    /// Packs that count for nothing, and the plans that made them so.
    Void,
    /// What copies of the repository lack.
    Owed,
}

impl SideTable {
    fn name(self) -> &'static str {
        match self {
            Self::Chunks => CHUNKS,
            Self::Packs => PACKS,
            Self::Waiting => WAITING,
            Self::Void => VOID,
            Self::Owed => OWED,
        }
    }
}

impl Database {
    /// Opens or creates the database; `cache_bytes` bounds its block cache, `memtable_bytes` what all
    /// families together hold in memory before they are flushed.
    pub(crate) fn open(path: &Path, cache_bytes: usize, memtable_bytes: usize) -> Result<Self, LiveError> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_atomic_flush(true);
        options.set_max_background_jobs(2);
        options.set_max_open_files(512);
        options.set_keep_log_file_num(2);
        options.set_db_write_buffer_size(memtable_bytes);
        let families = FAMILIES.map(|name| {
            ColumnFamilyDescriptor::new(name, family_options(name, &cache, memtable_bytes / MEMTABLE_PART))
        });
        let db = DB::open_cf_descriptors(&options, path, families)?;
        let database = Self { db, kept: Kept::default() };
        database.learn_outcomes()?;
        Ok(database)
    }

    pub(super) fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every family was opened")
    }

    /// The newest record carried out, as this snapshot (or now) sees it.
    pub(crate) fn applied(&self, snapshot: Option<&Snapshot<'_>>) -> Result<Sequence, LiveError> {
        let value = match snapshot {
            Some(snapshot) => snapshot.get_cf(self.family(SYSTEM), APPLIED)?,
            None => self.db.get_cf(self.family(SYSTEM), APPLIED)?,
        };
        Ok(value.as_deref().map_or(Sequence(0), sequence_from))
    }

    /// A view that later changes leave alone.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        self.db.snapshot()
    }

    /// What the overlay knows of a full key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Known, LiveError> {
        match self.db.get_pinned_cf(self.family(MAP), key)?.as_deref().map_or(Known::Unknown, known_from) {
            Known::Unknown if self.is_hidden(&self.snapshot(), key)? => Ok(Known::Deleted),
            known => Ok(known),
        }
    }

    /// What the overlay knows of full keys, which are in order: of each as [`Database::get`] has it.
    pub(super) fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Known>, LiveError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_MAX) {
            for value in self.values(keys) {
                found.push(value?.as_deref().map_or(Known::Unknown, known_from));
            }
        }
        let unknown: Vec<_> = (0..keys.len()).filter(|&place| found[place] == Known::Unknown).collect();
        let (Some(&first), Some(&last)) = (unknown.first(), unknown.last()) else { return Ok(found) };
        let snapshot = self.snapshot();
        if self.hides_nothing(&snapshot, &keys[first], &keys[last])? {
            return Ok(found);
        }
        for place in unknown {
            if self.is_hidden(&snapshot, &keys[place])? {
                found[place] = Known::Deleted;
            }
        }
        Ok(found)
    }

    /// Whether no range is hidden of any inode from that of one full key to that of another.
    fn hides_nothing(&self, snapshot: &Snapshot<'_>, first: &[u8], last: &[u8]) -> Result<bool, LiveError> {
        let inode = |key: &[u8]| key[..16.min(key.len())].to_vec();
        let hidden = self.iterate(snapshot, HIDDEN, &(inode(first)..successor(&inode(last)))).next();
        Ok(hidden.transpose()?.is_none())
    }

    /// Up to `limit` overlay entries of a range of full keys, in order; none stands for a removed key.
    pub(super) fn entries(
        &self,
        snapshot: &Snapshot<'_>,
        range: &Range<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<OverlayEntry>, LiveError> {
        self.iterate(snapshot, MAP, range)
            .take(limit)
            .map(|item| {
                let (key, value) = item?;
                let value = match known_in(value) {
                    Known::Value(value) => Some(value),
                    Known::Deleted | Known::Unknown => None,
                };
                Ok((key.into_vec(), value))
            })
            .collect()
    }

    /// What the overlay of a frozen view has of a key, whatever the base may show.
    pub(crate) fn frozen(&self, snapshot: &Snapshot<'_>, map: MapId, key: &[u8]) -> Result<Known, LiveError> {
        self.frozen_full(snapshot, &full_key(map, key))
    }

    /// As [`Database::frozen`], but a key that the base may not show is removed.
    pub(crate) fn frozen_or_hidden(
        &self,
        snapshot: &Snapshot<'_>,
        map: MapId,
        key: &[u8],
    ) -> Result<Known, LiveError> {
        let key = full_key(map, key);
        match self.frozen_full(snapshot, &key)? {
            Known::Unknown if self.is_hidden(snapshot, &key)? => Ok(Known::Deleted),
            known => Ok(known),
        }
    }

    fn frozen_full(&self, snapshot: &Snapshot<'_>, key: &[u8]) -> Result<Known, LiveError> {
        let value = snapshot.get_pinned_cf(self.family(MAP), key)?;
        Ok(value.as_deref().map_or(Known::Unknown, known_from))
    }

    fn is_hidden(&self, snapshot: &Snapshot<'_>, key: &[u8]) -> Result<bool, LiveError> {
        let end = [key, &[0]].concat();
        Ok(!self.hidden_meeting(snapshot, &(key.to_vec()..end))?.is_empty())
    }

    /// The hidden ranges of the inode of `range` that meet it.
    pub(super) fn hidden_meeting(
        &self,
        snapshot: &Snapshot<'_>,
        range: &Range<Vec<u8>>,
    ) -> Result<Vec<Hidden>, LiveError> {
        let inode = &range.start[..16.min(range.start.len())];
        let meets = |hidden: &Hidden| hidden.keys.start < range.end && range.start < hidden.keys.end;
        let below = self.hidden_below(snapshot, inode);
        below.filter(|hidden| hidden.as_ref().map_or(true, meets)).collect()
    }

    /// Every hidden range of a map as it is read: in order of inode, and of sequence within an inode.
    pub(crate) fn hidden_of<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        map: MapId,
    ) -> impl Iterator<Item = Result<Hidden, LiveError>> + use<'a> {
        // What cannot be read is said with the first range.
        let (stale, failure) = match self.stale_through(snapshot, map) {
            Ok(stale) => (stale, None),
            Err(error) => (Sequence(0), Some(Err(error))),
        };
        let found = self.hidden_below(snapshot, &map.0.to_be_bytes());
        let is_news = move |hidden: &Result<Hidden, LiveError>| {
            hidden.as_ref().map_or(true, |hidden| hidden.sequence > stale)
        };
        failure.into_iter().chain(found.filter(is_news))
    }

    fn hidden_below<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Hidden, LiveError>> + use<'a> {
        let range = prefix.to_vec()..successor(prefix);
        self.iterate(snapshot, HIDDEN, &range).map(|item| {
            let (key, value) = item?;
            hidden_from(&key, &value)
        })
    }

    /// Keys of a map that changed since its base was frozen, in order from `from` on: `least` if there are
    /// as many, and then the rest of the extents of a file if the page ends among them. No other kind of
    /// key belongs to its neighbours, and a directory may have changed in millions of names.
    pub(crate) fn dirty_page(
        &self,
        snapshot: &Snapshot<'_>,
        map: MapId,
        from: &[u8],
        least: usize,
    ) -> Result<Vec<Vec<u8>>, LiveError> {
        let range = full_key(map, from)..map_range(map).end;
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let stale = self.stale_through(snapshot, map)?;
        for item in self.iterate(snapshot, DIRTY, &range) {
            let (key, mark) = item?;
            if sequence_from(&mark) <= stale {
                continue;
            }
            let key = key[8..].to_vec();
            if keys.len() >= least && !keys.last().is_some_and(|last| are_extents_of_one(last, &key)) {
                break;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Whether anything of a map changed since its base was frozen.
    pub(crate) fn is_changed(&self, snapshot: &Snapshot<'_>, map: MapId) -> Result<bool, LiveError> {
        // While there are stale marks nobody steps over them: the newest change says it.
        let stale = self.stale_through(snapshot, map)?;
        if stale > Sequence(0) {
            return Ok(self.newest_change(snapshot, map)? > stale);
        }
        for family in [DIRTY, HIDDEN] {
            if let Some(found) = self.iterate(snapshot, family, &map_range(map)).next() {
                found?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The encoded base of a map.
    pub(crate) fn base(&self, snapshot: &Snapshot<'_>, map: MapId) -> Result<Option<Bytes>, LiveError> {
        Ok(snapshot.get_cf(self.family(SYSTEM), base_key(map))?.map(Bytes::from))
    }

    /// What a map uses.
    pub(crate) fn usage(&self, snapshot: &Snapshot<'_>, map: MapId) -> Result<Usage, LiveError> {
        let record = snapshot.get_cf(self.family(SYSTEM), usage_key(map))?;
        Ok(record.as_deref().map_or(Usage::default(), Usage::decode))
    }

    /// One of the gateway's own records, in a frozen view.
    pub(crate) fn frozen_system(
        &self,
        snapshot: &Snapshot<'_>,
        key: &[u8],
    ) -> Result<Option<Bytes>, LiveError> {
        Ok(snapshot.get_cf(self.family(SYSTEM), key)?.map(Bytes::from))
    }

    /// One of the gateway's own records.
    pub(crate) fn system(&self, key: &[u8]) -> Result<Option<Bytes>, LiveError> {
        Ok(self.db.get_cf(self.family(SYSTEM), key)?.map(Bytes::from))
    }

    /// The gateway's own records whose keys start with `prefix`.
    pub(crate) fn systems(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, LiveError> {
        let range = prefix.to_vec()..successor(prefix);
        self.iterate(&self.snapshot(), SYSTEM, &range)
            .map(|item| {
                let (key, value) = item?;
                Ok((key.into_vec(), Bytes::from(value)))
            })
            .collect()
    }

    /// A value of a side table.
    pub(crate) fn side(&self, table: SideTable, key: &[u8]) -> Result<Option<Bytes>, LiveError> {
        Ok(self.db.get_cf(self.family(table.name()), key)?.map(Bytes::from))
    }

    /// Everything in a side table, in order of keys, as it is read.
    pub(crate) fn side_entries(
        &self,
        table: SideTable,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Bytes), LiveError>> {
        self.side_entries_from(table, &[])
    }

    /// As [`Database::side_entries`], from a key on.
    pub(crate) fn side_entries_from(
        &self,
        table: SideTable,
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Bytes), LiveError>> {
        let mode = IteratorMode::From(from, rocksdb::Direction::Forward);
        let items = self.db.iterator_cf(self.family(table.name()), mode);
        items.map(|item| Ok(item.map(|(key, value)| (key.into_vec(), Bytes::from(value)))?))
    }

    /// Sets (or with none removes) values of a side table.
    pub(crate) fn set_side<'a>(
        &self,
        table: SideTable,
        entries: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), LiveError> {
        let family = self.family(table.name());
        let mut writes = WriteBatch::default();
        for (key, value) in entries {
            match value {
                Some(value) => writes.put_cf(family, key, value),
                None => writes.delete_cf(family, key),
            }
        }
        self.write(writes)
    }

    /// Carries out records, which follow each other without a gap. A range goes in a write of its own, before everything else of
    /// its record: until the last write is done a view may hold a part of a record, and a crash leave one, which is
    /// carried out anew.
    pub(super) fn apply(&self, records: &[(Sequence, &Batch)]) -> Result<(), LiveError> {
        let mut writes = WriteBatch::default();
        let (mut usages, mut newest) = (HashMap::new(), HashMap::new());
        for (sequence, batch) in records {
            for change in &batch.changes {
                if let Change::DeleteRange { map, range } = change {
                    // What is said to be carried out is marked as a change, too.
                    self.note_newest(&std::mem::take(&mut newest), &mut writes);
                    self.write(std::mem::take(&mut writes))?;
                    self.hide(*sequence, &(full_key(*map, &range.start)..full_key(*map, &range.end)))?;
                }
            }
            newest.extend(batch.changed_maps().map(|map| (map, *sequence)));
            for change in &batch.changes {
                self.apply_change(*sequence, change, &mut writes);
            }
            self.add_usage(batch, &mut usages, &mut writes)?;
            writes.put_cf(self.family(SYSTEM), APPLIED, sequence.0.to_le_bytes());
        }
        self.note_newest(&newest, &mut writes);
        self.write(writes)
    }

    fn apply_change(&self, sequence: Sequence, change: &Change, writes: &mut WriteBatch) {
        match change {
            Change::Put { map, key, value } => {
                let key = full_key(*map, key);
                writes.put_cf(self.family(MAP), &key, [&[VALUE], value.as_ref()].concat());
                writes.put_cf(self.family(DIRTY), &key, sequence.0.to_le_bytes());
            }
            Change::Delete { map, key } => {
                let key = full_key(*map, key);
                writes.put_cf(self.family(MAP), &key, [TOMBSTONE]);
                writes.put_cf(self.family(DIRTY), &key, sequence.0.to_le_bytes());
            }
            Change::PutPayload { .. } => unreachable!("payloads are resolved before a batch gets here"),
            // Ranges go before, usage after the other changes of a record.
            Change::DeleteRange { .. } | Change::Usage { .. } => {}
            Change::Rebase { map, through, base } => {
                self.rebase(*map, *through, base, writes);
            }
            Change::System { key, value: Some(value) } => writes.put_cf(self.family(SYSTEM), key, value),
            Change::System { key, value: None } => writes.delete_cf(self.family(SYSTEM), key),
            Change::Outcome { retry, outcome } => self.keep_outcome(sequence, retry, outcome, writes),
        }
    }

    /// Usage is a sum, so it must move in the same write batch as "applied".
    fn add_usage(
        &self,
        batch: &Batch,
        usages: &mut HashMap<MapId, Usage>,
        writes: &mut WriteBatch,
    ) -> Result<(), LiveError> {
        for change in &batch.changes {
            if let Change::Usage { map, bytes, inodes } = change {
                let usage = match usages.entry(*map) {
                    hash_map::Entry::Occupied(known) => known.into_mut(),
                    hash_map::Entry::Vacant(unknown) => unknown.insert(self.usage(&self.snapshot(), *map)?),
                };
                *usage = usage.plus(*bytes, *inodes);
                writes.put_cf(self.family(SYSTEM), usage_key(*map), usage.encode());
            }
        }
        Ok(())
    }

    /// Removes the overlay's keys in a range and puts those of the base out of sight. Earlier hidden
    /// ranges that lie within it are dropped.
    fn hide(&self, sequence: Sequence, keys: &Range<Vec<u8>>) -> Result<(), LiveError> {
        let snapshot = self.snapshot();
        let mut writes = WriteBatch::default();
        for item in self.iterate(&snapshot, MAP, keys) {
            writes.delete_cf(self.family(MAP), item?.0);
        }
        for item in self.iterate(&snapshot, DIRTY, keys) {
            writes.delete_cf(self.family(DIRTY), item?.0);
        }
        for old in self.hidden_meeting(&snapshot, keys)? {
            if keys.start <= old.keys.start && old.keys.end <= keys.end {
                writes.delete_cf(self.family(HIDDEN), hidden_key(&old.keys.start, old.sequence));
            }
        }
        let start_bytes = (keys.start.len() as u32).to_le_bytes();
        let value = [&start_bytes[..], &keys.start, &keys.end].concat();
        writes.put_cf(self.family(HIDDEN), hidden_key(&keys.start, sequence), value);
        self.write(writes)
    }

    /// The values of full keys, which are in order, in the family `map`. Those at hand hold their blocks
    /// in memory, so keys are few.
    pub(super) fn values(
        &self,
        keys: &[Vec<u8>],
    ) -> Vec<Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>> {
        debug_assert!(keys.len() <= KEYS_MAX);
        match keys {
            [] => Vec::new(),
            keys => self.db.batched_multi_get_cf(self.family(MAP), keys, true),
        }
    }

    /// The maps that stand over a base.
    pub(crate) fn maps(&self) -> Result<Vec<MapId>, LiveError> {
        let records = self.systems(BASES)?;
        let number = |key: &[u8]| key.strip_prefix(BASES)?.try_into().ok().map(u64::from_be_bytes);
        Ok(records.iter().filter_map(|(key, _)| number(key).map(MapId)).collect())
    }

    /// Removes everything of a map that is served no more.
    pub(crate) fn drop_map(&self, map: MapId) -> Result<(), LiveError> {
        let Range { start, end } = map_range(map);
        let mut writes = WriteBatch::default();
        for name in [MAP, DIRTY, HIDDEN] {
            writes.delete_range_cf(self.family(name), &start, &end);
        }
        writes.delete_cf(self.family(SYSTEM), base_key(map));
        writes.delete_cf(self.family(SYSTEM), usage_key(map));
        self.drop_note(map, &mut writes);
        self.write(writes)
    }

    /// Makes everything carried out so far durable; returns the newest record of it.
    pub(crate) fn flush(&self) -> Result<Sequence, LiveError> {
        let applied = self.applied(None)?;
        let families = FAMILIES.map(|name| self.family(name));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options)?;
        Ok(applied)
    }

    pub(super) fn write(&self, writes: WriteBatch) -> Result<(), LiveError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.db.write_opt(writes, &options)?)
    }

    pub(super) fn iterate<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        family: &str,
        range: &Range<Vec<u8>>,
    ) -> impl Iterator<Item = RawEntry> + use<'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end.clone());
        options.set_total_order_seek(true);
        let mode = IteratorMode::From(&range.start, rocksdb::Direction::Forward);
        snapshot.iterator_cf_opt(self.family(family), options, mode)
    }
}

/// Whether two keys of a map are extents of one file.
fn are_extents_of_one(one: &[u8], other: &[u8]) -> bool {
    const EXTENT: u8 = b'e';
    one.get(..9) == other.get(..9) && one.get(8) == Some(&EXTENT)
}

fn family_options(name: &str, cache: &Cache, memtable_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_bloom_filter(10.0, false);
    // Filters and indexes of many keys are larger than the cache: it holds the parts that are asked.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(memtable_bytes);
    options.set_compression_type(DBCompressionType::Lz4);
    if name == HIDDEN {
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(16));
    }
    options
}
