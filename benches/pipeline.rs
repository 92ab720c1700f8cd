//! How fast is taking in, and what do its stages allow?
//!
//! ```text
//! cargo bench --workspace --bench pipeline -- [--rounds=5] [--mib=768] [FOLDER...]
//! ```
//!
//! Takes in all files of the folders (or of a seeded tree: text, noise, small files, edited copies) with
//! the default settings. What is compared takes turns, each in a process of its own; medians are shown.
//!
//! 1. On one core each stage alone (read, cut, digest, seal, write), over batches that stay in the
//!    processor's cache, and the whole pipeline beside their sum. Aim: 85 % of what the sum allows.
//! 2. The pipeline on two cores beside one. Aim: 1.8 times. The bound, and on a machine with other work
//!    the better measure: two pipelines at once, each on a core of its own, with nothing to share.
//!
//! The pipeline makes its packs durable within its time; no stage has that in it. What the disk needs
//! for as many bytes, written and synced at once, is shown as the bound that it is.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_benches::{
    Arguments, Outcome, Row, Spent, Table, files_below, keys, per_second, percent, rows_on, scratch,
    seeded_tree, times,
};
use tidegate_chunker::{
    ChunkGroup, ChunkId, ChunkKind, ChunkParams, CompressionLevel, Compressor, Cutter, DomainKeys,
    FrameTarget, PackId, PackOptions, PackWriter, SealedFrame,
};
use tidegate_replicator::ingest::{FinishedPacks, Ingest, IngestOptions, random_pack_ids};

/// File contents that go through a stage before the next stage begins, unless one file is longer.
const BATCH_BYTES: usize = 4 << 20;
/// What the pipeline runs on; the stages run on the first.
const CORES: [&str; 2] = ["0", "0,1"];
/// The other one, for two runs at once.
const OTHER_CORE: &str = "1";
const STAGES: [&str; 5] = ["read", "cut", "digest", "seal", "write"];

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let files = || files_below(arguments.words());
    match arguments.setting("measure", String::new())?.as_str() {
        "" => compare(&arguments),
        "stages" => stages(&files()?),
        "pipeline" => pipeline(&files()?),
        "disk" => disk(arguments.setting("bytes", 0)?),
        other => Err(format!("there is no measurement {other}").into()),
    }
}

/// All rows of all rounds, by what was run and what was measured, in the order in which they came.
#[derive(Default)]
struct Found {
    rows: BTreeMap<(&'static str, String), Vec<Row>>,
}

impl Found {
    fn run(&mut self, name: &'static str, cores: &str, arguments: &[String]) -> Outcome<()> {
        self.keep(name, rows_on(cores, arguments)?);
        Ok(())
    }

    /// Two runs at once, each on a core of its own; what is kept is the slower of each row.
    fn run_twice_at_once(&mut self, name: &'static str, arguments: &[String]) -> Outcome<()> {
        let run = |cores| rows_on(cores, arguments).map_err(|error| error.to_string());
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(OTHER_CORE));
            (run(CORES[0]), other.join())
        });
        let other = other.map_err(|_| "a thread died")??;
        let slower = |(one, other): (Row, Row)| if one.spent.clock > other.spent.clock { one } else { other };
        self.keep(name, one?.into_iter().zip(other).map(slower).collect());
        Ok(())
    }

    fn keep(&mut self, name: &'static str, rows: Vec<Row>) {
        for row in rows {
            self.rows.entry((name, row.name.clone())).or_default().push(row);
        }
    }

    /// The medians of a row, and its bytes.
    fn row(&self, run: &'static str, name: &str) -> Outcome<Row> {
        let rows = self.rows.get(&(run, name.to_owned())).ok_or_else(|| format!("no row {name} of {run}"))?;
        let spent: Vec<Spent> = rows.iter().map(|row| row.spent).collect();
        Ok(Row { spent: Spent::median(&spent), ..rows[0].clone() })
    }
}

fn compare(arguments: &Arguments) -> Outcome<()> {
    let rounds: usize = arguments.setting("rounds", 5)?;
    let seeded = scratch()?;
    let mut folders = arguments.words().to_vec();
    if folders.is_empty() {
        seeded_tree(seeded.path(), arguments.setting("mib", 768_u64)? << 20)?;
        folders.push(seeded.path().display().to_string());
    }
    let measure = |what: &str| -> Vec<String> {
        std::iter::once(format!("--measure={what}")).chain(folders.iter().cloned()).collect()
    };
    let mut found = Found::default();
    for _ in 0..rounds {
        found.run("one core", CORES[0], &measure("pipeline"))?;
        found.run("stages", CORES[0], &measure("stages"))?;
        found.run("two cores", CORES[1], &measure("pipeline"))?;
        found.run_twice_at_once("two runs", &measure("pipeline"))?;
        let bytes = found.row("one core", "stored")?.bytes;
        found.run("disk", CORES[1], &["--measure=disk".to_owned(), format!("--bytes={bytes}")])?;
    }
    show(&found, rounds)
}

fn show(found: &Found, rounds: usize) -> Outcome<()> {
    let mut table = Table::new(&["one core", "clock s", "processor s", "of its bytes", "of all bytes"]);
    let whole = found.row("one core", "pipeline")?;
    let mut line = |row: &Row, name: &str| {
        let seconds = [row.spent.clock, row.spent.processor].map(|seconds| format!("{seconds:.2}"));
        let rates = [row.bytes, whole.bytes].map(|bytes| per_second(bytes, row.spent.clock));
        table.row(std::iter::once(name.to_owned()).chain(seconds).chain(rates));
    };
    let mut sum = Spent::default();
    for stage in STAGES {
        let row = found.row("stages", stage)?;
        sum += row.spent;
        line(&row, stage);
    }
    line(&Row::new("", sum, whole.bytes), "the stages together");
    line(&whole, "pipeline");
    let (disk, two) = (found.row("disk", "disk")?, found.row("two cores", "pipeline")?);
    line(&two, "pipeline, two cores");
    line(&disk, "bare write and sync of as much");
    let stored = found.row("one core", "stored")?.bytes >> 20;
    table.print(&format!("{} MiB in, {stored} MiB stored; medians of {rounds}", whole.bytes >> 20));

    show_clocks(found)?;
    show_ratios(found, sum)
}

/// The pipeline's own clocks.
fn show_clocks(found: &Found) -> Outcome<()> {
    let mut table = Table::new(&["the pipeline's own clocks, s", "one core", "two cores"]);
    for clock in ["cutting", "digesting", "looking up", "waiting", "sealing", "writing", "syncing"] {
        let seconds = |run| found.row(run, clock).map(|row| format!("{:.2}", row.spent.clock));
        table.row([clock.to_owned(), seconds("one core")?, seconds("two cores")?]);
    }
    table.print("Where its time went; with more threads than cores, waiting for a core counts too");
    Ok(())
}

/// What the aims are about; `stages` is the sum of the stages.
fn show_ratios(found: &Found, stages: Spent) -> Outcome<()> {
    let spent = |run| found.row(run, "pipeline").map(|row| row.spent);
    let (one, two, twice) = (spent("one core")?, spent("two cores")?, spent("two runs")?);
    let disk = found.row("disk", "disk")?.spent;
    let mut table = Table::new(&["ratio", "by the clock", "by processor time", "aim"]);
    let mut row = |name: &str, clock: String, processor: String, aim: &str| {
        table.row([name.to_owned(), clock, processor, aim.to_owned()]);
    };
    let of_stages = [percent(stages.clock, one.clock), percent(stages.processor, one.processor)];
    let [clock, processor] = of_stages;
    row("one core, of what the stages allow", clock, processor, "85 %");
    row("two cores over one", times(one.clock, two.clock), times(two.processor, one.processor), "1.8 times");
    row("two runs at once over one run", times(2.0 * one.clock, twice.clock), String::new(), "");
    row("two cores, of what two runs at once do", percent(twice.clock / 2.0, two.clock), String::new(), "");
    row("the disk alone, of the time on two cores", percent(disk.clock, two.clock), String::new(), "");
    table.print("Ratios (of processor time on two cores: what it costs over one)");
    Ok(())
}

fn pipeline(files: &[PathBuf]) -> Outcome<()> {
    let folder = scratch()?;
    let options = IngestOptions::new(folder.path().to_owned());
    let known = Arc::new(FinishedPacks::default());
    let keys = keys()?;
    let (report, spent) = Spent::on(|| {
        let mut ingest = Ingest::start(keys, ChunkParams::default(), known, random_pack_ids(), options)?;
        for path in files {
            ingest.cut_data(File::open(path)?)?;
        }
        Outcome::Ok(ingest.finish()?)
    });
    let report = report?;
    Row::new("pipeline", spent, report.bytes_in).print();
    Row::new("stored", Spent::default(), report.stored_bytes).print();
    for (name, time) in [
        ("cutting", report.cutting),
        ("digesting", report.digesting),
        ("looking up", report.looking_up),
        ("waiting", report.waiting),
        ("sealing", report.sealing),
        ("writing", report.writing),
        ("syncing", report.syncing),
    ] {
        Row::new(name, Spent { clock: time.as_secs_f64(), processor: 0.0 }, report.bytes_in).print();
    }
    Ok(())
}

/// Writes as many bytes as a run stores into files as long as its packs, and syncs each.
fn disk(bytes: u64) -> Outcome<()> {
    let folder = scratch()?;
    let pack_bytes = IngestOptions::new(PathBuf::new()).pack_bytes_target;
    let piece = tidegate_benches::Chance::new(1).bytes(1 << 20);
    let (done, spent) = Spent::on(|| write_and_sync(folder.path(), bytes, pack_bytes, &piece));
    done?;
    Row::new("disk", spent, bytes).print();
    Ok(())
}

fn write_and_sync(folder: &Path, mut bytes: u64, file_bytes: u64, piece: &[u8]) -> Outcome<()> {
    while bytes > 0 {
        let mut file = File::create(folder.join(bytes.to_string()))?;
        let mut left = bytes.min(file_bytes);
        bytes -= left;
        while left > 0 {
            let take = left.min(piece.len() as u64);
            file.write_all(&piece[..take as usize])?;
            left -= take;
        }
        file.sync_all()?;
    }
    Ok(())
}

fn stages(files: &[PathBuf]) -> Outcome<()> {
    let folder = scratch()?;
    let mut stages = Stages::new(folder.path())?;
    let mut rest = files;
    while !rest.is_empty() {
        rest = stages.batch(rest)?;
    }
    for (name, spent) in STAGES.into_iter().zip(stages.spent) {
        let bytes = if ["seal", "write"].contains(&name) { stages.unique_bytes } else { stages.bytes };
        Row::new(name, spent, bytes).print();
    }
    Ok(())
}

/// One stage after the other over the same bytes, batch by batch.
struct Stages {
    keys: Arc<DomainKeys>,
    cutter: Cutter,
    writer: PackWriter<File>,
    compressor: Compressor,
    seen: HashSet<ChunkId>,
    data: Vec<u8>,
    groups: Vec<ChunkGroup>,
    bytes: u64,
    unique_bytes: u64,
    /// In the order of [`STAGES`].
    spent: [Spent; STAGES.len()],
}

impl Stages {
    fn new(folder: &Path) -> Outcome<Self> {
        let (keys, file) = (keys()?, File::create(folder.join("pack"))?);
        Ok(Self {
            cutter: Cutter::content(&keys, ChunkParams::default()),
            writer: PackWriter::create(file, &keys, PackId::new([1; 32]), PackOptions::default())?,
            keys,
            compressor: Compressor::new(CompressionLevel::default()),
            seen: HashSet::new(),
            data: Vec::new(),
            groups: Vec::new(),
            bytes: 0,
            unique_bytes: 0,
            spent: [Spent::default(); STAGES.len()],
        })
    }

    /// Takes some files through all stages; answers the files that are left.
    fn batch<'a>(&mut self, files: &'a [PathBuf]) -> Outcome<&'a [PathBuf]> {
        let mut data = std::mem::take(&mut self.data);
        let [read, cut, digest, seal, write] = &mut self.spent;
        let ends = read.add(|| read_batch(files, &mut data))?;
        self.bytes += data.len() as u64;
        let cutter = &self.cutter;
        let chunks: Vec<&[u8]> = cut.add(|| {
            let begins = std::iter::once(0).chain(ends.iter().copied());
            begins.zip(&ends).flat_map(|(begin, &end)| cutter.chunks(&data[begin..end])).collect()
        });
        let keys = &self.keys;
        let ids: Vec<ChunkId> = digest.add(|| chunks.iter().map(|chunk| keys.chunk_id(chunk)).collect());
        self.unique_bytes += gather(&mut self.groups, &mut self.seen, &ids, &chunks)?;
        let (writer, compressor) = (&mut self.writer, &mut self.compressor);
        let filled = self.groups.iter().filter(|group| !group.is_empty());
        let frames: Vec<SealedFrame> = seal.add(|| {
            filled
                .map(|group| Outcome::Ok(writer.next_slot()?.seal(group, compressor)?))
                .collect::<Outcome<_>>()
        })?;
        write.add(|| frames.iter().try_for_each(|frame| writer.append(frame)))?;
        self.data = data;
        Ok(&files[ends.len()..])
    }
}

/// The new chunks in groups of the usual size, into the buffers of earlier ones; answers their bytes.
/// Part of no stage: this copy is the pipeline's own doing.
fn gather(
    groups: &mut Vec<ChunkGroup>,
    seen: &mut HashSet<ChunkId>,
    ids: &[ChunkId],
    chunks: &[&[u8]],
) -> Outcome<u64> {
    groups.iter_mut().for_each(ChunkGroup::clear);
    let (mut at, mut bytes) = (0, 0);
    for (id, chunk) in ids.iter().zip(chunks).filter(|(id, _)| seen.insert(**id)) {
        if groups.get(at).is_some_and(|open| !open.has_room(chunk.len(), FrameTarget::default())) {
            at += 1;
        }
        if groups.len() == at {
            groups.push(ChunkGroup::new(ChunkKind::Data));
        }
        groups[at].push(*id, chunk)?;
        bytes += chunk.len() as u64;
    }
    Ok(bytes)
}

/// Reads the contents of the first files into `data`; answers where each ends.
fn read_batch(files: &[PathBuf], data: &mut Vec<u8>) -> Outcome<Vec<usize>> {
    data.clear();
    let mut ends = Vec::new();
    for path in files {
        if data.len() >= BATCH_BYTES {
            break;
        }
        File::open(path)?.read_to_end(data)?;
        ends.push(data.len());
    }
    Ok(ends)
}
