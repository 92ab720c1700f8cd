//! How fast is taking in, and what do its stages allow?
//!
//! ```text
//! cargo run --release --example ingest_speed -- FOLDER...
//! ```
//!
//! Takes all files of the folders in, in order, with the default settings, and prints:
//!
//! 1. on one core, each stage alone (read, cut, digest, seal, write), and the whole pipeline beside the
//!    sum of the stages: the part of the possible speed that it reaches;
//! 2. the pipeline on two cores, beside one.
//!
//! The program runs itself under `taskset` (util-linux) for each number, so all come from one run.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_chunker::{
    ChunkGroup, ChunkId, ChunkKind, ChunkParams, CompressionLevel, Compressor, Cutter, DomainId, DomainKeys,
    FrameTarget, PackId, PackOptions, PackWriter, RepositoryId, SealEpoch, SealedFrame, SecretKey,
};
use tidegate_replicator::ingest::{FinishedPacks, Ingest, IngestOptions, IngestReport, random_pack_ids};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// File contents that are held in memory at once while stages are measured alone.
const BATCH_BYTES: usize = 64 << 20;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mode, folders) = match arguments.split_first() {
        Some((mode, folders)) if mode.starts_with("--") && !folders.is_empty() => (mode.as_str(), folders),
        Some(_) => ("--compare", &arguments[..]),
        None => return Err("usage: ingest_speed FOLDER...".into()),
    };
    match mode {
        "--compare" => compare(folders),
        "--stages" => stages(&files_of(folders)?),
        "--pipeline" => pipeline(&files_of(folders)?).map(drop),
        other => Err(format!("unknown mode {other}").into()),
    }
}

/// Runs the measurements, each in a process of its own on the cores that it is about.
fn compare(folders: &[String]) -> Outcome<()> {
    let stages = run_on("0", "--stages", folders)?;
    let one = run_on("0", "--pipeline", folders)?;
    let two = run_on("0,1", "--pipeline", folders)?;
    println!("\non one core, of what the stages allow:");
    println!("  by the clock {:.0} %", 100.0 * stages.clock / one.clock);
    println!("  by processor time {:.0} %", 100.0 * stages.processor / one.processor);
    println!("two cores over one, by the clock: {:.2} times", one.clock / two.clock);
    Ok(())
}

/// Seconds of a measurement. On a machine with other work the processor time is what can be compared.
#[derive(Clone, Copy)]
struct Seconds {
    clock: f64,
    processor: f64,
}

/// Answers the seconds that the child prints as its last two words.
fn run_on(cores: &str, mode: &str, folders: &[String]) -> Outcome<Seconds> {
    println!("\ncores {cores}, {}", &mode[2..]);
    let child = Command::new("taskset")
        .args(["-c", cores])
        .arg(std::env::current_exe()?)
        .arg(mode)
        .args(folders)
        .output()?;
    if !child.status.success() {
        return Err(String::from_utf8_lossy(&child.stderr).into());
    }
    let output = String::from_utf8(child.stdout)?;
    print!("{output}");
    let mut last_words = output.split_whitespace().rev();
    let mut number = || last_words.next().ok_or("the measurement printed nothing");
    Ok(Seconds { processor: number()?.parse()?, clock: number()?.parse()? })
}

fn files_of(folders: &[String]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders {
        walk(Path::new(folder), &mut files)?;
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn keys() -> Outcome<Arc<DomainKeys>> {
    let secret = |byte| SecretKey::new([byte; 32]);
    let seals = vec![(SealEpoch(1), secret(2))];
    Ok(Arc::new(DomainKeys::new(RepositoryId::new([0; 16]), DomainId::new([0; 16]), &secret(1), seals)?))
}

fn pipeline(files: &[PathBuf]) -> Outcome<IngestReport> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let options = IngestOptions::new(folder.path().to_owned());
    let (start, start_processor) = (Instant::now(), processor_time());
    let known = Arc::new(FinishedPacks::default());
    let mut ingest = Ingest::start(keys()?, ChunkParams::default(), known, random_pack_ids(), options)?;
    for path in files {
        ingest.cut_data(File::open(path)?)?;
    }
    let report = ingest.finish()?;
    let (elapsed, processor) = (start.elapsed(), processor_time().saturating_sub(start_processor));
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "  {} files, {} MiB in, {} MiB unique, {} MiB stored, {} chunks, {} duplicates, {} frames, {} packs",
        files.len(),
        mib(report.bytes_in),
        mib(report.unique_bytes),
        mib(report.stored_bytes),
        report.chunks,
        report.duplicates,
        report.frames,
        report.packs
    );
    for (stage, time) in [
        ("cut", report.cutting),
        ("digest", report.digesting),
        ("look up", report.looking_up),
        ("seal", report.sealing),
        ("write", report.writing),
        ("sync", report.syncing),
        ("cutter waits", report.waiting),
    ] {
        println!("  {stage:<14}{:>8.2} s", time.as_secs_f64());
    }
    print_rate("pipeline", report.bytes_in, elapsed);
    print_seconds(elapsed, processor);
    Ok(report)
}

/// Processor time of all threads of this process so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The last words of a measurement, for the process that compares.
fn print_seconds(clock: Duration, processor: Duration) {
    println!("  seconds (clock, processor) {:.3} {:.3}", clock.as_secs_f64(), processor.as_secs_f64());
}

fn print_rate(stage: &str, bytes: u64, time: Duration) {
    let rate = bytes as f64 / 1e6 / time.as_secs_f64();
    println!("  {stage:<14}{:>8.2} s {rate:>8.0} MB/s", time.as_secs_f64());
}

/// One stage after the other over the same bytes, batch by batch.
struct Stages {
    keys: Arc<DomainKeys>,
    cutter: Cutter,
    writer: PackWriter<File>,
    compressor: Compressor,
    seen: HashSet<ChunkId>,
    bytes: u64,
    unique_bytes: u64,
    read: Spent,
    cut: Spent,
    digest: Spent,
    seal: Spent,
    write: Spent,
}

/// What a stage has taken.
#[derive(Clone, Copy, Default)]
struct Spent {
    clock: Duration,
    processor: Duration,
}

impl Spent {
    fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, processor) = (Instant::now(), processor_time());
        let done = work();
        self.clock += start.elapsed();
        self.processor += processor_time().saturating_sub(processor);
        done
    }
}

impl std::iter::Sum for Spent {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            clock: sum.clock + part.clock,
            processor: sum.processor + part.processor,
        })
    }
}

fn stages(files: &[PathBuf]) -> Outcome<()> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let keys = keys()?;
    let file = File::create(folder.path().join("pack"))?;
    let mut stages = Stages {
        cutter: Cutter::content(&keys, ChunkParams::default()),
        writer: PackWriter::create(file, &keys, PackId::new([1; 32]), PackOptions::default())?,
        keys,
        compressor: Compressor::new(CompressionLevel::default()),
        seen: HashSet::new(),
        bytes: 0,
        unique_bytes: 0,
        read: Spent::default(),
        cut: Spent::default(),
        digest: Spent::default(),
        seal: Spent::default(),
        write: Spent::default(),
    };
    let mut rest = files;
    while !rest.is_empty() {
        rest = stages.batch(rest)?;
    }
    let total: Spent = [stages.read, stages.cut, stages.digest, stages.seal, stages.write].into_iter().sum();
    for (stage, bytes, time) in [
        ("read", stages.bytes, stages.read),
        ("cut", stages.bytes, stages.cut),
        ("digest", stages.bytes, stages.digest),
        ("seal", stages.unique_bytes, stages.seal),
        ("write", stages.unique_bytes, stages.write),
        ("together", stages.bytes, total),
    ] {
        print_rate(stage, bytes, time.clock);
    }
    print_seconds(total.clock, total.processor);
    Ok(())
}

impl Stages {
    /// Takes some files through all stages; answers the files that are left.
    fn batch<'a>(&mut self, files: &'a [PathBuf]) -> Outcome<&'a [PathBuf]> {
        let (data, ends) = self.read.on(|| read_batch(files))?;
        self.bytes += data.len() as u64;
        let cutter = self.cutter.clone();
        let chunks: Vec<&[u8]> = self.cut.on(|| {
            let begins = std::iter::once(0).chain(ends.iter().copied());
            begins.zip(&ends).flat_map(|(begin, &end)| cutter.chunks(&data[begin..end])).collect()
        });
        let keys = Arc::clone(&self.keys);
        let ids: Vec<ChunkId> = self.digest.on(|| chunks.iter().map(|chunk| keys.chunk_id(chunk)).collect());
        let groups = self.gather(&ids, &chunks)?;
        let frames = self.seal(&groups)?;
        let writer = &mut self.writer;
        self.write.on(|| frames.iter().try_for_each(|frame| writer.append(frame)))?;
        Ok(&files[ends.len()..])
    }

    /// The new chunks, in groups of the usual size. Part of no stage: the pipeline copies too.
    fn gather(&mut self, ids: &[ChunkId], chunks: &[&[u8]]) -> Outcome<Vec<ChunkGroup>> {
        let mut groups = Vec::new();
        let mut open = ChunkGroup::new(ChunkKind::Data);
        for (id, chunk) in ids.iter().zip(chunks).filter(|(id, _)| self.seen.insert(**id)) {
            if !open.has_room(chunk.len(), FrameTarget::default()) {
                groups.push(std::mem::replace(&mut open, ChunkGroup::new(ChunkKind::Data)));
            }
            open.push(*id, chunk)?;
            self.unique_bytes += chunk.len() as u64;
        }
        if !open.is_empty() {
            groups.push(open);
        }
        Ok(groups)
    }

    fn seal(&mut self, groups: &[ChunkGroup]) -> Outcome<Vec<SealedFrame>> {
        let (writer, compressor) = (&mut self.writer, &mut self.compressor);
        self.seal.on(|| groups.iter().map(|group| Ok(writer.next_slot()?.seal(group, compressor)?)).collect())
    }
}

/// The contents of the first files, and where each ends.
fn read_batch(files: &[PathBuf]) -> Outcome<(Vec<u8>, Vec<usize>)> {
    let (mut data, mut ends) = (Vec::with_capacity(2 * BATCH_BYTES), Vec::new());
    for path in files {
        if data.len() >= BATCH_BYTES {
            break;
        }
        File::open(path)?.read_to_end(&mut data)?;
        ends.push(data.len());
    }
    Ok((data, ends))
}
