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

use super::{DiskCache, Place, Policy, Room, Unit, Volume};
use crate::ledger::{Contents, Ledger, LedgerError};

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
    /// One sweep at a time.
    sweeping: Mutex<()>,
    /// Asks for a sweep now.
    pub(crate) wake: Notify,
}

impl Keeper {
    /// Takes in the packs that are here and may go.
    pub(crate) fn open(
        ledger: Arc<Ledger>,
        packs: Arc<LocalFrames>,
        disk: Arc<DiskCache>,
        policy: Arc<Mutex<Policy>>,
        (volume, bytes_max): (Arc<dyn Volume>, u64),
    ) -> Result<Self, LedgerError> {
        for found in ledger.evictable_files()? {
            policy.lock().admit(Unit::Pack(found.pack), found.bytes, place(found.contents, Place::Main));
        }
        Ok(Self {
            ledger,
            packs,
            disk,
            policy,
            volume,
            bytes_max,
            sweeping: Mutex::new(()),
            wake: Notify::new(),
        })
    }

    /// Bytes that could be evicted.
    pub(crate) fn bytes(&self) -> u64 {
        self.policy.lock().bytes()
    }

    /// The bound of those.
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
        let _one_at_a_time = self.sweeping.lock();
        for new in self.ledger.take_indexed() {
            self.policy.lock().admit(Unit::Pack(new.pack), new.bytes, place(new.contents, Place::Small));
        }
        let mut swept = Swept::default();
        while self.is_over(wanted_bytes) {
            let Some(unit) = self.policy.lock().victim() else { break };
            if let Err(error) = self.evict(unit, &mut swept) {
                tracing::warn!(?unit, %error, "failed to evict from the cache; the next start tries again");
            }
        }
        swept
    }

    fn is_over(&self, wanted_bytes: u64) -> bool {
        let short = |room: Room| room.free_bytes < room.reserve_bytes() + wanted_bytes;
        self.bytes() > self.bytes_max || self.disk.index_is_full() || self.room().is_some_and(short)
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

fn place(contents: Contents, of_data: Place) -> Place {
    match contents {
        Contents::Data => of_data,
        Contents::Names => Place::Names,
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
