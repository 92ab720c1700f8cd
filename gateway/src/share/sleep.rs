//! Reads that meet packs which sleep: whom they tell.
//!
//! A read of a file whose data sleeps answers "try later". Where the share allows it, it also has the store asked for all
//! packs of that file, once in [`ASK_EVERY`] for each pack that it meets, however many read. Who asks is the
//! appliance ([`Waker`]); nobody waits for it.
//!
//! Bounds: [`REMEMBERED_MAX`] meetings, and [`EXTENTS_MAX`] extents of a file; what lies beyond is asked for when a read
//! meets it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::PackId;
use tidegate_replicator::fetch::{FetchError, FetchErrorKind};
use tidegate_replicator::map::{Extent, InodeNumber, Key, Source, kind_range};
use tokio::time::Instant;

use super::{MapRead, ShareError};

/// For so long a meeting that was told is not told again.
const ASK_EVERY: Duration = Duration::from_mins(10);
/// Meetings that are remembered; with more, all are forgotten, and told again.
const REMEMBERED_MAX: usize = 4096;
/// Extents of a file that are looked through for its packs.
const EXTENTS_MAX: usize = 16_384;

/// Has the store asked for packs.
pub trait Waker: Send + Sync {
    /// These are wanted. Returns at once.
    fn wake(&self, packs: &BTreeSet<PackId>);
}

/// See the head of this module.
#[derive(Default)]
pub struct Sleepers {
    waker: Mutex<Option<Arc<dyn Waker>>>,
    told: Mutex<HashMap<(InodeNumber, PackId), Instant>>,
}

impl Sleepers {
    /// From now on this one is told; nobody, if none.
    pub fn set_waker(&self, waker: Option<Arc<dyn Waker>>) {
        *self.waker.lock() = waker;
    }

    /// A read of a file has failed with this. If that is because a pack sleeps, whoever is to be told is told.
    pub(crate) async fn met(&self, map: &dyn MapRead, file: InodeNumber, error: &FetchError) {
        let (FetchErrorKind::Asleep, Some(pack)) = (error.kind(), error.pack()) else { return };
        let Some(waker) = self.waker.lock().clone() else { return };
        if !self.is_news((file, pack), Instant::now()) {
            return;
        }
        // What of the file cannot be told now is asked for when it is read.
        let mut packs = packs_of(map, file).await.unwrap_or_default();
        packs.insert(pack);
        waker.wake(&packs);
    }

    fn is_news(&self, meeting: (InodeNumber, PackId), now: Instant) -> bool {
        let mut told = self.told.lock();
        if told.get(&meeting).is_some_and(|at| now.duration_since(*at) < ASK_EVERY) {
            return false;
        }
        if told.len() >= REMEMBERED_MAX {
            told.clear();
        }
        told.insert(meeting, now);
        true
    }
}

/// The packs that a file lies in, as far as its hints say.
async fn packs_of(map: &dyn MapRead, file: InodeNumber) -> Result<BTreeSet<PackId>, ShareError> {
    let mut packs = BTreeSet::new();
    for (key, value) in map.scan(kind_range(file, b'e', &[]), EXTENTS_MAX).await? {
        let Key::Extent(_, end) = key else { continue };
        if let Source::Chunk { chunk, .. } = Extent::from_value(end, &value)?.source {
            packs.extend(chunk.at.map(|at| at.pack));
        }
    }
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_is_told_once_in_a_while() {
        let (sleepers, now) = (Sleepers::default(), Instant::now());
        let meeting = (InodeNumber(7), PackId::new([1; 32]));
        assert!(sleepers.is_news(meeting, now) && !sleepers.is_news(meeting, now + ASK_EVERY / 2));
        assert!(sleepers.is_news((InodeNumber(8), meeting.1), now), "another file");
        assert!(sleepers.is_news(meeting, now + ASK_EVERY));
        for number in 0..REMEMBERED_MAX as u64 + 9 {
            sleepers.is_news((InodeNumber(number), meeting.1), now);
        }
        assert!(sleepers.told.lock().len() <= REMEMBERED_MAX);
    }
}
