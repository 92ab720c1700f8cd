//! Object lock: what new objects get, and how a lock is changed.
//!
//! A lock needs a bucket with one. In a bucket of objects, which keeps versions then, it keeps a version from being
//! removed; in one that shows a share it keeps the file from being changed, through both doors
//! ([`crate::namespace::locked`]). The time is this machine's.

use tidegate_protocols::objects::{Changed, NewObject, ObjectError, ObjectName, Retention, VersionId, Who};
use tidegate_replicator::map::{ObjectMetadata, ObjectRecord};

use super::{Access, Objects, bounded};
use crate::namespace::locked::{lock_of, retention_record};

impl Objects {
    pub(super) async fn retain(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Changed, ObjectError> {
        let access = self.access_to_lock(who, name).await?;
        let now = access.namespace().time();
        if retention.is_some_and(|retention| retention.until <= now) {
            return Err(past());
        }
        let change = |record: &mut ObjectRecord| {
            lock_of(&record.metadata).admit(retention.as_ref(), now, bypass)?;
            record.metadata.retention = retention.as_ref().map(retention_record);
            Ok(())
        };
        let info = bounded(access.describe_again(&name.key, version, change)).await?;
        let in_repository = self.published(&access).await?;
        Ok(Changed { version: info.version, in_repository })
    }

    pub(super) async fn hold(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        held: bool,
    ) -> Result<Changed, ObjectError> {
        let access = self.access_to_lock(who, name).await?;
        let change = |record: &mut ObjectRecord| {
            record.metadata.legal_hold = held;
            Ok(())
        };
        let info = bounded(access.describe_again(&name.key, version, change)).await?;
        let in_repository = self.published(&access).await?;
        Ok(Changed { version: info.version, in_repository })
    }

    /// A bucket with a lock, and a key that can have one.
    async fn access_to_lock(&self, who: &Who, name: &ObjectName) -> Result<Access, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        if access.loaded.settings.lock.is_none() {
            return Err(ObjectError::NoLock);
        }
        if !access.bucket.flat && name.key.ends_with('/') {
            return Err(folder());
        }
        Ok(access)
    }
}

impl Access {
    /// A new object with the lock that it gets: what its maker says, or the default of the bucket.
    pub(super) fn with_lock(&self, new: NewObject) -> Result<NewObject, ObjectError> {
        let Some(lock) = self.loaded.settings.lock else {
            let asks = new.retention.is_some() || new.legal_hold.is_some();
            return if asks { Err(ObjectError::NoLock) } else { Ok(new) };
        };
        let now = self.namespace().time();
        if new.retention.is_some_and(|retention| retention.until <= now) {
            return Err(past());
        }
        let retention = new.retention.or_else(|| lock.default.map(|default| default.from(now)));
        Ok(NewObject { retention, ..new })
    }

    /// What an upload said of its object, with the lock that it gets when it is completed.
    pub(super) fn with_default_lock(&self, metadata: ObjectMetadata) -> ObjectMetadata {
        let default = self.loaded.settings.lock.and_then(|lock| lock.default);
        let by_default = default.map(|default| retention_record(&default.from(self.namespace().time())));
        ObjectMetadata { retention: metadata.retention.or(by_default), ..metadata }
    }
}

/// The answer to who would lock a folder.
pub(super) fn folder() -> ObjectError {
    let why =
        "a key that ends with a slash is a folder in this bucket: it holds nothing that could be locked";
    ObjectError::InvalidArgument(why.into())
}

fn past() -> ObjectError {
    ObjectError::InvalidArgument("The retain until date must be in the future!".into())
}
