//! Changing which extents a file has.
//!
//! Extents do not overlap, so replacing `[start, end)` means: of every extent that meets it, keep what
//! sticks out on the left and on the right, and drop the rest. The plan is made under the inode's lock
//! and carried out by the transaction of the write.

use std::ops::Range;

use tidegate_replicator::map::{Extent, InodeNumber, Key, kind_range};

use super::{MapRead, ShareError, Transaction};

/// Extents that are read at once while looking for those of a range: few at first, since most ranges
/// meet one or two, then ever more.
const EXTENTS_READ_FIRST: usize = 2;
const EXTENTS_READ_MAX: usize = 64;

/// All extents of a file that meet a range, in order.
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
            from = end;
            found.push(extent);
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
