//! Reading a map, live or frozen.
//!
//! [`MapRead`] is what the namespace needs to answer questions; [`FrozenMap`] is a snapshot, and
//! [`LiveMap`] is the overlay in RocksDB over a base tree. The two answer alike, so one namespace
//! serves both.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_replicator::map::Key;
use tidegate_replicator::tree::{self, Cursor, NodeSource, Root, Value};

use super::{Base, ShareError};
use crate::live::{Known, Live, MapId, Page};

/// Overlay entries that are read at once. More than what a client lists with attributes in 64 KiB.
const PAGE_ENTRIES: usize = 512;
/// The fewest, where more than one page is read: what has been removed takes places in a page too.
const PAGE_ENTRIES_LEAST: usize = 64;
/// The most overlay entries that are read at once to find an extent, of some hundred bytes each.
const EXTENT_ENTRIES_MAX: usize = 1 << 18;
/// What the key of an extent is known by: the byte behind the inode.
const EXTENT: u8 = b'e';
const INODE_BYTES: usize = 8;

/// A sorted map that can be asked.
#[async_trait]
pub trait MapRead: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &Key) -> Result<Option<Value>, ShareError>;

    /// The values of several keys, each as [`MapRead::get`] gives it.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, ShareError> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// The first `limit` entries of a range of keys that lies within one inode; fewer only when there
    /// are no more.
    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError>;
}

/// A map as it was when it was frozen.
#[derive(Clone)]
pub struct FrozenMap {
    /// The frozen map.
    pub root: Root,
    /// Where its nodes are read.
    pub nodes: Arc<dyn NodeSource>,
}

#[async_trait]
impl MapRead for FrozenMap {
    async fn get(&self, key: &Key) -> Result<Option<Value>, ShareError> {
        Ok(tree::get(&self.root, &key.encode(), &*self.nodes).await?)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, ShareError> {
        get_sorted(&self.root, keys.iter().map(Key::encode), &*self.nodes).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError> {
        let mut cursor = Cursor::new(&self.root, self.nodes.clone()).until(range.end);
        cursor.seek(&range.start).await?;
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((key, value)) = cursor.next().await? else { break };
            found.push((Key::decode(&key)?, value));
        }
        Ok(found)
    }
}

/// A map that changes: an overlay over a base.
#[derive(Clone)]
pub struct LiveMap {
    /// The overlay of all maps.
    pub live: Live,
    /// Which map.
    pub map: MapId,
    /// Where nodes of the base are read.
    pub nodes: Arc<dyn NodeSource>,
}

/// The value of a key, given what the overlay knows of it.
pub(crate) async fn layered_get(
    above: Known,
    base: impl FnOnce() -> Result<Base, ShareError>,
    nodes: &dyn NodeSource,
    key: &[u8],
) -> Result<Option<Value>, ShareError> {
    match above {
        Known::Value(value) => Ok(Some(Value::decode_owned(value)?)),
        Known::Deleted => Ok(None),
        Known::Unknown => Ok(tree::get(&base()?.root, key, nodes).await?),
    }
}

/// As [`layered_get`], of several keys.
async fn layered_get_many(
    above: Vec<Known>,
    base: impl FnOnce() -> Result<Base, ShareError>,
    nodes: &dyn NodeSource,
    keys: Vec<Vec<u8>>,
) -> Result<Vec<Option<Value>>, ShareError> {
    let unknown = above.iter().zip(keys).filter(|(known, _)| **known == Known::Unknown);
    let unknown: Vec<_> = unknown.map(|(_, key)| key).collect();
    let below = if unknown.is_empty() {
        Vec::new()
    } else {
        get_sorted(&base()?.root, unknown.into_iter(), nodes).await?
    };
    let mut below = below.into_iter();
    let value = |known| match known {
        Known::Value(value) => Ok(Some(Value::decode_owned(value)?)),
        Known::Deleted => Ok(None),
        Known::Unknown => Ok(below.next().flatten()),
    };
    above.into_iter().map(value).collect()
}

/// The values of keys in a tree, which is asked in their order, so that neighbours share what is read.
async fn get_sorted(
    root: &Root,
    keys: impl Iterator<Item = Vec<u8>>,
    nodes: &dyn NodeSource,
) -> Result<Vec<Option<Value>>, ShareError> {
    let mut sorted: Vec<_> = keys.zip(0usize..).collect();
    sorted.sort_unstable();
    let (keys, places): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
    let mut values = vec![None; keys.len()];
    for (place, value) in places.into_iter().zip(tree::get_many(root, &keys, nodes).await?) {
        values[place] = value;
    }
    Ok(values)
}

/// The first `limit` entries of a range, from pages of the overlay and what they do not hide of the
/// base. `page` gives the overlay's entries at the start of a range.
///
/// Each page is of one moment, and the next one of a later moment. Between them a commit may have given the extents
/// of a file other borders. What a page covers beyond its last extent says nothing then: the byte behind that extent may
/// lie in one that ends there by now. So extents go on from the last one found, and a page without any is
/// asked for again, longer, until it has one or is the last. Whoever reads them so finds every byte (see `super::extents`).
/// Between two extents lie at most as many marks as a chunk has bytes, or as pieces were punched out of the file since the last
/// commit; beyond [`EXTENT_ENTRIES_MAX`] of them it is gone on page by page, whatever comes between.
pub(crate) async fn layered_scan(
    page: impl Fn(&Range<Vec<u8>>, usize) -> Result<Page, ShareError>,
    nodes: &Arc<dyn NodeSource>,
    range: Range<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(Key, Value)>, ShareError> {
    let are_extents = range.start.get(INODE_BYTES) == Some(&EXTENT);
    let mut found: Vec<(Key, Value)> = Vec::new();
    let (mut start, mut entries_max) = (range.start, PAGE_ENTRIES.min(limit + 1));
    while found.len() < limit && start < range.end {
        let left = limit - found.len();
        // Of anything else no more is of use than is still wanted, and whether there is more.
        let useful = if are_extents { usize::MAX } else { PAGE_ENTRIES_LEAST.max(left + 1) };
        let page = page(&(start.clone()..range.end.clone()), entries_max.min(useful))?;
        let end = page.end.clone();
        let entries = merge(page, &start, left, nodes).await?;
        match entries.last() {
            _ if !are_extents || end >= range.end => start = end,
            Some((last, _)) => start = [&last.encode()[..], &[0]].concat(),
            None if entries_max < EXTENT_ENTRIES_MAX => entries_max *= 2,
            None => start = end,
        }
        found.extend(entries);
    }
    Ok(found)
}

/// The entries of a page, with those of the base that it does not hide; at most `limit`.
async fn merge(
    page: Page,
    start: &[u8],
    limit: usize,
    nodes: &Arc<dyn NodeSource>,
) -> Result<Vec<(Key, Value)>, ShareError> {
    let base = Base::decode(page.base.as_deref())?;
    let mut cursor = Cursor::new(&base.root, nodes.clone()).until(page.end);
    cursor.seek(start).await?;
    let mut below = next_visible(&mut cursor, &page.hidden).await?;
    let mut above = page.entries.into_iter().peekable();
    let mut found = Vec::new();
    while found.len() < limit {
        let above_first = match (above.peek(), &below) {
            (None, None) => break,
            (Some((above, _)), Some((below, _))) => above.as_slice() <= below.as_ref(),
            (above, None) => above.is_some(),
            (None, Some(_)) => false,
        };
        if above_first {
            let Some((key, value)) = above.next() else { break };
            if below.as_ref().is_some_and(|(below, _)| *below == key) {
                below = next_visible(&mut cursor, &page.hidden).await?;
            }
            if let Some(value) = value {
                found.push((Key::decode(&key)?, Value::decode_owned(value)?));
            }
        } else if let Some((key, value)) = below.take() {
            found.push((Key::decode(&key)?, value));
            below = next_visible(&mut cursor, &page.hidden).await?;
        }
    }
    Ok(found)
}

/// The next entry of the base that no range hides. A range is left by a seek, not entry by entry.
async fn next_visible(
    cursor: &mut Cursor,
    hidden: &[Range<Vec<u8>>],
) -> Result<Option<(Bytes, Value)>, ShareError> {
    loop {
        let Some((key, value)) = cursor.next().await? else { return Ok(None) };
        let covering =
            hidden.iter().find(|range| range.start.as_slice() <= &key[..] && &key[..] < range.end.as_slice());
        match covering {
            None => return Ok(Some((key, value))),
            Some(range) => cursor.seek(&range.end).await?,
        }
    }
}

#[async_trait]
impl MapRead for LiveMap {
    async fn get(&self, key: &Key) -> Result<Option<Value>, ShareError> {
        let key = key.encode();
        let above = self.live.get(self.map, &key)?;
        layered_get(above, || Base::load(&self.live, self.map), &*self.nodes, &key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, ShareError> {
        let keys: Vec<_> = keys.iter().map(Key::encode).collect();
        let above = self.live.get_many(self.map, &keys)?;
        layered_get_many(above, || Base::load(&self.live, self.map), &*self.nodes, keys).await
    }

    async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError> {
        let page = |range: &Range<Vec<u8>>, limit| Ok(self.live.page(self.map, range, limit)?);
        layered_scan(page, &self.nodes, range, limit).await
    }
}
