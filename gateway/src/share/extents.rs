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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tidegate_replicator::map::{JournalPiece, Source};
    use tidegate_replicator::tree::Value;

    use super::*;

    const FILE: InodeNumber = InodeNumber::ROOT;

    /// A map whose extents have other borders from the second look on. Byte `n` of the file lies at byte `n` of a
    /// segment of the journal, whichever extent it is in: number 1 before, number 2 after.
    struct Swapped {
        before: Vec<u64>,
        after: Vec<u64>,
        looks: AtomicUsize,
    }

    fn extents(segment: u64, ends: &[u64]) -> Vec<Extent> {
        let starts = [0].into_iter().chain(ends.iter().copied());
        let piece = |(start, end)| Extent {
            start,
            end,
            source: Source::Journal(JournalPiece { segment, offset: start }),
        };
        starts.zip(ends.iter().copied()).map(piece).collect()
    }

    #[async_trait]
    impl MapRead for Swapped {
        async fn get(&self, _: &Key) -> Result<Option<Value>, ShareError> {
            Ok(None)
        }

        async fn scan(&self, range: Range<Vec<u8>>, limit: usize) -> Result<Vec<(Key, Value)>, ShareError> {
            let is_first = self.looks.fetch_add(1, Ordering::Relaxed) == 0;
            let all = if is_first { extents(1, &self.before) } else { extents(2, &self.after) };
            let entries = all.iter().map(|extent| (Key::Extent(FILE, extent.end), extent.to_value()));
            let entries = entries.filter(|(key, _)| range.contains(&key.encode()));
            Ok(entries.take(limit).collect())
        }
    }

    #[tokio::test]
    async fn a_look_into_which_a_swap_comes_finds_every_byte_once_and_in_its_place() {
        for (before, after) in [
            (vec![10, 20, 30, 40], vec![15, 25, 40]),
            (vec![10, 20, 30, 40], vec![40]),
            (vec![10, 20, 40], vec![10, 20, 30, 40]),
            (vec![20, 30, 40], vec![5, 10, 15, 20, 25, 40]),
        ] {
            for range in [0..40, 3..33, 12..39, 0..25] {
                let map =
                    Swapped { before: before.clone(), after: after.clone(), looks: AtomicUsize::new(0) };
                let found = extents_meeting(&map, FILE, &range).await.expect("memory answers");
                let mut at = range.start;
                for extent in found.iter().filter_map(|extent| extent.slice(&range)) {
                    assert_eq!(extent.start, at, "{range:?} of {before:?} and {after:?}: {found:?}");
                    let Source::Journal(piece) = extent.source else { panic!("it is in the journal") };
                    assert_eq!(piece.offset, extent.start);
                    at = extent.end;
                }
                assert_eq!(at, range.end);
            }
        }
    }
}
