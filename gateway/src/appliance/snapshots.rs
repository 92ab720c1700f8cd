//! Snapshots, rollback and clone: roots that are kept, and live maps over them.
//!
//! None of it copies data. A rollback and a clone are new live maps over an old root, in constant time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tidegate_chunker::ShareId;
use tidegate_replicator::collect::{PIN_DAYS_TAG, PIN_TAG};
use tidegate_replicator::repository::{
    Head, HeadName, NewSnapshot, RepositoryError, Snapshot, SnapshotId, Usage, is_binned, is_tag_of_bin,
};

use super::registry::{self, ShareRecord};
use super::shares::{OpenShare, begin_over, random, random_bytes};
use super::{Appliance, ApplianceError};
use crate::live::{Batch, MapId};
use crate::share::Share;

/// How long a rollback waits for calls that are under way. Those of clients are answered before.
const LEAVING_MAX: Duration = Duration::from_secs(40);
/// How often it is looked whether a map is still used that is served no more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a snapshot is tried again whose head was thinned out while it was written.
const SNAPSHOT_ATTEMPTS_MAX: u32 = 3;

/// How long a gateway may be away after a takeover and still find the state that it left from.
const TAKEOVER_DAYS: u64 = 60;

/// A retained root, with its id.
#[derive(Clone, Debug)]
pub struct SnapshotEntry {
    /// Its id.
    pub id: SnapshotId,
    /// What it holds.
    pub snapshot: Snapshot,
}

impl SnapshotEntry {
    /// Those of a repository's list that can be read and are not in the bin, oldest first.
    pub(crate) fn in_force(listed: Vec<(SnapshotId, Result<Snapshot, RepositoryError>)>) -> Vec<Self> {
        let readable = listed.into_iter().filter_map(|(id, snapshot)| match snapshot {
            Ok(snapshot) => Some(Self { id, snapshot }),
            Err(error) => {
                tracing::error!(snapshot = %id, %error, "a snapshot cannot be read");
                None
            }
        });
        let mut entries: Vec<_> = readable.filter(|entry| !is_binned(&entry.snapshot)).collect();
        // What came back out of the bin has a younger id.
        entries.sort_by_key(|entry| entry.snapshot.taken_at);
        entries
    }
}

impl Appliance {
    /// Retains the state of a share as it is now: commits first.
    pub async fn create_snapshot(
        self: &Arc<Self>,
        share: &str,
        label: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<SnapshotEntry, ApplianceError> {
        self.take_snapshot(share, NewSnapshot { label: label.into(), policy: None, tags }).await
    }

    /// The same, of whoever takes it.
    pub async fn take_snapshot(
        self: &Arc<Self>,
        share: &str,
        new: NewSnapshot,
    ) -> Result<SnapshotEntry, ApplianceError> {
        check_given_tags(&new.tags)?;
        for _ in 0..SNAPSHOT_ATTEMPTS_MAX {
            let (name, head) = self.commit(share).await?;
            if let Some(entry) = self.keep(name, &head, new.clone()).await? {
                return Ok(entry);
            }
        }
        Err(ApplianceError::SnapshotOvertaken { share: share.into() })
    }

    /// Retains the states of several shares as of one moment: what was written to one of them before another is in both
    /// snapshots, or not in that of the second alone. One result a share, in order; all are retained, or none is.
    pub async fn take_snapshots_together(
        self: &Arc<Self>,
        shares: &[String],
        new: &NewSnapshot,
    ) -> Vec<Result<SnapshotEntry, ApplianceError>> {
        let committed = self.commit_together(shares).await;
        if committed.iter().any(Result::is_err) {
            let apart = |head: Result<_, ApplianceError>| head.and_then(|_| Err(not_together(shares)));
            return committed.into_iter().map(apart).collect();
        }
        let mut kept = Vec::new();
        for (share, (name, head)) in shares.iter().zip(committed.into_iter().flatten()) {
            let overtaken = || ApplianceError::SnapshotOvertaken { share: share.clone() };
            let entry = self.keep(name, &head, new.clone()).await;
            match entry.and_then(|entry| entry.ok_or_else(overtaken)) {
                Ok(entry) => kept.push(entry),
                Err(error) => {
                    self.remove_lone(shares, &kept).await;
                    let mut results: Vec<_> = shares.iter().map(|_| Err(not_together(shares))).collect();
                    results[kept.len()] = Err(error);
                    return results;
                }
            }
        }
        kept.into_iter().map(Ok).collect()
    }

    /// Removes the snapshots of the first of these shares, since the next one has none of that moment.
    async fn remove_lone(&self, shares: &[String], kept: &[SnapshotEntry]) {
        for (share, entry) in shares.iter().zip(kept) {
            if let Err(error) = self.remove_snapshot(share, entry.id).await {
                tracing::warn!(share, snapshot = %entry.id, %error, "a snapshot stays without the others of its moment");
            }
        }
    }

    /// Keeps the root of a head as long as it takes until a share that is put back to it, or cloned from it, has
    /// published that. Afterwards look again whether what it was taken from is still there: only then it was
    /// never without a keeper.
    pub async fn pin(&self, name: HeadName, head: &Head, why: &str) -> Result<SnapshotId, ApplianceError> {
        let tags = BTreeMap::from([(PIN_TAG.to_owned(), why.to_owned())]);
        let new = NewSnapshot { label: format!("held for {why}"), policy: None, tags };
        Ok(self.backend.repository.create_snapshot((name, head), new, self.now()).await?)
    }

    /// Keeps the state at which a share was taken over, until whoever led it before has come back and set aside what
    /// he had beyond it; for `TAKEOVER_DAYS` at the most.
    pub(super) async fn pin_takeover(&self, name: HeadName, head: &Head) -> Result<(), ApplianceError> {
        self.pin_for(name, head, "a takeover", TAKEOVER_DAYS).await
    }

    /// Keeps the root of a head for so many days. Whether it was never without a keeper is to be looked at as after
    /// [`Appliance::pin`].
    pub async fn pin_for(
        &self,
        name: HeadName,
        head: &Head,
        why: &str,
        days: u64,
    ) -> Result<(), ApplianceError> {
        let tags = BTreeMap::from([
            (PIN_TAG.to_owned(), why.to_owned()),
            (PIN_DAYS_TAG.to_owned(), days.to_string()),
        ]);
        let new = NewSnapshot { label: format!("held for {why}"), policy: None, tags };
        self.backend.repository.create_snapshot((name, head), new, self.now()).await?;
        Ok(())
    }

    /// Retains a head; `None` if that was removed meanwhile, so that a collection may have missed both.
    pub(super) async fn keep(
        &self,
        name: HeadName,
        head: &Head,
        new: NewSnapshot,
    ) -> Result<Option<SnapshotEntry>, ApplianceError> {
        check_given_tags(&new.tags)?;
        let (repository, share) = (&self.backend.repository, head.share.id);
        let id = repository.create_snapshot((name, head), new, self.now()).await?;
        self.show_moments_anew(share);
        // Only then it was retained by one or the other all the time.
        if let Err(error) = repository.read_head(share, &name).await {
            repository.remove_snapshot(share, id).await?;
            let RepositoryError::Missing { .. } = error else { return Err(error.into()) };
            return Ok(None);
        }
        let snapshot = repository.read_snapshot(share, id).await?;
        self.lock_snapshot(share, id, &snapshot.tags).await?;
        Ok(Some(SnapshotEntry { id, snapshot }))
    }

    /// The snapshots of a share, the first that was taken first, without what is in the bin; those that cannot be read are
    /// in the log.
    pub async fn snapshots(&self, share: &str) -> Result<Vec<SnapshotEntry>, ApplianceError> {
        let id = self.line_id(share)?;
        Ok(SnapshotEntry::in_force(self.backend.repository.list_snapshots(id).await?))
    }

    /// The ids of all snapshots of a share, also of those in the bin, oldest first.
    pub async fn snapshot_ids(&self, share: &str) -> Result<Vec<SnapshotId>, ApplianceError> {
        let id = self.line_id(share)?;
        Ok(self.backend.repository.snapshot_ids(id).await?)
    }

    /// What a snapshot of a share holds.
    pub async fn read_snapshot(&self, share: &str, id: SnapshotId) -> Result<Snapshot, ApplianceError> {
        let share = self.line_id(share)?;
        Ok(self.backend.repository.read_snapshot(share, id).await?)
    }

    /// Stops retaining a snapshot, in the bin or not, unless it is locked.
    pub async fn remove_snapshot(&self, share: &str, id: SnapshotId) -> Result<(), ApplianceError> {
        let share = self.line_id(share)?;
        self.check_unlocked(share, id).await?;
        self.backend.repository.remove_snapshot(share, id).await?;
        self.show_moments_anew(share);
        Ok(())
    }

    /// What is retained of a share has changed.
    pub(super) fn show_moments_anew(&self, share: ShareId) {
        if let Some(open) = self.shares.lock().get(&share) {
            open.moments.look_again();
        }
    }

    /// Puts a whole share back to a head: a new incarnation over that root, in constant time. What it was
    /// before is retained as a snapshot first, while clients' changes wait; its handles are stale from then on.
    ///
    /// Order: a commit, for what waits to be sent may take long; changes wait and those under way end; the snapshot; a new map and the record that says so, in one record of the
    /// journal; the share is served over it; the old map goes. A failure before the record leaves the share as it was.
    pub async fn roll_back(
        self: &Arc<Self>,
        share: &str,
        to: &Head,
    ) -> Result<SnapshotEntry, ApplianceError> {
        self.commit(share).await?;
        let _changing = self.changing.lock().await;
        let open = self.share_named(share)?;
        self.serve_files(&open, Arc::new(AtomicBool::new(true)))?;
        let begun = self.begin_back(&open, to).await;
        if begun.is_err() {
            self.serve_as_usual(&open)?;
        }
        let (before, record) = begun?;
        let id = open.share.id();
        self.files.withdraw(id);
        if let Err(error) = self.open_share(record, open.config.clone()).await {
            // What is open is over the old map: nobody may serve it again.
            self.shares.lock().remove(&id);
            tracing::error!(share, %error, "the share was put back, and cannot be served yet: load the settings again");
            return Err(error);
        }
        self.drop_map_when_left(open.share.clone());
        Ok(before)
    }

    /// Removes the maps that no share has: a stop came between a new map and the end of the old one.
    pub(super) fn drop_left_maps(&self) -> Result<(), ApplianceError> {
        let known: HashSet<MapId> = registry::load(&self.live)?.iter().map(ShareRecord::map).collect();
        let database = self.live.database();
        for map in database.maps()?.into_iter().filter(|map| !known.contains(map)) {
            tracing::info!(map = map.0, "removing a map that no share has");
            database.drop_map(map)?;
        }
        Ok(())
    }

    /// Retains the state of a share that takes no changes, and begins again over that of a head. Nobody commits the old map
    /// from then on.
    async fn begin_back(
        self: &Arc<Self>,
        open: &Arc<OpenShare>,
        to: &Head,
    ) -> Result<(SnapshotEntry, ShareRecord), ApplianceError> {
        let leaving = tokio::time::timeout(LEAVING_MAX, self.until_left(open)).await;
        leaving.map_err(|_| ApplianceError::StillLeaving { share: open.config.name.clone() })??;
        let before = self.create_snapshot(&open.config.name, "before-rollback", BTreeMap::new()).await?;
        let mut leadership = open.leadership.lock().await;
        // The line of heads goes on from the newest one, with an older root.
        let record = self.begin_again(open, to, before.snapshot.head_name).await?;
        *leadership = None;
        open.withdrawn.cancel();
        open.served_again.cancel();
        Ok((before, record))
    }

    /// Removes the map of a share that is open no more, when nobody looks at it any more: it would seem to be empty. A stop
    /// before that leaves it to the next start.
    pub(super) fn drop_map_when_left(self: &Arc<Self>, share: Arc<Share>) {
        let appliance = self.clone();
        self.loops.spawn(async move {
            while Arc::strong_count(&share) > 1 {
                tokio::select! {
                    () = appliance.stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            if let Err(error) = appliance.live.database().drop_map(share.map().map) {
                tracing::warn!(%error, "a map that is served no more could not be removed; the next start tries again");
            }
        });
    }

    async fn begin_again(
        &self,
        open: &OpenShare,
        to: &Head,
        newest: HeadName,
    ) -> Result<ShareRecord, ApplianceError> {
        let (map, map_change) = registry::next_map(&self.live)?;
        let record = open.record.lock().clone().over(map, random()?, random()?);
        let next_inode = to.next_inode.max(self.committer_next_inode(open)?);
        // A grace period that runs goes on, if the older state is above the soft limit as well.
        let over_since = open.share.account().over_since();
        let usage =
            Usage { bytes_over_since: over_since.bytes, inodes_over_since: over_since.inodes, ..to.usage };
        let mut changes = begin_over(map, &Head { next_inode, usage, ..to.clone() }, Some(newest), false);
        changes.extend([map_change, record.change()]);
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(record)
    }

    /// The first inode number that the share has not given out.
    fn committer_next_inode(&self, open: &OpenShare) -> Result<u64, ApplianceError> {
        let key = crate::share::InodeNumbers::key(open.share.map().map);
        let record = self.live.database().system(&key)?;
        Ok(crate::share::InodeNumbers::next_from(record.as_deref())?.0)
    }

    /// Makes a new share known whose base is a head of another. Serve it afterwards.
    pub async fn clone_share(&self, from: &Head, name: &str) -> Result<ShareId, ApplianceError> {
        let _changing = self.changing.lock().await;
        if registry::load(&self.live)?.iter().any(|record| record.name == name) {
            return Err(ApplianceError::ShareExists { share: name.into() });
        }
        if self.find_in_repository(name).await?.is_some() {
            return Err(ApplianceError::ShareElsewhere { share: name.into() });
        }
        let id = ShareId::new(random_bytes()?);
        let leadership = self.claim(id, name, Duration::ZERO).await?;
        let (map, map_change) = registry::next_map(&self.live)?;
        let mut record = ShareRecord::new(name.into(), id, from.share.domain, map, random()?, random()?);
        record.leadership = Some(leadership.note());
        // It has a quota of its own, and its own grace period.
        let usage = Usage { bytes: from.usage.bytes, inodes: from.usage.inodes, ..Usage::default() };
        let mut changes = begin_over(map, &Head { usage, ..from.clone() }, None, false);
        changes.extend([map_change, record.change()]);
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(id)
    }
}

/// Why a share has no snapshot, although it could have one: another of these has none.
fn not_together(shares: &[String]) -> ApplianceError {
    ApplianceError::NotTogether { shares: shares.join(", ") }
}

/// Refuses tags by which a snapshot would be in the bin from the start, and a lock that is none.
fn check_given_tags(tags: &BTreeMap<String, String>) -> Result<(), ApplianceError> {
    Appliance::check_lock_tag(tags)?;
    match tags.keys().find(|tag| is_tag_of_bin(tag)) {
        Some(tag) => Err(ApplianceError::SnapshotTag { tag: tag.clone() }),
        None => Ok(()),
    }
}
