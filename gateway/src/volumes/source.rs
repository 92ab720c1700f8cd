//! What a disk reads from: the live file, or the file as it was at a moment.

use std::ops::Range;
use std::sync::Arc;

use tidegate_protocols::blocks::{Piece, Stretch};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Extent, InodeNumber, Key, Source as Lies, kind_range};
use tidegate_replicator::tree::ChunkRef;

use super::Context;
use crate::files::Served;
use crate::namespace::Reader;
use crate::namespace::data::{Part, read_ahead, read_parts};
use crate::share::{FrozenMap, MapRead, ShareError, extents_meeting};

/// Extents that one look at the map brings.
const PAGE: usize = 256;
/// Extents that one question about stretches looks at.
const LOOKED_AT_MAX: usize = 32 << 10;
/// What is fetched in one go of what will be read soon, in bytes.
const EXPECT_BYTES: u64 = 8 << 20;

/// A file, in one state of its share.
#[derive(Clone)]
pub(super) struct Source {
    share: String,
    number: InodeNumber,
    /// Of the live share, when the file was opened: another one is another disk.
    incarnation: u64,
    /// None: the live file.
    frozen: Option<FrozenMap>,
}

impl Source {
    /// The live file of a share.
    pub(super) fn live(share: String, served: &Served, number: InodeNumber) -> Self {
        Self { share, number, incarnation: served.namespace.share().incarnation(), frozen: None }
    }

    /// A file as it was.
    pub(super) fn frozen(share: String, map: FrozenMap, number: InodeNumber) -> Self {
        Self { share, number, incarnation: 0, frozen: Some(map) }
    }

    pub(super) fn number(&self) -> InodeNumber {
        self.number
    }

    /// The share as it is served now, if the disk is still the one that was opened.
    pub(super) fn served(&self, context: &Context) -> Result<Arc<Served>, FsError> {
        let served = context.served(&self.share)?;
        let same = self.frozen.is_some() || served.namespace.share().incarnation() == self.incarnation;
        if same { Ok(served) } else { Err(FsError::Stale) }
    }

    /// The map that the file is in.
    fn map<'a>(&'a self, served: &'a Served) -> &'a dyn MapRead {
        match &self.frozen {
            Some(map) => map,
            None => served.namespace.share().map(),
        }
    }

    /// Questions about the state that the file is in.
    pub(super) fn reader<'a>(&'a self, served: &'a Served) -> Reader<'a> {
        Reader { map: self.map(served) }
    }

    /// The bytes of a range, of whatever length the file is.
    pub(super) async fn read(&self, context: &Context, range: &Range<u64>) -> Result<Vec<Piece>, FsError> {
        let served = self.served(context)?;
        let share = served.namespace.share();
        let parts = read_parts(self.map(&served), share, self.number, range.clone()).await?;
        // A scratch volume has no number of a map; its files are not followed.
        if self.frozen.is_none() {
            read_ahead(share, None, self.number, range);
        }
        let piece = |part| match part {
            Part::Data(bytes) => Piece::Data(bytes),
            Part::Hole(length) => Piece::Hole(length),
        };
        Ok(parts.into_iter().map(piece).collect())
    }

    /// What a range consists of: at most `most` stretches, from its beginning on.
    pub(super) async fn status(
        &self,
        context: &Context,
        range: &Range<u64>,
        most: usize,
    ) -> Result<Vec<Stretch>, FsError> {
        let served = self.served(context)?;
        let map = self.map(&served);
        let mut found = Stretches { at: range.start, most, stretches: Vec::new() };
        let mut looked_at = 0;
        while found.at < range.end && looked_at < LOOKED_AT_MAX {
            let keys = kind_range(self.number, b'e', &found.at.saturating_add(1).to_be_bytes());
            let page = map.scan(keys, PAGE).await?;
            let last = page.len() < PAGE;
            looked_at += page.len();
            for (key, value) in page {
                let Key::Extent(_, end) = key else { continue };
                let extent = Extent::from_value(end, &value).map_err(ShareError::from)?;
                let (start, end) = (extent.start.min(range.end), end.min(range.end));
                if !found.reach(start, true) || !found.reach(end, false) {
                    return Ok(found.stretches);
                }
            }
            if last {
                found.reach(range.end, true);
                break;
            }
        }
        Ok(found.stretches)
    }

    /// Gets a range into the cache; what cannot be had is told to whoever reads.
    pub(super) async fn expect(&self, context: &Context, range: Range<u64>) {
        let Ok(served) = self.served(context) else { return };
        let mut at = range.start;
        while at < range.end {
            let part = at..range.end.min(at + EXPECT_BYTES);
            at = part.end;
            let Ok(extents) = extents_meeting(self.map(&served), self.number, &part).await else { return };
            let chunks: Vec<ChunkRef> = extents.iter().filter_map(chunk_of).collect();
            served.namespace.share().chunks().prefetch(&chunks).await;
        }
    }
}

fn chunk_of(extent: &Extent) -> Option<ChunkRef> {
    match &extent.source {
        Lies::Chunk { chunk, .. } => Some(*chunk),
        Lies::Journal(_) => None,
    }
}

/// Stretches, joined as they come.
struct Stretches {
    at: u64,
    most: usize,
    stretches: Vec<Stretch>,
}

impl Stretches {
    /// All up to `end` is of one kind; false if there is no place for one more stretch.
    fn reach(&mut self, end: u64, hole: bool) -> bool {
        let length = end.saturating_sub(self.at);
        if length == 0 {
            return true;
        }
        let is_full = self.stretches.len() == self.most;
        match self.stretches.last_mut() {
            Some(last) if last.hole == hole => last.length += length,
            _ if is_full => return false,
            _ => self.stretches.push(Stretch { length, hole }),
        }
        self.at = end;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_one_stretch_and_there_are_no_more_than_asked_for() {
        let mut found = Stretches { at: 10, most: 2, stretches: Vec::new() };
        assert!(found.reach(10, true) && found.reach(20, false) && found.reach(30, false));
        assert!(found.reach(40, true) && !found.reach(50, false));
        let expected = [Stretch { length: 20, hole: false }, Stretch { length: 10, hole: true }];
        assert_eq!(found.stretches, expected);
    }
}
