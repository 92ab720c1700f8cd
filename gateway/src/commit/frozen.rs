//! A live map as of one sequence: what a commit carries to the repository.
//!
//! A RocksDB snapshot that was taken between two records holds exactly the records up to the sequence it says it has
//! applied, so it is the frozen map; what it lacks is in the base of that moment. Writers go on meanwhile.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rocksdb::Snapshot;
use tidegate_replicator::map::Key;
use tidegate_replicator::tree::{NodeSource, Value};

use crate::journal::Sequence;
use crate::live::{Database, Known, MapId, Usage, frozen_page};
use crate::share::{Base, InodeNumbers, MapRead, ShareError, layered_get, layered_scan};

/// Keys in a page of changed keys, more only to have all extents of a file.
const PAGE_KEYS: usize = 1024;

/// See the head of this module.
pub(super) struct Frozen<'a> {
    pub(super) database: &'a Database,
    pub(super) snapshot: Snapshot<'a>,
    pub(super) map: MapId,
    pub(super) nodes: Arc<dyn NodeSource>,
    /// The last record that it holds.
    pub(super) through: Sequence,
    pub(super) base: Base,
}

impl<'a> Frozen<'a> {
    /// To be called between two records ([`crate::live::Live::between_records`]): within one, its ranges may have gone and
    /// what it puts in their place not be there yet.
    pub(super) fn take(
        database: &'a Database,
        map: MapId,
        nodes: Arc<dyn NodeSource>,
    ) -> Result<Self, ShareError> {
        let snapshot = database.snapshot();
        let through = database.applied(Some(&snapshot))?;
        let base = Base::decode(database.base(&snapshot, map)?.as_deref())?;
        Ok(Self { database, snapshot, map, nodes, through, base })
    }

    /// Whether anything changed since the base was frozen.
    pub(super) fn is_changed(&self) -> Result<bool, ShareError> {
        Ok(self.database.is_changed(&self.snapshot, self.map)?)
    }

    /// Ranges of keys that left the map since: sorted and disjoint. What was made together is mostly
    /// removed together, so most of them grow into one.
    pub(super) fn hidden(&self) -> Result<Vec<Range<Bytes>>, ShareError> {
        let (mut merged, mut of_inode) = (Vec::new(), Vec::new());
        for hidden in self.database.hidden_of(&self.snapshot, self.map) {
            let keys = hidden?.keys;
            let range = Bytes::copy_from_slice(&keys.start[8..])..Bytes::copy_from_slice(&keys.end[8..]);
            if of_inode.first().is_some_and(|first: &Range<Bytes>| first.start[..8] != range.start[..8]) {
                merge_sorted(&mut merged, &mut of_inode);
            }
            of_inode.push(range);
        }
        merge_sorted(&mut merged, &mut of_inode);
        Ok(merged)
    }

    /// The next changed keys from `from` on, in order, with their values; of the extents of a file all or
    /// none.
    pub(super) fn changed_page(&self, from: &[u8]) -> Result<Vec<(Key, Option<Value>)>, ShareError> {
        let keys = self.database.dirty_page(&self.snapshot, self.map, from, PAGE_KEYS)?;
        keys.into_iter()
            .map(|key| {
                let value = match self.database.frozen(&self.snapshot, self.map, &key)? {
                    Known::Value(value) => Some(Value::decode(&value)?),
                    Known::Deleted | Known::Unknown => None,
                };
                Ok((Key::decode(&key)?, value))
            })
            .collect()
    }

    pub(super) fn usage(&self) -> Result<Usage, ShareError> {
        Ok(self.database.usage(&self.snapshot, self.map)?)
    }

    /// No inode of the map has this number or a higher one.
    pub(super) fn next_inode(&self) -> Result<u64, ShareError> {
        let record = self.database.frozen_system(&self.snapshot, &InodeNumbers::key(self.map))?;
        Ok(InodeNumbers::next_from(record.as_deref())?.0)
    }
}

/// Moves the ranges of one inode, which is above all inodes in `merged`, there.
fn merge_sorted(merged: &mut Vec<Range<Bytes>>, of_inode: &mut Vec<Range<Bytes>>) {
    of_inode.sort_by(|one, other| one.start.cmp(&other.start));
    for range in of_inode.drain(..) {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end.max(std::mem::take(&mut last.end)),
            _ => merged.push(range),
        }
    }
}

#[async_trait]
impl MapRead for Frozen<'_> {
    async fn get(&self, key: &Key) -> Result<Option<Value>, ShareError> {
        let key = key.encode();
        let above = self.database.frozen_or_hidden(&self.snapshot, self.map, &key)?;
        layered_get(above, || Ok(self.base.clone()), &*self.nodes, &key).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError> {
        let page = |range: &Range<Vec<u8>>, limit| {
            Ok(frozen_page(self.database, &self.snapshot, self.map, range, limit)?)
        };
        layered_scan(page, &self.nodes, range, limit).await
    }
}
