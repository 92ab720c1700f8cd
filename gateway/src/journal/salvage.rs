//! Making a journal that opens out of one that is damaged.
//!
//! Nothing is changed in place: the result is a second folder. Segment ids and offsets stay what they
//! were, so every extent that points at undamaged payload still finds it. A damaged stretch is covered
//! by one record of kind "lost" (see [`super::format`]): replay passes over it, readers are told
//! `Damaged`. A missing file is replaced by one that holds nothing else.
//!
//! What is lost is said in the [`SalvageReport`]: from then on the map and the journal agree again, but
//! the changes of the lost records are not in the map. Behind the last whole record of the last segment
//! everything is cut, as at open.
//!
//! Does not touch the map, and does not put the new folder in the place of the old one: a person does.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Folder, LogFile};
use super::format::{self, ALIGNMENT, HEAD_BYTES, Kind, Layout, NotAHead, RecordHead, SegmentHead};
use super::scan::{Scanner, Step};
use super::{JournalError, Sequence, open};

/// Segments that may be missing between two that are there. More, and the folder is no journal.
const MISSING_SEGMENTS_MAX: u64 = 1 << 16;
/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What a salvage found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvageReport {
    /// Segment files written.
    pub segments: u64,
    /// Whole records kept.
    pub records: u64,
    /// What could not be kept, in order.
    pub lost: Vec<LostStretch>,
}

/// A stretch of the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostStretch {
    /// The file in the damaged folder.
    pub file: PathBuf,
    /// Where the stretch begins, bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes; 0 when records are missing that never had a place here.
    pub bytes: u64,
    /// The records it held; `None` where nobody can know, at the end of the last segment.
    pub records: Option<(Sequence, Sequence)>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for SalvageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} whole records kept in {} segments", self.records, self.segments)?;
        for lost in &self.lost {
            write!(
                f,
                "lost: {}, bytes {} to {}",
                lost.file.display(),
                lost.offset,
                lost.offset + lost.bytes
            )?;
            match lost.records {
                Some((first, last)) => writeln!(f, ", records {first} to {last}: {}", lost.what)?,
                None => writeln!(f, ": {}", lost.what)?,
            }
        }
        Ok(())
    }
}

/// Copies what is whole of the journal in `folder` to a new journal in `out`, which must be empty.
///
/// Blocks. Errors: [`JournalError::InUse`] for either folder, [`JournalError::Io`],
/// [`JournalError::NoSpace`], [`JournalError::NewerFormat`]; [`JournalError::Damaged`] if `folder` holds no segment or no plausible run
/// of them, or `out` holds one.
pub fn salvage(folder: &Path, out: &Path) -> Result<SalvageReport, JournalError> {
    salvage_disks(&Folder::open(folder)?, &Folder::open(out)?)
}

pub(super) fn salvage_disks(from: &dyn Disk, to: &dyn Disk) -> Result<SalvageReport, JournalError> {
    if !segment_ids(to)?.is_empty() {
        return Err(damaged(to.path(""), "salvage wants an empty folder to write to"));
    }
    let ids = segment_ids(from)?;
    let (Some(first), Some(last)) = (ids.first().copied(), ids.last().copied()) else {
        return Err(damaged(from.path(""), "there is no journal segment here"));
    };
    if last - first >= ids.len() as u64 + MISSING_SEGMENTS_MAX {
        return Err(damaged(from.path(""), "too many segments are missing between the first and the last"));
    }
    let mut sources = BTreeMap::new();
    for id in ids {
        sources.insert(id, Source::open(from, id)?);
    }
    let mut salvage = Salvage { from, to, sources, last, expected: None, report: SalvageReport::default() };
    for id in first..=last {
        salvage.segment(id)?;
    }
    to.sync().map_err(JournalError::io("sync", to.path("")))?;
    Ok(salvage.report)
}

/// A segment file of the damaged journal.
struct Source {
    file: Arc<dyn LogFile>,
    bytes: u64,
    salt: Option<u64>,
    /// The sequence of its first record, or of the first that can be told.
    first: Option<Sequence>,
}

impl Source {
    fn open(disk: &dyn Disk, id: u64) -> Result<Self, JournalError> {
        let name = format::file_name(id);
        let context = |doing| JournalError::io(doing, disk.path(&name));
        let file = disk.open(&name).map_err(context("open"))?;
        let bytes = file.bytes().map_err(context("measure"))?;
        let mut head = [0; HEAD_BYTES];
        file.read_at(&mut head, 0).map_err(context("read"))?;
        match SegmentHead::decode(&head) {
            Ok(head) if head.segment == id => {
                return Ok(Self { file, bytes, salt: Some(head.salt), first: Some(head.first) });
            }
            Err(NotAHead::Version(version)) => {
                return Err(JournalError::NewerFormat { file: disk.path(&name), version });
            }
            Ok(_) | Err(NotAHead::Damaged) => {}
        }
        let record = any_head(&*file, id, bytes).map_err(context("read"))?;
        let first = record.map(|record| record.sequence);
        Ok(Self { file, bytes, salt: record.map(|record| record.salt), first })
    }
}

/// The first record head of segment `id`, when its segment head, and so the salt, is lost.
fn any_head(file: &dyn LogFile, id: u64, end: u64) -> std::io::Result<Option<RecordHead>> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut start = HEAD_BYTES as u64;
    while start + HEAD_BYTES as u64 <= end {
        let read = file.read_at(&mut buffer, start)?;
        for (step, bytes) in buffer[..read].windows(HEAD_BYTES).step_by(ALIGNMENT as usize).enumerate() {
            let offset = start + step as u64 * ALIGNMENT;
            let bytes = bytes.try_into().expect("windows have the length of a head");
            let head = RecordHead::decode(bytes);
            if let Some(head) = head.filter(|head| head.segment == id && u64::from(head.offset) == offset) {
                return Ok(Some(head));
            }
        }
        start += (COPY_BYTES - HEAD_BYTES) as u64;
    }
    Ok(None)
}

const _: () = assert!((COPY_BYTES - HEAD_BYTES).is_multiple_of(ALIGNMENT as usize));

struct Salvage<'a> {
    from: &'a dyn Disk,
    to: &'a dyn Disk,
    sources: BTreeMap<u64, Source>,
    /// The id of the last segment.
    last: u64,
    /// The sequence that the next record should have.
    expected: Option<Sequence>,
    report: SalvageReport,
}

/// The "lost" records to be written over a copy.
type Patches = Vec<RecordHead>;

impl Salvage<'_> {
    fn segment(&mut self, id: u64) -> Result<(), JournalError> {
        let source = self.sources.remove(&id);
        let first = source.as_ref().and_then(|source| source.first).or(self.expected).unwrap_or(Sequence(1));
        let salt = match source.as_ref().and_then(|source| source.salt) {
            Some(salt) => salt,
            None => open::random()?,
        };
        let head = SegmentHead { segment: id, first, salt };
        self.expected = Some(first);
        let mut patches = Patches::new();
        let end = match &source {
            Some(source) => self.walk(source, head, &mut patches)?,
            None => self.lost_to_the_end(head, HEAD_BYTES as u64, 0, "the file is missing", &mut patches),
        };
        self.write(source.as_ref(), head, &patches, end)?;
        self.report.segments += 1;
        Ok(())
    }

    /// Goes over one segment: counts what is whole, covers what is not. Returns where it ends.
    fn walk(
        &mut self,
        source: &Source,
        head: SegmentHead,
        patches: &mut Patches,
    ) -> Result<u64, JournalError> {
        let path = self.from.path(&format::file_name(head.segment));
        let mut offset = HEAD_BYTES as u64;
        let mut scanner = Scanner::new(source.file.clone(), head, offset, source.bytes.max(offset));
        loop {
            match scanner.next_whole().map_err(JournalError::io("read", path.clone()))?.0 {
                Step::Record(record) => {
                    self.report.records += u64::from(record.kind == Kind::Data);
                    self.expected = Some(record.next_sequence());
                    offset = record.end();
                }
                Step::End => return Ok(self.missing_at_the_end(head, offset, patches)),
                Step::Bad { what, .. } => {
                    let later = self.find_later(&mut scanner, offset, head.segment == self.last);
                    let Some(later) = later.map_err(JournalError::io("read", path.clone()))? else {
                        let zeros = scanner.only_zeros_from(offset);
                        if head.segment == self.last && zeros.map_err(JournalError::io("read", path))? {
                            return Ok(offset);
                        }
                        let bytes = source.bytes.saturating_sub(offset);
                        return Ok(self.lost_to_the_end(head, offset, bytes, what, patches));
                    };
                    let next = u64::from(later.offset);
                    patches.push(self.lose(head, offset, next - offset, later.sequence, what));
                    offset = next;
                    scanner.resume(offset, later.sequence);
                }
            }
        }
    }

    /// The next head behind a bad record that may follow it. At the end of the log there is none if
    /// the bad record is the start of a torn tail.
    fn find_later(&self, scanner: &mut Scanner, bad: u64, last: bool) -> std::io::Result<Option<RecordHead>> {
        let expected = self.expected.unwrap_or_default();
        let mut from = bad + HEAD_BYTES as u64;
        if last && !scanner.is_called_durable(expected, from)? {
            return Ok(None);
        }
        while let Some(head) = scanner.find_head(from)? {
            if head.sequence >= expected {
                return Ok(Some(head));
            }
            from = u64::from(head.offset) + ALIGNMENT;
        }
        Ok(None)
    }

    /// A whole segment, but the next one begins with a later record.
    fn missing_at_the_end(&mut self, head: SegmentHead, offset: u64, patches: &mut Patches) -> u64 {
        match self.first_after(head.segment) {
            Some(next) if Some(next) > self.expected => {
                self.lost_to_the_end(head, offset, 0, "the file ends too early", patches)
            }
            _ => offset,
        }
    }

    /// Nothing whole follows in this segment. Returns where it ends.
    fn lost_to_the_end(
        &mut self,
        head: SegmentHead,
        offset: u64,
        bytes: u64,
        what: &str,
        patches: &mut Patches,
    ) -> u64 {
        if head.segment == self.last {
            let file = self.from.path(&format::file_name(head.segment));
            let lost = LostStretch { file, offset, bytes, records: None, what: what.to_owned() };
            self.report.lost.push(lost);
            return offset;
        }
        let next = self.first_after(head.segment).or(self.expected).unwrap_or(head.first);
        let patch = self.lose(head, offset, bytes, next, what);
        patches.push(patch);
        patch.end()
    }

    /// The sequence with which the segments after `id` begin, if any of them tells.
    fn first_after(&self, id: u64) -> Option<Sequence> {
        self.sources.range(id + 1..).find_map(|(_, source)| source.first)
    }

    /// Gives up the stretch of `bytes` from `offset` on, and all records before `next`.
    fn lose(&mut self, head: SegmentHead, offset: u64, bytes: u64, next: Sequence, what: &str) -> RecordHead {
        let first = self.expected.unwrap_or(head.first);
        let next = next.max(first);
        self.expected = Some(next);
        let file = self.from.path(&format::file_name(head.segment));
        let records = (next > first).then(|| (first, next.previous()));
        self.report.lost.push(LostStretch { file, offset, bytes, records, what: what.to_owned() });
        let covered = bytes.saturating_sub(HEAD_BYTES as u64);
        RecordHead {
            segment: head.segment,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            kind: Kind::Lost,
            sequence: first,
            durable: next.previous(),
            layout: Layout { batch_bytes: 0, payload_bytes: u32::try_from(covered).unwrap_or(u32::MAX) },
            batch_checksum: 0,
            table_checksum: 0,
            salt: head.salt,
        }
    }

    /// Writes the new file: the old bytes up to `end`, then the head, then the patches.
    fn write(
        &self,
        source: Option<&Source>,
        head: SegmentHead,
        patches: &Patches,
        end: u64,
    ) -> Result<(), JournalError> {
        let name = format::file_name(head.segment);
        let context = |doing| JournalError::io(doing, self.to.path(&name));
        let file = self.to.create(&name, end).map_err(context("make"))?;
        if let Some(source) = source {
            copy(&*source.file, &*file, end.min(source.bytes)).map_err(context("copy to"))?;
        }
        file.write_at(&mut [IoSlice::new(&head.encode())], 0).map_err(context("write to"))?;
        for patch in patches {
            let bytes = patch.encode();
            file.write_at(&mut [IoSlice::new(&bytes)], u64::from(patch.offset))
                .map_err(context("write to"))?;
        }
        file.truncate(end).map_err(context("cut"))?;
        file.sync().map_err(context("sync"))
    }
}

fn copy(from: &dyn LogFile, to: &dyn LogFile, end: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < end {
        let wanted = COPY_BYTES.min((end - at) as usize);
        let read = from.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        to.write_at(&mut [IoSlice::new(&buffer[..read])], at)?;
        at += read as u64;
    }
    Ok(())
}

fn segment_ids(disk: &dyn Disk) -> Result<Vec<u64>, JournalError> {
    let names = disk.list().map_err(JournalError::io("list", disk.path("")))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| format::segment_of(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn damaged(file: PathBuf, what: &str) -> JournalError {
    JournalError::Damaged { file, offset: 0, what: what.to_owned() }
}
