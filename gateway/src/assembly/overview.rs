//! What a running gateway reports about itself: the facts that its operator sees, and that alarms go by.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;
use tidegate_replicator::repository::{CommitStatistics, Head, HeadName, UtcNanos};

use super::recovery::Recovery;
use super::targets::{Ways, target_statuses};
use crate::alarm::{Facts, Keeper, Source};
use crate::appliance::{Appliance, Scrubber, ShareReport};
use crate::bandwidth::Links;
use crate::control::{
    CacheStatus, CollectionStatus, HeadCost, HeadInfo, JournalStatus, LimitStatus, MemoryStatus, QuotaStatus,
    ShareState, ShareStatus, Status, WarmProgress,
};
use crate::policy::Engine;
use crate::settings::Settings;
use crate::share::{QuotaReport, Standing};

/// See the head of this module.
pub(super) struct Overview {
    pub(super) appliance: Arc<Appliance>,
    pub(super) policies: Arc<Engine>,
    pub(super) settings: Mutex<Arc<Settings>>,
    /// The ways to the stores of all targets.
    ways: Mutex<Ways>,
    pub(super) links: Arc<Links>,
    pub(super) scrubber: Arc<Scrubber>,
    pub(super) alarms: Arc<Keeper>,
    pub(super) recovery: Arc<Recovery>,
    started: Timestamp,
    since: Instant,
}

impl Overview {
    /// Of a gateway that begins to serve now.
    pub(super) fn new(
        appliance: Arc<Appliance>,
        policies: Arc<Engine>,
        settings: Arc<Settings>,
        links: Arc<Links>,
        (scrubber, alarms, recovery): (Arc<Scrubber>, Arc<Keeper>, Arc<Recovery>),
    ) -> Arc<Self> {
        let (started, since) = (Timestamp::now(), Instant::now());
        let (settings, ways) = (Mutex::new(settings), Mutex::default());
        Arc::new(Self {
            appliance,
            policies,
            settings,
            ways,
            links,
            scrubber,
            alarms,
            recovery,
            started,
            since,
        })
    }

    /// The settings that are in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.lock().clone()
    }

    /// Stores were opened anew.
    pub(super) fn know_ways(&self, settings: &Settings, ways: Ways) {
        let links = ways.iter().map(|(target, way)| (target.clone(), way.link.clone())).collect();
        self.links.know(settings, links);
        self.ways.lock().extend(ways);
    }

    /// Everything, with the alarms that are raised.
    pub(super) fn status(&self) -> Status {
        let settings = self.settings();
        let (appliance, journal) = (&self.appliance, self.appliance.journal_report());
        let scrub = self.scrubber.status();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            uptime_seconds: self.since.elapsed().as_secs(),
            shares: appliance.report().iter().map(|report| self.share_status(report)).collect(),
            targets: target_statuses(appliance, &settings, (&self.ways.lock(), &self.links)),
            policies: self.policies.statuses(),
            lost_parts: scrub.lost_count(),
            scrub: scrub.health(),
            cache: self.cache_status(),
            journal: JournalStatus {
                segments: journal.segments,
                bytes: journal.bytes,
                durable_sequence: journal.durable.0,
                applied_sequence: journal.applied.0,
                free_bytes: free_bytes(settings.gateway.data.as_path()),
                reserve_bytes: appliance.reserve_bytes(),
            },
            memory: memory_status(settings.gateway.memory.bytes()),
            collection: appliance.collected().map(|collected| CollectionStatus {
                ended: timestamp(collected.ended),
                error: collected.error,
            }),
            unreadable_keys: appliance.unreadable_keys(),
            alarms: self.alarms.alarms(),
        }
    }

    fn share_status(&self, report: &ShareReport) -> ShareStatus {
        let state = match () {
            () if report.superseded => ShareState::Superseded,
            () if report.follows => ShareState::Following,
            () if report.rules.read_only => ShareState::ReadOnly,
            () if self.appliance.dirty_part() >= 1.0 => ShareState::Full,
            () => ShareState::Serving,
        };
        ShareStatus {
            name: report.name.clone(),
            id: report.id.to_string(),
            export: report.rules.path.clone(),
            state,
            reason: reason_of(report),
            handles: report.handles.clone(),
            rpo_seconds: report.rpo.as_secs(),
            rpo_now_seconds: report.rpo_now.as_secs(),
            dirty_bytes: report.dirty_bytes,
            head: report.newest.as_ref().map(|(name, head)| head_info(*name, head)),
            files: report.quota.inodes.used,
            bytes: report.quota.bytes.used,
            quota: quota_status(&report.quota),
            recovery: self.recovery.known(&report.name),
            warming: report.warming.map(|(done_bytes, total_bytes)| WarmProgress { done_bytes, total_bytes }),
        }
    }

    fn cache_status(&self) -> CacheStatus {
        let report = self.appliance.cache_report();
        CacheStatus {
            disk_bytes: report.disk_bytes,
            disk_bytes_max: report.disk_bytes_max,
            memory_bytes: report.memory_bytes,
            memory_bytes_max: report.memory_bytes_max,
            dirty_bytes: self.appliance.dirty_bytes(),
            dirty_bytes_max: self.appliance.dirty_bytes_max(),
            dirty_percent: (self.appliance.dirty_part() * 100.0) as u64,
            hits: report.hits,
            misses: report.misses,
        }
    }
}

/// Why a share is as it is, when that is not plain.
fn reason_of(report: &ShareReport) -> Option<String> {
    let branch = report.branch.as_ref().filter(|_| report.superseded);
    let branch = branch.map(|branch| format!("what it had beyond the line is branch {branch}"));
    report.last_error.clone().or(branch)
}

impl Source for Overview {
    fn facts(&self) -> Facts {
        Facts { status: self.status(), now: Timestamp::now() }
    }
}

/// A time of the repository, as people see it.
pub(super) fn timestamp(at: UtcNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default()
}

/// None when nothing is limited.
fn quota_status(report: &QuotaReport) -> Option<QuotaStatus> {
    let limit = |standing: &Standing| LimitStatus {
        soft: standing.limits.soft,
        hard: standing.limits.hard,
        over_soft_since: standing.over_since.map(timestamp),
        grace_is_over: standing.grace_is_over,
    };
    let is_limited = report.bytes.total().or(report.inodes.total()).is_some();
    is_limited.then(|| QuotaStatus {
        bytes: limit(&report.bytes),
        files: limit(&report.inodes),
        grace_seconds: report.grace.as_secs(),
    })
}

/// A head, as its operator sees it.
pub(super) fn head_info(name: HeadName, head: &Head) -> HeadInfo {
    let frozen = timestamp(head.frozen_at);
    let age_seconds = age_seconds(frozen);
    HeadInfo {
        name: name.to_string(),
        sequence: head.sequence,
        epoch: u64::from(head.epoch),
        frozen,
        age_seconds,
        cost: head_cost(&head.statistics),
    }
}

/// How long ago something was frozen.
pub(super) fn age_seconds(frozen: Timestamp) -> u64 {
    Timestamp::now().as_second().saturating_sub(frozen.as_second()).max(0) as u64
}

fn head_cost(statistics: &CommitStatistics) -> HeadCost {
    HeadCost {
        entries: statistics.entries_changed,
        bytes_in: statistics.bytes_read,
        bytes_unique: statistics.bytes_unique,
        bytes_compressed: statistics.bytes_compressed,
        bytes_uploaded: statistics.bytes_uploaded,
        objects: statistics.objects_uploaded,
        milliseconds: statistics.duration_ms,
    }
}

fn free_bytes(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |found| found.f_bavail * found.f_frsize)
}

/// Resident memory now and at most, from /proc.
fn memory_status(budget_bytes: u64) -> MemoryStatus {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    MemoryStatus { budget_bytes, resident_bytes: kib("VmRSS:") << 10, peak_bytes: kib("VmHWM:") << 10 }
}
