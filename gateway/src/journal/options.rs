//! The bounds of a journal.

use std::time::Duration;

use super::JournalError;
use super::format::{self, Layout};

/// Bounds of a journal. `Default` gives what a gateway uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a segment file, bytes. The disk holds at least two: the one in use and a spare.
    pub segment_bytes: u64,
    /// Bound of what is reserved, or appended and not yet written to the file, bytes. Also the bound
    /// of one record. What exceeds a segment is not used.
    pub buffer_bytes: usize,
    /// A sync is begun when so many bytes have been written since the last one, also if nobody waits.
    pub unsynced_bytes: u64,
    /// A sync is begun so long after a change was appended, also if nobody waits.
    pub sync_interval: Duration,
    /// How many segment files are kept open for reading.
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            buffer_bytes: 32 << 20,
            unsynced_bytes: 16 << 20,
            sync_interval: Duration::from_millis(200),
            open_files: 128,
        }
    }
}

/// Offsets in a segment are written with 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64, "an offset fits a record head");

impl Options {
    /// Refuses what cannot work, naming the option, its value and its range; keeps the buffer within a
    /// segment, so that whatever is reserved fits the spare one.
    pub(super) fn checked(mut self) -> Result<Self, JournalError> {
        let head = format::HEAD_BYTES as u64;
        in_range("segment_bytes", self.segment_bytes, 2 * head, SEGMENT_BYTES_MAX)?;
        in_range("buffer_bytes", self.buffer_bytes as u64, head, u64::MAX)?;
        in_range("unsynced_bytes", self.unsynced_bytes, 1, u64::MAX)?;
        in_range("open_files", self.open_files as u64, 1, u64::MAX)?;
        self.buffer_bytes = self.buffer_bytes.min((self.segment_bytes - head) as usize);
        Ok(self)
    }

    /// The longest record, its head and checksums included. It fits the buffer, hence a segment.
    pub(super) fn record_bytes_max(&self) -> u64 {
        self.buffer_bytes as u64
    }
}

/// The most that a record with `bytes` of batch and payload together takes in the log.
pub(super) fn record_bytes(bytes: u64) -> u64 {
    // All of it payload is the worst case: only payload has a table.
    let payload_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let beyond = bytes - u64::from(payload_bytes);
    Layout { batch_bytes: 0, payload_bytes }.record_bytes() + beyond
}

fn in_range(name: &str, value: u64, low: u64, high: u64) -> Result<(), JournalError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(JournalError::Option(format!("{name} = {value} must be from {low} to {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_covers_every_split_into_batch_and_payload() {
        for bytes in [0, 1, 7, 8, 4095, 4096, 4097, 10_000] {
            for batch_bytes in 0..=bytes {
                let layout = Layout { batch_bytes, payload_bytes: bytes - batch_bytes };
                assert!(layout.record_bytes() <= record_bytes(u64::from(bytes)), "{layout:?}");
            }
        }
    }

    #[test]
    fn a_buffer_larger_than_a_segment_is_kept_within_it() {
        let options = Options { segment_bytes: 1 << 20, buffer_bytes: 1 << 30, ..Options::default() };
        assert_eq!(options.checked().expect("in range").buffer_bytes, (1 << 20) - 64);
    }

    #[test]
    fn an_option_out_of_range_is_refused_by_name_and_value() {
        let options = Options { segment_bytes: 1 << 40, ..Options::default() };
        let error = options.checked().expect_err("out of range").to_string();
        assert!(error.contains("segment_bytes = 1099511627776"), "{error}");
    }
}
