//! Whether a bucket takes object locks, and honours them.
//!
//! An object is stored with a lock of some seconds, and its version deleted at once. What is locked stays until
//! then, hidden by the clean-up; nothing is left that would have to be removed by hand but that hidden version, which
//! a collection removes.

use std::time::Duration;

use super::name;
use crate::store::{ErrorKind, LockFound, LockMode, S3Store, SpecialStore, StoreError};

/// How long the object is locked: longer than it takes to try to delete it.
const LOCK: Duration = Duration::from_mins(1);

/// Stores a locked object, and tries to delete it.
pub(super) async fn probe_lock(bucket: &S3Store, id: &str, mode: LockMode) -> Result<LockFound, StoreError> {
    let object = name(id, "lock");
    let bytes = bytes::Bytes::from_static(b"probe");
    match bucket.put_locked_for(&object, bytes, mode, LOCK).await {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::Misconfigured | ErrorKind::Invalid) => {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "no object lock here");
            return Ok(LockFound::Refused);
        }
        Err(error) => return Err(error),
    }
    if !bucket.lock(&object).await?.is_locked() {
        return Ok(LockFound::Ignored);
    }
    let versions = bucket.versions(object.as_str(), None, 10).await?.versions;
    for version in versions.iter().filter(|version| version.bytes.is_some()) {
        match bucket.purge_version(&object, &version.version).await {
            Ok(()) => return Ok(LockFound::Broken),
            // Whoever may not delete versions at all cannot try it further.
            Err(error) if matches!(error.kind(), ErrorKind::Held | ErrorKind::Denied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(LockFound::Honoured)
}
