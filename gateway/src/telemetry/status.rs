//! Metrics that are read off the status when somebody asks for them.
//!
//! What a status counts begins anew where a part of the gateway does, a store that is opened again for one; the counters
//! here go on from where they were.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::control::{
    LaneStatus, PolicyStatus, QuotaStatus, Severity, ShareState, ShareStatus, Status, TargetStatus,
};

use super::metrics::{self, Counter};

/// The last value of each counter that follows a count of the status, by its name and labels.
static FOLLOWED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Adds to a counter what a count has grown by; all of it, if the count has begun anew.
fn follow(counter: Counter, labels: &[&str], count: u64) {
    let key = format!("{} {}", counter.0.name, labels.join(" "));
    let before = FOLLOWED.lock().insert(key, count).unwrap_or_default();
    counter.with(labels).increment(if count < before { count } else { count - before });
}

/// Sets the gauges and counters that the status knows.
pub(super) fn record_status(status: &Status) {
    metrics::BUILD_INFO.with(&[&status.version]).set(1.0);
    metrics::UPTIME_SECONDS.with(&[]).set(status.uptime_seconds as f64);
    metrics::MEMORY_RESIDENT_BYTES.with(&[]).set(status.memory.resident_bytes as f64);
    metrics::MEMORY_BUDGET_BYTES.with(&[]).set(status.memory.budget_bytes as f64);
    for (severity, label) in [(Severity::Warning, "warning"), (Severity::Critical, "critical")] {
        let raised = status.alarms.iter().filter(|alarm| alarm.severity == severity).count();
        metrics::ALARMS.with(&[label]).set(raised as f64);
    }
    status.shares.iter().for_each(record_share);
    status.policies.iter().for_each(record_policy);
    status.targets.iter().for_each(record_target);
    metrics::SCRUB_LOST_PARTS.with(&[]).set(status.lost_parts as f64);
    metrics::CACHE_DISK_BYTES.with(&[]).set(status.cache.disk_bytes as f64);
    metrics::CACHE_MEMORY_BYTES.with(&[]).set(status.cache.memory_bytes as f64);
    metrics::CACHE_DIRTY_BYTES.with(&[]).set(status.cache.dirty_bytes as f64);
    metrics::CACHE_DIRTY_BYTES_MAX.with(&[]).set(status.cache.dirty_bytes_max as f64);
    metrics::CACHE_DIRTY_RATIO.with(&[]).set(status.cache.dirty_percent as f64 / 100.0);
    metrics::CACHE_HITS.with(&[]).absolute(status.cache.hits);
    metrics::CACHE_MISSES.with(&[]).absolute(status.cache.misses);
    metrics::JOURNAL_BYTES.with(&[]).set(status.journal.bytes as f64);
    metrics::JOURNAL_FREE_BYTES.with(&[]).set(status.journal.free_bytes as f64);
    metrics::JOURNAL_RESERVE_BYTES.with(&[]).set(status.journal.reserve_bytes as f64);
}

fn record_target(target: &TargetStatus) {
    let label = [target.name.as_str()];
    metrics::TARGET_BACKLOG_BYTES.with(&label).set(target.backlog_bytes as f64);
    metrics::TARGET_BACKLOG_PACKS.with(&label).set(target.backlog_packs as f64);
    metrics::TARGET_REACHABLE.with(&label).set(f64::from(u8::from(target.reachable)));
    metrics::TARGET_BEHIND_SECONDS
        .with(&label)
        .set(target.behind_seconds.map_or(f64::NAN, |behind| behind as f64));
    follow(metrics::TARGET_UPLOADED_BYTES, &label, target.uploaded_bytes);
    let seconds = target.backlog_seconds.map_or(-1.0, |seconds| seconds as f64);
    metrics::TARGET_BACKLOG_SECONDS.with(&label).set(seconds);
    record_lane(&target.name, "up", &target.link.up);
    record_lane(&target.name, "down", &target.link.down);
    if let Some(spent) = &target.spent {
        for (on, millionths) in [("requests", spent.requests_millionths), ("bytes", spent.bytes_millionths)] {
            follow(metrics::TARGET_SPENT, &[&target.name, on, &spent.currency], millionths);
        }
    }
}

fn record_lane(target: &str, direction: &str, lane: &LaneStatus) {
    let label = [target, direction];
    metrics::TARGET_BYTES_PER_SECOND.with(&label).set(lane.bytes_per_second as f64);
    let limit = lane.limit_bytes_per_second.unwrap_or(0);
    metrics::TARGET_LIMIT_BYTES_PER_SECOND.with(&label).set(limit as f64);
    metrics::TARGET_REQUESTS_RUNNING.with(&label).set(lane.requests_running as f64);
    metrics::TARGET_REQUESTS_WAITING.with(&label).set(lane.requests_waiting as f64);
    metrics::TARGET_REQUESTS_FOUND.with(&label).set(lane.requests_found as f64);
    for (class, bytes) in [
        ("client", lane.client_bytes),
        ("replication", lane.replication_bytes),
        ("housekeeping", lane.housekeeping_bytes),
    ] {
        follow(metrics::TARGET_MOVED_BYTES, &[target, direction, class], bytes);
    }
}

fn record_policy(policy: &PolicyStatus) {
    let label = [policy.name.as_str()];
    let seconds = |time: Option<jiff::Timestamp>| time.map_or(0.0, |time| time.as_second() as f64);
    metrics::POLICY_LAST_SUCCESS_SECONDS.with(&label).set(seconds(policy.last_success));
    metrics::POLICY_NEXT_RUN_SECONDS.with(&label).set(seconds(policy.next));
    metrics::POLICY_DUE_SECONDS.with(&label).set(seconds(policy.due));
    metrics::POLICY_SNAPSHOTS.with(&label).set(policy.snapshots as f64);
    metrics::POLICY_FAILURES.with(&label).absolute(policy.failures);
}

fn record_share(share: &ShareStatus) {
    let label = [share.name.as_str()];
    let serving = match share.state {
        ShareState::Serving | ShareState::ReadOnly | ShareState::Following => 1.0,
        ShareState::Full | ShareState::Superseded | ShareState::Failed => 0.0,
    };
    metrics::SHARE_SERVING.with(&label).set(serving);
    metrics::SHARE_RPO_SECONDS.with(&label).set(share.rpo_now_seconds as f64);
    metrics::SHARE_RPO_OBJECTIVE_SECONDS.with(&label).set(share.rpo_seconds as f64);
    metrics::SHARE_DIRTY_BYTES.with(&label).set(share.dirty_bytes as f64);
    metrics::SHARE_FILES.with(&label).set(share.files as f64);
    metrics::SHARE_BYTES.with(&label).set(share.bytes as f64);
    record_recovery(share);
    record_quota(&share.name, share.quota.as_ref());
    if let Some(head) = &share.head {
        metrics::SHARE_HEAD_AGE_SECONDS.with(&label).set(head.age_seconds as f64);
    }
}

fn record_recovery(share: &ShareStatus) {
    let left =
        share.warming.map_or(0, |warming| warming.total_bytes - warming.done_bytes.min(warming.total_bytes));
    metrics::SHARE_WARMING_BYTES.with(&[&share.name]).set(left as f64);
    let Some(recovery) = &share.recovery else { return };
    for (name, stage) in recovery.stages() {
        let label = [share.name.as_str(), name];
        metrics::SHARE_RECOVERY_BYTES.with(&label).set(stage.bytes as f64);
        let objective = stage.objective_seconds.filter(|_| !recovery.accept_risk).unwrap_or(0);
        metrics::SHARE_RECOVERY_OBJECTIVE_SECONDS.with(&label).set(objective as f64);
        metrics::SHARE_RECOVERY_SECONDS.with(&label).set(stage.seconds.unwrap_or(f64::NAN));
    }
}

/// Without a quota everything is 0, also after there was one.
fn record_quota(share: &str, quota: Option<&QuotaStatus>) {
    let (bytes, files) = quota.map(|quota| (quota.bytes, quota.files)).unwrap_or_default();
    for (gauge, resource, limit) in
        [(metrics::SHARE_QUOTA_BYTES, "bytes", bytes), (metrics::SHARE_QUOTA_FILES, "files", files)]
    {
        gauge.with(&[share, "soft"]).set(limit.soft.unwrap_or(0) as f64);
        gauge.with(&[share, "hard"]).set(limit.hard.unwrap_or(0) as f64);
        let since = limit.over_soft_since.map_or(0, jiff::Timestamp::as_second);
        metrics::SHARE_QUOTA_OVER_SINCE_SECONDS.with(&[share, resource]).set(since as f64);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_counter_goes_on_where_its_count_begins_anew() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            for count in [5, 8, 8, 2, 3] {
                follow(metrics::TARGET_UPLOADED_BYTES, &["of a test"], count);
            }
        });
        let line = "tidegate_target_uploaded_bytes_total{target=\"of a test\"} 11";
        assert!(shown.render().contains(line), "{}", shown.render());
    }
}
