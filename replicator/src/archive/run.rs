//! Carrying a plan out: each pack is copied onto itself, in another class.
//!
//! The store is asked afterwards whether it did: some take the name of a class and heed it not, and then nothing is gained
//! by going on.

use futures::{StreamExt, stream};

use super::plan::{Amount, ArchivePlan, Move};
use crate::collect::CollectError;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError, pack_name};
use crate::store::{ErrorKind, SpecialStore, StoreError};

/// Packs that change at once.
pub const CHANGES_MAX: usize = 8;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Packs that are of another class now.
    pub moved: Amount,
    /// Packs that were gone, or asleep, when their turn came.
    pub left: u64,
}

/// Changes the classes. Ends with the first error of the store; what was changed stays so, and the next plan goes on.
pub async fn run(
    repository: &Repository<Opened>,
    plan: &ArchivePlan,
    observer: &dyn Observer,
) -> Result<Archived, CollectError> {
    observer.phase("change storage classes");
    let changes: Vec<_> = plan.moves.iter().map(|one| change(repository, one)).collect();
    let mut changes = stream::iter(changes).buffer_unordered(CHANGES_MAX);
    let mut done = Archived::default();
    while let Some((bytes, changed)) = changes.next().await {
        match changed {
            Ok(()) => done.moved.add(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Asleep) => done.left += 1,
            Err(error) => return Err(RepositoryError::from(error).into()),
        }
        observer.advanced(bytes);
        if observer.is_cancelled() {
            return Err(CollectError::Cancelled);
        }
    }
    Ok(done)
}

async fn change(repository: &Repository<Opened>, one: &Move) -> (u64, Result<(), StoreError>) {
    let (store, name) = (repository.store(), pack_name(one.pack));
    let changing = async {
        store.change_class(&name, &one.to).await?;
        let found = store.class(&name).await?.class;
        if found.as_ref() == Some(&one.to) {
            return Ok(());
        }
        let doing = format!("bring packs to the storage class {}", one.to);
        Err(StoreError::new(ErrorKind::Misconfigured, doing)
            .caused_by("the store took the request, and the pack is not of that class"))
    };
    (one.bytes, changing.await)
}
