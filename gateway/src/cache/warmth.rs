//! The cache as warming fills it.
//!
//! What was here before is found by one look at the index when warming begins. Frames of packs that are known to be hot
//! enter the main queue of the policy, or that of names, so that a scan of the first clients does not push them out again.
//!
//! Bound: at most [`ROOM_PART`] of the cache is filled with it, what was here before included, so that what clients read
//! besides finds room; and never what the journal and the reserve need.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::{PackId, UnverifiedFrame};
use tidegate_replicator::fetch::FrameAt;
use tidegate_replicator::warm::{Keep, PackRange};

use super::{DiskCache, Keeper};
use crate::ledger::Ledger;

/// Of the bound of the cache: nine tenths.
const ROOM_PART: (u64, u64) = (9, 10);

/// Ranges that are remembered: some 64 MiB.
const SEEN_MAX: usize = 1 << 20;

/// See the head of this module.
pub(crate) struct Warmth {
    disk: Arc<DiskCache>,
    keeper: Arc<Keeper>,
    ledger: Arc<Ledger>,
    /// What was here, in order: of the hot packs, or of all.
    held: HashMap<PackId, Vec<Range<u64>>>,
    /// The packs whose part of that is counted already.
    hot: HashSet<PackId>,
    /// Ranges that were looked at, up to [`SEEN_MAX`]: who walks a tree comes by the same ones again.
    seen: Mutex<HashSet<(PackId, u64, u64)>>,
    /// What may come still, in bytes.
    left: AtomicU64,
}

impl Warmth {
    /// Before warming with these hot packs, and with others if `with_others`: then what is here of any pack is looked up,
    /// which takes 16 bytes of memory for each frame in the cache.
    pub(crate) fn new(
        (disk, keeper, ledger): (Arc<DiskCache>, Arc<Keeper>, Arc<Ledger>),
        hot: HashSet<PackId>,
        with_others: bool,
    ) -> Self {
        let held = disk.held_of(|pack| with_others || hot.contains(pack));
        let of_hot = hot.iter().filter_map(|pack| held.get(pack)).flatten();
        let here: u64 = of_hot.map(|range| range.end - range.start).sum();
        let most = keeper.bytes_max() / ROOM_PART.1 * ROOM_PART.0;
        keeper.expect_packs(&hot);
        let (seen, left) = (Mutex::default(), AtomicU64::new(most.saturating_sub(here)));
        Self { disk, keeper, ledger, held, hot, seen, left }
    }

    /// Whether a range is looked at for the first time, as far as that is remembered.
    fn is_new(&self, wanted: &PackRange) -> bool {
        let mut seen = self.seen.lock();
        let range = (wanted.pack, wanted.range.start, wanted.range.end);
        if seen.len() >= SEEN_MAX { !seen.contains(&range) } else { seen.insert(range) }
    }

    fn take_room(&self, bytes: u64) {
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn is_local(&self, pack: &PackId) -> bool {
        self.ledger.path(pack).exists()
    }
}

#[async_trait]
impl Keep for Warmth {
    fn lacks(&self, wanted: &PackRange) -> bool {
        if self.is_local(&wanted.pack) || !self.is_new(wanted) {
            return false;
        }
        let mut reached = wanted.range.start;
        for held in self.held.get(&wanted.pack).into_iter().flatten() {
            if held.start <= reached && reached < held.end {
                reached = held.end;
            }
        }
        let lacks = reached < wanted.range.end;
        if !lacks && !self.hot.contains(&wanted.pack) {
            self.take_room(wanted.bytes());
        }
        lacks
    }

    fn has(&self, frame: &FrameAt) -> bool {
        self.disk.contains(frame)
    }

    fn room_bytes(&self) -> u64 {
        let left = self.left.load(Ordering::Relaxed);
        self.keeper.room_for_cache().map_or(left, |room| room.min(left))
    }

    async fn keep(&self, at: FrameAt, frame: &UnverifiedFrame) -> bool {
        let kept = self.disk.keep(at, frame).await;
        if kept {
            self.take_room(u64::from(at.bytes));
        }
        kept
    }
}
