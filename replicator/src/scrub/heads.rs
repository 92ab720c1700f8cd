//! Heads and snapshots that cannot be read, put back as another store has them.
//!
//! Each is one sealed object under one name on every store, and opens only if every byte of it is as it was; so what opens
//! elsewhere under that name is what was here. One that is gone meanwhile is left alone: somebody has removed it.

use std::sync::Arc;

use tidegate_chunker::ObjectKind;

use crate::repository::envelope::{fetch, store_object};
use crate::repository::{HEAD_BYTES_MAX, Opened, Repository, RepositoryError, Result};
use crate::store::{ErrorKind, ObjectName, PutMode, Store};

/// A head or snapshot that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoiltObject {
    /// The name of its object.
    pub name: ObjectName,
    /// What was wrong.
    pub why: String,
    /// Whether it is there again as it was.
    pub healed: bool,
}

/// Reads all heads and snapshots of a repository, and puts back what cannot be read and one of `elsewhere` has. A store of
/// the repository that does not answer is an error; of one that is elsewhere it only says that it has nothing now.
pub async fn heal_heads(
    repository: &Repository<Opened>,
    elsewhere: &[Arc<dyn Store>],
) -> Result<Vec<SpoiltObject>> {
    let mut found = Vec::new();
    for share in repository.share_ids().await? {
        for head in repository.head_names(share).await? {
            let read = repository.read_head(share, &head).await.map(drop);
            let object = (ObjectKind::Head, head.object(share));
            found.extend(settle(repository, object, read, elsewhere).await?);
        }
        for snapshot in repository.snapshot_ids(share).await? {
            let read = repository.read_snapshot(share, snapshot).await.map(drop);
            let object = (ObjectKind::Snapshot, snapshot.object(share));
            found.extend(settle(repository, object, read, elsewhere).await?);
        }
    }
    Ok(found)
}

/// What is to be told of an object after it was read.
async fn settle(
    repository: &Repository<Opened>,
    (kind, name): (ObjectKind, ObjectName),
    read: Result<()>,
    elsewhere: &[Arc<dyn Store>],
) -> Result<Option<SpoiltObject>> {
    let why = match read {
        Err(RepositoryError::Damaged { why, .. }) => why,
        Err(error) if error.is_away() => return Err(error),
        // It is gone, or of a newer program, which can read it.
        Ok(()) | Err(_) => return Ok(None),
    };
    for store in elsewhere {
        let Ok(bytes) = fetch(&**store, &name, HEAD_BYTES_MAX).await else { continue };
        if repository.check_control(kind, &name, &bytes).await.is_err() {
            continue;
        }
        match repository.store().head(&name).await {
            Ok(_) => store_object(&**repository.store(), &name, bytes, PutMode::Overwrite).await?,
            Err(error) if error.kind() == ErrorKind::Missing => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        return Ok(Some(SpoiltObject { name, why, healed: true }));
    }
    Ok(Some(SpoiltObject { name, why, healed: false }))
}
