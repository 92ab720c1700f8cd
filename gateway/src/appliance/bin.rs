//! The bin of this gateway's shares: snapshots that a person has removed, and shares that are served no more.
//!
//! What a snapshot in the bin is, in which order it goes in and out, and what a crash leaves, is
//! [`tidegate_replicator::repository`]'s to say. A share needs no bin: whoever takes it out of the settings leaves its heads
//! and snapshots in the repository, and its record here, until it is served again.

use std::time::Duration;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Binned, NewestHead, SnapshotId, UtcNanos};

use super::registry::{self, ShareRecord};
use super::{Appliance, ApplianceError, SnapshotEntry};

/// A share that is known here, led from here, and not served.
#[derive(Clone, Debug)]
pub struct RemovedShare {
    /// What it is called.
    pub name: String,
    /// Its id.
    pub id: ShareId,
    /// Its newest head.
    pub newest: NewestHead,
}

impl Appliance {
    /// Puts a snapshot into the bin for so long, unless it is locked; says until when. `None`: it is not there any more.
    pub async fn bin_snapshot(
        &self,
        share: &str,
        id: SnapshotId,
        keep: Duration,
    ) -> Result<Option<UtcNanos>, ApplianceError> {
        let share = self.line_id(share)?;
        self.check_unlocked(share, id).await?;
        let now = self.now();
        let until = later(now, keep);
        let inside = self.backend.repository.bin_snapshot(share, id, now, until).await;
        // Also of one that failed it is not known how far it came.
        self.show_moments_anew(share);
        Ok(inside?.map(|_| until))
    }

    /// What is in the bin of a share, the longest there first.
    pub async fn bin(&self, share: &str) -> Result<Vec<Binned>, ApplianceError> {
        let share = self.line_id(share)?;
        Ok(self.backend.repository.bin(share).await?)
    }

    /// Brings a snapshot back out of the bin, under its name or another. `None`: it is not there any more.
    pub async fn unbin_snapshot(
        &self,
        share: &str,
        id: SnapshotId,
        name: Option<&str>,
    ) -> Result<Option<SnapshotEntry>, ApplianceError> {
        let (share, repository) = (self.line_id(share)?, &self.backend.repository);
        let back = repository.unbin_snapshot(share, id, name, self.now()).await;
        self.show_moments_anew(share);
        let Some(id) = back? else { return Ok(None) };
        let snapshot = repository.read_snapshot(share, id).await?;
        Ok(Some(SnapshotEntry { id, snapshot }))
    }

    /// Shares that this gateway knows and leads and does not serve, with their newest heads; not those without any.
    pub async fn removed_shares(&self) -> Result<Vec<RemovedShare>, ApplianceError> {
        let mut removed = Vec::new();
        for record in registry::load(&self.live)? {
            let id = record.id()?;
            if self.shares.lock().contains_key(&id) || !is_led(&record) {
                continue;
            }
            if let Some(newest) = self.backend.repository.newest_head(id).await? {
                removed.push(RemovedShare { name: record.name, id, newest });
            }
        }
        Ok(removed)
    }
}

fn is_led(record: &ShareRecord) -> bool {
    record.leadership.is_some() && !record.superseded && !record.handed_over && !record.follows
}

fn later(time: UtcNanos, by: Duration) -> UtcNanos {
    let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    UtcNanos::new(time.as_nanos().saturating_add(by))
}
