//! Which packs a copy of the repository does not have yet.
//!
//! A copy reads packs from the target that leads; one that sleeps there it cannot get before somebody pays for its thawing.
//! What a copy has is what its store lists, whoever made the pack and whoever brought it there. A copy that does not answer
//! is taken to lack everything that it has not listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_chunker::PackId;

use crate::collect::CollectError;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};
use crate::store::Store;

/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// Those of `packs` that one of the copies lacks.
pub(super) async fn owed(
    repository: &Repository<Opened>,
    copies: &[Arc<dyn Store>],
    packs: &BTreeSet<PackId>,
    observer: &dyn Observer,
) -> Result<BTreeSet<PackId>, CollectError> {
    let mut owed = BTreeSet::new();
    for copy in copies.iter().filter(|_| !packs.is_empty()) {
        observer.phase("look what the copies have");
        let mut lacks = packs.clone();
        match forget_listed(&repository.on(copy.clone()), &mut lacks, observer).await {
            Ok(()) => {}
            Err(_) if observer.is_cancelled() => return Err(CollectError::Cancelled),
            Err(error) => {
                tracing::warn!(copy = copy.address(), %error, "a copy does not say which packs it has: they are not archived");
            }
        }
        owed.append(&mut lacks);
    }
    Ok(owed)
}

async fn forget_listed(
    copy: &Repository<Opened>,
    lacks: &mut BTreeSet<PackId>,
    observer: &dyn Observer,
) -> Result<(), RepositoryError> {
    let mut after = None;
    while !lacks.is_empty() && !observer.is_cancelled() {
        let (page, more) = copy.list_packs(after, LIST_PAGE).await?;
        for pack in &page {
            lacks.remove(pack);
        }
        after = page.last().copied();
        if !more || after.is_none() {
            break;
        }
    }
    Ok(())
}
