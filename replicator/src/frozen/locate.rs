//! The index of the repository as a reader asks it, where hints do not help.
//!
//! Reads index objects one after the other, in the order of the listing, until one knows the chunk. As
//! many as the bound allows are kept; the others are read again for the next question. That is slow for
//! a large index and right: hints are wrong only where packs were moved or are damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, DomainId, Location};

use crate::fetch::{FetchError, FetchErrorKind, Locate};
use crate::repository::{IndexName, IndexObject, Opened, Repository, RepositoryError};

/// What an index entry takes in memory, in bytes.
const ENTRY_BYTES: u64 = 53;
/// Places of chunks that are known to be bad and remembered; with more, the oldest are forgotten.
const BAD_PLACES_MAX: usize = 4096;

/// See the head of this module.
pub struct LocateInIndex {
    repository: Arc<Repository<Opened>>,
    domain: DomainId,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<IndexName, Arc<IndexObject>>,
    kept_bytes: u64,
    bad: Vec<(ChunkId, Location)>,
}

impl LocateInIndex {
    /// Looks chunks of `domain` up, and keeps about `bytes_max` bytes of index.
    pub fn new(repository: Arc<Repository<Opened>>, domain: DomainId, bytes_max: u64) -> Self {
        Self { repository, domain, bytes_max, state: Mutex::default() }
    }

    /// Whether the chunk was not to be had at this place.
    pub fn is_bad(&self, id: &ChunkId, at: &Location) -> bool {
        self.state.lock().bad.iter().any(|(chunk, bad)| chunk == id && bad == at)
    }

    /// Whether the chunk was not to be had at some place.
    pub fn was_bad(&self, id: &ChunkId) -> bool {
        self.state.lock().bad.iter().any(|(chunk, _)| chunk == id)
    }

    async fn object(&self, name: IndexName) -> Result<Arc<IndexObject>, RepositoryError> {
        if let Some(kept) = self.state.lock().kept.get(&name) {
            return Ok(kept.clone());
        }
        let object = Arc::new(self.repository.read_index_object(name).await?);
        let bytes = object.len() as u64 * ENTRY_BYTES;
        let mut state = self.state.lock();
        if state.kept_bytes + bytes <= self.bytes_max && state.kept.insert(name, object.clone()).is_none() {
            state.kept_bytes += bytes;
        }
        Ok(object)
    }

    /// A place of the chunk in this object that is not known to be bad.
    fn find_in(&self, object: &IndexObject, id: &ChunkId) -> Option<Location> {
        let state = self.state.lock();
        let good = |at: &Location| !state.bad.iter().any(|(chunk, bad)| chunk == id && bad == at);
        let ours = object.find(*id).filter(|entry| entry.domain == self.domain);
        ours.map(|entry| entry.location).find(good)
    }
}

#[async_trait]
impl Locate for LocateInIndex {
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError> {
        let names = self.repository.legible_index_names().await.map_err(away)?;
        let mut damaged = None;
        for name in names {
            match self.object(name).await {
                Ok(object) => {
                    if let Some(location) = self.find_in(&object, id) {
                        return Ok(Some(location));
                    }
                }
                Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(away(error));
                }
                Err(error) => damaged = Some(error),
            }
        }
        // What a damaged object knew nobody can say: the chunk is not known to be missing.
        match damaged {
            None => Ok(None),
            Some(error) => {
                let doing = "find a chunk in the index, a part of which cannot be read";
                Err(FetchError::new(FetchErrorKind::Damaged, doing).caused_by(error))
            }
        }
    }

    fn found_bad(&self, id: &ChunkId, at: &Location) {
        let mut state = self.state.lock();
        if state.bad.contains(&(*id, *at)) {
            return;
        }
        if state.bad.len() == BAD_PLACES_MAX {
            state.bad.remove(0);
        }
        state.bad.push((*id, *at));
    }
}

fn away(error: RepositoryError) -> FetchError {
    FetchError::new(FetchErrorKind::Unreachable, "read the index").caused_by(error)
}
