//! Where records begin, so that a position finds its record.
//!
//! A position names a byte of payload; its checksums stand in front of that payload, so a reader needs
//! the start of the record. Keeping every start would cost memory in step with the number of records,
//! so the index keeps one start for each [`STRIDE`] of the file: at most 16 KiB of memory for a segment
//! of 64 MiB, whatever the records are. From the kept start the reader walks over at most one stride of
//! heads, which is one read.
//!
//! The segment in use grows its index as it is written; that of a sealed segment is built when it is
//! first read from. Nothing of it is stored.

use std::io;
use std::sync::Arc;

use super::disk::LogFile;
use super::format::{HEAD_BYTES, SegmentHead};
use super::scan::{Scanner, Step};

/// One start is kept for each so many bytes of the file.
pub(super) const STRIDE: u64 = 16 << 10;

/// The kept starts of one segment, ascending, at least [`STRIDE`] apart. All starts between two kept
/// ones lie within one stride behind the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    starts: Vec<u32>,
}

impl Index {
    /// Takes note of a record. Records come in the order of the file.
    pub(super) fn add(&mut self, start: u64) {
        let next = self.starts.last().map_or(0, |last| u64::from(*last) + STRIDE);
        if start >= next {
            self.starts.push(u32::try_from(start).expect("the options bound a segment to 32 bits"));
        }
    }

    /// The last kept start at or before `offset`.
    pub(super) fn before(&self, offset: u64) -> Option<u64> {
        let after = self.starts.partition_point(|start| u64::from(*start) <= offset);
        after.checked_sub(1).map(|at| u64::from(self.starts[at]))
    }

    /// Walks the heads of a sealed segment. It ends where the heads do: what lies behind damage cannot
    /// be found, and reading it says so.
    pub(super) fn build(file: Arc<dyn LogFile>, head: SegmentHead, bytes: u64) -> io::Result<Self> {
        let mut scanner = Scanner::new(file, head, HEAD_BYTES as u64, bytes);
        let mut index = Self::default();
        while let Step::Record(record) = scanner.next_head()? {
            index.add(u64::from(record.offset));
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_lies_within_one_stride_behind_its_kept_start() {
        let starts: Vec<u64> = (0..3000_u64).map(|n| 64 + n * 72 + (n / 100) * 50_000).collect();
        let mut index = Index::default();
        for start in &starts {
            index.add(*start);
        }
        for start in &starts {
            let kept = index.before(*start).expect("the first start is kept");
            assert!(kept <= *start && start - kept < STRIDE);
        }
        assert_eq!(index.before(63), None);
    }
}
