//! The dirty budget: how much may wait here that no target has.
//!
//! Three measures, of which the greatest counts:
//!
//! * of the setting: the journal and the packs that too few targets have, over the bound in the settings;
//! * of the disk: the packs that too few targets have and *twice* the journal, over what the disk has for
//!   them once the data in the cache is gone, less the reserve ([`Room`]). Twice, because a commit writes what the
//!   journal holds again, into packs, before the journal can be shortened: at 100 % there is still room
//!   to do that, and so to get below 100 %. As many bytes of names as are dirty stay in the cache: with them
//!   all is listed and removed while the store is away. Not more, so that on a disk which somebody
//!   else has filled writers are not held up for names;
//! * of memory: the records of the journal that no commit has drained, over a bound. A commit knows
//!   something of each of them until it is done, so many small writes are held up although they are few
//!   bytes.
//!
//! Writers of data are slowed down from 70 % on, ever more, so that the uploads can keep up; at 100 %
//! they wait a while for room and are then told to try later. Changes without data are never held up:
//! they, and removing files above all, live on the reserve. When even that is used up the journal says
//! so before it takes a change, and the client is told to try later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_protocols::view::FsError;
use tokio::sync::Notify;

use super::Budgets;
use crate::cache::{Keeper, Room};
use crate::files::Admission;
use crate::journal::{Journal, Sequence};
use crate::ledger::Ledger;

/// From this part of the budget on writers are slowed down.
const SLOW_FROM: f64 = 0.7;
/// The longest delay of one write before the budget is full.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// How long a write waits for room before its client is told to try later: as long as a read waits for the store.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// How often a waiting write looks whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The dirty budget is at most this part of the file system: one in this many bytes. The other half is
/// for the second copy that a commit makes.
const DIRTY_PART: u64 = 2;

impl Budgets {
    /// The budgets that a file system of this size can keep; says in the log what it lowers.
    pub(super) fn fit(self, room: Room) -> Self {
        let usable = room.total_bytes.saturating_sub(room.reserve_bytes());
        let fit = |setting: &str, wanted: u64, most: u64| {
            if wanted > most {
                tracing::warn!(setting, wanted, most, "the disk is smaller than the setting: it is lowered");
            }
            wanted.min(most)
        };
        Self {
            memory_bytes: self.memory_bytes,
            dirty_bytes: fit("cache.dirty", self.dirty_bytes, usable / DIRTY_PART),
            cache_bytes: fit("cache.disk", self.cache_bytes, usable),
        }
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirtyBounds {
    /// Bytes of the journal and of packs that too few targets have.
    pub(crate) bytes_max: u64,
    /// Records of the journal that are not drained.
    pub(crate) records_max: u64,
}

/// See the head of this module.
pub(crate) struct DirtyBudget {
    journal: Journal,
    ledger: Arc<Ledger>,
    keeper: Arc<Keeper>,
    bounds: DirtyBounds,
    /// Every record up to this sequence is drained.
    drained: AtomicU64,
    /// Told when commits should hurry.
    pub(crate) pressure: Notify,
    /// Told when room was made.
    pub(crate) relief: Notify,
}

impl DirtyBudget {
    pub(crate) fn new(
        journal: Journal,
        ledger: Arc<Ledger>,
        keeper: Arc<Keeper>,
        bounds: DirtyBounds,
    ) -> Self {
        let drained =
            AtomicU64::new(journal.segments().first().map_or(0, |oldest| oldest.first.previous().0));
        let (pressure, relief) = (Notify::new(), Notify::new());
        Self { journal, ledger, keeper, bounds, drained, pressure, relief }
    }

    /// Takes note of the sequence up to which every record of the journal is drained.
    pub(crate) fn note_drained(&self, through: Sequence) {
        self.drained.fetch_max(through.0.min(self.journal.appended_sequence().0), Ordering::Relaxed);
    }

    /// Bytes that only this machine has.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.journal_bytes() + self.ledger.needed_bytes()
    }

    /// The bound of those by the settings.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bounds.bytes_max
    }

    /// Bytes of the journal.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal.segments().iter().map(|segment| segment.bytes).sum()
    }

    /// Whether writers are held up now.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used() >= SLOW_FROM
    }

    /// The part of the budget that is used; over 1 when it is exceeded.
    pub(crate) fn used(&self) -> f64 {
        let (journal, packs) = (self.journal_bytes(), self.ledger.needed_bytes());
        let of_setting = (journal + packs) as f64 / self.bounds.bytes_max as f64;
        let undrained =
            self.journal.appended_sequence().0.saturating_sub(self.drained.load(Ordering::Relaxed));
        let of_memory = undrained as f64 / self.bounds.records_max as f64;
        self.keeper.leave_free(journal);
        let of_disk = self.keeper.room().map_or(0.0, |room| {
            if room.free_bytes < room.reserve_bytes() + journal {
                self.keeper.wake.notify_one();
            }
            let all = self.keeper.bytes();
            let names = all.saturating_sub(self.keeper.yielding_bytes());
            disk_part(room, (all, names), journal, packs)
        });
        of_setting.max(of_disk).max(of_memory)
    }
}

/// The part of the disk that is used; see the head of this module.
fn disk_part(room: Room, (cached, names): (u64, u64), journal: u64, packs: u64) -> f64 {
    if room.free_bytes < room.reserve_bytes() / 2 {
        // Nothing more goes in before the cache has really gone.
        return 1.0;
    }
    let staying = names.min(journal + packs);
    let room_for_all = room.free_bytes + cached + journal + packs;
    let usable = room_for_all.saturating_sub(room.reserve_bytes() + staying);
    (2 * journal + packs) as f64 / usable.max(1) as f64
}

/// How long a write is held up at a use of the budget below 1.
fn delay(used: f64) -> Duration {
    let part = ((used - SLOW_FROM) / (1.0 - SLOW_FROM)).clamp(0.0, 1.0);
    DELAY_MAX.mul_f64(part * part)
}

#[async_trait]
impl Admission for DirtyBudget {
    async fn admit(&self, bytes: u64) -> Result<(), FsError> {
        if bytes == 0 {
            return Ok(());
        }
        let used = self.used();
        if used < SLOW_FROM {
            return Ok(());
        }
        self.pressure.notify_waiters();
        if used < 1.0 {
            tokio::time::sleep(delay(used)).await;
            return Ok(());
        }
        let room = async {
            while self.used() >= 1.0 {
                let _ = tokio::time::timeout(LOOK_EVERY, self.relief.notified()).await;
                self.pressure.notify_waiters();
            }
        };
        tokio::time::timeout(WAIT_MAX, room).await.map_err(|_| FsError::TryLater)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_begin_at_seventy_percent_and_grow() {
        assert_eq!(delay(0.5), Duration::ZERO);
        assert_eq!(delay(0.7), Duration::ZERO);
        assert!(delay(0.8) < delay(0.9));
        assert_eq!(delay(1.0), DELAY_MAX);
    }

    #[test]
    fn a_disk_smaller_than_the_settings_lowers_them() {
        let room = Room { total_bytes: 2 << 30, free_bytes: 2 << 30 };
        let fitted = Budgets::default().fit(room);
        assert!(fitted.dirty_bytes < 1 << 30);
        assert!(fitted.cache_bytes < 2 << 30);
        let large = Room { total_bytes: 1 << 40, free_bytes: 0 };
        assert_eq!(Budgets::default().fit(large).dirty_bytes, Budgets::default().dirty_bytes);
    }

    #[test]
    fn names_stay_beside_what_is_dirty_and_hold_nobody_up_on_a_disk_that_others_have_filled() {
        let reserve = Room { total_bytes: 8 << 30, free_bytes: 0 }.reserve_bytes();
        let room = Room { total_bytes: 8 << 30, free_bytes: reserve };
        let gib = 1 << 30;
        assert_eq!(disk_part(room, (gib, gib), 0, 0), 0.0);
        assert!(disk_part(room, (gib, gib), 100 << 20, 0) < 1.0);
        let full = Room { free_bytes: reserve + gib, ..room };
        assert!(
            disk_part(full, (gib, gib), gib, 0) >= 1.0,
            "names count as room beside as much that is dirty"
        );
        assert!(disk_part(full, (gib, 0), gib, 0) < 1.0, "data does");
    }

    proptest! {
        #[test]
        fn below_a_hundred_percent_the_journal_fits_into_packs_beside_the_reserve(
            total in (1u64 << 28)..(1 << 40),
            parts in prop::array::uniform5(0u64..1000),
        ) {
            let whole: u64 = parts.iter().sum::<u64>().max(1);
            let [free, data, names, journal, packs] = parts.map(|part| total / whole * part);
            let room = Room { total_bytes: total, free_bytes: free };
            if disk_part(room, (data + names, names), journal, packs) < 1.0 {
                let yielding = data + names.saturating_sub(journal + packs);
                prop_assert!(free + yielding >= room.reserve_bytes() + journal);
            }
        }
    }
}
