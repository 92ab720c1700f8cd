//! Metrics and a trace of what was published, from the statistics of its head.

use std::time::Duration;

use tidegate_replicator::repository::CommitStatistics;

use super::{metrics, trace_work};

/// Counts what a head of a share or source has brought.
pub fn record_commit(share: &str, statistics: &CommitStatistics) {
    let label = [share];
    metrics::COMMIT_SECONDS.with(&label).record(statistics.duration_ms as f64 / 1e3);
    metrics::CHUNKED_BYTES.with(&label).increment(statistics.bytes_read);
    metrics::CHUNKED_UNIQUE_BYTES.with(&label).increment(statistics.bytes_unique);
    metrics::CHUNKED_SEALED_BYTES.with(&label).increment(statistics.bytes_compressed);
    let numbers = [
        ("tidegate.entries_changed", statistics.entries_changed),
        ("tidegate.bytes_read", statistics.bytes_read),
        ("tidegate.bytes_unique", statistics.bytes_unique),
        ("tidegate.bytes_uploaded", statistics.bytes_uploaded),
        ("tidegate.objects_uploaded", statistics.objects_uploaded),
    ];
    let took = Duration::from_millis(statistics.duration_ms);
    trace_work("commit", &[("tidegate.share", share)], &numbers, took, None);
}
