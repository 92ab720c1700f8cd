//! What collections have deleted, or are about to: packs that may be missing although facts of the index name them.
//!
//! A pack that was condemned and spared is no such pack: something needs it.

use std::collections::HashSet;

use tidegate_chunker::PackId;

use crate::repository::{Opened, Repository, RepositoryError};

/// The packs that plans of a repository have deleted, and those that open plans condemn. Reads every plan there is.
pub(super) async fn deleted(repository: &Repository<Opened>) -> Result<HashSet<PackId>, RepositoryError> {
    let mut packs = HashSet::new();
    for plan in repository.plans().await? {
        let spared = match repository.read_outcome(plan.id).await? {
            Some(outcome) => outcome.spared,
            None => Vec::new(),
        };
        let condemned = repository.read_plan(plan.id).await?.condemned;
        packs.extend(condemned.into_iter().filter(|pack| spared.binary_search(pack).is_err()));
    }
    Ok(packs)
}
