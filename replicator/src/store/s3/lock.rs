//! Locks and versions in a bucket: S3 Object Lock.
//!
//! * What is put is locked by the rule of the target: `x-amz-object-lock-mode` and `-retain-until-date` go with the put
//!   itself, so there is no moment without a lock. The date is reckoned from the `Date` of the store's answers.
//! * What goes up in parts is locked by the request that begins it. Not every store takes that: Ceph of version 16 does not.
//!   So the lock is asked for afterwards, and set if there is none.
//! * A lock is extended by `PutObjectRetention`, never shortened, and never bypassed.
//! * A version that cannot be deleted because it is locked is [`ErrorKind::Held`]. Stores refuse that in various words, so
//!   the lock is asked for.
//! * A pack that is hidden, or gone under its name, is read from its oldest version: nobody who may only add versions
//!   can keep it from being read (see `docs/threat-model.md`).

use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{
    ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode,
};
use aws_smithy_types::DateTime;
use bytes::Bytes;

use super::S3Store;
use super::error::{status, store_error};
use crate::store::deadline::within;
use crate::store::{
    Answer, Body, ErrorKind, LIST_LIMIT_MAX, LockMode, LockRule, LockState, ObjectName, ObjectVersion,
    Special, StoreError, VersionMark, VersionPage, special,
};

/// Pages of versions of one name that are looked at: nobody has a reason to make so many.
const PAGES_MAX: usize = 100;

/// Objects that are read from an older version when their name shows none: a collection deletes all versions of a pack,
/// and nothing deletes the configuration.
const OUTLIVING: [&str; 2] = ["packs/", "config"];

/// What goes with a put.
#[derive(Clone, Debug)]
pub(super) struct PutLock {
    pub(super) mode: ObjectLockMode,
    pub(super) until: DateTime,
}

impl S3Store {
    /// The lock that an object of this name gets when it is stored now.
    pub(super) async fn put_lock(&self, name: &ObjectName) -> Result<Option<PutLock>, StoreError> {
        let Some(rule) = self.conduct.lock.filter(|_| LockRule::covers(name)) else { return Ok(None) };
        let now = self.time_there(name).await?;
        if !self.heads.locks(name, now) {
            return Ok(None);
        }
        Ok(Some(PutLock { mode: mode(rule.mode).into(), until: DateTime::from(rule.until(now)) }))
    }

    /// Locks an object that was stored in parts, where the store has not taken the lock with the first request of them.
    pub(super) async fn lock_if_it_is_not(&self, name: &ObjectName) -> Result<(), StoreError> {
        let Some(rule) = self.conduct.lock.filter(|_| LockRule::covers(name)) else { return Ok(()) };
        let state = self.lock_state(name, None).await?;
        if state.is_locked() {
            return Ok(());
        }
        self.put_retention(name, rule.mode, rule.until(state.now)).await
    }

    /// Stores a small object that is locked for so long, whatever the rule of the target.
    pub(in crate::store) async fn put_locked_for(
        &self,
        name: &ObjectName,
        bytes: Bytes,
        lock_mode: LockMode,
        span: Duration,
    ) -> Result<(), StoreError> {
        let now = self.time_there(name).await?;
        let lock = PutLock { mode: mode(lock_mode).into(), until: DateTime::from(now + span) };
        let body = Body::Bytes(bytes);
        let checksum = self.checksum(&body, 0, body.len()).await?;
        self.put_with_lock(name, &body, false, (checksum, Some(lock))).await
    }

    /// The time by the store's clock. Asks for it if no answer has told it yet.
    pub(in crate::store) async fn time_there(&self, name: &ObjectName) -> Result<SystemTime, StoreError> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        let doing = || format!("find out by the store's clock until when to lock {name}");
        let asked = async {
            // Whatever it answers tells the time.
            match Box::pin(self.client.head_bucket().bucket(&self.bucket).send()).await {
                Err(error) if status(&error).is_none() => Err(store_error(doing(), error)),
                Ok(_) | Err(_) => Ok(()),
            }
        };
        within(self.answer_timeout, doing, asked).await?;
        self.clock.now().ok_or_else(|| {
            StoreError::new(ErrorKind::Misconfigured, doing())
                .caused_by("its answers tell no time: leave `lock` out of the settings of this target")
        })
    }

    /// Carries a special call out.
    pub(super) async fn do_special(&self, call: Special) -> Result<Answer, StoreError> {
        match &call {
            Special::Lock(name) => self.lock_state(name, None).await.map(Answer::Lock),
            Special::ExtendLock(name, until) => {
                let (Some(rule), until) = (self.conduct.lock, *until) else {
                    return special::without(self, call).await;
                };
                self.put_retention(name, rule.mode, until).await.map(|()| Answer::Done)
            }
            Special::Purge(_) | Special::PurgeVersion(..) if self.conduct.append_only => {
                Err(special::only_adds(&call))
            }
            Special::Purge(_) if self.conduct.lock.is_none() => special::without(self, call).await,
            Special::Purge(name) => self.purge_all(name).await.map(|()| Answer::Done),
            Special::Versions(prefix, after, limit) => {
                self.list_versions(prefix, after.clone(), *limit).await.map(Answer::Versions)
            }
            Special::PurgeVersion(name, version) => {
                self.delete_version(name, version).await.map(|()| Answer::Done)
            }
            Special::Revive(name, version) => self.copy_version(name, version).await.map(|()| Answer::Done),
            Special::Class(name) => self.class_state(name).await.map(Answer::Class),
            Special::ChangeClass(name, class) => self.copy_to_class(name, class).await.map(|()| Answer::Done),
            Special::Thaw(name, request) => self.restore_object(name, *request).await.map(|()| Answer::Done),
        }
    }

    /// Until when a version is locked, or what the name shows now. A legal hold is a lock without an end.
    async fn lock_state(&self, name: &ObjectName, version: Option<&str>) -> Result<LockState, StoreError> {
        let doing = || format!("ask for the lock of {name}");
        let asked = async {
            let request = self.client.head_object().bucket(&self.bucket).key(self.key(name));
            match Box::pin(request.set_version_id(version.map(str::to_owned)).send()).await {
                Err(error) if status(&error) == Some(404) => Err(self.missing_or_misconfigured(name).await),
                answer => answer.map_err(|error| store_error(doing(), error)),
            }
        };
        let answer = within(self.answer_timeout * 2, doing, asked).await?;
        let now = self.time_there(name).await?;
        let until = answer.object_lock_retain_until_date();
        let mut until = until.and_then(|until| SystemTime::try_from(*until).ok());
        if answer.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On) {
            let endless = now + Duration::from_hours(24 * 36_500);
            until = Some(until.map_or(endless, |until| until.max(endless)));
        }
        Ok(LockState { until, now })
    }

    async fn put_retention(
        &self,
        name: &ObjectName,
        lock_mode: LockMode,
        until: SystemTime,
    ) -> Result<(), StoreError> {
        let doing = || format!("extend the lock of {name}");
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::from(lock_mode.as_str()))
            .retain_until_date(DateTime::from(until))
            .build();
        let request = self.client.put_object_retention().bucket(&self.bucket).key(self.key(name));
        let asked = async {
            request.retention(retention).send().await.map(drop).map_err(|error| store_error(doing(), error))
        };
        within(self.answer_timeout, doing, asked).await
    }

    /// Deletes data before delete markers, so that nothing shows that was hidden.
    async fn purge_all(&self, name: &ObjectName) -> Result<(), StoreError> {
        let (data, markers): (Vec<_>, Vec<_>) =
            self.versions_of(name).await?.into_iter().partition(|version| version.bytes.is_some());
        let mut held = None;
        for version in data {
            match self.delete_version(name, &version.version).await {
                Err(error) if error.kind() == ErrorKind::Held => held = Some(error),
                deleted => deleted?,
            }
        }
        if let Some(held) = held {
            return Err(held);
        }
        for marker in markers {
            self.delete_version(name, &marker.version).await?;
        }
        Ok(())
    }

    /// All versions of one name, the newest first.
    async fn versions_of(&self, name: &ObjectName) -> Result<Vec<ObjectVersion>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.list_versions(name.as_str(), after, LIST_LIMIT_MAX).await?;
            let is_past = page.versions.iter().any(|version| version.name > *name);
            found.extend(page.versions.into_iter().filter(|version| version.name == *name));
            after = page.next;
            if is_past || after.is_none() {
                return Ok(found);
            }
        }
        Err(StoreError::new(ErrorKind::Misconfigured, format!("list the versions of {name}"))
            .caused_by("there are too many: somebody has made them"))
    }

    pub(super) async fn delete_version(&self, name: &ObjectName, version: &str) -> Result<(), StoreError> {
        let doing = || format!("delete a version of {name}");
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(name));
        let asked =
            async { request.version_id(version).send().await.map_err(|error| store_error(doing(), error)) };
        let error = match within(self.answer_timeout, doing, asked).await {
            Err(error) if error.kind() == ErrorKind::Missing => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Misconfigured) => error,
            deleted => return deleted.map(drop),
        };
        // The word for "locked" differs from store to store.
        match self.lock_state(name, Some(version)).await {
            Ok(state) if state.is_locked() => Err(StoreError::new(ErrorKind::Held, doing()).caused_by(error)),
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn copy_version(&self, name: &ObjectName, version: &str) -> Result<(), StoreError> {
        let doing = || format!("bring an older version of {name} back");
        let lock = self.put_lock(name).await?;
        let key = self.key(name);
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(&key)
            .copy_source(format!("{}/{key}?versionId={version}", self.bucket))
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.map(|lock| lock.until));
        request.send().await.map(drop).map_err(|error| store_error(doing(), error))
    }

    async fn list_versions(
        &self,
        prefix: &str,
        after: Option<VersionMark>,
        limit: usize,
    ) -> Result<VersionPage, StoreError> {
        let doing = || format!("list the versions of {prefix:?}");
        let (key, version) = after.map_or((None, None), |after| (Some(after.key), Some(after.version)));
        let request = self
            .client
            .list_object_versions()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.prefix))
            .set_key_marker(key)
            .set_version_id_marker(version)
            .max_keys(limit.clamp(1, LIST_LIMIT_MAX) as i32);
        let asked = async { request.send().await.map_err(|error| store_error(doing(), error)) };
        let page = within(self.answer_timeout, doing, asked).await?;
        let next = (page.is_truncated() == Some(true)).then(|| VersionMark {
            key: page.next_key_marker().unwrap_or_default().to_owned(),
            version: page.next_version_id_marker().unwrap_or_default().to_owned(),
        });
        if next.as_ref().is_some_and(|next| next.key.is_empty()) {
            return Err(StoreError::new(ErrorKind::Misconfigured, doing())
                .caused_by("the store says that there is more, and not where"));
        }
        Ok(VersionPage { versions: self.versions_in(&page), next })
    }

    /// The versions of a page in order: S3 gives markers and data apart.
    fn versions_in(&self, page: &ListObjectVersionsOutput) -> Vec<ObjectVersion> {
        let data = page.versions().iter().filter_map(|data| {
            Some(ObjectVersion {
                name: self.name_of(data.key()?)?,
                version: data.version_id()?.to_owned(),
                bytes: Some(u64::try_from(data.size()?).ok()?),
                modified: SystemTime::try_from(*data.last_modified()?).ok()?,
                is_current: data.is_latest() == Some(true),
            })
        });
        let markers = page.delete_markers().iter().filter_map(|marker| {
            Some(ObjectVersion {
                name: self.name_of(marker.key()?)?,
                version: marker.version_id()?.to_owned(),
                bytes: None,
                modified: SystemTime::try_from(*marker.last_modified()?).ok()?,
                is_current: marker.is_latest() == Some(true),
            })
        });
        let mut versions: Vec<ObjectVersion> = data.chain(markers).collect();
        // Times are in whole seconds: the order of one list is kept where they are the same.
        versions.sort_by(|one, other| {
            let age = |version: &ObjectVersion| (!version.is_current, std::cmp::Reverse(version.modified));
            one.name.cmp(&other.name).then_with(|| age(one).cmp(&age(other)))
        });
        versions
    }

    /// The oldest version of an object that no name shows any more, if it is one that is to outlive that.
    pub(super) async fn outliving(&self, name: &ObjectName) -> Result<Option<String>, StoreError> {
        let outlives = OUTLIVING.iter().any(|part| name.as_str().starts_with(part));
        if self.conduct.lock.is_none() || !outlives {
            return Ok(None);
        }
        let versions = self.versions_of(name).await?;
        let oldest = versions.into_iter().rev().find(|version| version.bytes.is_some());
        if oldest.is_some() {
            tracing::error!(%name, "an object was hidden, and is read from its oldest version: see `tidegate target verify`");
        }
        Ok(oldest.map(|oldest| oldest.version))
    }
}

fn mode(mode: LockMode) -> &'static str {
    mode.as_str()
}
