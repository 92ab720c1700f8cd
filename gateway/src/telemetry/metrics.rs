//! Every metric of the gateway, declared once: name, labels, unit, meaning. Those of the servers are
//! declared by the crate that has them, in `tidegate_protocols::METRICS`.
//!
//! A part that records keeps the handle that [`Counter::with`], [`Gauge::with`] or
//! [`Histogram::with`] gives it, since looking it up costs more than recording. Label values come
//! from the settings or from fixed lists, never from clients, so that their number stays bounded.
//! Names follow Prometheus: a unit at the end, `_total` on counters.

/// What a metric is, apart from its kind.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// The labels that each of its values carries.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub meaning: &'static str,
}

impl Description {
    fn pairs(&self, values: &[&str]) -> Vec<metrics::Label> {
        assert_eq!(self.labels.len(), values.len(), "{} has the labels {:?}", self.name, self.labels);
        let pair = |(label, value): (&&'static str, &&str)| metrics::Label::new(*label, (*value).to_owned());
        self.labels.iter().zip(values).map(pair).collect()
    }
}

/// Counts up from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub Description);

/// Goes up and down.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(pub Description);

/// Counts values by size; the unit is at the end of the name.
#[derive(Clone, Copy, Debug)]
pub struct Histogram(pub Description);

impl Counter {
    /// The counter with these values of its labels, in the order of their declaration.
    pub fn with(&self, labels: &[&str]) -> metrics::Counter {
        metrics::counter!(self.0.name, self.0.pairs(labels))
    }
}

impl Gauge {
    /// The gauge with these values of its labels, in the order of their declaration.
    pub fn with(&self, labels: &[&str]) -> metrics::Gauge {
        metrics::gauge!(self.0.name, self.0.pairs(labels))
    }
}

impl Histogram {
    /// The histogram with these values of its labels, in the order of their declaration.
    pub fn with(&self, labels: &[&str]) -> metrics::Histogram {
        metrics::histogram!(self.0.name, self.0.pairs(labels))
    }
}

/// The kinds of metrics, as Prometheus calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Counter`].
    Counter,
    /// A [`Gauge`].
    Gauge,
    /// A [`Histogram`].
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares the constants and the list of them all.
macro_rules! declare {
    ($( $(#[doc = $meaning:literal])+ $kind:ident $constant:ident = $name:literal [$($label:literal),*]; )+) => {
        $(
            $(#[doc = $meaning])+
            pub const $constant: $kind = $kind(Description {
                name: $name,
                labels: &[$($label),*],
                meaning: concat!($($meaning),+),
            });
        )+

        /// Every metric with its kind.
        pub const ALL: &[(Kind, Description)] = &[$((Kind::$kind, $constant.0)),+];
    };
}

declare! {
    /// Always 1; the label tells the version of the running binary.
    Gauge BUILD_INFO = "tidegate_build_info" ["version"];
    /// Seconds since the gateway began to serve.
    Gauge UPTIME_SECONDS = "tidegate_uptime_seconds" [];
    /// Resident memory of the process.
    Gauge MEMORY_RESIDENT_BYTES = "tidegate_memory_resident_bytes" [];
    /// The memory budget in the settings.
    Gauge MEMORY_BUDGET_BYTES = "tidegate_memory_budget_bytes" [];
    /// Alarms that are raised now.
    Gauge ALARMS = "tidegate_alarms" ["severity"];
    /// 1 while the alarm is raised, 0 once it is over.
    Gauge ALARM = "tidegate_alarm" ["code", "subject"];
    /// Notices to a notifier that were delivered, failed, or dropped because too many waited.
    Counter NOTIFICATIONS = "tidegate_notifications_total" ["notify", "outcome"];

    /// What a disaster would cost now: age of the oldest acknowledged change that no head has.
    Gauge SHARE_RPO_SECONDS = "tidegate_share_rpo_seconds" ["share"];
    /// The recovery point objective in the settings.
    Gauge SHARE_RPO_OBJECTIVE_SECONDS = "tidegate_share_rpo_objective_seconds" ["share"];
    /// Acknowledged bytes that no head has.
    Gauge SHARE_DIRTY_BYTES = "tidegate_share_dirty_bytes" ["share"];
    /// Age of what the newest published head contains.
    Gauge SHARE_HEAD_AGE_SECONDS = "tidegate_share_head_age_seconds" ["share"];
    /// Inodes of the share.
    Gauge SHARE_FILES = "tidegate_share_files" ["share"];
    /// Length of all files of the share, holes not counted.
    Gauge SHARE_BYTES = "tidegate_share_bytes" ["share"];
    /// How many bytes the quota of the share allows; 0 without that limit.
    Gauge SHARE_QUOTA_BYTES = "tidegate_share_quota_bytes" ["share", "limit"];
    /// How many inodes the quota of the share allows; 0 without that limit.
    Gauge SHARE_QUOTA_FILES = "tidegate_share_quota_files" ["share", "limit"];
    /// When the share last began to exceed its soft limit, in seconds since 1970; 0 while it does not.
    Gauge SHARE_QUOTA_OVER_SINCE_SECONDS = "tidegate_share_quota_over_since_seconds" ["share", "resource"];
    /// 1 while clients can read and write (or read, where the settings say so), else 0.
    Gauge SHARE_SERVING = "tidegate_share_serving" ["share"];
    /// Time from the freeze to the published head.
    Histogram COMMIT_SECONDS = "tidegate_commit_seconds" ["share"];

    /// When all shares of the policy last had a snapshot of it, in seconds since 1970; 0 before the first.
    Gauge POLICY_LAST_SUCCESS_SECONDS = "tidegate_policy_last_success_seconds" ["policy"];
    /// When the policy runs next, in seconds since 1970; 0 if it never does.
    Gauge POLICY_NEXT_RUN_SECONDS = "tidegate_policy_next_run_seconds" ["policy"];
    /// Snapshots that the policy has taken and that are kept.
    Gauge POLICY_SNAPSHOTS = "tidegate_policy_snapshots" ["policy"];
    /// When the earliest run that is not done was to begin, or is, in seconds since 1970; 0 if there is none. Tries after a
    /// failure do not move it.
    Gauge POLICY_DUE_SECONDS = "tidegate_policy_due_seconds" ["policy"];
    /// Runs of the policy that failed.
    Counter POLICY_FAILURES = "tidegate_policy_failures_total" ["policy"];

    /// Bytes in local packs that the target lacks.
    Gauge TARGET_BACKLOG_BYTES = "tidegate_target_backlog_bytes" ["target"];
    /// Local packs that the target lacks.
    Gauge TARGET_BACKLOG_PACKS = "tidegate_target_backlog_packs" ["target"];
    /// 1 when the last call to the store succeeded, else 0.
    Gauge TARGET_REACHABLE = "tidegate_target_reachable" ["target"];
    /// How far the target is behind the lead: the age of its newest head of the share that is furthest behind; NaN while
    /// that is not known.
    Gauge TARGET_BEHIND_SECONDS = "tidegate_target_behind_seconds" ["target"];
    /// Bytes sent to the target.
    Counter TARGET_UPLOADED_BYTES = "tidegate_target_uploaded_bytes_total" ["target"];

    /// Seconds until the target will have what it lacks now; 0 when it lacks nothing, -1 while nothing moves.
    Gauge TARGET_BACKLOG_SECONDS = "tidegate_target_backlog_seconds" ["target"];
    /// How long recovery of the share would take from nothing but the repository, to its first byte, to what was used
    /// lately, to everything (`first`, `hot`, `whole`), by the link as it was measured; NaN while it cannot be said.
    Gauge SHARE_RECOVERY_SECONDS = "tidegate_share_recovery_seconds" ["share", "stage"];
    /// Bytes that it takes.
    Gauge SHARE_RECOVERY_BYTES = "tidegate_share_recovery_bytes" ["share", "stage"];
    /// How long it may take; 0 without an objective, and where `accept_risk` accepts that it is not kept.
    Gauge SHARE_RECOVERY_OBJECTIVE_SECONDS = "tidegate_share_recovery_objective_seconds" ["share", "stage"];
    /// Bytes that warming of the share has still to bring; 0 when it is done.
    Gauge SHARE_WARMING_BYTES = "tidegate_share_warming_bytes" ["share"];
    /// How long the last run of the runbook that ended took to the end of its last check: the recovery time that was
    /// measured; NaN when it did not come so far. Of runs that this machine made.
    Gauge RUNBOOK_RTO_SECONDS = "tidegate_runbook_rto_seconds" ["runbook", "mode"];
    /// How long that may take; 0 without an objective.
    Gauge RUNBOOK_RTO_OBJECTIVE_SECONDS = "tidegate_runbook_rto_objective_seconds" ["runbook", "mode"];
    /// When that run ended, in seconds since 1970.
    Gauge RUNBOOK_ENDED_SECONDS = "tidegate_runbook_ended_seconds" ["runbook", "mode"];
    /// 1 when that run did not end as it should, else 0.
    Gauge RUNBOOK_FAILED = "tidegate_runbook_failed" ["runbook", "mode"];
    /// Bytes per second to and from the target over the last minute.
    Gauge TARGET_BYTES_PER_SECOND = "tidegate_target_bytes_per_second" ["target", "direction"];
    /// The rate that holds now; 0 without one.
    Gauge TARGET_LIMIT_BYTES_PER_SECOND = "tidegate_target_limit_bytes_per_second" ["target", "direction"];
    /// Bytes moved for clients, replication and housekeeping.
    Counter TARGET_MOVED_BYTES = "tidegate_target_moved_bytes_total" ["target", "direction", "class"];
    /// Requests that run.
    Gauge TARGET_REQUESTS_RUNNING = "tidegate_target_requests_running" ["target", "direction"];
    /// Requests that wait for a place.
    Gauge TARGET_REQUESTS_WAITING = "tidegate_target_requests_waiting" ["target", "direction"];
    /// How many requests run at once at most, as was found to be best.
    Gauge TARGET_REQUESTS_FOUND = "tidegate_target_requests_found" ["target", "direction"];

    /// What the requests to the target, and the bytes out of it, have cost by the `[[prices]]` of the settings (`on` is
    /// `requests` or `bytes`), in millionths of the currency.
    Counter TARGET_SPENT = "tidegate_target_spent_millionths_total" ["target", "on", "currency"];
    /// Requests to the store, each attempt by itself, by how they ended: `ok`, the kind of the error, or `dropped`.
    Counter STORE_REQUESTS = "tidegate_store_requests_total" ["store", "operation", "outcome"];
    /// Time of those requests; what the rate of the link held up is not counted.
    Histogram STORE_SECONDS = "tidegate_store_seconds" ["store", "operation"];
    /// Bytes of bodies to and from the store.
    Counter STORE_BYTES = "tidegate_store_bytes_total" ["store", "direction"];

    /// Parts of packs on the target that are missing or damaged and have no copy.
    Gauge SCRUB_LOST_PARTS = "tidegate_scrub_lost_parts" [];

    /// Bytes of local packs kept as cache.
    Gauge CACHE_DISK_BYTES = "tidegate_cache_disk_bytes" [];
    /// Bytes of opened chunks in memory.
    Gauge CACHE_MEMORY_BYTES = "tidegate_cache_memory_bytes" [];
    /// Bytes that only this machine has.
    Gauge CACHE_DIRTY_BYTES = "tidegate_cache_dirty_bytes" [];
    /// The bound of those: writers wait when it is reached.
    Gauge CACHE_DIRTY_BYTES_MAX = "tidegate_cache_dirty_bytes_max" [];
    /// The part of what may wait for the store that is used, by that bound or by what disk and memory allow, whichever is
    /// more: writers are slowed down from 0.7 on, and wait at 1.
    Gauge CACHE_DIRTY_RATIO = "tidegate_cache_dirty_ratio" [];
    /// Reads answered from the cache.
    Counter CACHE_HITS = "tidegate_cache_hits_total" [];
    /// Reads that went to the store.
    Counter CACHE_MISSES = "tidegate_cache_misses_total" [];

    /// Length of all journal segments.
    Gauge JOURNAL_BYTES = "tidegate_journal_bytes" [];
    /// Free bytes of the file system that the journal lies on.
    Gauge JOURNAL_FREE_BYTES = "tidegate_journal_free_bytes" [];
    /// Free bytes that are kept for making room.
    Gauge JOURNAL_RESERVE_BYTES = "tidegate_journal_reserve_bytes" [];
    /// Bytes written to segments, heads and checksums included.
    Counter JOURNAL_WRITTEN_BYTES = "tidegate_journal_written_bytes_total" [];
    /// Time of one `fdatasync` of a segment.
    Histogram JOURNAL_SYNC_SECONDS = "tidegate_journal_sync_seconds" [];
    /// Records that became durable with one `fdatasync`.
    Histogram JOURNAL_SYNC_RECORDS = "tidegate_journal_sync_records" [];
    /// When the round of writing and syncing that is under way began, in seconds since 1970; 0 while none is.
    Gauge JOURNAL_ROUND_BEGAN_SECONDS = "tidegate_journal_round_began_seconds" [];
    /// 1 once a failed write or sync has stopped the journal, else 0.
    Gauge JOURNAL_STOPPED = "tidegate_journal_stopped" [];

    /// Plaintext bytes that went into the cutter.
    Counter CHUNKED_BYTES = "tidegate_chunked_bytes_total" ["share"];
    /// Plaintext bytes of chunks that the repository did not have.
    Counter CHUNKED_UNIQUE_BYTES = "tidegate_chunked_unique_bytes_total" ["share"];
    /// Bytes of those after compression and sealing.
    Counter CHUNKED_SEALED_BYTES = "tidegate_chunked_sealed_bytes_total" ["share"];

    /// Requests that the OpenTelemetry collector of `[otlp]` did not take.
    Counter OTLP_FAILURES = "tidegate_otlp_failures_total" [];
    /// Spans that were dropped because too many waited for the collector.
    Counter OTLP_SPANS_DROPPED = "tidegate_otlp_spans_dropped_total" [];

    /// Jobs that are running.
    Gauge JOBS_RUNNING = "tidegate_jobs_running" [];
}
