//! The keeper: evicts units when the cache exceeds its bound or the disk is short of room.
//!
//! Invariant: a pack is removed only when the ledger says at that moment that the lead has it, that an index there
//! names it, and that as many copies have it as the settings require ([`Ledger::may_evict`]); and what the ledger
//! says then is durable before the file goes. Its chunks stay in the ledger: they are on the target, and so still duplicates.
//!
//! Order, and what a crash leaves: the stage of the pack is flushed; the file is unlinked; the policy has
//! forgotten it already. After a crash in between the file is there, and is taken in again at start; or it
//! is gone, and the ledger knows that the target has it. Readers that have the file open read on.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_chunker::PackId;
use tidegate_replicator::fetch::LocalFrames;
use tokio::sync::Notify;

use super::contents::Contents;
use super::{DiskCache, Place, Policy, Room, Unit, Volume};
use crate::ledger::{Ledger, LedgerError};

/// Packs of before the start that a sweep looks into, unless it has to make room: then it looks into all.
const READ_AT_ONCE: usize = 512;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) packs: u64,
    pub(crate) files: u64,
}

/// See the head of this module.
pub(crate) struct Keeper {
    ledger: Arc<Ledger>,
    packs: Arc<LocalFrames>,
    disk: Arc<DiskCache>,
    policy: Arc<Mutex<Policy>>,
    volume: Arc<dyn Volume>,
    bytes_max: u64,
    /// Packs of before the start, of which nobody has looked yet what they hold. Held for a sweep: one at a time.
    unread: Mutex<Vec<PackId>>,
    /// Asks for a sweep now.
    pub(crate) wake: Notify,
}

impl Keeper {
    /// Takes in the packs that are here and may go. What they hold is read by the sweeps.
    pub(crate) fn open(
        ledger: Arc<Ledger>,
        packs: Arc<LocalFrames>,
        disk: Arc<DiskCache>,
        policy: Arc<Mutex<Policy>>,
        (volume, bytes_max): (Arc<dyn Volume>, u64),
    ) -> Result<Self, LedgerError> {
        let found = ledger.evictable_files()?;
        for (pack, bytes) in &found {
            policy.lock().admit(Unit::Pack(*pack), *bytes, Place::Main);
        }
        Ok(Self {
            ledger,
            packs,
            disk,
            policy,
            volume,
            bytes_max,
            unread: Mutex::new(found.into_iter().map(|(pack, _)| pack).collect()),
            wake: Notify::new(),
        })
    }

    /// Bytes that could be evicted.
    pub(crate) fn bytes(&self) -> u64 {
        self.policy.lock().bytes()
    }

    /// Bytes of those that go for what clients write: see [`Policy::yielding_bytes`].
    pub(crate) fn yielding_bytes(&self) -> u64 {
        self.policy.lock().yielding_bytes()
    }

    /// The bound of all.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Room on the disk; none when it cannot be told.
    pub(crate) fn room(&self) -> Option<Room> {
        self.volume.room().ok()
    }

    /// Frames of these packs will come, and are worth keeping.
    pub(crate) fn expect_packs(&self, packs: &HashSet<PackId>) {
        self.policy.lock().remember(packs.iter().copied());
    }

    /// What the disk has room for besides the reserve; none when it cannot be told.
    pub(crate) fn room_for_cache(&self) -> Option<u64> {
        self.room().map(|room| room.free_bytes.saturating_sub(room.reserve_bytes()))
    }

    /// The journal will need so much: the cache does not grow into it.
    pub(crate) fn leave_free(&self, wanted_bytes: u64) {
        self.disk.leave_free(wanted_bytes);
    }

    /// Evicts until the bounds hold and `wanted_bytes` are free besides the reserve. Blocks.
    pub(crate) fn sweep(&self, wanted_bytes: u64) -> Swept {
        self.leave_free(wanted_bytes);
        let mut unread = self.unread.lock();
        for (pack, bytes) in self.ledger.take_indexed() {
            let place = Place::Small.of(self.contents(&pack));
            self.policy.lock().admit(Unit::Pack(pack), bytes, place);
        }
        let readable = if self.is_over(wanted_bytes) { unread.len() } else { READ_AT_ONCE.min(unread.len()) };
        for pack in unread.drain(..readable) {
            if self.contents(&pack) == Contents::Names {
                self.policy.lock().now_of_names(Unit::Pack(pack));
            }
        }
        let mut swept = Swept::default();
        while let Some(unit) = self.victim(wanted_bytes) {
            if let Err(error) = self.evict(unit, &mut swept) {
                tracing::warn!(?unit, %error, "failed to evict from the cache; the next start tries again");
            }
        }
        swept
    }

    /// What must go next, taken out of the policy; none when the bounds hold, or nothing is left.
    fn victim(&self, wanted_bytes: u64) -> Option<Unit> {
        // What the journal will need is taken from data. While a commit runs, a part of it is written twice already.
        let wanted_bytes = if self.yielding_bytes() > 0 { wanted_bytes } else { 0 };
        if self.is_over(wanted_bytes) {
            return self.policy.lock().victim();
        }
        if self.disk.index_is_full() {
            // Packs that were made here have no entry in it.
            return self.policy.lock().gathered_victim();
        }
        None
    }

    fn is_over(&self, wanted_bytes: u64) -> bool {
        let short = |room: Room| room.free_bytes < room.reserve_bytes() + wanted_bytes;
        self.bytes() > self.bytes_max || self.room().is_some_and(short)
    }

    /// What a pack holds whose file is here. One that cannot be read counts as data; who reads it will say what is wrong.
    fn contents(&self, pack: &PackId) -> Contents {
        Contents::of_pack(&self.ledger.path(pack)).unwrap_or_else(|error| {
            tracing::debug!(%pack, %error, "what a pack holds cannot be told");
            Contents::Data
        })
    }

    fn evict(&self, unit: Unit, swept: &mut Swept) -> Result<(), EvictError> {
        match unit {
            Unit::Gathered(number) => {
                self.disk.remove(number)?;
                swept.files += 1;
            }
            Unit::Pack(pack) => {
                self.evict_pack(&pack)?;
                swept.packs += 1;
            }
        }
        Ok(())
    }

    fn evict_pack(&self, pack: &PackId) -> Result<(), EvictError> {
        if !self.ledger.may_evict(pack)? {
            return Err(EvictError::Needed { pack: *pack });
        }
        self.ledger.make_stages_durable()?;
        crate::crash::point("cache.stage.flushed");
        match std::fs::remove_file(self.ledger.path(pack)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        crate::crash::point("cache.pack.removed");
        self.packs.close(pack);
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum EvictError {
    #[error("pack {pack} is not known to be on as many targets as it must be")]
    Needed { pack: PackId },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    File(#[from] io::Error),
}
