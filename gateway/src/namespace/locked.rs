//! Files under object lock: nobody changes or removes them before their time, through whichever door.
//!
//! The lock stands in the record of what S3 knows of a file; a bit of the inode says that there is one to look at,
//! so files without one cost nothing. Time is this machine's. What is refused: writing, cutting, attributes, further
//! names, renaming and removing. A directory above a locked file may be renamed, and takes it along.

use tidegate_protocols::objects::{Lock, LockMode, Retention};
use tidegate_protocols::view::{FsError, Time};
use tidegate_replicator::map::{ObjectMetadata, ObjectRecord, ObjectRetention, Timestamp};

use super::{Namespace, Node};

/// The lock that a record says.
pub fn lock_of(metadata: &ObjectMetadata) -> Lock {
    let retention = metadata.retention.map(|kept| Retention {
        mode: if kept.compliance { LockMode::Compliance } else { LockMode::Governance },
        until: Time { seconds: kept.until.seconds, nanos: kept.until.nanos },
    });
    Lock { retention, legal_hold: metadata.legal_hold }
}

/// Whether a record, as it stands in its attribute, says of a lock, be it over or not.
pub(super) fn says_of_lock(record: &[u8]) -> bool {
    ObjectRecord::decode(record)
        .is_ok_and(|record| record.metadata.retention.is_some() || record.metadata.legal_hold)
}

/// A retention as it stands in a record.
pub fn retention_record(retention: &Retention) -> ObjectRetention {
    ObjectRetention {
        compliance: retention.mode == LockMode::Compliance,
        until: Timestamp { seconds: retention.until.seconds, nanos: retention.until.nanos },
    }
}

impl Namespace {
    /// What time it is.
    pub fn time(&self) -> Time {
        let now = self.now();
        Time { seconds: now.seconds, nanos: now.nanos }
    }

    /// Refuses a file that is under lock now; whoever calls holds its lock.
    pub(crate) async fn require_unlocked(&self, file: &Node) -> Result<(), FsError> {
        self.require_unlocked_unless(file, false).await
    }

    /// The same for a caller who may pass governance.
    pub(super) async fn require_unlocked_unless(&self, file: &Node, bypass: bool) -> Result<(), FsError> {
        if !file.inode.locked {
            return Ok(());
        }
        let record = self.reader().record(file.number).await?;
        let lock = record.map(|record| lock_of(&record.metadata)).unwrap_or_default();
        if lock.holds(self.time(), bypass) { Err(FsError::Locked) } else { Ok(()) }
    }
}
