//! Holes: taking data out of the middle of a file (fallocate(2), `FALLOC_FL_PUNCH_HOLE`).
//!
//! The size stays. A range of many extents is done in transactions of [`EXTENTS_MAX`], from its beginning on: after a crash
//! a part of it at the beginning may be a hole and the rest not, as with a write of many records.

use std::ops::Range;

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Extent, InodeNumber, Key, kind_range};

use super::{Credentials, Namespace, data, touch_content};
use crate::journal::Sequence;
use crate::share::{MapRead, ShareError, Transaction, cut_out};

/// Extents that one transaction takes away.
const EXTENTS_MAX: usize = 1024;

impl Namespace {
    /// Makes a range of a file a hole; gives the last record, which to wait for. None if the range was one.
    pub async fn punch(
        &self,
        credentials: &Credentials,
        number: InodeNumber,
        range: Range<u64>,
    ) -> Result<Option<Sequence>, FsError> {
        let (mut at, mut last) = (range.start, None);
        while at < range.end {
            let (reached, sequence) = self.punch_some(credentials, number, at..range.end).await?;
            at = reached;
            last = sequence.or(last);
        }
        Ok(last)
    }

    /// The beginning of it; gives how far it came.
    async fn punch_some(
        &self,
        credentials: &Credentials,
        number: InodeNumber,
        range: Range<u64>,
    ) -> Result<(u64, Option<Sequence>), FsError> {
        let _locks = self.share.locks().lock(&[number]).await;
        let old = self.reader().node(number).await?;
        data::may_write(&old.inode, credentials)?;
        self.require_unlocked(&old).await?;
        let keys = kind_range(number, b'e', &range.start.saturating_add(1).to_be_bytes());
        let page = self.share.map().scan(keys, EXTENTS_MAX).await?;
        let is_last = page.len() < EXTENTS_MAX;
        let mut extents = Vec::with_capacity(page.len());
        for (key, value) in page {
            let Key::Extent(_, end) = key else { continue };
            extents.push(Extent::from_value(end, &value).map_err(ShareError::from)?);
        }
        let seen = extents.last().map_or(range.start, |extent| extent.end);
        let reached = if is_last { range.end } else { seen.min(range.end) };
        extents.retain(|extent| extent.start < reached);
        let mut transaction = Transaction::default();
        let removed = cut_out(&mut transaction, number, &extents, &(range.start..reached));
        if removed == 0 {
            return Ok((reached, None));
        }
        let mut inode = old.inode.clone();
        inode.used = inode.used.saturating_sub(removed);
        touch_content(&mut inode, self.now());
        transaction.put_inode(number, &inode);
        transaction.use_more(-(removed as i64), 0);
        let sequence = transaction.submit(&self.share, Bytes::new()).await?;
        Ok((reached, Some(sequence)))
    }
}
