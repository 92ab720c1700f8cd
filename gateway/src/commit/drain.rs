//! Drain: what lies in the journal is cut into chunks, and the chunks go into local packs.
//!
//! The unit is a *run*: neighbouring extents of a file that lie in the journal, with the small pieces
//! of chunks at its two ends, so that a file that grows or is overwritten in places does not fall into
//! ever smaller chunks, and cuts find themselves again.
//!
//! Bound: a run costs about 100 bytes for each extent and 40 for each chunk until the commit is done;
//! the dirty budget bounds the data behind them.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use tidegate_chunker::Location;
use tidegate_replicator::ingest::{CutChunk, Ingest};
use tidegate_replicator::map::{Extent, InodeNumber, JournalPiece, Key, Source};
use tidegate_replicator::tree::ChunkRef;
use tokio::runtime::Handle;

use super::CommitError;
use super::aside::Rescue;
use super::frozen::Frozen;
use crate::journal::{Journal, Position};
use crate::share::{Share, ShareError, extents_meeting};

/// Bytes that are read from the journal at once.
const READ_BYTES: u64 = 1 << 20;

/// A range of a file that was cut anew.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Which bytes of the file.
    pub(super) range: Range<u64>,
    /// What they were made of.
    pub(super) sources: Vec<Extent>,
    /// What they are now.
    pub(super) chunks: Vec<CutChunk>,
}

impl Run {
    /// The run as extents, in order.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let mut start = self.range.start;
        self.chunks.iter().map(move |cut| {
            let end = start + u64::from(cut.bytes);
            let chunk = ChunkRef { id: cut.id, at: cut.at };
            let source = Source::Chunk { chunk, chunk_bytes: cut.bytes, offset: 0 };
            let extent = Extent { start, end, source };
            start = end;
            extent
        })
    }

    /// Where its chunks lie now.
    pub(super) fn places(&self) -> impl Iterator<Item = Location> + '_ {
        self.chunks.iter().filter_map(|chunk| chunk.at)
    }

    /// Where an extent of the live map was in the file when it was frozen; none if it was not part of the
    /// run.
    pub(super) fn place_of(&self, extent: &Extent) -> Option<Range<u64>> {
        self.sources.iter().find_map(|source| {
            let skipped = skipped(&source.source, &extent.source)?;
            let start = source.start + skipped;
            (start + extent.length() <= source.end).then_some(start..start + extent.length())
        })
    }
}

/// How many bytes into `whole` the bytes of `part` begin; none if they are of something else.
pub(super) fn skipped(whole: &Source, part: &Source) -> Option<u64> {
    match (whole, part) {
        (Source::Journal(whole), Source::Journal(part)) if whole.segment == part.segment => {
            part.offset.checked_sub(whole.offset)
        }
        (Source::Chunk { chunk: whole, offset: first, .. }, Source::Chunk { chunk: part, offset, .. })
            if whole.id == part.id =>
        {
            offset.checked_sub(*first).map(u64::from)
        }
        (Source::Journal(_) | Source::Chunk { .. }, _) => None,
    }
}

/// All runs of a commit, by file.
pub(super) type Runs = HashMap<InodeNumber, Vec<Run>>;

/// Cuts everything that the frozen map has in the journal, or that is to be rescued. Blocks; `runtime` is for what is async.
pub(super) fn drain(
    frozen: &Frozen<'_>,
    share: &Share,
    ingest: &mut Ingest,
    runtime: &Handle,
    rescue: &Rescue,
) -> Result<Runs, CommitError> {
    let mut runs = Runs::new();
    let mut from = Vec::new();
    loop {
        let page = frozen.changed_page(&from)?;
        let Some((last, _)) = page.last() else { break };
        from = [&last.encode()[..], &[0]].concat();
        for (file, extents) in extents_to_cut(&page, rescue)? {
            let mut runs_of_file: Vec<Run> = Vec::new();
            for sources in neighbours(extents) {
                let drained = runs_of_file.last().map_or(0, |run| run.range.end);
                runs_of_file.push(cut_run(frozen, share, ingest, runtime, (file, sources, drained))?);
            }
            runs.insert(file, runs_of_file);
        }
    }
    ingest.settle()?;
    for run in runs.values_mut().flatten() {
        for chunk in &mut run.chunks {
            chunk.at = chunk.at.or_else(|| ingest.location(&chunk.id));
        }
    }
    Ok(runs)
}

/// The changed extents that lie in the journal, and those that are to be rescued, by file, in order.
fn extents_to_cut(
    page: &[(Key, Option<tidegate_replicator::tree::Value>)],
    rescue: &Rescue,
) -> Result<Vec<(InodeNumber, Vec<Extent>)>, ShareError> {
    let mut files: Vec<(InodeNumber, Vec<Extent>)> = Vec::new();
    for (key, value) in page {
        let (Key::Extent(file, end), Some(value)) = (key, value) else { continue };
        let extent = Extent::from_value(*end, value)?;
        match &extent.source {
            Source::Journal(_) => {}
            Source::Chunk { chunk, .. } if rescue.is_to_be_sealed(chunk) => {}
            Source::Chunk { .. } => continue,
        }
        match files.last_mut() {
            Some((last, extents)) if last == file => extents.push(extent),
            _ => files.push((*file, vec![extent])),
        }
    }
    Ok(files)
}

/// Splits extents where they do not touch.
fn neighbours(extents: Vec<Extent>) -> Vec<Vec<Extent>> {
    let mut groups: Vec<Vec<Extent>> = Vec::new();
    for extent in extents {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| last.end == extent.start) => group.push(extent),
            _ => groups.push(vec![extent]),
        }
    }
    groups
}

/// Cuts a run; the file is drained up to an offset already.
fn cut_run(
    frozen: &Frozen<'_>,
    share: &Share,
    ingest: &mut Ingest,
    runtime: &Handle,
    (file, mut sources, drained): (InodeNumber, Vec<Extent>, u64),
) -> Result<Run, CommitError> {
    let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
        return Ok(Run { range: 0..0, sources, chunks: Vec::new() });
    };
    let (start, end) = (first.start, last.end);
    let before = small_neighbour(frozen, share, runtime, file, start.saturating_sub(1)..start)?;
    if let Some(before) = before.filter(|before| before.start >= drained) {
        sources.insert(0, before);
    }
    if let Some(after) = small_neighbour(frozen, share, runtime, file, end..end.saturating_add(1))? {
        sources.push(after);
    }
    let range = sources[0].start..sources[sources.len() - 1].end;
    let reader = RunReader { share, runtime, rest: sources.clone().into(), ready: Bytes::new() };
    let chunks = ingest.cut_data(reader)?;
    let cut: u64 = chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    if cut != range.end - range.start {
        return Err(CommitError::Torn { expected: range.end - range.start, got: cut });
    }
    Ok(Run { range, sources, chunks })
}

/// The extent that meets one byte beside a run, when it is a small piece of a chunk that can be read
/// here and now: it is then cut anew with the run.
fn small_neighbour(
    frozen: &Frozen<'_>,
    share: &Share,
    runtime: &Handle,
    file: InodeNumber,
    byte: Range<u64>,
) -> Result<Option<Extent>, CommitError> {
    if byte.is_empty() {
        return Ok(None);
    }
    let found = runtime.block_on(extents_meeting(frozen, file, &byte))?;
    let Some(extent) = found.into_iter().next() else { return Ok(None) };
    let Source::Chunk { chunk, .. } = &extent.source else { return Ok(None) };
    if extent.length() >= u64::from(share.chunk_params().avg()) {
        return Ok(None);
    }
    Ok(runtime.block_on(share.chunks().read(chunk)).is_ok().then_some(extent))
}

/// Reads the sources of a run one after the other.
struct RunReader<'a> {
    share: &'a Share,
    runtime: &'a Handle,
    rest: std::collections::VecDeque<Extent>,
    ready: Bytes,
}

impl RunReader<'_> {
    fn fetch(&mut self) -> io::Result<()> {
        let Some(extent) = self.rest.pop_front() else { return Ok(()) };
        let now = extent.start..extent.end.min(extent.start + READ_BYTES);
        if let Some(later) = extent.slice(&(now.end..extent.end)) {
            self.rest.push_front(later);
        }
        let Some(piece) = extent.slice(&now) else { return Ok(()) };
        self.ready = match &piece.source {
            Source::Journal(at) => read_journal(self.share.live().journal(), *at, piece.length())?,
            Source::Chunk { chunk, offset, .. } => {
                let bytes =
                    self.runtime.block_on(self.share.chunks().read(chunk)).map_err(io::Error::other)?;
                let start = *offset as usize;
                bytes.into_bytes().slice(start..start + piece.length() as usize)
            }
        };
        Ok(())
    }
}

fn read_journal(journal: &Journal, at: JournalPiece, length: u64) -> io::Result<Bytes> {
    let position = Position { segment: at.segment, offset: at.offset };
    journal.read_blocking(position, length).map_err(io::Error::other)
}

impl Read for RunReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.fetch()?;
        }
        let count = out.len().min(self.ready.len());
        self.ready.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
