//! Swap: in the live map, what was drained gives way to chunks.
//!
//! Only what still is what it was when it was frozen is replaced: an extent at a drained *position of the
//! journal*, or the same piece of a chunk that was cut anew; never whatever is at a key. What was
//! overwritten meanwhile stays as it is, and what was split is replaced piece by piece. Each swap is an
//! ordinary transaction under the inode's lock, so it is in the journal like every other change, and
//! writers before and after it see one state or the other.
//!
//! The tree of this commit will be the base of the live map, and its extents end where the new chunks
//! end. Wherever the live map has no extent that ends there, a tombstone keeps the base's out of sight.
//! Invariant after the swap of a run: for every end of one of its chunks the overlay has a value or a
//! tombstone.
//!
//! An extent may have come to another file since the freeze (a copy, an upload that was completed): such files
//! are noted ([`crate::share::MovedData`]), and all that they have in the journal is looked up among what was
//! drained.
//!
//! Order: the packs that hold the chunks are synced before the first swap. A crash between leaves the
//! pieces in the journal, and the next commit drains them again: into the same chunks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use tidegate_replicator::map::{Extent, InodeNumber, Key, Source, kind_range};

use super::CommitError;
use super::drain::{Run, Runs, skipped};
use crate::share::{MapRead, Share, ShareError, Transaction, cut_out, extents_meeting};

/// Extents that one transaction replaces, about.
const EXTENTS_MAX: usize = 512;

/// Swaps all runs. When this returns, no extent of the share refers to what was drained.
pub(super) async fn swap(share: &Share, runs: &Runs) -> Result<(), CommitError> {
    for (file, runs) in runs {
        for run in runs {
            swap_run(share, *file, run).await?;
        }
    }
    loop {
        let moved = share.moved().take();
        if moved.is_empty() {
            return Ok(());
        }
        let drained = Drained::new(runs);
        for file in moved {
            swap_moved(share, file, &drained).await?;
        }
    }
}

/// What was drained, by place in the journal.
struct Drained<'a> {
    /// What each run is now.
    runs: Vec<Vec<Extent>>,
    /// By segment and offset of the first byte: which run, and what of it.
    sources: BTreeMap<(u64, u64), (usize, &'a Extent)>,
}

impl<'a> Drained<'a> {
    fn new(runs: &'a Runs) -> Self {
        let (mut found, mut pieces) = (Vec::new(), Vec::new());
        for run in runs.values().flatten() {
            for source in &run.sources {
                if let Source::Journal(piece) = source.source {
                    found.push(((piece.segment, piece.offset), source, pieces.len()));
                }
            }
            pieces.push(run.extents().collect());
        }
        // Files that share data have pieces of one place, of different lengths: what lies within another piece is
        // left out, so that of those that begin before a place the last one holds it, if any does.
        found.sort_unstable_by_key(|(place, source, _)| (*place, Reverse(source.length())));
        let (mut sources, mut reach) = (BTreeMap::new(), (0, 0));
        for ((segment, offset), source, run) in found {
            let end = (segment, offset + source.length());
            if reach < end {
                reach = end;
                sources.insert((segment, offset), (run, source));
            }
        }
        Self { runs: pieces, sources }
    }

    /// The chunks that hold the bytes of an extent, as extents of its file; nothing if it was not drained.
    fn chunks_of(&self, extent: &Extent) -> Vec<Extent> {
        self.find(extent).unwrap_or_default()
    }

    fn find(&self, extent: &Extent) -> Option<Vec<Extent>> {
        let Source::Journal(piece) = extent.source else { return None };
        let (_, (run, source)) = self.sources.range(..=(piece.segment, piece.offset)).next_back()?;
        let start = source.start + skipped(&source.source, &extent.source)?;
        let place = start..start + extent.length();
        if place.end > source.end {
            return None;
        }
        let run = &self.runs[*run];
        let pieces = run[run.partition_point(|piece| piece.end <= place.start)..].iter();
        let pieces = pieces.map_while(|piece| piece.slice(&place));
        Some(pieces.map(|new| moved(new, place.start, extent.start)).collect())
    }
}

/// Replaces what was drained in a file that got it after the freeze, and so has nothing in the frozen map.
async fn swap_moved(share: &Share, file: InodeNumber, drained: &Drained<'_>) -> Result<(), CommitError> {
    let mut from = 0;
    loop {
        let _lock = share.locks().lock(&[file]).await;
        let keys = kind_range(file, b'e', &(from + 1_u64).to_be_bytes());
        let page = share.map().scan(keys, EXTENTS_MAX).await?;
        let (mut transaction, mut replaced) = (Transaction::default(), 0);
        for (key, value) in &page {
            let Key::Extent(_, end) = key else { continue };
            from = *end;
            let extent = Extent::from_value(*end, value).map_err(ShareError::from)?;
            for new in drained.chunks_of(&extent) {
                transaction.put_extent(file, &new);
                replaced += 1;
            }
        }
        if replaced > 0 {
            transaction.submit(share, Bytes::new()).await?;
        }
        if page.len() < EXTENTS_MAX {
            return Ok(());
        }
    }
}

async fn swap_run(share: &Share, file: InodeNumber, run: &Run) -> Result<(), CommitError> {
    let mut from = run.range.start;
    while from < run.range.end {
        let _lock = share.locks().lock(&[file]).await;
        let mut current = extents_meeting(share.map(), file, &(from..run.range.end)).await?;
        current.truncate(EXTENTS_MAX);
        let to = match current.last() {
            Some(last) if current.len() == EXTENTS_MAX => last.end.min(run.range.end),
            _ => run.range.end,
        };
        let mut transaction = Transaction::default();
        swap_window(&mut transaction, file, run, &(from..to), &current);
        transaction.submit(share, Bytes::new()).await?;
        from = to;
    }
    Ok(())
}

/// Swaps what lies in a window of a run; `current` is all that the live map has there.
fn swap_window(
    transaction: &mut Transaction,
    file: InodeNumber,
    run: &Run,
    window: &Range<u64>,
    current: &[Extent],
) {
    let pieces: Vec<_> = run.extents().collect();
    let mut ends: BTreeSet<u64> = pieces
        .iter()
        .map(|piece| piece.end)
        .filter(|end| window.start < *end && *end <= window.end)
        .collect();
    for extent in current {
        let Some(place) = run.place_of(extent) else {
            ends.remove(&extent.end);
            continue;
        };
        cut_out(transaction, file, std::slice::from_ref(extent), &(extent.start..extent.end));
        for new in pieces.iter().filter_map(|piece| piece.slice(&place)) {
            let new = moved(new, place.start, extent.start);
            ends.remove(&new.end);
            transaction.put_extent(file, &new);
        }
    }
    for end in ends {
        transaction.delete(&Key::Extent(file, end));
    }
}

/// The extent as it is when what was frozen at `frozen` is now at `now`.
fn moved(extent: Extent, frozen: u64, now: u64) -> Extent {
    Extent { start: extent.start - frozen + now, end: extent.end - frozen + now, source: extent.source }
}
