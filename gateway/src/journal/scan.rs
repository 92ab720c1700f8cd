//! Walking over the records of one segment file.
//!
//! Owns the judgement whether a record is whole: head, batch and payload. Reads through one window of
//! bounded size; only a batch is ever held as a whole.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Sequence;
use super::disk::LogFile;
use super::format::{ALIGNMENT, CHECKSUM_BYTES, HEAD_BYTES, Kind, PIECE_BYTES, RecordHead, SegmentHead};

/// What is read from the file at once.
const WINDOW_BYTES: usize = 256 << 10;
const _: () = assert!(WINDOW_BYTES >= PIECE_BYTES && WINDOW_BYTES >= HEAD_BYTES);

/// What lies next in the file.
#[derive(Debug)]
pub(super) enum Step {
    /// A record; the scanner stands behind it.
    Record(RecordHead),
    /// The end of the file.
    End,
    /// Something else; the scanner stays in front of it.
    Bad {
        /// Where, in the file.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Walks from record to record.
pub(super) struct Scanner {
    file: Arc<dyn LogFile>,
    segment: SegmentHead,
    offset: u64,
    end: u64,
    expected: Option<Sequence>,
    window: Vec<u8>,
    window_start: u64,
}

impl Scanner {
    /// Stands at `offset`, where a record must begin; the file ends at `end`.
    pub(super) fn new(file: Arc<dyn LogFile>, segment: SegmentHead, offset: u64, end: u64) -> Self {
        let expected = (offset == HEAD_BYTES as u64).then_some(segment.first);
        Self { file, segment, offset, end, expected, window: Vec::new(), window_start: 0 }
    }

    /// The sequence of the next record.
    pub(super) fn expected(&self) -> Sequence {
        self.expected.unwrap_or(self.segment.first)
    }

    /// The next record, its head verified and nothing else.
    pub(super) fn next_head(&mut self) -> io::Result<Step> {
        if self.offset == self.end {
            return Ok(Step::End);
        }
        Ok(match self.head_at(self.offset)? {
            None => self.bad("no record begins here"),
            Some(head) if self.expected.is_some_and(|expected| expected != head.sequence) => {
                self.bad("the record has another sequence than its place demands")
            }
            Some(head) if head.end() > self.end => self.bad("the file ends within the record"),
            Some(head) => {
                self.offset = head.end();
                self.expected = Some(head.next_sequence());
                Step::Record(head)
            }
        })
    }

    /// The next record and its batch, all of it verified.
    pub(super) fn next_whole(&mut self) -> io::Result<(Step, Bytes)> {
        let (start, expected) = (self.offset, self.expected);
        let head = match self.next_head()? {
            Step::Record(head) => head,
            other => return Ok((other, Bytes::new())),
        };
        let batch = self.batch(&head)?;
        let what = match batch {
            None => "the checksum of the batch is wrong",
            Some(batch) if self.is_payload_whole(&head)? => return Ok((Step::Record(head), batch)),
            Some(_) => "a checksum of the payload is wrong",
        };
        (self.offset, self.expected) = (start, expected);
        Ok((self.bad(what), Bytes::new()))
    }

    /// The first place from `from` on where a head of this segment stands.
    pub(super) fn find_head(&mut self, from: u64) -> io::Result<Option<RecordHead>> {
        let mut offset = from.next_multiple_of(ALIGNMENT);
        while offset + HEAD_BYTES as u64 <= self.end {
            if let Some(head) = self.head_at(offset)? {
                return Ok(Some(head));
            }
            offset += ALIGNMENT;
        }
        Ok(None)
    }

    /// Whether a head behind `from` says that `sequence` had become durable.
    pub(super) fn is_called_durable(&mut self, sequence: Sequence, mut from: u64) -> io::Result<bool> {
        while let Some(head) = self.find_head(from)? {
            if head.durable >= sequence {
                return Ok(true);
            }
            from = u64::from(head.offset) + ALIGNMENT;
        }
        Ok(false)
    }

    /// Whether there is nothing but zeros from `offset` to the end: room set aside, not used yet.
    pub(super) fn only_zeros_from(&mut self, mut offset: u64) -> io::Result<bool> {
        while offset < self.end {
            let bytes = self.bytes(offset, WINDOW_BYTES.min((self.end - offset) as usize))?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Goes on at `offset`, where record `expected` begins.
    pub(super) fn resume(&mut self, offset: u64, expected: Sequence) {
        (self.offset, self.expected) = (offset, Some(expected));
    }

    fn head_at(&mut self, offset: u64) -> io::Result<Option<RecordHead>> {
        let segment = self.segment;
        let bytes = self.bytes(offset, HEAD_BYTES)?;
        Ok(bytes.try_into().ok().and_then(|bytes| RecordHead::decode_at(bytes, &segment, offset)))
    }

    /// The batch of a record, if its checksum holds.
    fn batch(&mut self, head: &RecordHead) -> io::Result<Option<Bytes>> {
        if head.kind == Kind::Lost {
            return Ok(Some(Bytes::new()));
        }
        let mut batch = vec![0; head.layout.batch_bytes as usize];
        let read = self.file.read_at(&mut batch, u64::from(head.offset) + HEAD_BYTES as u64)?;
        let whole = read == batch.len() && crc32c::crc32c(&batch) == head.batch_checksum;
        Ok(whole.then(|| batch.into()))
    }

    fn is_payload_whole(&mut self, head: &RecordHead) -> io::Result<bool> {
        if head.kind == Kind::Lost {
            return Ok(true);
        }
        let mut table = vec![0; head.layout.table_bytes() as usize];
        let read = self.file.read_at(&mut table, u64::from(head.offset) + head.layout.table_offset())?;
        if read < table.len() || crc32c::crc32c(&table) != head.table_checksum {
            return Ok(false);
        }
        let payload_end = head.payload_start() + u64::from(head.layout.payload_bytes);
        let mut at = head.payload_start();
        for checksum in table.chunks_exact(CHECKSUM_BYTES) {
            let piece = PIECE_BYTES.min((payload_end - at) as usize);
            let bytes = self.bytes(at, piece)?;
            if bytes.len() < piece || crc32c::crc32c(bytes).to_le_bytes() != checksum {
                return Ok(false);
            }
            at += piece as u64;
        }
        Ok(true)
    }

    /// `count` bytes at `offset`, fewer at the end of the file. `count` is at most a window.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + count as u64 > window_end {
            self.window.resize(WINDOW_BYTES, 0);
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.window_start = offset;
        }
        let from = (offset - self.window_start) as usize;
        Ok(&self.window[from..self.window.len().min(from + count)])
    }

    fn bad(&self, what: &'static str) -> Step {
        Step::Bad { offset: self.offset, what }
    }
}
