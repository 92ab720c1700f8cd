//! Storage classes of a store in memory.
//!
//! Claims of the model: what is put is of no class; a change of class writes the object anew and keeps its bytes; what
//! sleeps is read by nobody until a thaw that was asked for has taken its time, and again by nobody when its days are
//! over; asking twice changes nothing while the first is under way, and makes the days longer afterwards.

use std::time::{Duration, SystemTime};

use super::versions::Version;
use crate::store::{
    ClassState, Classes, ErrorKind, ObjectName, StorageClass, StoreError, ThawRequest, Wakefulness,
};

/// Which classes the store has, and how long it takes to thaw.
#[derive(Clone, Debug)]
pub(super) struct Freezer {
    pub(super) classes: Vec<StorageClass>,
    pub(super) known: Classes,
    pub(super) thaw_takes: Duration,
}

/// A copy that can be read, from when on and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thaw {
    ready: SystemTime,
    until: SystemTime,
}

impl Freezer {
    pub(super) fn state(&self, version: &Version, now: SystemTime) -> ClassState {
        let class = version.class.clone();
        let wakefulness = match version.thaw {
            _ if !self.known.sleeps(class.as_ref()) => Wakefulness::Awake,
            Some(thaw) if now < thaw.ready => Wakefulness::Thawing,
            Some(thaw) if now < thaw.until => Wakefulness::Thawed(Some(thaw.until)),
            Some(_) | None => Wakefulness::Asleep,
        };
        ClassState { class, wakefulness }
    }

    /// [`ErrorKind::Asleep`] for what cannot be read now.
    pub(super) fn check_awake(
        &self,
        name: &ObjectName,
        version: &Version,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        if self.state(version, now).wakefulness.is_readable() {
            return Ok(());
        }
        Err(StoreError::new(ErrorKind::Asleep, format!("read {name}, which sleeps")))
    }

    /// The class to which an object is brought.
    pub(super) fn check_class(&self, class: &StorageClass) -> Result<(), StoreError> {
        if self.classes.contains(class) {
            return Ok(());
        }
        let doing = format!("find the storage class {class}");
        Err(StoreError::new(ErrorKind::Misconfigured, doing).caused_by("this store has no such class"))
    }

    pub(super) fn thaw(&self, version: &mut Version, request: ThawRequest, now: SystemTime) {
        let days = Duration::from_hours(24) * request.days.max(1);
        match self.state(version, now).wakefulness {
            Wakefulness::Awake | Wakefulness::Thawing => {}
            Wakefulness::Thawed(_) => {
                version.thaw = version.thaw.map(|thaw| Thaw { until: now + days, ..thaw });
            }
            Wakefulness::Asleep => {
                let ready = now + self.thaw_takes;
                version.thaw = Some(Thaw { ready, until: ready + days });
            }
        }
    }
}
