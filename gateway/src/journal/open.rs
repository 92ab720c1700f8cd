//! Opening a journal: what is there, what of it is torn, and a new segment behind it.
//!
//! Order, and what a crash at each step leaves:
//!
//! 1. Leftover spares (`*.new`) are deleted: they hold nothing.
//! 2. The heads of all segments are read. Ids without gaps and sequences that do not fall are demanded.
//! 3. The last segment is read whole. Behind its last whole record there may be a *torn tail*: bytes of
//!    records that were under way when the power went. See [`find_end`] for how it is told from damage.
//! 4. What no record calls durable is written once more in place, the torn tail is cut, and the file is
//!    synced. Written once more, because after a failed sync the kernel shows bytes that the disk may
//!    lack. Only now may records be replayed. A crash here leaves the same records: step 3 again.
//! 5. A new segment is made, as at every rotation (see [`super::writer`]). A crash leaves an empty
//!    last segment, or none; its id is not used again once its name is durable.
//!
//! So a torn tail can only lie in the last segment; anywhere else it is damage. Sealed segments are not
//! read here: replay and readers verify what they take.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::disk::{Disk, LogFile};
use super::format::{self, HEAD_BYTES, NotAHead, SegmentHead};
use super::replay::{Replay, Span};
use super::scan::{Scanner, Step};
use super::segments::Segments;
use super::shared::Shared;
use super::tail::Tail;
use super::writer::{self, Writer};
use super::{JournalError, Options, Sequence};
use crate::crash;

pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) replay: Replay,
}

pub(super) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Opened, JournalError> {
    remove_spares(&*disk)?;
    let spans = find_segments(&disk)?;
    let durable = spans.last().map_or(Sequence(0), |span| span.last);
    let segment = spans.last().map_or(1, |span| span.head.segment + 1);
    let head = SegmentHead { segment, first: durable.next(), salt: random()? };

    let segments = Segments::new(disk.clone(), options.open_files);
    for span in &spans {
        segments.add_sealed(span.head, span.last, span.bytes);
    }
    let spare = writer::create_spare(&*disk, segment, options.segment_bytes)?;
    let file = writer::enter(&*disk, spare, head)?;
    segments.add_active(head, file.clone());

    let tail = Tail::new(segment, head.first, options.segment_bytes);
    let verifier = random()?.to_le_bytes();
    let shared = Arc::new(Shared::new(options, verifier, segments, tail, durable));
    let writer = Writer::new(shared.clone(), head, file);
    Ok(Opened { shared, writer, replay: Replay::new(disk, spans, head.first) })
}

/// Eight bytes that nobody can foresee.
pub(super) fn random() -> Result<u64, JournalError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| JournalError::Io {
        doing: "read random bytes from",
        path: "the operating system".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(u64::from_le_bytes(bytes))
}

fn remove_spares(disk: &dyn Disk) -> Result<(), JournalError> {
    for name in list(disk)? {
        if format::is_spare(&name) {
            disk.remove(&name).map_err(JournalError::io("delete", disk.path(&name)))?;
        }
    }
    Ok(())
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, JournalError> {
    disk.list().map_err(JournalError::io("list", disk.path("")))
}

/// All segments, oldest first, the last one cut to its whole records.
fn find_segments(disk: &Arc<dyn Disk>) -> Result<Vec<Span>, JournalError> {
    let mut ids: Vec<u64> = list(&**disk)?.iter().filter_map(|name| format::segment_of(name)).collect();
    ids.sort_unstable();
    let mut spans: Vec<Span> = Vec::with_capacity(ids.len());
    let mut last_file = None;
    for id in ids {
        let (span, file) = open_segment(&**disk, id)?;
        if let Some(before) = spans.last_mut() {
            follow(&**disk, before, span.head)?;
        }
        spans.push(span);
        last_file = Some(file);
    }
    if let (Some(last), Some(file)) = (spans.last_mut(), last_file) {
        recover_last(&**disk, file, last)?;
    }
    Ok(spans)
}

/// Reads the head of a segment. Its last record is not known yet.
fn open_segment(disk: &dyn Disk, id: u64) -> Result<(Span, Arc<dyn LogFile>), JournalError> {
    let name = format::file_name(id);
    let context = |doing| JournalError::io(doing, disk.path(&name));
    let file = disk.open(&name).map_err(context("open"))?;
    let bytes = file.bytes().map_err(context("measure"))?;
    let mut head = [0; HEAD_BYTES];
    file.read_at(&mut head, 0).map_err(context("read"))?;
    let damaged = |what| JournalError::Damaged { file: disk.path(&name), offset: 0, what };
    let head = SegmentHead::decode(&head).map_err(|error| match error {
        NotAHead::Damaged => damaged("the head of the segment is not whole".to_owned()),
        NotAHead::Version(version) => JournalError::NewerFormat { file: disk.path(&name), version },
    })?;
    if head.segment != id {
        return Err(damaged(format!("this is segment {:016x} under another name", head.segment)));
    }
    Ok((Span { head, last: head.first.previous(), bytes }, file))
}

/// Checks that segment `next` continues `before`, and notes where `before` ended.
fn follow(disk: &dyn Disk, before: &mut Span, next: SegmentHead) -> Result<(), JournalError> {
    let wanted = before.head.segment + 1;
    let damaged =
        |id, what| JournalError::Damaged { file: disk.path(&format::file_name(id)), offset: 0, what };
    if next.segment != wanted {
        return Err(damaged(wanted, format!("the file is missing, the next one is {:016x}", next.segment)));
    }
    if next.first < before.head.first {
        return Err(damaged(wanted, format!("it begins with record {}, before its predecessor", next.first)));
    }
    before.last = next.first.previous();
    Ok(())
}

/// Steps 3 and 4 of the head of this file.
fn recover_last(disk: &dyn Disk, file: Arc<dyn LogFile>, span: &mut Span) -> Result<(), JournalError> {
    let name = format::file_name(span.head.segment);
    let context = |doing| JournalError::io(doing, disk.path(&name));
    let end = find_end(disk, &file, span)?;
    rewrite(&*file, end.proven, end.bytes).map_err(context("write again"))?;
    file.truncate(end.bytes).map_err(context("cut"))?;
    file.sync().map_err(context("sync"))?;
    crash::point("journal.open.cut");
    (span.last, span.bytes) = (end.last, end.bytes);
    Ok(())
}

/// Where the whole records of the last segment end.
struct End {
    /// The last whole record.
    last: Sequence,
    /// The end of the file without the torn tail.
    bytes: u64,
    /// Up to here, records are known to be durable.
    proven: u64,
}

/// Finds the last whole record, and tells a torn tail from damage.
///
/// Each head says which record was durable when it was written. A bad record is damage if any head
/// behind it calls it durable: then it had been acknowledged. If none does, then it was written after
/// the last sync that anything proves, so it was under way, and so was all that lies behind it: the disk
/// may have kept later parts of what was under way and lost earlier ones.
fn find_end(disk: &dyn Disk, file: &Arc<dyn LogFile>, span: &Span) -> Result<End, JournalError> {
    let name = format::file_name(span.head.segment);
    let context = |doing| JournalError::io(doing, disk.path(&name));
    let mut scanner = Scanner::new(file.clone(), span.head, HEAD_BYTES as u64, span.bytes);
    let mut unproven = Unproven::default();
    let (offset, what) = loop {
        match scanner.next_whole().map_err(context("read"))?.0 {
            Step::Record(head) => unproven.add(head.sequence, u64::from(head.offset), head.durable),
            Step::End => break (span.bytes, "the end"),
            Step::Bad { offset, what } => break (offset, what),
        }
    };
    let expected = scanner.expected();
    if scanner.is_called_durable(expected, offset).map_err(context("read"))? {
        let what = format!("{what}, where the acknowledged record {expected} was");
        return Err(JournalError::Damaged { file: disk.path(&name), offset, what });
    }
    if !scanner.only_zeros_from(offset).map_err(context("read"))? {
        tracing::warn!(
            file = name,
            offset,
            what,
            "cut a torn tail: nothing says that any of it was acknowledged"
        );
    }
    Ok(End { last: expected.previous(), bytes: offset, proven: unproven.start().unwrap_or(offset) })
}

/// The records that no later record calls durable.
#[derive(Default)]
struct Unproven {
    starts: VecDeque<(Sequence, u64)>,
}

impl Unproven {
    fn add(&mut self, sequence: Sequence, start: u64, durable: Sequence) {
        while self.starts.front().is_some_and(|(oldest, _)| *oldest <= durable) {
            self.starts.pop_front();
        }
        self.starts.push_back((sequence, start));
    }

    fn start(&self) -> Option<u64> {
        self.starts.front().map(|(_, start)| *start)
    }
}

/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Writes the bytes from `start` to `end` in place, so that the kernel takes them to the disk again.
fn rewrite(file: &dyn LogFile, start: u64, end: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = start;
    while at < end {
        let wanted = COPY_BYTES.min((end - at) as usize);
        let read = file.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&mut [IoSlice::new(&buffer[..read])], at)?;
        at += read as u64;
    }
    Ok(())
}
