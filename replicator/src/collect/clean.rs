//! Takes what is deleted out of the index.
//!
//! An object that names a deleted pack is written anew without it, and deleted once that is durable. It is
//! housekeeping only: what a plan has deleted is void, whatever the index says. So it does no harm when a
//! crash, or a merge that runs at the same time, leaves such facts behind.

use std::collections::HashSet;

use tidegate_chunker::PackId;

use super::error::CollectError;
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};

/// Writes every index object anew that names one of these packs; tells how many there were.
pub(super) async fn clean_index(
    repository: &Repository<Opened>,
    gone: &HashSet<PackId>,
    observer: &dyn Observer,
) -> Result<u64, CollectError> {
    if gone.is_empty() {
        return Ok(0);
    }
    let mut cleaned = 0;
    for name in repository.legible_index_names().await? {
        checkpoint(observer)?;
        match repository.read_index_object(name).await {
            Ok(object) if object.entries().any(|entry| gone.contains(&entry.location.pack)) => {
                let entries: Vec<_> =
                    object.entries().filter(|entry| !gone.contains(&entry.location.pack)).collect();
                repository.replace_index_object(name, &entries).await?;
                cleaned += 1;
            }
            // What is damaged is for a check to say.
            Ok(_) | Err(RepositoryError::Missing { .. } | RepositoryError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        observer.advanced(1);
    }
    repository.merge_index().await?;
    Ok(cleaned)
}
