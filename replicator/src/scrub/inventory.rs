//! Which packs there are, and which should be.

use std::collections::{BTreeSet, HashMap};

use tidegate_chunker::{ChunkId, Location, PackId};

use crate::collect::VoidPacks;
use crate::repository::{Opened, Repository, RepositoryError, Result};

/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// How much there is to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Packs on the store.
    pub packs: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Inventory {
    /// Lists all packs.
    pub async fn take(repository: &Repository<Opened>) -> Result<Self> {
        let (mut inventory, mut after) = (Self::default(), None);
        loop {
            let (packs, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
            inventory.packs += packs.len() as u64;
            inventory.bytes += packs.iter().map(|pack| pack.bytes).sum::<u64>();
            after = packs.last().map(|pack| pack.id);
            if !more || after.is_none() {
                return Ok(inventory);
            }
        }
    }
}

/// Packs that the index names, that no collection has condemned, and that are not there. Reads the whole index and
/// lists all packs; keeps 32 bytes for each pack that the index names. Index objects that are damaged name nothing.
pub async fn missing_packs(repository: &Repository<Opened>) -> Result<Vec<PackId>> {
    let mut named = BTreeSet::new();
    let mut reader = repository.index_reader();
    loop {
        match reader.next().await {
            Ok(Some((_, object))) => named.extend(object.entries().map(|entry| entry.location.pack)),
            Ok(None) => break,
            Err(RepositoryError::Damaged { object, why }) => {
                tracing::error!(object, why, "an index object is damaged; rebuild the index");
            }
            Err(error) => return Err(error),
        }
    }
    // What is listed after the index was read was there when it was named, or has been deleted since.
    let mut after = None;
    loop {
        let (packs, more) = repository.list_packs(after, LIST_PAGE).await?;
        for pack in &packs {
            named.remove(pack);
        }
        after = packs.last().copied();
        if !more || after.is_none() {
            break;
        }
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    // Plans are read last: what a collection deleted it had condemned before.
    let mut void = VoidPacks::default();
    void.refresh(repository).await?;
    Ok(named.into_iter().filter(|pack| void.counts(pack)).collect())
}

/// The chunks that the index says to lie in a pack. Reads the whole index. Index objects that are damaged name nothing.
pub async fn chunks_named(repository: &Repository<Opened>, pack: PackId) -> Result<Vec<(ChunkId, Location)>> {
    // Several objects may name one chunk.
    let mut found = HashMap::new();
    let mut reader = repository.index_reader();
    loop {
        match reader.next().await {
            Ok(Some((_, object))) => {
                let named = object.entries().filter(|entry| entry.location.pack == pack);
                found.extend(named.map(|entry| (entry.chunk, entry.location)));
            }
            Ok(None) => return Ok(found.into_iter().collect()),
            Err(RepositoryError::Damaged { object, why }) => {
                tracing::debug!(object, why, "an index object is damaged");
            }
            Err(error) => return Err(error),
        }
    }
}
