//! Heat: what clients use of a share, so that another gateway can fetch that first.
//!
//! ```text
//! reads ── Meter::note ── filter (atomic, no lock) ── Table (decayed uses of regions of packs) ── Heat, in heads
//! commits ── Meter::note_written ────────────────────┘        └── file, for the next start
//! ```
//!
//! A *use* is a frame in a minute: however often it is read then, it counts once. So what is read in small pieces counts
//! as what is read whole, and the filter keeps all but the first read of a frame in a minute from the table. What
//! was stored counts as used once. Nobody waits: a read that finds the table busy is not counted.
//!
//! Bounds, for each share: the filter by [`SLOTS`], the table by [`REGIONS_MAX`]. What is hot is decided when a head is
//! made ([`Table::summary`]).

mod file;
mod nodes;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_chunker::{Location, PackId};
use tidegate_replicator::repository::{Heat, HotKind};

pub(crate) use file::{load, save};
pub(crate) use nodes::HeatedNodes;
use table::Table;
pub(crate) use table::{REGIONS_MAX, RegionUse};

use crate::clock::Clock;

/// Frames that the filter remembers, about.
const SLOTS: usize = 4096;
/// Bits of a slot that say the minute.
const MINUTE_BITS: u32 = 16;
const MINUTE_SECONDS: i64 = 60;

/// See the head of this module.
pub struct Meter {
    /// Of a frame that was used lately: the upper bits of its fingerprint, and the minute.
    filter: Box<[AtomicU64]>,
    table: Mutex<Table>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Meter {
    /// Nothing was used yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let filter = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { filter, table: Mutex::default(), clock }
    }

    /// The frame at this place is read. Never waits.
    pub fn note(&self, at: &Location, kind: HotKind) {
        let seconds = self.seconds();
        let print = fingerprint(at);
        let stamp = print >> MINUTE_BITS << MINUTE_BITS | (seconds / MINUTE_SECONDS) as u64 & 0xffff;
        let slot = &self.filter[(print % SLOTS as u64) as usize];
        if slot.load(Ordering::Relaxed) == stamp {
            return;
        }
        // What finds the table busy is not counted, and tried again with the next read.
        if let Some(mut table) = self.table.try_lock() {
            slot.store(stamp, Ordering::Relaxed);
            table.used(seconds, at, kind);
        }
    }

    /// These chunks of file data were stored just now.
    pub(crate) fn note_written(&self, chunks: impl Iterator<Item = Location>) {
        let seconds = self.seconds();
        let (mut table, mut before) = (self.table.lock(), None);
        for at in chunks {
            let frame = Some((at.pack, at.frame_offset));
            if frame != before {
                table.used(seconds, &at, HotKind::Data);
            }
            before = frame;
        }
    }

    /// What is hot now, without packs that are gone.
    pub(crate) fn summary(&self, is_gone: impl Fn(&PackId) -> bool) -> Heat {
        let seconds = self.seconds();
        // A copy, so that readers are counted meanwhile.
        let regions = self.table.lock().regions(seconds);
        Table::summary(regions, is_gone)
    }

    /// Goes on from what was hot elsewhere, unless something is known.
    pub(crate) fn begin_with(&self, heat: &Heat) {
        let seconds = self.seconds();
        let mut table = self.table.lock();
        if table.is_empty() {
            table.seed(seconds, heat);
        }
    }

    /// Everything that is known, for [`Meter::restore`].
    pub(crate) fn regions(&self) -> (i64, Vec<RegionUse>) {
        let seconds = self.seconds();
        (seconds, self.table.lock().regions(seconds))
    }

    /// Takes in what was known at an earlier time.
    pub(crate) fn restore(&self, saved_at: i64, regions: Vec<RegionUse>) {
        let seconds = self.seconds();
        self.table.lock().restore(seconds, saved_at, regions);
    }

    fn seconds(&self) -> i64 {
        self.clock.now().seconds
    }
}

/// Ids of packs are random: a few of their bits tell frames apart.
fn fingerprint(at: &Location) -> u64 {
    let (head, _) = at.pack.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let mixed = u64::from_le_bytes(*head) ^ u64::from(at.frame_offset).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}
