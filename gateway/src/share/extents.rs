//! Changing which extents a file has.
//!
//! Extents do not overlap, so replacing `[start, end)` means: of every extent that meets it, keep what
//! sticks out on the left and on the right, and drop the rest. The plan is made under the inode's lock
//! and carried out by the transaction of the write.
//!
//! Readers take no lock, and look extents up a page at a time. Between two pages a commit may have put chunks in the
//! place of pieces of the journal, with other borders. Either page is right of the bytes that it covers, so what
//! a later page says of bytes that an earlier one has told of is left out.

use std::ops::Range;

use tidegate_replicator::map::{Extent, InodeNumber, Key, kind_range};

use super::{MapRead, ShareError, Transaction};

/// Extents that are read at once while looking for those of a range: few at first, since most ranges
/// meet one or two, then ever more.
const EXTENTS_READ_FIRST: usize = 2;
const EXTENTS_READ_MAX: usize = 64;

/// All extents of a file that meet a range, in order; no two of them overlap. See the head of this module for who
/// does not hold the inode's lock.
pub async fn extents_meeting(
    map: &dyn MapRead,
    file: InodeNumber,
    range: &Range<u64>,
) -> Result<Vec<Extent>, ShareError> {
    let mut found = Vec::new();
    let mut from = range.start;
    let mut wanted = EXTENTS_READ_FIRST;
    loop {
        let keys = kind_range(file, b'e', &from.saturating_add(1).to_be_bytes());
        let page = map.scan(keys, wanted).await?;
        let last_page = page.len() < wanted;
        wanted = (wanted * 4).min(EXTENTS_READ_MAX);
        for (key, value) in page {
            let Key::Extent(_, end) = key else { continue };
            let extent = Extent::from_value(end, &value)?;
            if extent.start >= range.end {
                return Ok(found);
            }
            let told = found.last().map_or(0, |last: &Extent| last.end);
            from = end;
            found.extend(extent.slice(&(told..end)));
        }
        if last_page || from >= range.end {
            return Ok(found);
        }
    }
}

/// Takes `range` out of the given extents of a file, which are all that meet it. Returns how many bytes
/// of data went.
pub fn cut_out(
    transaction: &mut Transaction,
    file: InodeNumber,
    extents: &[Extent],
    range: &Range<u64>,
) -> u64 {
    let mut removed = 0;
    for extent in extents {
        let Some(covered) = extent.slice(range) else { continue };
        removed += covered.length();
        if extent.end <= range.end {
            transaction.delete(&Key::Extent(file, extent.end));
        }
    }
    for extent in extents {
        let sticking_out = [extent.slice(&(0..range.start)), extent.slice(&(range.end..u64::MAX))];
        for rest in sticking_out.into_iter().flatten() {
            transaction.put_extent(file, &rest);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidegate_replicator::map::{JournalPiece, Source};
    use tidegate_replicator::tree::{ChunkRef, Node, NodeSource, TreeError, Value};

    use super::*;
    use crate::live::Page;
    use crate::share::layered_scan;

    const FILE: InodeNumber = InodeNumber::ROOT;
    const SIZE: u64 = 300;

    /// What the overlay has of a file: where extents end, and marks where none ends any more.
    type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;

    /// Byte `n` of the file lies at byte `n` of a segment of the journal, whichever extent it is in.
    fn overlay(segment: u64, ends: &BTreeSet<u64>, marks: &BTreeSet<u64>) -> Overlay {
        let mark = |end: &u64| (Key::Extent(FILE, *end).encode(), None);
        let mut overlay: Overlay = marks.iter().map(mark).collect();
        let mut start = 0;
        for &end in ends.iter().chain([&SIZE]) {
            let source = Source::Journal(JournalPiece { segment, offset: start });
            let value = Bytes::from(Extent { start, end, source }.to_value().encode());
            overlay.insert(Key::Extent(FILE, end).encode(), Some(value));
            start = end;
        }
        overlay
    }

    /// A map into which a swap comes after so many pages.
    struct Swapped {
        before: Overlay,
        after: Overlay,
        pages_before: usize,
        pages: AtomicUsize,
    }

    impl Swapped {
        fn page(&self, range: &Range<Vec<u8>>, limit: usize) -> Page {
            let is_before = self.pages.fetch_add(1, Ordering::Relaxed) < self.pages_before;
            let overlay = if is_before { &self.before } else { &self.after };
            let mut entries: Vec<_> =
                overlay.range(range.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
            let end = entries.get(limit).map_or_else(|| range.end.clone(), |(key, _)| key.clone());
            entries.truncate(limit);
            Page { entries, end, hidden: Vec::new(), base: None }
        }
    }

    /// The nodes of an empty base.
    struct NoNodes;

    #[async_trait]
    impl NodeSource for NoNodes {
        async fn node(&self, _: &ChunkRef) -> Result<Arc<Node>, TreeError> {
            panic!("an empty tree has no node")
        }

        async fn value(&self, _: &ChunkRef) -> Result<Bytes, TreeError> {
            panic!("an empty tree has no value")
        }
    }

    #[async_trait]
    impl MapRead for Swapped {
        async fn get(&self, _: &Key) -> Result<Option<Value>, ShareError> {
            Ok(None)
        }

        async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError> {
            let nodes: Arc<dyn NodeSource> = Arc::new(NoNodes);
            layered_scan(|range, limit| Ok(self.page(range, limit)), &nodes, range, limit).await
        }
    }

    fn places() -> impl Strategy<Value = BTreeSet<u64>> {
        prop::collection::btree_set(1..SIZE, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_look_into_which_a_swap_comes_finds_every_byte_once_and_in_its_place(
            (before, after, old) in (places(), places(), places()),
            (one, other) in (0..SIZE, 0..SIZE),
            pages_before in 1..20_usize,
        ) {
            let marks = |other: &BTreeSet<u64>| other.union(&old).copied().collect();
            let map = Swapped {
                before: overlay(1, &before, &marks(&after)),
                after: overlay(2, &after, &marks(&before)),
                pages_before,
                pages: AtomicUsize::new(0),
            };
            let range = one.min(other)..one.max(other) + 1;
            let found = futures::executor::block_on(extents_meeting(&map, FILE, &range)).expect("memory answers");
            let mut at = range.start;
            for extent in found.iter().filter_map(|extent| extent.slice(&range)) {
                prop_assert_eq!(extent.start, at);
                let Source::Journal(piece) = extent.source else { panic!("it is in the journal") };
                prop_assert_eq!(piece.offset, extent.start);
                at = extent.end;
            }
            prop_assert_eq!(at, range.end);
        }
    }
}
