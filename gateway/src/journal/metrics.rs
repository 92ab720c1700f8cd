//! The metrics of the journal, each declared once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Counter, bytes: what was written to segments, heads and checksums included.
pub(super) const WRITTEN_BYTES: &str = "tidegate_journal_written_bytes_total";
/// Histogram, seconds: one `fdatasync` of a segment.
pub(super) const SYNC_SECONDS: &str = "tidegate_journal_sync_seconds";
/// Histogram, records: how many became durable with one `fdatasync`.
pub(super) const SYNC_RECORDS: &str = "tidegate_journal_sync_records";
/// Gauge, seconds since 1970: when the round that is under way began; 0 while none is. A disk that hangs ends no sync, so
/// the histogram says nothing of it.
pub(super) const ROUND_BEGAN_SECONDS: &str = "tidegate_journal_round_began_seconds";
/// Gauge: 1 once a failed write or sync has stopped the journal.
pub(super) const STOPPED: &str = "tidegate_journal_stopped";

pub(super) fn written(bytes: u64) {
    metrics::counter!(WRITTEN_BYTES).increment(bytes);
}

pub(super) fn synced(took: Duration, records: u64) {
    metrics::histogram!(SYNC_SECONDS).record(took.as_secs_f64());
    metrics::histogram!(SYNC_RECORDS).record(records as f64);
}

/// A round of writing and syncing, until dropped.
pub(super) struct Round;

impl Round {
    pub(super) fn begin() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!(ROUND_BEGAN_SECONDS).set(now.as_secs_f64());
        Self
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        metrics::gauge!(ROUND_BEGAN_SECONDS).set(0.0);
    }
}

pub(super) fn stopped(stopped: bool) {
    metrics::gauge!(STOPPED).set(f64::from(u8::from(stopped)));
}
