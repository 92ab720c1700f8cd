//! Boot orders: which parts of a volume were read while a machine booted from it, in the order in which they were first
//! read.
//!
//! It is kept as an extended attribute of the volume's file, so it travels with the map: into heads, snapshots and clones, to
//! whichever gateway attaches the share (decision 0025). It says offsets and not chunks, so it stays right for what does
//! not change, however the file is cut.
//!
//! ```text
//! version      1 byte    1
//! unit         1 byte    power of two: the size of a unit in bytes
//! runs, each:
//!   distance   varint    zigzag: from the unit after the last run to the first of this
//!   units      varint    how many follow each other; at least one
//! ```
//!
//! A varint has seven bits a byte, the least first; the high bit says that more follow.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::InodeNumber;

use crate::namespace::{Context, Credentials, EXTENDED_VALUE_BYTES_MAX, Namespace, Reader, SetHow};

/// The attribute that it is kept in.
pub const BOOT_ORDER_ATTRIBUTE: &[u8] = b"trusted.tidegate.boot-order";
/// What is counted, in bytes: the least that is worth a request of its own.
pub const UNIT_BYTES: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u8 = 16;
const VERSION: u8 = 1;
/// The most units of one recording: 4 GiB.
const UNITS_MAX: usize = 1 << 16;

/// See the head of this module.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct BootOrder {
    /// Ranges of units, in the order of reading; they do not meet.
    runs: Vec<Range<u64>>,
}

/// Bytes that are no boot order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootOrderError {
    /// Of a newer program.
    #[error("the boot order has version {0}, which this program does not know; record it anew")]
    Version(u8),
    /// Damaged, or something else.
    #[error("the boot order makes no sense; record it anew")]
    Malformed,
}

impl BootOrder {
    /// The ranges in bytes, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs().map(|run| run.start * UNIT_BYTES..run.end * UNIT_BYTES)
    }

    /// Those that make sense: an operator may have written others.
    fn runs(&self) -> impl Iterator<Item = &Range<u64>> {
        self.runs.iter().filter(|run| run.start < run.end && run.end <= u64::MAX / UNIT_BYTES)
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> u64 {
        self.ranges().map(|range| range.end - range.start).fold(0, u64::saturating_add)
    }

    /// How it is kept. What would make it longer than an attribute may be, at its end, is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, UNIT_BITS];
        let mut at = 0u64;
        for run in self.runs() {
            let before = bytes.len();
            let distance = run.start.wrapping_sub(at).cast_signed();
            push_varint(&mut bytes, ((distance << 1) ^ (distance >> 63)).cast_unsigned());
            push_varint(&mut bytes, run.end - run.start);
            if bytes.len() > EXTENDED_VALUE_BYTES_MAX {
                bytes.truncate(before);
                break;
            }
            at = run.end;
        }
        bytes
    }

    /// Reads what [`BootOrder::encode`] gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, BootOrderError> {
        let (version, rest) = bytes.split_first().ok_or(BootOrderError::Malformed)?;
        if *version != VERSION {
            return Err(BootOrderError::Version(*version));
        }
        let (unit, mut rest) = rest.split_first().ok_or(BootOrderError::Malformed)?;
        if *unit != UNIT_BITS {
            return Err(BootOrderError::Malformed);
        }
        let (mut runs, mut at, mut all) = (Vec::new(), 0u64, 0u64);
        while !rest.is_empty() {
            let zigzag = take_varint(&mut rest).ok_or(BootOrderError::Malformed)?;
            let units = take_varint(&mut rest).ok_or(BootOrderError::Malformed)?;
            let distance = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
            let start = at.checked_add_signed(distance);
            let end = start.and_then(|start| start.checked_add(units));
            let (Some(start), Some(end)) = (start, end) else { return Err(BootOrderError::Malformed) };
            all = all.saturating_add(units);
            if units == 0 || end > u64::MAX / UNIT_BYTES || all > UNITS_MAX as u64 {
                return Err(BootOrderError::Malformed);
            }
            runs.push(start..end);
            at = end;
        }
        Ok(Self { runs })
    }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Notes what is read.
#[derive(Debug, Default)]
pub(super) struct Recording {
    seen: HashSet<u64>,
    order: BootOrder,
}

impl Recording {
    /// A range was read.
    pub(super) fn note(&mut self, range: &Range<u64>) {
        for unit in range.start / UNIT_BYTES..range.end.div_ceil(UNIT_BYTES) {
            if self.seen.len() >= UNITS_MAX || !self.seen.insert(unit) {
                continue;
            }
            match self.order.runs.last_mut() {
                Some(last) if last.end == unit => last.end = unit + 1,
                _ => self.order.runs.push(unit..unit + 1),
            }
        }
    }

    pub(super) fn finish(self) -> BootOrder {
        self.order
    }
}

/// What is recorded with a file.
pub(super) async fn load(reader: Reader<'_>, file: InodeNumber) -> Result<Option<BootOrder>, FsError> {
    match reader.extended(file, BOOT_ORDER_ATTRIBUTE, &Credentials::ROOT).await {
        Ok(value) => match BootOrder::decode(&value) {
            Ok(order) => Ok(Some(order)),
            Err(error) => {
                tracing::warn!(%error, "a boot order is ignored");
                Ok(None)
            }
        },
        Err(FsError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Records it with a file, or takes away what is recorded.
pub(super) async fn store(
    namespace: &Namespace,
    file: InodeNumber,
    order: Option<&BootOrder>,
) -> Result<(), FsError> {
    let context = Context::ROOT;
    if let Some(order) = order {
        let value = Bytes::from(order.encode());
        namespace.set_extended(context, file, BOOT_ORDER_ATTRIBUTE, value, SetHow::Either).await?;
        return Ok(());
    }
    match namespace.remove_extended(context, file, BOOT_ORDER_ATTRIBUTE).await {
        Ok(_) | Err(FsError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_part_is_noted_once_where_it_was_first_read() {
        let mut recording = Recording::default();
        let unit = UNIT_BYTES;
        for range in [5 * unit + 1..5 * unit + 2, 6 * unit..8 * unit, 0..unit + 1, 6 * unit..9 * unit] {
            recording.note(&range);
        }
        let order = recording.finish();
        assert_eq!(order.ranges().collect::<Vec<_>>(), [5 * unit..8 * unit, 0..2 * unit, 8 * unit..9 * unit]);
        assert_eq!(order.bytes(), 6 * unit);
        assert_eq!(order.encode(), [1, 16, 10, 3, 15, 2, 12, 1], "as docs/format.md says");
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_as_it_was(reads in proptest::collection::vec((0u64..1 << 40, 1u64..1 << 20), 0..200)) {
            let mut recording = Recording::default();
            for (start, length) in reads {
                recording.note(&(start..start + length));
            }
            let order = recording.finish();
            prop_assert_eq!(BootOrder::decode(&order.encode()), Ok(order));
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = BootOrder::decode(&bytes);
            let _ = BootOrder::decode(&[&[VERSION, UNIT_BITS], &bytes[..]].concat());
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_at_the_end() {
        let runs: Vec<_> =
            (0..40_000u64).map(|run| (run * 7919 % 40_000) << 30).map(|at| at..at + 1).collect();
        let bytes = BootOrder { runs: runs.clone() }.encode();
        assert!(bytes.len() <= EXTENDED_VALUE_BYTES_MAX);
        let read = BootOrder::decode(&bytes).expect("whole runs");
        assert_eq!(read.runs[..], runs[..read.runs.len()]);
    }
}
