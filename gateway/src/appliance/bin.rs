//! The bin of this gateway's shares: snapshots that a person has removed, and shares that are served no more.
//!
//! What a snapshot in the bin is, in which order it goes in and out, and what a crash leaves, is
//! [`tidegate_replicator::repository`]'s to say. A share needs no bin: whoever takes it out of the settings leaves its heads
//! and snapshots in the repository, and its record here, until it is served again.

use std::time::Duration;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Binned, NewestHead, RepositoryError, SnapshotId, UtcNanos};

use super::registry::{self, ShareRecord};
use super::{Appliance, ApplianceError, SnapshotEntry};

/// A share that is known here, led from here, and not served.
#[derive(Clone, Debug)]
pub struct RemovedShare {
    /// What it is called.
    pub name: String,
    /// Its id.
    pub id: ShareId,
    /// Its newest head, if it has ever published one.
    pub newest: Option<NewestHead>,
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
        entry: &Binned,
        name: Option<&str>,
    ) -> Result<Option<SnapshotEntry>, ApplianceError> {
        let (share, repository) = (self.line_id(share)?, &self.backend.repository);
        let back = repository.unbin_snapshot(share, entry.id, name, self.now()).await;
        self.show_moments_anew(share);
        let Some(id) = back? else { return Ok(None) };
        let snapshot = repository.read_snapshot(share, id).await?;
        for twin in &entry.twins {
            repository.remove_snapshot(share, *twin).await?;
        }
        Ok(Some(SnapshotEntry { id, snapshot }))
    }

    /// Ends a snapshot in the bin, for good.
    pub async fn end_binned(&self, share: &str, entry: &Binned) -> Result<(), ApplianceError> {
        for id in entry.twins.iter().chain([&entry.id]) {
            self.remove_snapshot(share, *id).await?;
        }
        Ok(())
    }

    /// Shares that this gateway knows and leads and does not serve. One whose newest head cannot be read is in the log, and
    /// has none here.
    pub async fn removed_shares(&self) -> Result<Vec<RemovedShare>, ApplianceError> {
        let mut removed = Vec::new();
        for (name, id) in self.led_and_not_served()? {
            let newest = match self.backend.repository.newest_head(id).await {
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::error!(share = name, %error, "the newest head of a share that was taken out cannot be read");
                    None
                }
                Ok(newest) => newest,
            };
            removed.push(RemovedShare { name, id, newest });
        }
        Ok(removed)
    }

    /// One of them. `None`: there is none of that name.
    pub async fn removed_share(&self, name: &str) -> Result<Option<RemovedShare>, ApplianceError> {
        let found = self.led_and_not_served()?.into_iter().find(|(known, _)| known == name);
        let Some((name, id)) = found else { return Ok(None) };
        let newest = self.backend.repository.newest_head(id).await?;
        Ok(Some(RemovedShare { name, id, newest }))
    }

    fn led_and_not_served(&self) -> Result<Vec<(String, ShareId)>, ApplianceError> {
        let mut found = Vec::new();
        for record in registry::load(&self.live)? {
            let id = record.id()?;
            if is_led(&record) && !self.shares.lock().contains_key(&id) {
                found.push((record.name, id));
            }
        }
        Ok(found)
    }
}

fn is_led(record: &ShareRecord) -> bool {
    record.leadership.is_some() && !record.superseded && !record.handed_over && !record.follows
}

fn later(time: UtcNanos, by: Duration) -> UtcNanos {
    let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    UtcNanos::new(time.as_nanos().saturating_add(by))
}
