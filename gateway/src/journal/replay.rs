//! Reading the records back at start-up.
//!
//! Promises: records come in order without gaps, each verified whole (batch and payload) before it is
//! returned; memory is bounded by one batch and one window. Damage ends the replay with an error that
//! names file and offset. A stretch that salvage gave up comes as one record without batch, whose
//! sequence is the last of those it stands for.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::Disk;
use super::format::{self, HEAD_BYTES, Kind, RecordHead, SegmentHead};
use super::scan::{Scanner, Step};
use super::{JournalError, Position, Sequence};

/// A segment that was there at open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) head: SegmentHead,
    pub(super) last: Sequence,
    pub(super) bytes: u64,
}

/// What the journal held when it was opened. The folder stays locked as long as this lives.
pub struct Replay {
    disk: Arc<dyn Disk>,
    spans: Vec<Span>,
    /// The sequence of the first record that this life of the journal appends.
    next: Sequence,
}

/// One record, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedRecord {
    /// Its number.
    pub sequence: Sequence,
    /// What was appended as batch.
    pub batch: Bytes,
    /// Where its payload lies.
    pub position: Position,
    /// Length of the payload in bytes.
    pub payload_bytes: u32,
}

impl Replay {
    pub(super) fn new(disk: Arc<dyn Disk>, spans: Vec<Span>, next: Sequence) -> Self {
        Self { disk, spans, next }
    }

    /// The first record there is, or that will be.
    pub fn oldest(&self) -> Sequence {
        self.spans.first().map_or(self.next, |span| span.head.first)
    }

    /// The last record there is; [`Self::oldest`] minus one when there is none.
    pub fn newest(&self) -> Sequence {
        self.next.previous()
    }

    /// The records from `wanted` on. Reads files as it goes: do not delete those segments meanwhile.
    ///
    /// Errors: [`JournalError::Missing`] if older ones are deleted already, [`JournalError::Behind`] if
    /// the journal ends before it.
    pub fn from(&self, wanted: Sequence) -> Result<Records, JournalError> {
        let (oldest, newest) = (self.oldest(), self.newest());
        if wanted < oldest {
            return Err(JournalError::Missing { wanted, oldest });
        }
        if wanted > self.next {
            return Err(JournalError::Behind { wanted, newest });
        }
        let spans: Vec<Span> =
            self.spans.iter().rev().take_while(|span| span.last >= wanted).copied().collect();
        Ok(Records { disk: self.disk.clone(), spans, current: None, wanted, failed: false })
    }
}

/// Iterates over records; after an error it ends.
pub struct Records {
    disk: Arc<dyn Disk>,
    /// Still to be read, the next one last.
    spans: Vec<Span>,
    current: Option<(Span, Scanner)>,
    wanted: Sequence,
    failed: bool,
}

impl Iterator for Records {
    type Item = Result<ReplayedRecord, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = self.advance().transpose();
        self.failed = matches!(result, Some(Err(_)));
        result
    }
}

impl Records {
    fn advance(&mut self) -> Result<Option<ReplayedRecord>, JournalError> {
        loop {
            let Some((span, scanner)) = &mut self.current else {
                let Some(span) = self.spans.pop() else { return Ok(None) };
                self.current = Some((span, open(&*self.disk, &span)?));
                continue;
            };
            let name = format::file_name(span.head.segment);
            let skip = scanner.expected() < self.wanted;
            let step = if skip {
                scanner.next_head().map(|step| (step, Bytes::new()))
            } else {
                scanner.next_whole()
            };
            match step.map_err(JournalError::io("read", self.disk.path(&name)))? {
                // Salvage covered bytes in which no record can have been.
                (Step::Record(head), _) if head.next_sequence() <= head.sequence => {}
                (Step::Record(head), batch) if head.next_sequence() > self.wanted => {
                    return Ok(Some(record(&head, batch)));
                }
                (Step::Record(_), _) => {}
                (Step::End, _) if scanner.expected() == span.last.next() => self.current = None,
                (Step::End, _) => {
                    let what = format!("the file ends before record {}", scanner.expected());
                    return Err(JournalError::Damaged {
                        file: self.disk.path(&name),
                        offset: span.bytes,
                        what,
                    });
                }
                (Step::Bad { offset, what }, _) => {
                    let what = format!("{what}, where record {} should be", scanner.expected());
                    return Err(JournalError::Damaged { file: self.disk.path(&name), offset, what });
                }
            }
        }
    }
}

fn open(disk: &dyn Disk, span: &Span) -> Result<Scanner, JournalError> {
    let name = format::file_name(span.head.segment);
    let file = disk.open(&name).map_err(JournalError::io("open", disk.path(&name)))?;
    Ok(Scanner::new(file, span.head, HEAD_BYTES as u64, span.bytes))
}

fn record(head: &RecordHead, batch: Bytes) -> ReplayedRecord {
    let lost = head.kind == Kind::Lost;
    ReplayedRecord {
        sequence: head.next_sequence().previous(),
        batch,
        position: Position { segment: head.segment, offset: head.payload_start() },
        payload_bytes: if lost { 0 } else { head.layout.payload_bytes },
    }
}
