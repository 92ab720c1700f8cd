//! Heads and snapshots that cannot be read, put back as another store has them.
//!
//! Each is one sealed object under one name on every store, and opens only if every byte of it is as it was; so what opens
//! elsewhere under that name is what was here. One that is gone meanwhile is left alone: somebody has removed it.
//!
//! What is in the way of one of them is told, and keeps nobody from the others: a store that lets it not be read, or not be
//! written, and an object with a name that no head or snapshot has.

use std::sync::Arc;

use tidegate_chunker::{ObjectKind, ShareId};

use crate::frozen::with_causes;
use crate::repository::envelope::{fetch, list_all, store_object};
use crate::repository::names::{heads_of, last_segment, snapshots_of};
use crate::repository::{HEAD_BYTES_MAX, HeadName, Opened, Repository, RepositoryError, Result, SnapshotId};
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
        for which in all_of(repository, share).await? {
            found.extend(settle(repository, share, which, elsewhere).await?);
        }
    }
    Ok(found)
}

/// One of them.
#[derive(Clone, Copy, Debug)]
enum Which {
    Head(HeadName),
    Snapshot(SnapshotId),
}

impl Which {
    fn kind(self) -> ObjectKind {
        match self {
            Self::Head(_) => ObjectKind::Head,
            Self::Snapshot(_) => ObjectKind::Snapshot,
        }
    }

    fn object(self, share: ShareId) -> ObjectName {
        match self {
            Self::Head(name) => name.object(share),
            Self::Snapshot(id) => id.object(share),
        }
    }

    async fn read(self, repository: &Repository<Opened>, share: ShareId) -> Result<()> {
        match self {
            Self::Head(name) => repository.read_head(share, &name).await.map(drop),
            Self::Snapshot(id) => repository.read_snapshot(share, id).await.map(drop),
        }
    }
}

/// All heads and snapshots of a share.
async fn all_of(repository: &Repository<Opened>, share: ShareId) -> Result<Vec<Which>> {
    let store = &**repository.store();
    let (mut names, mut found) = (list_all(store, &heads_of(share)).await?, Vec::new());
    let heads = names.len();
    names.extend(list_all(store, &snapshots_of(share)).await?);
    for (number, name) in names.iter().enumerate() {
        let text = last_segment(name);
        let which = if number < heads {
            HeadName::parse(text).map(Which::Head)
        } else {
            SnapshotId::parse(text).map(Which::Snapshot)
        };
        let Some(which) = which else {
            tracing::error!(%name, "no head or snapshot has such a name: see `tidegate check`");
            continue;
        };
        found.push(which);
    }
    Ok(found)
}

/// What is to be told of an object after it was read.
async fn settle(
    repository: &Repository<Opened>,
    share: ShareId,
    which: Which,
    elsewhere: &[Arc<dyn Store>],
) -> Result<Option<SpoiltObject>> {
    let name = which.object(share);
    let mut spoilt = match which.read(repository, share).await {
        Err(RepositoryError::Damaged { why, .. }) => SpoiltObject { name, why, healed: false },
        Err(error) if is_refused(&error) => {
            return Ok(Some(SpoiltObject { name, why: with_causes(&error), healed: false }));
        }
        Err(error) if error.is_away() => return Err(error),
        // It is gone, or of a newer program, which can read it.
        Ok(()) | Err(_) => return Ok(None),
    };
    for store in elsewhere {
        let Ok(bytes) = fetch(&**store, &spoilt.name, HEAD_BYTES_MAX).await else { continue };
        if repository.check_control(which.kind(), &spoilt.name, &bytes).await.is_err() {
            continue;
        }
        match put_back(repository, &spoilt.name, bytes).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if is_refused(&error) => {
                spoilt.why = format!("{}; it cannot be put back: {}", spoilt.why, with_causes(&error));
                break;
            }
            Err(error) => return Err(error),
        }
        // What opens may be of no use all the same, there as here.
        match which.read(repository, share).await {
            Ok(()) => {
                spoilt.healed = true;
                break;
            }
            Err(error) if error.is_away() && !is_refused(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(Some(spoilt))
}

/// Writes an object over, unless it is gone: then it says false.
async fn put_back(repository: &Repository<Opened>, name: &ObjectName, bytes: bytes::Bytes) -> Result<bool> {
    match repository.store().head(name).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Missing => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    store_object(&**repository.store(), name, bytes, PutMode::Overwrite).await?;
    Ok(true)
}

/// Whether the store has answered that it will not do it with this object: others may be had all the same.
fn is_refused(error: &RepositoryError) -> bool {
    use ErrorKind::{Asleep, Denied, Full, Held, Invalid};
    matches!(error, RepositoryError::Store(error)
        if matches!(error.kind(), Denied | Full | Invalid | Held | Asleep))
}
