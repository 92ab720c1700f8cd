//! Swap: in the live map, pieces of the journal that were drained give way to chunks.
//!
//! Only what still lies at a drained *position of the journal* is replaced, never whatever is at a key:
//! what was overwritten meanwhile stays as it is, and what was split is replaced piece by piece. Each
//! swap is an ordinary transaction under the inode's lock, so it is in the journal like every other
//! change, and writers before and after it see one state or the other.
//!
//! Order: the packs that hold the chunks are synced before the first swap. A crash between leaves the
//! pieces in the journal, and the next commit drains them again: into the same chunks.

use bytes::Bytes;
use tidegate_replicator::map::{Extent, InodeNumber, Source};

use super::CommitError;
use super::drain::{Run, Runs};
use crate::share::{Share, Transaction, cut_out, extents_meeting};

/// Extents that one transaction replaces, about.
const EXTENTS_MAX: usize = 512;

/// Swaps all runs. When this returns, no extent of the share refers to what was drained.
pub(super) async fn swap(share: &Share, runs: &Runs) -> Result<(), CommitError> {
    for (file, runs) in runs {
        for run in runs {
            swap_run(share, *file, run).await?;
        }
    }
    Ok(())
}

async fn swap_run(share: &Share, file: InodeNumber, run: &Run) -> Result<(), CommitError> {
    let pieces: Vec<_> = run.extents().collect();
    let mut from = run.range.start;
    while from < run.range.end {
        let _lock = share.locks().lock(&[file]).await;
        let window = from..run.range.end;
        let mut current = extents_meeting(share.map(), file, &window).await?;
        current.truncate(EXTENTS_MAX);
        from = match current.last() {
            Some(last) if current.len() == EXTENTS_MAX => last.end,
            _ => run.range.end,
        };
        let mut transaction = Transaction::default();
        let mut replaced = 0;
        for extent in current {
            let Source::Journal(piece) = extent.source else { continue };
            let Some(place) = run.place_of(piece, extent.length()) else { continue };
            cut_out(&mut transaction, file, std::slice::from_ref(&extent), &(extent.start..extent.end));
            for new in pieces.iter().filter_map(|piece| piece.slice(&place)) {
                transaction.put_extent(file, &moved(new, place.start, extent.start));
            }
            replaced += 1;
        }
        if replaced > 0 {
            transaction.submit(share, Bytes::new()).await?;
        }
    }
    Ok(())
}

/// The extent as it is when what was frozen at `frozen` is now at `now`.
fn moved(extent: Extent, frozen: u64, now: u64) -> Extent {
    Extent { start: extent.start - frozen + now, end: extent.end - frozen + now, source: extent.source }
}
