//! A repository as commands use it that need no running gateway: opened, with its requests counted, and
//! the moments of its shares.

use std::sync::Arc;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Head, HeadName, Opened, Repository, SnapshotId, UtcNanos, is_binned};
use tidegate_replicator::store::{RequestCounts, StoreHealth};

use super::moments::snapshot_info;
use super::overview::head_info;
use super::points::not_after;
use super::{AssemblyError, open_store, slot_key};
use crate::appliance::SnapshotEntry;
use crate::control::{ControlError, ErrorKind, HeadInfo, Moment, SnapshotInfo};
use crate::settings::Settings;

/// See the head of this module.
pub struct OfflineRepository {
    /// The repository.
    pub repository: Arc<Repository<Opened>>,
    /// Requests that reached its store.
    pub requests: Arc<RequestCounts>,
    /// Whether its store answers, and what time it is there.
    pub health: Arc<StoreHealth>,
}

impl OfflineRepository {
    /// Opens the repository that the settings name. Only reads.
    pub async fn open(settings: &Settings) -> Result<Self, AssemblyError> {
        let store = open_store(settings.lead(), None).await?;
        let key = slot_key(&settings.repository).await?;
        let repository = Repository::open(store.store, &key).await?;
        Ok(Self { repository: Arc::new(repository), requests: store.counts, health: store.health })
    }

    /// The share of this name or id.
    pub async fn share(&self, wanted: &str) -> Result<ShareId, ControlError> {
        let found = self.repository.find_share(wanted).await.map_err(AssemblyError::from)?;
        found.ok_or_else(|| missing(format!("the repository has no share {wanted:?} that can be read")))
    }

    /// The state of a share at a moment.
    pub async fn head_at(&self, share: ShareId, moment: &Moment) -> Result<Head, ControlError> {
        match moment {
            Moment::NewestHead => Ok(self.newest(share).await?.1),
            Moment::Head(name) => self.head(share, name).await,
            Moment::Snapshot(name) => self.snapshot(share, name).await,
            Moment::At(time) => Ok(not_after(&self.repository, share, utc_nanos(*time)).await?.2),
            Moment::Live => Err(ControlError::new(
                ErrorKind::Invalid,
                "what clients see now is known to the gateway that serves it, not to the repository",
            )),
        }
    }

    /// Heads of a share that can be opened, newest first, at most so many: as a running gateway lists them.
    pub async fn heads(&self, share: &str, limit: usize) -> Result<Vec<HeadInfo>, ControlError> {
        let id = self.share(share).await?;
        let listed = self.repository.list_heads(id, limit).await.map_err(AssemblyError::from)?;
        let opened = listed.into_iter().filter_map(|listed| Some((listed.name, listed.head.ok()?)));
        Ok(opened.map(|(name, head)| head_info(name, &head)).collect())
    }

    /// Snapshots of a share that are not in the bin, newest first: as a running gateway lists them.
    pub async fn snapshots(&self, share: &str) -> Result<Vec<SnapshotInfo>, ControlError> {
        let id = self.share(share).await?;
        let listed = self.repository.list_snapshots(id).await.map_err(AssemblyError::from)?;
        Ok(SnapshotEntry::in_force(listed).iter().rev().map(snapshot_info).collect())
    }

    async fn newest(&self, share: ShareId) -> Result<(HeadName, Head), ControlError> {
        let newest = self.repository.newest_head(share).await.map_err(AssemblyError::from)?;
        let newest = newest.ok_or_else(|| missing("the share has no head".to_owned()))?;
        Ok((newest.name, newest.head))
    }

    async fn head(&self, share: ShareId, name: &str) -> Result<Head, ControlError> {
        let names = self.repository.head_names(share).await.map_err(AssemblyError::from)?;
        let found = names.into_iter().find(|head| head.to_string() == name);
        let found = found.ok_or_else(|| missing(format!("the share has no head {name}")))?;
        Ok(self.repository.read_head(share, &found).await.map_err(AssemblyError::from)?)
    }

    /// By id, also in the bin; or the newest out of it that is called so.
    async fn snapshot(&self, share: ShareId, name: &str) -> Result<Head, ControlError> {
        if let Some(id) = SnapshotId::parse(name) {
            let snapshot = self.repository.read_snapshot(share, id).await.map_err(AssemblyError::from)?;
            return Ok(snapshot.head);
        }
        let ids = self.repository.snapshot_ids(share).await.map_err(AssemblyError::from)?;
        let mut unreadable = None;
        for id in ids.into_iter().rev() {
            match self.repository.read_snapshot(share, id).await {
                Ok(snapshot) if snapshot.label == name && !is_binned(&snapshot) => return Ok(snapshot.head),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        // The one that cannot be read may be the one that is meant.
        match unreadable {
            Some(error) => Err(AssemblyError::from(error).into()),
            None => Err(missing(format!("the share has no snapshot {name:?}"))),
        }
    }
}

/// The time of a moment; what lies beyond the range of the repository's times is its end.
pub(crate) fn utc_nanos(time: jiff::Timestamp) -> UtcNanos {
    let nanos = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    UtcNanos::new(nanos as i64)
}

fn missing(what: String) -> ControlError {
    ControlError::new(ErrorKind::NotFound, what)
}
