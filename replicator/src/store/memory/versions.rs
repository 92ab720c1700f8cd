//! What a store in memory keeps under a name: one object, or, where objects are locked, every version.
//!
//! Claims of the model: a version that is locked goes by nobody's hand; a lock never becomes shorter; what a name shows
//! is its newest version, unless that is a delete marker.

use std::time::SystemTime;

use bytes::Bytes;

use super::classes::Thaw;
use crate::store::{ErrorKind, ObjectInfo, ObjectName, ObjectVersion, StorageClass, StoreError};

/// A version, or a delete marker.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) id: u64,
    /// None of a delete marker.
    pub(super) bytes: Option<Bytes>,
    pub(super) modified: SystemTime,
    pub(super) locked_until: Option<SystemTime>,
    pub(super) class: Option<StorageClass>,
    pub(super) thaw: Option<Thaw>,
}

/// All that a name has had, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(Vec<Version>);

impl Versions {
    /// What the name shows.
    pub(super) fn current(&self) -> Option<&Version> {
        self.0.last().filter(|version| version.bytes.is_some())
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Version> {
        self.0.last_mut().filter(|version| version.bytes.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, version: Version) {
        self.0.push(version);
    }

    /// From now on there is only this one.
    pub(super) fn replace(&mut self, version: Version) {
        self.0 = vec![version];
    }

    pub(super) fn get(&self, id: u64) -> Option<&Version> {
        self.0.iter().find(|version| version.id == id)
    }

    /// Deletes one version for good.
    pub(super) fn purge(&mut self, name: &ObjectName, id: u64, now: SystemTime) -> Result<(), StoreError> {
        if self.get(id).is_some_and(|version| version.is_locked(now)) {
            return Err(StoreError::new(ErrorKind::Held, format!("delete a version of {name}")));
        }
        self.0.retain(|version| version.id != id);
        Ok(())
    }

    /// Deletes whatever is not locked; [`ErrorKind::Held`] if something was, and then no marker goes.
    pub(super) fn purge_all(&mut self, name: &ObjectName, now: SystemTime) -> Result<(), StoreError> {
        self.0.retain(|version| version.bytes.is_none() || version.is_locked(now));
        if self.0.iter().any(|version| version.bytes.is_some()) {
            return Err(StoreError::new(ErrorKind::Held, format!("delete all versions of {name}")));
        }
        self.0.clear();
        Ok(())
    }

    /// As a listing shows them: the newest first.
    pub(super) fn listed<'a>(&'a self, name: &'a ObjectName) -> impl Iterator<Item = ObjectVersion> + 'a {
        self.0.iter().enumerate().rev().map(|(at, version)| ObjectVersion {
            name: name.clone(),
            version: version.id.to_string(),
            bytes: version.bytes.as_ref().map(|bytes| bytes.len() as u64),
            modified: version.modified,
            is_current: at + 1 == self.0.len(),
        })
    }
}

impl Version {
    /// What is told of it without reading it; none of a delete marker.
    pub(super) fn info(&self, name: &ObjectName) -> Option<ObjectInfo> {
        let bytes = self.bytes.as_ref()?.len() as u64;
        Some(ObjectInfo { name: name.clone(), bytes, modified: self.modified, class: self.class.clone() })
    }

    fn is_locked(&self, now: SystemTime) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }
}
