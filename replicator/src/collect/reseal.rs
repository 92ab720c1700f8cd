//! Sealing epochs of packs: how much lies under which, and which packs are to be sealed anew.
//!
//! The epoch stands in a pack's header, in the clear. Epochs of different domains may have the same number, and the
//! header does not name the domain; only where the number is the newest of one domain and not of all is the end of
//! the pack read, whose seal tells the domain.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{PackHeader, PackId, SealEpoch};

use super::error::CollectError;
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::{Opened, PackObject, Repository, RepositoryError};

/// Headers that are read at once.
const READS_MAX: usize = 16;
/// Packs that are listed at once.
const PAGE: usize = 1000;

/// How much lies under which sealing epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealUsage {
    /// Packs, and their length in bytes.
    pub packs: u64,
    /// See `packs`.
    pub bytes: u64,
    /// Those of them that are not under the newest epoch of their domain.
    pub old_packs: u64,
    /// Their length in bytes.
    pub old_bytes: u64,
    /// Packs and bytes by epoch, of all domains together.
    pub epochs: BTreeMap<SealEpoch, (u64, u64)>,
    /// Packs of which that cannot be told, for they are damaged.
    pub unreadable: u64,
    /// Packs of which that cannot be told before they are thawed, for they sleep; and their length in bytes.
    pub asleep: u64,
    /// See `asleep`.
    pub asleep_bytes: u64,
}

/// Looks at the header of every pack.
pub async fn seal_usage(
    repository: &Arc<Repository<Opened>>,
    observer: &dyn Observer,
) -> Result<SealUsage, CollectError> {
    observer.phase("read the headers of packs");
    let (mut usage, mut after, newest) = (SealUsage::default(), None, Newest::of(repository));
    loop {
        checkpoint(observer)?;
        let (page, more) = repository.list_pack_objects(after, PAGE).await?;
        after = page.last().map(|pack| pack.id);
        let looks = page.into_iter().map(|PackObject { id: pack, bytes, .. }| {
            let newest = &newest;
            async move { Ok::<_, RepositoryError>((bytes, newest.look(repository, pack).await?)) }
        });
        let mut looks = stream::iter(looks).buffer_unordered(READS_MAX);
        while let Some((bytes, seen)) = looks.try_next().await? {
            observer.advanced(1);
            usage.add(bytes, seen);
        }
        if !more {
            return Ok(usage);
        }
    }
}

/// Those of the packs that are not under the newest epoch of their domain. One that is damaged is left alone.
pub(super) async fn old_packs(
    repository: &Arc<Repository<Opened>>,
    packs: Vec<PackId>,
    observer: &dyn Observer,
) -> Result<HashSet<PackId>, CollectError> {
    observer.phase("read the headers of packs");
    let newest = Newest::of(repository);
    if newest.is_only_one {
        return Ok(HashSet::new());
    }
    let looks = packs.into_iter().map(|pack| {
        let newest = &newest;
        async move { Ok::<_, RepositoryError>((pack, newest.look(repository, pack).await?)) }
    });
    let mut looks = stream::iter(looks).buffer_unordered(READS_MAX);
    let mut old = HashSet::new();
    while let Some((pack, seen)) = looks.try_next().await? {
        checkpoint(observer)?;
        observer.advanced(1);
        if let Seen::Under { is_old: true, .. } = seen {
            old.insert(pack);
        }
    }
    Ok(old)
}

/// What a header says.
enum Seen {
    Under { epoch: SealEpoch, is_old: bool },
    Unreadable,
    Asleep,
    Gone,
}

impl SealUsage {
    fn add(&mut self, bytes: u64, seen: Seen) {
        let (epoch, is_old) = match seen {
            Seen::Gone => return,
            Seen::Unreadable => {
                self.unreadable += 1;
                return;
            }
            Seen::Asleep => {
                self.asleep += 1;
                self.asleep_bytes += bytes;
                return;
            }
            Seen::Under { epoch, is_old } => (epoch, is_old),
        };
        self.packs += 1;
        self.bytes += bytes;
        let of_epoch = self.epochs.entry(epoch).or_default();
        *of_epoch = (of_epoch.0 + 1, of_epoch.1 + bytes);
        if is_old {
            self.old_packs += 1;
            self.old_bytes += bytes;
        }
    }
}

/// The newest epochs of all domains.
struct Newest {
    epochs: BTreeSet<SealEpoch>,
    /// No domain has another epoch: nothing can be old.
    is_only_one: bool,
}

impl Newest {
    fn of(repository: &Repository<Opened>) -> Self {
        let domains = repository.domains();
        let epochs = domains.iter().map(|(_, domain)| domain.keys.current_epoch()).collect();
        let is_only_one = domains.iter().all(|(_, domain)| domain.keys.epochs() == 1);
        Self { epochs, is_only_one }
    }

    async fn look(&self, repository: &Repository<Opened>, pack: PackId) -> Result<Seen, RepositoryError> {
        let header = match repository.read_pack(pack, 0..PackHeader::LEN as u64).await {
            Ok(header) => PackHeader::from_prefix(&header).ok().filter(|header| header.pack == pack),
            Err(RepositoryError::Missing { .. }) => return Ok(Seen::Gone),
            Err(RepositoryError::Damaged { .. }) => None,
            Err(error) if error.is_asleep() => return Ok(Seen::Asleep),
            Err(error) => return Err(error),
        };
        let Some(PackHeader { epoch, .. }) = header else { return Ok(Seen::Unreadable) };
        if !self.epochs.contains(&epoch) || self.epochs.len() == 1 {
            return Ok(Seen::Under { epoch, is_old: !self.epochs.contains(&epoch) });
        }
        match repository.pack_index(pack).await {
            Ok((domain, _)) => {
                let is_old = repository.domain_keys(domain)?.current_epoch() != epoch;
                Ok(Seen::Under { epoch, is_old })
            }
            Err(RepositoryError::Missing { .. }) => Ok(Seen::Gone),
            Err(RepositoryError::Damaged { .. }) => Ok(Seen::Unreadable),
            Err(error) => Err(error),
        }
    }
}
