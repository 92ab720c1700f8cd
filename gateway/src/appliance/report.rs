//! What the appliance says about itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::{DomainId, ShareId};
use tidegate_replicator::repository::{Head, HeadName, Heat, pack_name};
use tidegate_replicator::store::ObjectName;

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::files::ExportRules;
use crate::journal::Sequence;
use crate::namespace::Namespace;
use crate::share::{FrozenMap, QuotaReport};

/// How often an idle journal is asked whether it still lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// A share, as its operator sees it.
#[derive(Clone, Debug)]
pub struct ShareReport {
    /// Its name.
    pub name: String,
    /// Its id in the repository.
    pub id: ShareId,
    /// The domain whose keys name and seal its chunks.
    pub domain: DomainId,
    /// How it is exported.
    pub rules: ExportRules,
    /// It serves what another gateway publishes.
    pub follows: bool,
    /// Somebody else leads it.
    pub superseded: bool,
    /// The branch that keeps what it had beyond the line when it was superseded, if it had anything.
    pub branch: Option<String>,
    /// What became of handles when it was attached, or joined its line again.
    pub handles: Option<String>,
    /// The objective.
    pub rpo: Duration,
    /// What a disaster would cost now: the age of the newest head, if anything changed since.
    pub rpo_now: Duration,
    /// Bytes acknowledged here that no target has; of all shares together.
    pub dirty_bytes: u64,
    /// The newest head published from here, or followed; none while what was published before the start has not been read.
    pub newest: Option<(HeadName, Head)>,
    /// What its files use and may use.
    pub quota: QuotaReport,
    /// Why the last commit failed, if it did.
    pub last_error: Option<String>,
    /// How far its warming is, in bytes, and all there is; none while none goes on.
    pub warming: Option<(u64, u64)>,
}

/// The journal, as its operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct JournalReport {
    /// Segment files.
    pub segments: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// The newest durable record.
    pub durable: Sequence,
    /// The newest record that RocksDB holds.
    pub applied: Sequence,
}

/// The caches, as their operator sees them. Bytes; reads are counted in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// Uploaded packs and gathered frames on the disk.
    pub disk_bytes: u64,
    /// Bound of those.
    pub disk_bytes_max: u64,
    /// Opened frames in memory.
    pub memory_bytes: u64,
    /// Bound of those.
    pub memory_bytes_max: u64,
    /// Reads answered from memory or disk since the start.
    pub hits: u64,
    /// Reads that went to the store since the start.
    pub misses: u64,
    /// GET requests for packs since the start.
    pub store_requests: u64,
    /// Bytes that they asked for.
    pub store_bytes: u64,
}

impl Appliance {
    /// The caches.
    pub fn cache_report(&self) -> CacheReport {
        self.backend.report()
    }

    /// All shares that are open, by name.
    pub fn report(&self) -> Vec<ShareReport> {
        let shares: Vec<Arc<OpenShare>> = self.shares.lock().values().cloned().collect();
        let mut reports: Vec<_> = shares.iter().map(|open| self.report_share(open)).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }

    fn report_share(&self, open: &OpenShare) -> ShareReport {
        let newest = open.newest.lock().clone();
        let record = open.record.lock().clone();
        let database = self.live.database();
        // What cannot be told is taken for the worse.
        let behind = database.is_changed(&database.snapshot(), open.share.map().map).unwrap_or(true);
        let age = newest.as_ref().map(|(_, head)| self.now().as_nanos() - head.frozen_at.as_nanos());
        let age = Duration::from_nanos(age.unwrap_or_default().max(0) as u64);
        ShareReport {
            name: open.config.name.clone(),
            id: open.share.id(),
            domain: open.share.keys().domain(),
            rules: open.config.rules.clone(),
            follows: open.config.follow,
            superseded: record.superseded,
            branch: record.branch(),
            handles: record.handles,
            rpo: open.config.rpo,
            rpo_now: if behind { age } else { Duration::ZERO },
            dirty_bytes: self.budget.dirty_bytes(),
            newest,
            quota: open.share.account().report(self.now()),
            last_error: open.last_error.lock().clone(),
            warming: open.warmed.now(),
        }
    }

    /// The journal.
    pub fn journal_report(&self) -> JournalReport {
        let journal = self.live.journal();
        let segments = journal.segments();
        JournalReport {
            segments: segments.len() as u64,
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            durable: journal.durable_sequence(),
            applied: *self.live.subscribe_applied().borrow(),
        }
    }

    /// Bytes that only this machine has.
    pub fn dirty_bytes(&self) -> u64 {
        self.budget.dirty_bytes()
    }

    /// The bound of those: the setting, or what the disk can keep if that is less.
    pub fn dirty_bytes_max(&self) -> u64 {
        self.budget.bytes_max()
    }

    /// The part of the dirty budget that is used.
    pub fn dirty_part(&self) -> f64 {
        self.budget.used()
    }

    /// Bytes of the local file system that are kept for making room; 0 if its size cannot be told.
    pub fn reserve_bytes(&self) -> u64 {
        self.backend.keeper.room().map_or(0, |room| room.reserve_bytes())
    }

    /// Objects that hold keys and could not be read when they were last looked at.
    pub fn unreadable_keys(&self) -> Vec<String> {
        self.backend.repository.unreadable_domains().into_iter().map(|found| found.object).collect()
    }

    /// Bytes and number of packs that no target has.
    pub fn backlog(&self) -> (u64, u64) {
        let ledger = &self.backend.ledger;
        (ledger.backlog_bytes(), ledger.local().map_or(0, |packs| packs.len() as u64))
    }

    /// The objects of packs that no target is known to have: nobody but this gateway stores them.
    pub fn waiting_objects(&self) -> Result<HashSet<ObjectName>, ApplianceError> {
        let waiting = self.backend.ledger.local()?;
        Ok(waiting.into_iter().map(|(pack, _)| pack_name(pack)).collect())
    }

    /// Bytes that were sent to the target since the start.
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded_bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Heads of a share or source that can be opened, newest first.
    pub async fn heads(&self, share: &str, limit: usize) -> Result<Vec<(HeadName, Head)>, ApplianceError> {
        let id = self.line_id(share)?;
        let listed = self.backend.repository.list_heads(id, limit).await?;
        Ok(listed.into_iter().filter_map(|listed| Some((listed.name, listed.head.ok()?))).collect())
    }

    /// Of all shares that are led or followed here and have a head: their names, those heads, and what is hot.
    pub(crate) async fn recovery_heads(&self) -> Result<Vec<(String, Head, Heat)>, ApplianceError> {
        let shares: Vec<Arc<OpenShare>> = self.shares.lock().values().cloned().collect();
        let mut found = Vec::new();
        for open in shares {
            if let Some(head) = self.head_below(&open).await? {
                let heat = self.heat_known(&open, &head).await?;
                found.push((open.config.name.clone(), head, heat));
            }
        }
        Ok(found)
    }

    /// The map of a head, to be read.
    pub fn frozen_map(&self, head: &Head) -> Result<FrozenMap, ApplianceError> {
        let reader = self.backend.reader(head.share.domain)?;
        Ok(FrozenMap { root: head.root, nodes: reader.nodes })
    }

    /// The id of a share that is served.
    pub fn share_id(&self, share: &str) -> Result<ShareId, ApplianceError> {
        Ok(self.share_named(share)?.share.id())
    }

    /// The files of an open share.
    pub fn namespace(&self, share: &str) -> Result<Namespace, ApplianceError> {
        let open = self.share_named(share)?;
        Ok(Namespace::new(open.share.clone(), self.clock.clone()))
    }

    /// Whether the journal still takes and keeps changes.
    pub fn health(&self) -> Result<(), ApplianceError> {
        Ok(self.live.journal().health()?)
    }

    /// Returns once the journal or the applier has stopped for good, and says why.
    pub async fn failure(&self) -> ApplianceError {
        let mut applied = self.live.subscribe_applied();
        loop {
            if let Err(error) = self.health() {
                return error;
            }
            let moved = tokio::time::timeout(HEALTH_INTERVAL, applied.changed()).await;
            if matches!(moved, Ok(Err(_))) {
                return self.health().err().unwrap_or(ApplianceError::Died);
            }
        }
    }
}
