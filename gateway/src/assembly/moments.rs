//! From a moment of a share, as people write it, to the head that it means.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_protocols::view::FsError;
use tidegate_replicator::repository::{Head, HeadName, SnapshotId};

use super::kinds::appliance_kind;
use super::offline::utc_nanos;
use super::overview::timestamp;
use super::points::not_after;
use crate::appliance::{Appliance, SnapshotEntry};
use crate::control::{ControlError, ErrorKind, Moment, SnapshotInfo};
use crate::share::FrozenMap;
use crate::volumes::Host;

/// How long a head stays whose disk was copied elsewhere: the next copy is what has changed since.
const COPY_DAYS: u64 = 60;
/// Most heads that are looked at to find a point in time.
const HEADS_MAX: usize = 10_000;

/// The head of a moment of a share; of what is live, one that is published for it.
pub(super) async fn head_at(
    appliance: &Arc<Appliance>,
    share: &str,
    moment: &Moment,
) -> Result<(HeadName, Head), ControlError> {
    let missing = |what: String| ControlError::new(ErrorKind::NotFound, what);
    match moment {
        Moment::Live => Ok(appliance.commit(share).await?),
        Moment::NewestHead => appliance
            .heads(share, 1)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| missing(format!("share {share:?} has no head yet"))),
        Moment::Head(name) => {
            let heads = appliance.heads(share, HEADS_MAX).await?;
            let found = heads.into_iter().find(|(head, _)| head.to_string() == *name);
            found.ok_or_else(|| missing(format!("share {share:?} has no head {name}")))
        }
        Moment::Snapshot(name) => {
            let entry = snapshot(appliance, share, name).await?;
            Ok((entry.snapshot.head_name, entry.snapshot.head))
        }
        Moment::At(time) => {
            let id = appliance.line_id(share)?;
            let (_, name, head) = not_after(appliance.repository(), id, utc_nanos(*time)).await?;
            Ok((name, head))
        }
    }
}

/// A snapshot of a share, by its id or name.
pub(super) async fn snapshot(
    appliance: &Appliance,
    share: &str,
    name: &str,
) -> Result<SnapshotEntry, ControlError> {
    let snapshots = appliance.snapshots(share).await?;
    let called = |entry: &SnapshotEntry| entry.id.to_string() == name || entry.snapshot.label == name;
    let found = snapshots.into_iter().rev().find(called);
    found.ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("share {share:?} has no snapshot {name:?}"))
            .todo(format!("see `tidegate snapshot list {share}`"))
    })
}

/// A snapshot as operators see it.
pub(super) fn snapshot_info(entry: &SnapshotEntry) -> SnapshotInfo {
    let snapshot = &entry.snapshot;
    SnapshotInfo {
        id: entry.id.to_string(),
        name: called(entry.id, &snapshot.label),
        frozen: timestamp(snapshot.head.frozen_at),
        policy: snapshot.policy.clone(),
        tags: snapshot.tags.clone(),
        files: snapshot.head.usage.inodes,
        bytes: snapshot.head.usage.bytes,
        bin_until: None,
    }
}

/// What people call a snapshot: one without a name by its id.
pub(super) fn called(id: SnapshotId, label: &str) -> String {
    if label.is_empty() { id.to_string() } else { label.to_owned() }
}

/// The gateway around volumes.
pub(super) struct VolumeHost(pub(super) Arc<Appliance>);

#[async_trait]
impl Host for VolumeHost {
    fn share_id(&self, share: &str) -> Option<ShareId> {
        self.0.share_id(share).ok()
    }

    async fn frozen(&self, share: &str, moment: &Moment, keep: bool) -> Result<FrozenMap, FsError> {
        let keep = if keep { Keep::Briefly("a scratch volume") } else { Keep::No };
        Ok(self.held(share, moment, keep).await?.1)
    }

    async fn published(&self, share: &str, moment: &Moment) -> Result<(String, FrozenMap), FsError> {
        let (name, map) = self.held(share, moment, Keep::ForDays("a copy of a disk", COPY_DAYS)).await?;
        Ok((name.to_string(), map))
    }
}

/// Whether what a moment reaches is to stay, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    No,
    Briefly(&'static str),
    ForDays(&'static str, u64),
}

impl VolumeHost {
    /// A share as it was at a moment.
    async fn held(&self, share: &str, moment: &Moment, keep: Keep) -> Result<(HeadName, FrozenMap), FsError> {
        let held = async {
            let is_drill = self.0.is_drill();
            let (name, head) = match moment {
                Moment::Live if is_drill => self.0.clone_base(share).await?,
                Moment::Head(wanted) if keep == Keep::No => self.head_or_snapshot(share, wanted).await?,
                _ => head_at(&self.0, share, moment).await?,
            };
            // A drill pins nothing: its store takes no changes.
            if keep != Keep::No && !is_drill {
                match keep {
                    Keep::ForDays(why, days) => self.0.pin_for(name, &head, why, days).await?,
                    Keep::Briefly(why) => drop(self.0.pin(name, &head, why).await?),
                    Keep::No => {}
                }
                // Only if it is still there now it was retained by one or the other all the time.
                let fixed = match moment {
                    Moment::Live | Moment::NewestHead => &Moment::Head(name.to_string()),
                    Moment::Head(_) | Moment::Snapshot(_) | Moment::At(_) => moment,
                };
                if !head_at(&self.0, share, fixed).await.is_ok_and(|(still, _)| still == name) {
                    return Err(ControlError::new(ErrorKind::Busy, format!("share {share:?} has moved on")));
                }
            }
            Ok::<_, ControlError>((name, self.0.frozen_map(&head)?))
        };
        held.await.map_err(|error: ControlError| {
            tracing::warn!(share, %moment, %error, "a moment that a volume shows cannot be had");
            match error.kind {
                ErrorKind::NotFound => FsError::NotFound,
                ErrorKind::StoreAway | ErrorKind::Busy | ErrorKind::Stopping => FsError::TryLater,
                _ => FsError::Io,
            }
        })
    }

    /// A head by its name, also one that only a snapshot keeps.
    async fn head_or_snapshot(&self, share: &str, wanted: &str) -> Result<(HeadName, Head), ControlError> {
        match head_at(&self.0, share, &Moment::Head(wanted.to_owned())).await {
            Err(missing) if missing.kind == ErrorKind::NotFound => {
                let mut snapshots = self.0.snapshots(share).await?.into_iter().map(|entry| entry.snapshot);
                let found = snapshots.find(|snapshot| snapshot.head_name.to_string() == wanted);
                found.map(|snapshot| (snapshot.head_name, snapshot.head)).ok_or(missing)
            }
            found => found,
        }
    }
}

impl From<crate::appliance::ApplianceError> for ControlError {
    fn from(error: crate::appliance::ApplianceError) -> Self {
        ControlError::new(appliance_kind(&error), error.to_string())
    }
}
