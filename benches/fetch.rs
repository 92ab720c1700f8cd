//! What does reading back cost, beside plain files and beside opening frames alone?
//!
//! ```text
//! cargo bench --workspace --bench fetch -- [--rounds=3] [--mib=256]
//! ```
//!
//! One file of text and noise is taken in, its packs put into a store in a folder, and read back through
//! the reader of the gateway, by one reader at a time:
//!
//! * *sequential*: every chunk in order, each once, neighbours prefetched;
//! * *random*: 4 KiB at random places. *Cold* begins with nothing in memory and has a cache for an
//!   eighth of the data; *warm* has it all opened.
//!
//! Bounds: a plain file of the same bytes, read the same way from the page cache; and opening the frames
//! (decrypt, decompress, check) one after the other on one thread. Every byte read is compared.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_benches::{
    Arguments, Chance, Outcome, Spent, Table, keys, per_second, percent, scratch, seeded_tree,
};
use tidegate_chunker::{ChunkParams, Decompressor, DomainKeys, Location, UnverifiedFrame};
use tidegate_replicator::fetch::{ChunkReader, NoIndex, ReadOptions, StoreFrames, StoreFramesOptions};
use tidegate_replicator::ingest::{FinishedPack, FinishedPacks, Ingest, IngestOptions, random_pack_ids};
use tidegate_replicator::repository::pack_name;
use tidegate_replicator::store::{Body, DirectoryStore, PutMode, Store};
use tidegate_replicator::tree::ChunkRef;

/// Length of a random read in bytes.
const READ_BYTES: usize = 4 << 10;
/// Random reads of a round; few when each opens a frame.
const COLD_READS: u64 = 4_000;
const WARM_READS: u64 = 100_000;
/// Chunks that a sequential reader asks for ahead.
const AHEAD: usize = 32;

/// A file, taken in and put into a store.
struct Scene {
    keys: Arc<DomainKeys>,
    data: Bytes,
    /// Where each chunk begins in the data, and the chunk.
    chunks: Vec<(usize, ChunkRef)>,
    packs: Vec<FinishedPack>,
    store: Arc<dyn Store>,
    plain: File,
    _folder: tempfile::TempDir,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let (rounds, mib): (usize, u64) = (arguments.setting("rounds", 3)?, arguments.setting("mib", 256)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let scene = Scene::new(mib << 20).await?;
        let mut found: [Vec<Spent>; 7] = Default::default();
        for round in 0..rounds as u64 {
            let all = scene.data.len() as u64;
            let cold = scene.reader(all / 8);
            let warm = scene.reader(2 * all);
            found[0].push(scene.plain_sequential()?);
            found[1].push(scene.open_frames()?);
            found[2].push(scene.sequential(&scene.reader(all / 8)).await?);
            found[3].push(scene.plain_random(round, WARM_READS)?);
            found[4].push(scene.random(&cold, round, COLD_READS).await?);
            scene.sequential(&warm).await?;
            found[5].push(scene.random(&warm, round, WARM_READS).await?);
            found[6].push(scene.random_opening_alone(round, COLD_READS)?);
        }
        scene.show(&found.map(|runs| Spent::median(&runs)), rounds);
        Ok(())
    })
}

impl Scene {
    async fn new(bytes: u64) -> Outcome<Self> {
        let (folder, keys) = (scratch()?, keys()?);
        let [tree, packs, store] = ["tree", "packs", "store"].map(|name| folder.path().join(name));
        std::fs::create_dir_all(&packs)?;
        seeded_tree(&tree, bytes)?;
        let mut data = Vec::new();
        for path in tidegate_benches::files_below(&[tree])? {
            File::open(path)?.read_to_end(&mut data)?;
        }
        let plain = folder.path().join("plain");
        std::fs::write(&plain, &data)?;
        let known = Arc::new(FinishedPacks::default());
        let params = ChunkParams::default();
        let options = IngestOptions::new(packs);
        let mut ingest = Ingest::start(Arc::clone(&keys), params, known.clone(), random_pack_ids(), options)?;
        let cut = ingest.cut_data(&data[..])?;
        ingest.settle()?;
        let (mut begin, mut chunks) = (0, Vec::new());
        for chunk in cut {
            chunks.push((begin, ChunkRef { id: chunk.id, at: ingest.location(&chunk.id) }));
            begin += chunk.bytes as usize;
        }
        ingest.finish()?;
        let (packs, store) = (known.take(), Arc::new(DirectoryStore::create(&store)?));
        for pack in &packs {
            let body = Body::File { path: pack.path.clone(), bytes: pack.bytes };
            store.put(&pack_name(pack.pack), body, PutMode::CreateNew).await?;
        }
        let plain = File::open(plain)?;
        Ok(Self { keys, data: data.into(), chunks, packs, store, plain, _folder: folder })
    }

    fn reader(&self, cache_bytes_max: u64) -> ChunkReader {
        let frames = StoreFrames::new(Arc::clone(&self.store), StoreFramesOptions::default());
        let options = ReadOptions { cache_bytes_max, ..ReadOptions::default() };
        ChunkReader::new(Arc::clone(&self.keys), Arc::new(frames), Arc::new(NoIndex), options)
    }

    /// The chunk that holds the byte at this place, and the place in it.
    fn chunk_at(&self, place: usize) -> (&ChunkRef, usize) {
        let after = self.chunks.partition_point(|(begin, _)| *begin <= place);
        let (begin, chunk) = &self.chunks[after - 1];
        (chunk, place - begin)
    }

    async fn sequential(&self, reader: &ChunkReader) -> Outcome<Spent> {
        let (start, processor) = (std::time::Instant::now(), Spent::processor_so_far());
        for ahead in self.chunks.chunks(AHEAD) {
            let wanted: Vec<ChunkRef> = ahead.iter().map(|(_, chunk)| *chunk).collect();
            reader.prefetch(&wanted).await;
            for (begin, chunk) in ahead {
                let read = reader.read(chunk).await?;
                expect(&self.data[*begin..*begin + read.len()], &read)?;
            }
        }
        Ok(Spent::since(start, processor))
    }

    async fn random(&self, reader: &ChunkReader, seed: u64, reads: u64) -> Outcome<Spent> {
        let mut chance = Chance::new(seed);
        let (start, processor) = (std::time::Instant::now(), Spent::processor_so_far());
        for _ in 0..reads {
            let place = chance.below((self.data.len() - READ_BYTES) as u64) as usize;
            let mut done = 0;
            while done < READ_BYTES {
                let (chunk, within) = self.chunk_at(place + done);
                let read = reader.read(chunk).await?;
                let piece = &read[within..read.len().min(within + READ_BYTES - done)];
                expect(&self.data[place + done..place + done + piece.len()], piece)?;
                done += piece.len();
            }
        }
        Ok(Spent::since(start, processor))
    }

    fn plain_sequential(&self) -> Outcome<Spent> {
        let mut piece = vec![0; 256 << 10];
        let (done, spent) = Spent::on(|| {
            let mut begin = 0;
            while begin < self.data.len() {
                let bytes = self.plain.read_at(&mut piece, begin as u64)?;
                expect(&self.data[begin..begin + bytes], &piece[..bytes])?;
                begin += bytes;
            }
            Outcome::Ok(())
        });
        done.map(|()| spent)
    }

    fn plain_random(&self, seed: u64, reads: u64) -> Outcome<Spent> {
        let (mut chance, mut piece) = (Chance::new(seed), vec![0; READ_BYTES]);
        let (done, spent) = Spent::on(|| {
            for _ in 0..reads {
                let place = chance.below((self.data.len() - READ_BYTES) as u64) as usize;
                self.plain.read_exact_at(&mut piece, place as u64)?;
                expect(&self.data[place..place + READ_BYTES], &piece)?;
            }
            Outcome::Ok(())
        });
        done.map(|()| spent)
    }

    /// Opens every frame of every pack, one after the other, out of the pack's file.
    fn open_frames(&self) -> Outcome<Spent> {
        let mut decompressor = Decompressor::new();
        let (done, spent) = Spent::on(|| {
            for pack in &self.packs {
                let file = File::open(&pack.path)?;
                let mut opened = None;
                for placed in pack.index.chunks() {
                    let at = placed.location;
                    if opened.as_ref().is_none_or(|(offset, _)| *offset != at.frame_offset) {
                        opened = Some((at.frame_offset, self.open(&file, &at, &mut decompressor)?));
                    }
                    let (_, frame) = opened.as_ref().ok_or("a frame was opened")?;
                    frame.chunk(&self.keys, &at, placed.id)?;
                }
            }
            Outcome::Ok(())
        });
        done.map(|()| spent)
    }

    /// For each random place: its frame read from the pack's file and opened, and nothing kept.
    fn random_opening_alone(&self, seed: u64, reads: u64) -> Outcome<Spent> {
        let (mut chance, mut decompressor) = (Chance::new(seed), Decompressor::new());
        let files = self.packs.iter().map(|pack| Outcome::Ok((pack.pack, File::open(&pack.path)?)));
        let files = files.collect::<Outcome<std::collections::HashMap<_, _>>>()?;
        let (done, spent) = Spent::on(|| {
            for _ in 0..reads {
                let place = chance.below((self.data.len() - READ_BYTES) as u64) as usize;
                let (chunk, _) = self.chunk_at(place);
                let at = chunk.at.ok_or("every chunk has its place")?;
                let file = files.get(&at.pack).ok_or("every pack has its file")?;
                self.open(file, &at, &mut decompressor)?.chunk(&self.keys, &at, chunk.id)?;
            }
            Outcome::Ok(())
        });
        done.map(|()| spent)
    }

    fn open(
        &self,
        file: &File,
        at: &Location,
        decompressor: &mut Decompressor,
    ) -> Outcome<tidegate_chunker::OpenFrame> {
        let mut bytes = vec![0; at.frame_bytes as usize];
        file.read_exact_at(&mut bytes, u64::from(at.frame_offset))?;
        Ok(UnverifiedFrame::new(bytes.into())?.open(&self.keys, Some(at.pack), decompressor)?)
    }

    fn show(&self, found: &[Spent; 7], rounds: usize) {
        let all = self.data.len() as u64;
        let [plain, open, sequential, plain_random, cold, warm, open_random] = *found;
        let mut table =
            Table::new(&["sequential", "clock s", "processor s", "speed", "of opening alone (processor)"]);
        for (name, spent) in
            [("plain file", plain), ("opening frames alone", open), ("through the reader", sequential)]
        {
            let seconds = [spent.clock, spent.processor].map(|seconds| format!("{seconds:.2}"));
            let rest = [per_second(all, spent.clock), percent(open.processor, spent.processor)];
            table.row(std::iter::once(name.to_owned()).chain(seconds).chain(rest));
        }
        table.print(&format!("{} MiB; medians of {rounds}", all >> 20));
        let mut table = Table::new(&["random 4 KiB", "µs each (clock)", "µs each (processor)"]);
        for (name, spent, reads) in [
            ("plain file, page cache", plain_random, WARM_READS),
            ("reader, warm", warm, WARM_READS),
            ("opening its frame alone", open_random, COLD_READS),
            ("reader, cold, cache of an eighth", cold, COLD_READS),
        ] {
            let each = |seconds: f64| format!("{:.1}", 1e6 * seconds / reads as f64);
            table.row([name.to_owned(), each(spent.clock), each(spent.processor)]);
        }
        table.print("One reader at a time");
    }
}

fn expect(expected: &[u8], found: &[u8]) -> Outcome<()> {
    if expected == found { Ok(()) } else { Err("other bytes came back than were taken in".into()) }
}
