//! Packs on their way to a copy.
//!
//! A pack that is on this machine goes up from its file. Any other is fetched from the lead into a file, piece
//! by piece, and its index must open and fit its length before it goes up. That the frames in it are sound is for
//! a check to say: they are sealed, so a copy can spread damage but never hide it.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tempfile::NamedTempFile;
use tidegate_chunker::PackId;
use tokio::time::Instant;

use super::deleted::deleted;
use super::{HELD_MAX, Mirror, MirrorError, MirrorHost, MirrorOptions};
use crate::observer::Observer;
use crate::repository::{Opened, Repository, pack_name};
use crate::store::{Body, ErrorKind};

/// How much of a pack is fetched at once, in bytes.
const PIECE_BYTES: u64 = 8 << 20;
/// How often it is looked whether a pack that sleeps on the lead was thawed.
const ASLEEP_LOOK_EVERY: Duration = Duration::from_hours(1);

/// Packs that a pass has found on the copy, or brought there; forgets all when there are too many, which costs requests.
#[derive(Debug, Default)]
pub(super) struct Held(HashSet<PackId>);

impl Held {
    pub(super) fn contains(&self, pack: &PackId) -> bool {
        self.0.contains(pack)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, packs: &[PackId]) {
        for pack in packs {
            self.0.remove(pack);
        }
    }

    pub(super) fn add(&mut self, pack: PackId) {
        if self.0.len() >= HELD_MAX {
            self.0.clear();
        }
        self.0.insert(pack);
    }
}

/// What became of several.
#[derive(Debug, Default)]
pub(super) struct CarriedPacks {
    /// How many went, and their length in bytes.
    pub(super) sent: u64,
    pub(super) bytes: u64,
    /// Those that are nowhere although no collection has deleted them.
    pub(super) nowhere: Vec<PackId>,
    /// Those that sleep on the lead.
    pub(super) asleep: Vec<PackId>,
}

/// What became of one pack.
pub(super) enum Carried {
    /// The copy had it.
    WasThere,
    /// It has it now: so many bytes.
    Sent(u64),
    /// Nobody has it.
    Nowhere,
    /// It sleeps on the lead.
    Asleep,
}

impl Mirror {
    /// Brings packs to the copy, several at once.
    pub(super) async fn carry_packs(
        &mut self,
        packs: impl Iterator<Item = PackId>,
        observer: &dyn Observer,
    ) -> Result<CarriedPacks, MirrorError> {
        let now = Instant::now();
        self.asleep_until.retain(|_, until| *until > now);
        let (asleep, wanted): (Vec<PackId>, Vec<PackId>) = packs
            .filter(|pack| !self.held.contains(pack))
            .partition(|pack| self.asleep_until.contains_key(pack));
        let (lead, copy, host, options) = (&self.lead, &self.copy, &*self.host, &self.options);
        let carrying = wanted.into_iter().map(|pack| async move {
            if observer.is_cancelled() {
                return Err(MirrorError::Cancelled);
            }
            let carried = carry_pack(lead, copy, host, options, pack).await?;
            if let Carried::Sent(bytes) = carried {
                observer.advanced(bytes);
            }
            Ok((pack, carried))
        });
        let carrying: Vec<_> = carrying.collect();
        let mut carrying = stream::iter(carrying).buffer_unordered(self.options.parallel.max(1));
        let mut done = CarriedPacks { asleep, ..CarriedPacks::default() };
        let (mut carried_packs, mut asleep) = (Vec::new(), Vec::new());
        while let Some((pack, carried)) = carrying.try_next().await? {
            match carried {
                Carried::WasThere => carried_packs.push(pack),
                Carried::Sent(bytes) => {
                    carried_packs.push(pack);
                    done.sent += 1;
                    done.bytes += bytes;
                }
                Carried::Nowhere => done.nowhere.push(pack),
                Carried::Asleep => asleep.push(pack),
            }
        }
        drop(carrying);
        for pack in carried_packs {
            self.held.add(pack);
        }
        for pack in asleep {
            if self.asleep_until.len() < HELD_MAX {
                self.asleep_until.insert(pack, now + ASLEEP_LOOK_EVERY);
            }
            done.asleep.push(pack);
        }
        if !done.nowhere.is_empty() {
            let deleted = deleted(&self.lead).await?;
            done.nowhere.retain(|pack| !deleted.contains(pack));
        }
        Ok(done)
    }
}

/// Brings one pack from `lead`, or from this machine, to `copy`, unless it is there.
async fn carry_pack(
    lead: &Repository<Opened>,
    copy: &Repository<Opened>,
    host: &dyn MirrorHost,
    options: &MirrorOptions,
    pack: PackId,
) -> Result<Carried, MirrorError> {
    match copy.store().head(&pack_name(pack)).await {
        Ok(_) => return Ok(Carried::WasThere),
        Err(error) if error.kind() == ErrorKind::Missing => {}
        Err(error) => return Err(error.into()),
    }
    if let Some((path, bytes)) = host.file(&pack) {
        match copy.put_pack(pack, Body::File { path, bytes }).await {
            Ok(stored) => return Ok(Carried::Sent(stored.bytes())),
            Err(error) if host.file(&pack).is_some() => return Err(error.into()),
            // It was evicted just now.
            Err(_) => {}
        }
    }
    match copy_pack(lead, copy, options, pack).await {
        Err(error) if error.is_missing() => Ok(Carried::Nowhere),
        Err(error) if error.is_asleep() => Ok(Carried::Asleep),
        copied => copied.map(Carried::Sent),
    }
}

/// Copies a pack from one store to the other, whatever is there; gives its length in bytes.
pub(super) async fn copy_pack(
    from: &Repository<Opened>,
    to: &Repository<Opened>,
    options: &MirrorOptions,
    pack: PackId,
) -> Result<u64, MirrorError> {
    from.pack_index(pack).await?;
    let bytes = from.store().head(&pack_name(pack)).await?.bytes;
    let unwritable = |source| MirrorError::Scratch { folder: options.scratch.display().to_string(), source };
    let mut file = NamedTempFile::new_in(&options.scratch).map_err(unwritable)?;
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + PIECE_BYTES);
        file.write_all(&from.read_pack(pack, at..end).await?).map_err(unwritable)?;
        at = end;
    }
    to.put_pack(pack, Body::File { path: file.path().to_path_buf(), bytes }).await?;
    Ok(bytes)
}
