//! Which packs are locked, so that they cannot go yet; by the store's clock, which decides in the end anyway.

use std::collections::HashMap;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::PackId;

use super::error::CollectError;
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError, UtcNanos, pack_name};
use crate::store::{ErrorKind, LockRule, LockState, SpecialStore};

/// Locks that are asked for at once.
pub(super) const LOOKS_MAX: usize = 16;

/// Packs that stay although nothing needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub packs: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// When the first of their locks ends, by the store's clock.
    pub first_until: Option<UtcNanos>,
    /// When the last of their locks ends.
    pub last_until: Option<UtcNanos>,
}

impl Held {
    /// Adds a pack whose lock ends then.
    pub(super) fn add(&mut self, bytes: u64, until: Option<SystemTime>) {
        self.packs += 1;
        self.bytes += bytes;
        let until = until.map(UtcNanos::from);
        self.first_until = self.first_until.into_iter().chain(until).min();
        self.last_until = self.last_until.max(until);
    }
}

/// The locks of packs; of those that are gone there are none.
pub(super) async fn locks(
    repository: &Repository<Opened>,
    packs: Vec<PackId>,
    observer: &dyn Observer,
) -> Result<HashMap<PackId, LockState>, CollectError> {
    let looks = packs.into_iter().map(|pack| async move {
        match repository.store().lock(&pack_name(pack)).await {
            Ok(state) => Ok(Some((pack, state))),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(RepositoryError::from(error)),
        }
    });
    let looks: Vec<_> = looks.collect();
    let mut looks = stream::iter(looks).buffer_unordered(LOOKS_MAX);
    let mut found = HashMap::new();
    while let Some(look) = looks.try_next().await? {
        checkpoint(observer)?;
        found.extend(look);
    }
    Ok(found)
}

/// Whether a pack that nothing needs, and that no plan condemns yet, is to be condemned although its lock has not ended:
/// shortly before, so that nobody comes to refer to it anew when it is protected no more.
pub(super) fn ends_soon(rule: LockRule, state: &LockState) -> bool {
    state.until.is_none_or(|until| until <= state.now + rule.margin())
}
