//! Metrics of what was published, from the statistics of its head.

use tidegate_replicator::repository::CommitStatistics;

use super::metrics;

/// Counts what a head of a share or source has brought.
pub fn record_commit(share: &str, statistics: &CommitStatistics) {
    let label = [share];
    metrics::COMMIT_SECONDS.with(&label).record(statistics.duration_ms as f64 / 1e3);
    metrics::CHUNKED_BYTES.with(&label).increment(statistics.bytes_read);
    metrics::CHUNKED_UNIQUE_BYTES.with(&label).increment(statistics.bytes_unique);
    metrics::CHUNKED_SEALED_BYTES.with(&label).increment(statistics.bytes_compressed);
}
