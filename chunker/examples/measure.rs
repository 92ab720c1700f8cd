//! Measures chunk sizes, frame targets and compression levels on real folders.
//!
//! ```text
//! measure [average=64,256] [target=64,256,1024] [level=1,3] FOLDER...     (sizes in KiB)
//! ```
//!
//! Every combination backs up all folders, one after the other, into one set of chunks, and prints a row
//! of a Markdown table. Nothing is written to disk. Stages run one after the other on batches of files, on
//! one thread, and are timed in processor time of this thread where the system tells it: other work on the
//! machine shows little.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_chunker::{
    ChunkGroup, ChunkId, ChunkKind, ChunkParams, CompressionLevel, Compressor, Cutter, Decompressor,
    DomainId, DomainKeys, Encoding, FrameTarget, Location, PackId, PackOptions, PackWriter, RepositoryId,
    SealEpoch, SealedFrame, SecretKey, UnverifiedFrame,
};

/// How many bytes of files one batch holds at most, unless a single file is larger.
const BATCH_BYTES_MAX: u64 = 64 << 20;
/// Rows of a pack index, in bytes.
const CHUNK_ROW_BYTES: u64 = 36;
const FRAME_ROW_BYTES: u64 = 9;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let files = arguments.folders.iter().map(|folder| files_below(folder)).collect::<Outcome<Vec<_>>>()?;
    println!(
        "| average KiB | target KiB | level | in MB | unique MB | stored MB | frames | mean frame KB \
         | index MB per TiB | cut MB/s | digest MB/s | seal MB/s | open MB/s |"
    );
    println!("|{}", "--:|".repeat(13));
    for &average in &arguments.averages {
        for &target in &arguments.targets {
            for &level in &arguments.levels {
                let mut run = Run::new(average << 10, target << 10, level)?;
                for folder in &files {
                    run.back_up(folder)?;
                }
                run.print(average, target, level);
            }
        }
    }
    Ok(())
}

/// What to measure, and on what.
struct Arguments {
    averages: Vec<u32>,
    targets: Vec<u32>,
    levels: Vec<i32>,
    folders: Vec<PathBuf>,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut parsed =
            Self { averages: vec![64], targets: vec![256], levels: vec![3], folders: Vec::new() };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("average", list)) => parsed.averages = numbers(list)?,
                Some(("target", list)) => parsed.targets = numbers(list)?,
                Some(("level", list)) => parsed.levels = numbers(list)?,
                Some((other, _)) => return Err(format!("{other}= is not known").into()),
                None => parsed.folders.push(argument.into()),
            }
        }
        Ok(parsed)
    }
}

fn numbers<T: std::str::FromStr<Err: Error + 'static>>(list: &str) -> Outcome<Vec<T>> {
    Ok(list.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

/// Regular files below a folder in order of path, with their lengths.
fn files_below(folder: &Path) -> Outcome<Vec<(PathBuf, u64)>> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if metadata.is_file() && metadata.len() > 0 {
            files.push((entry.path(), metadata.len()));
        }
    }
    Ok(files)
}

/// One combination on its way through all folders.
struct Run {
    keys: DomainKeys,
    cutter: Cutter,
    target: FrameTarget,
    compressor: Compressor,
    decompressor: Decompressor,
    writer: PackWriter<std::io::Sink>,
    seen: HashSet<ChunkId>,
    bytes_in: u64,
    bytes_unique: u64,
    bytes_stored: u64,
    frames: u64,
    bytes_in_stored_frames: u64,
    cut: Duration,
    digest: Duration,
    seal: Duration,
    open: Duration,
}

impl Run {
    fn new(average: u32, target: u32, level: i32) -> Outcome<Self> {
        let keys = DomainKeys::new(
            RepositoryId::new([1; 16]),
            DomainId::new([2; 16]),
            &SecretKey::new([3; 32]),
            vec![(SealEpoch(1), SecretKey::new([4; 32]))],
        )?;
        let level = CompressionLevel::new(level)?;
        let options = PackOptions::default();
        Ok(Self {
            cutter: Cutter::content(&keys, ChunkParams::from_average(average)?),
            target: FrameTarget::new(target)?,
            compressor: Compressor::new(level),
            decompressor: Decompressor::new(),
            writer: PackWriter::create(std::io::sink(), &keys, PackId::new([5; 32]), options)?,
            keys,
            seen: HashSet::new(),
            bytes_in: 0,
            bytes_unique: 0,
            bytes_stored: 0,
            frames: 0,
            bytes_in_stored_frames: 0,
            cut: Duration::ZERO,
            digest: Duration::ZERO,
            seal: Duration::ZERO,
            open: Duration::ZERO,
        })
    }

    fn back_up(&mut self, files: &[(PathBuf, u64)]) -> Outcome<()> {
        let mut batch_bytes = 0;
        let batches = files.chunk_by(|_, (_, bytes)| {
            batch_bytes += bytes;
            let same = batch_bytes <= BATCH_BYTES_MAX;
            if !same {
                batch_bytes = 0;
            }
            same
        });
        for batch in batches {
            let contents = batch.iter().map(|(path, _)| fs::read(path)).collect::<Result<Vec<_>, _>>()?;
            self.batch(&contents)?;
        }
        Ok(())
    }

    fn batch(&mut self, files: &[Vec<u8>]) -> Outcome<()> {
        let cutter = self.cutter.clone();
        self.bytes_in += files.iter().map(|file| file.len() as u64).sum::<u64>();
        let (chunks, took) = timed(|| files.iter().flat_map(|file| cutter.chunks(file)).collect::<Vec<_>>());
        self.cut += took;
        let (ids, took) = timed(|| chunks.iter().map(|chunk| self.keys.chunk_id(chunk)).collect::<Vec<_>>());
        self.digest += took;
        let fresh: Vec<_> = ids.into_iter().zip(chunks).filter(|(id, _)| self.seen.insert(*id)).collect();
        self.bytes_unique += fresh.iter().map(|(_, chunk)| chunk.len() as u64).sum::<u64>();
        self.seal(&fresh)
    }

    fn seal(&mut self, chunks: &[(ChunkId, &[u8])]) -> Outcome<()> {
        let mut group = ChunkGroup::new(ChunkKind::Data);
        for (at, (id, chunk)) in chunks.iter().enumerate() {
            group.push(*id, chunk)?;
            let next = chunks.get(at + 1);
            if next.is_none_or(|(_, next)| !group.has_room(next.len(), self.target)) {
                self.seal_and_open(&group)?;
                group.clear();
            }
        }
        Ok(())
    }

    fn seal_and_open(&mut self, group: &ChunkGroup) -> Outcome<()> {
        let slot = self.writer.next_slot()?;
        let (frame, took) = timed(|| slot.seal(group, &mut self.compressor));
        self.seal += took;
        let frame = frame?;
        self.frames += 1;
        self.bytes_stored += frame.as_bytes().len() as u64;
        if frame.header().encoding == Encoding::Stored {
            self.bytes_in_stored_frames += u64::from(frame.header().plaintext_bytes);
        }
        let (opened, took) = timed(|| self.open(&frame));
        self.open += took;
        opened
    }

    /// Opens a frame and verifies each of its chunks.
    fn open(&mut self, frame: &SealedFrame) -> Outcome<()> {
        let header = *frame.header();
        let bytes = frame.as_bytes().to_vec().into();
        let open =
            UnverifiedFrame::new(bytes)?.open(&self.keys, Some(header.pack), &mut self.decompressor)?;
        let mut piece = Range { start: 0, end: 0 };
        for (id, bytes) in frame.chunks() {
            piece = piece.end..piece.end + bytes;
            let location = Location {
                pack: header.pack,
                frame_offset: 0,
                frame_bytes: header.frame_bytes(),
                chunk_offset: piece.start,
                chunk_bytes: *bytes,
            };
            open.chunk(&self.keys, &location, *id)?;
        }
        Ok(())
    }

    fn print(&self, average: u32, target: u32, level: i32) {
        let index = self.seen.len() as u64 * CHUNK_ROW_BYTES + self.frames * FRAME_ROW_BYTES;
        println!(
            "| {average} | {target} | {level} | {} | {} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            self.bytes_in / 1_000_000,
            self.bytes_unique / 1_000_000,
            (self.bytes_stored + index) / 1_000_000,
            self.frames,
            self.bytes_stored / self.frames.max(1) / 1000,
            index as f64 / self.bytes_unique as f64 * (1u64 << 40) as f64 / 1e6,
            rate(self.bytes_in, self.cut),
            rate(self.bytes_in, self.digest),
            rate(self.bytes_unique, self.seal),
            rate(self.bytes_unique, self.open),
        );
        eprintln!("stored as they are: {} MB", self.bytes_in_stored_frames / 1_000_000);
    }
}

/// Megabytes per second.
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let (wall, processor) = (Instant::now(), processor_time());
    let result = work();
    let took = match (processor, processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        (None, _) | (_, None) => wall.elapsed(),
    };
    (result, took)
}

/// Processor time of this thread, where Linux tells it.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
