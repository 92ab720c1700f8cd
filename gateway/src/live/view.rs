//! Reading several keys of one inode as of one moment.
//!
//! The memory layer's shard is locked, a RocksDB snapshot is taken, and only then is the lock given
//! back. What the memory layer held then is at least as new as the snapshot, and nothing can have
//! left the one without being in the other.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use rocksdb::Snapshot;

use super::db::{Database, OverlayEntry};
use super::pending::Pending;
use super::{LiveError, MapId, full_key};

/// A page of the overlay, with what a reader needs to look below it.
#[derive(Debug)]
pub(crate) struct Page {
    /// Keys of the map in order; none stands for a key that is removed.
    pub(crate) entries: Vec<OverlayEntry>,
    /// Up to where the page speaks: keys of the map at or after this are not covered.
    pub(crate) end: Vec<u8>,
    /// Keys of the map that the base may not show.
    pub(crate) hidden: Vec<Range<Vec<u8>>>,
    /// The encoded base of that moment.
    pub(crate) base: Option<Bytes>,
}

pub(super) fn page(
    pending: &Pending,
    database: &Database,
    map: MapId,
    range: &Range<Vec<u8>>,
    limit: usize,
) -> Result<Page, LiveError> {
    let full = full_key(map, &range.start)..full_key(map, &range.end);
    let shard = pending.lock(&full.start);
    let snapshot = database.snapshot();
    let newest: Vec<_> =
        shard.entries(&full).take(limit + 1).map(|(key, value)| (key.clone(), value.cloned())).collect();
    let hidden_above: Vec<_> = shard.hidden(&full).cloned().collect();
    drop(shard);

    let below = database.entries(&snapshot, &full, limit + 1)?;
    let end = page_end(&newest, &below, limit, &full.end);
    let visible_below = below
        .into_iter()
        .filter(|(key, _)| !hidden_above.iter().any(|hidden| hidden.start <= *key && *key < hidden.end));
    let mut entries = laid_over(newest, visible_below);
    entries.truncate(entries.partition_point(|(key, _)| *key < end));
    Page::new(database, &snapshot, map, entries, (&full, end), hidden_above)
}

/// The entries of two layers in order; what both have is as the newer one has it. Mostly that one is empty.
fn laid_over(newest: Vec<OverlayEntry>, below: impl Iterator<Item = OverlayEntry>) -> Vec<OverlayEntry> {
    if newest.is_empty() {
        return below.collect();
    }
    let mut entries: BTreeMap<_, _> = below.collect();
    entries.extend(newest);
    entries.into_iter().collect()
}

/// As [`page`], of a snapshot alone.
pub(crate) fn frozen_page(
    database: &Database,
    snapshot: &Snapshot<'_>,
    map: MapId,
    range: &Range<Vec<u8>>,
    limit: usize,
) -> Result<Page, LiveError> {
    let full = full_key(map, &range.start)..full_key(map, &range.end);
    let mut entries = database.entries(snapshot, &full, limit + 1)?;
    let end = page_end(&[], &entries, limit, &full.end);
    entries.truncate(limit);
    Page::new(database, snapshot, map, entries, (&full, end), Vec::new())
}

impl Page {
    /// All keys come in as full keys.
    fn new(
        database: &Database,
        snapshot: &Snapshot<'_>,
        map: MapId,
        entries: Vec<OverlayEntry>,
        (full, end): (&Range<Vec<u8>>, Vec<u8>),
        hidden_above: Vec<Range<Vec<u8>>>,
    ) -> Result<Self, LiveError> {
        let hidden_below = database.hidden_meeting(snapshot, full)?.into_iter().map(|hidden| hidden.keys);
        let hidden = hidden_above.into_iter().chain(hidden_below);
        Ok(Self {
            entries: entries.into_iter().map(|(key, value)| (without_map(key), value)).collect(),
            end: end[8..].to_vec(),
            hidden: hidden.map(|keys| keys.start[8..].to_vec()..keys.end[8..].to_vec()).collect(),
            base: database.base(snapshot, map)?,
        })
    }
}

/// The key of the map in a full key.
fn without_map(mut full: Vec<u8>) -> Vec<u8> {
    full.drain(..8);
    full
}

/// Both layers were read up to a limit: the page ends before the first key that one of them may lack.
fn page_end(newest: &[OverlayEntry], below: &[OverlayEntry], limit: usize, range_end: &[u8]) -> Vec<u8> {
    let first_missing = [newest, below].into_iter().filter_map(|layer| layer.get(limit)).map(|(key, _)| key);
    first_missing.min().map_or_else(|| range_end.to_vec(), Clone::clone)
}
