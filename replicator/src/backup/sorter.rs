//! Sorts more records than fit in memory.
//!
//! Records are gathered, sorted and written as *runs* into files without names; at the end the runs are merged. As soon as
//! there are [`FAN_IN`] runs of one level they become one run of the next, so that a merge never has many to read from.
//! Records with equal keys come in the order in which they were added.
//!
//! Memory: [`Sorter::new`] says how much is gathered; a merge takes [`READ_BYTES`] for each run, of which there are fewer
//! than [`FAN_IN`] a level.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs that are merged into one.
const FAN_IN: usize = 32;
/// What is read of a run at once, in bytes.
const READ_BYTES: usize = 32 << 10;
/// What a gathered record takes besides its bytes.
const RECORD_BYTES: usize = 16;

/// A key and what belongs to it.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// See the head of this module.
pub(super) struct Sorter {
    folder: PathBuf,
    gathered_bytes_max: usize,
    gathered: Gathered,
    /// By level; within one, the oldest first. Higher levels are older.
    levels: Vec<Vec<Run>>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Where each record begins, the length of its key, and that of the rest.
    records: Vec<(usize, u32, u32)>,
}

struct Run {
    file: Arc<File>,
    bytes: u64,
}

impl Sorter {
    /// Sorts in files of this folder, and gathers at most so many bytes (at least a record).
    pub(super) fn new(folder: PathBuf, gathered_bytes_max: usize) -> Self {
        Self { folder, gathered_bytes_max, gathered: Gathered::default(), levels: Vec::new() }
    }

    pub(super) fn push(&mut self, key: &[u8], rest: &[u8]) -> io::Result<()> {
        let gathered = &mut self.gathered;
        let taken = gathered.bytes.len() + RECORD_BYTES * gathered.records.len();
        if !gathered.records.is_empty()
            && taken + key.len() + rest.len() + RECORD_BYTES > self.gathered_bytes_max
        {
            self.spill()?;
        }
        let gathered = &mut self.gathered;
        gathered.records.push((gathered.bytes.len(), key.len() as u32, rest.len() as u32));
        gathered.bytes.extend_from_slice(key);
        gathered.bytes.extend_from_slice(rest);
        Ok(())
    }

    /// All records, by key.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        self.gathered.sort();
        let mut runs: Vec<RunReader> =
            self.levels.iter_mut().rev().flat_map(std::mem::take).map(RunReader::new).collect();
        if !runs.is_empty() && !self.gathered.records.is_empty() {
            let run = self.gathered.write(&self.folder)?;
            runs.push(RunReader::new(run));
            self.gathered = Gathered::default();
        }
        let mut merge = Merge { runs, heap: BinaryHeap::new() };
        merge.begin()?;
        Ok(Sorted { gathered: self.gathered, next: 0, merge })
    }

    fn spill(&mut self) -> io::Result<()> {
        self.gathered.sort();
        let mut run = self.gathered.write(&self.folder)?;
        self.gathered.clear();
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let runs = std::mem::take(&mut self.levels[level]);
            run = merge_into_one(&self.folder, runs)?;
        }
        Ok(())
    }
}

impl Gathered {
    fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |record: &(usize, u32, u32)| &bytes[record.0..record.0 + record.1 as usize];
        self.records.sort_by(|one, other| key(one).cmp(key(other)));
    }

    fn get(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let (start, key, rest) = *self.records.get(at)?;
        let middle = start + key as usize;
        Some((&self.bytes[start..middle], &self.bytes[middle..middle + rest as usize]))
    }

    fn write(&self, folder: &std::path::Path) -> io::Result<Run> {
        let mut writer = RunWriter::create(folder)?;
        for at in 0..self.records.len() {
            if let Some((key, rest)) = self.get(at) {
                writer.push(key, rest)?;
            }
        }
        writer.finish()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }
}

struct RunWriter {
    file: BufWriter<File>,
    bytes: u64,
}

impl RunWriter {
    fn create(folder: &std::path::Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(READ_BYTES, tempfile::tempfile_in(folder)?);
        Ok(Self { file, bytes: 0 })
    }

    fn push(&mut self, key: &[u8], rest: &[u8]) -> io::Result<()> {
        self.file.write_all(&(key.len() as u32).to_le_bytes())?;
        self.file.write_all(&(rest.len() as u32).to_le_bytes())?;
        self.file.write_all(key)?;
        self.file.write_all(rest)?;
        self.bytes += 8 + key.len() as u64 + rest.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<Run> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Run { file: Arc::new(file), bytes: self.bytes })
    }
}

fn merge_into_one(folder: &std::path::Path, runs: Vec<Run>) -> io::Result<Run> {
    let mut merge = Merge { runs: runs.into_iter().map(RunReader::new).collect(), heap: BinaryHeap::new() };
    merge.begin()?;
    let mut writer = RunWriter::create(folder)?;
    while let Some((key, rest)) = merge.next()? {
        writer.push(&key, &rest)?;
    }
    writer.finish()
}

struct RunReader {
    run: Run,
    at: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl RunReader {
    fn new(run: Run) -> Self {
        Self { run, at: 0, buffer: Vec::new(), start: 0 }
    }

    /// Sees to it that so many bytes are at hand; false at the end.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.buffer.len() - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let there = self.buffer.len();
        let more = (wanted.max(READ_BYTES) - there).min((self.run.bytes - self.at) as usize);
        self.buffer.resize(there + more, 0);
        self.run.file.read_exact_at(&mut self.buffer[there..], self.at)?;
        self.at += more as u64;
        Ok(self.buffer.len() >= wanted)
    }

    fn next(&mut self) -> io::Result<Option<Pair>> {
        if !self.fill(8)? {
            return Ok(None);
        }
        let length = |at: usize| {
            let bytes = self.buffer[self.start + at..].first_chunk::<4>();
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        };
        let (key, rest) = (length(0), length(4));
        if !self.fill(8 + key + rest)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = self.start + 8;
        let (middle, end) = (start + key, start + key + rest);
        self.start = end;
        Ok(Some((self.buffer[start..middle].to_vec(), self.buffer[middle..end].to_vec())))
    }
}

/// What a run stands before. The greatest of a heap is the least key, and of equal ones that of the oldest run.
struct Waiting {
    pair: Pair,
    run: usize,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.pair.0.cmp(&self.pair.0).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

struct Merge {
    /// The oldest first.
    runs: Vec<RunReader>,
    heap: BinaryHeap<Waiting>,
}

impl Merge {
    fn begin(&mut self) -> io::Result<()> {
        (0..self.runs.len()).try_for_each(|run| self.advance(run))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let next = self.runs[run].next()?;
        self.heap.extend(next.map(|pair| Waiting { pair, run }));
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Pair>> {
        let Some(Waiting { pair, run }) = self.heap.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(pair))
    }
}

/// The records in order.
pub(super) struct Sorted {
    /// What fitted in memory, when all of it did.
    gathered: Gathered,
    next: usize,
    merge: Merge,
}

impl Sorted {
    pub(super) fn next(&mut self) -> io::Result<Option<Pair>> {
        if let Some((key, rest)) = self.gathered.get(self.next) {
            self.next += 1;
            return Ok(Some((key.to_vec(), rest.to_vec())));
        }
        self.merge.next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(records: &[(Vec<u8>, Vec<u8>)], memory: usize) -> Vec<Pair> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sorter = Sorter::new(folder.path().to_path_buf(), memory);
        for (key, rest) in records {
            sorter.push(key, rest).expect("room");
        }
        let mut sorted = sorter.finish().expect("readable");
        let mut out = Vec::new();
        while let Some(pair) = sorted.next().expect("readable") {
            out.push(pair);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0, "files without names");
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn records_come_by_key_and_equal_keys_in_the_order_they_were_added(
            keys in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..4), 0..300),
            memory in 0..6_000_usize,
        ) {
            let records: Vec<Pair> =
                keys.into_iter().enumerate().map(|(at, key)| (key, at.to_le_bytes().to_vec())).collect();
            let mut expected = records.clone();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(sorted(&records, memory), expected);
        }
    }

    #[test]
    fn runs_of_several_levels_are_merged() {
        let record = |number: u32| (number.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec(), vec![7; 100]);
        let records: Vec<Pair> = (0..(FAN_IN * FAN_IN + 50) as u32).map(record).collect();
        let mut expected = records.clone();
        expected.sort();
        assert_eq!(sorted(&records, 0), expected);
    }
}
