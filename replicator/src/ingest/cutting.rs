//! The caller's side of an ingest: cut, name, look up, gather.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use tidegate_chunker::{
    ChunkGroup, ChunkId, ChunkKind, ChunkParams, Cutter, DomainKeys, FRAME_BYTES_MAX, Location, PackId,
    PackOptions,
};

use super::in_flight::Place;
use super::open_pack::{OpenPack, Reservation};
use super::pipeline::{Job, Pipeline};
use super::report::{IngestReport, Stopwatch};
use super::window::Window;
use super::{IngestError, IngestErrorKind, IngestOptions, Known};
use crate::chance;

/// Where ids of packs come from. Every answer must be random and new: an id is never used twice.
pub type PackIds = Box<dyn FnMut() -> io::Result<PackId> + Send>;

/// Ids from the operating system's source of chance.
pub fn random_pack_ids() -> PackIds {
    Box::new(|| {
        let mut id = [0; PackId::LEN];
        chance::fill(&mut id)?;
        Ok(PackId::new(id))
    })
}

/// A chunk that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its length in bytes.
    pub bytes: u32,
    /// Where it lies, as far as that is known already.
    pub at: Option<Location>,
}

/// An instant of a run: after so many puts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// One run. See the head of [`ingest`](super). Its calls block: for an async caller it belongs on a
/// thread that may.
///
/// Dropping it without [`Ingest::finish`] gives up the packs that are not finished.
pub struct Ingest {
    keys: Arc<DomainKeys>,
    cutter: Arc<Cutter>,
    options: IngestOptions,
    pack_ids: PackIds,
    pipeline: Pipeline,
    window: Window,
    /// The open group of each kind, in the order of [`ChunkKind::ALL`].
    groups: [Option<OpenGroup>; 3],
    pack: Option<Arc<OpenPack>>,
    packs_begun: u64,
    puts: u64,
    counts: IngestReport,
    clocks: Clocks,
}

/// Chunks that wait for their frame, and the number of the first put among them.
struct OpenGroup {
    group: ChunkGroup,
    first_put: u64,
}

#[derive(Default)]
struct Clocks {
    cutting: Stopwatch,
    digesting: Stopwatch,
    looking_up: Stopwatch,
    waiting: Stopwatch,
}

impl Ingest {
    /// Checks the options and starts the threads.
    pub fn start(
        keys: Arc<DomainKeys>,
        params: ChunkParams,
        known: Arc<dyn Known>,
        pack_ids: PackIds,
        options: IngestOptions,
    ) -> Result<Self, IngestError> {
        options.check()?;
        let frames_max = options.frames_max(params);
        let pipeline = Pipeline::start(known, options.workers, frames_max, options.level)?;
        Ok(Self {
            cutter: Arc::new(Cutter::content(&keys, params)),
            keys,
            options,
            pack_ids,
            pipeline,
            window: Window::default(),
            groups: [None, None, None],
            pack: None,
            packs_begun: 0,
            puts: 0,
            counts: IngestReport::default(),
            clocks: Clocks::default(),
        })
    }

    /// Cuts a whole stream by content and puts its chunks; answers them in order.
    ///
    /// The answer grows with the stream: [`Ingest::cut_each`] does not.
    pub fn cut_data(&mut self, source: impl Read) -> Result<Vec<CutChunk>, IngestError> {
        let mut chunks = Vec::new();
        let cutter = Arc::clone(&self.cutter);
        self.cut_each(&cutter, source, |chunk| {
            chunks.push(chunk);
            ControlFlow::Continue(())
        })?;
        Ok(chunks)
    }

    /// Cuts a stream with a cutter of the caller's choice, puts its chunks and tells each, in order.
    /// The rest of the stream is left when `each` breaks: because cuts have found themselves again, say.
    pub fn cut_each(
        &mut self,
        cutter: &Cutter,
        source: impl Read,
        each: impl FnMut(CutChunk) -> ControlFlow<()>,
    ) -> Result<(), IngestError> {
        let mut window = std::mem::take(&mut self.window);
        window.reset(cutter);
        let done = self.cut_window(cutter, &mut window, source, each);
        self.window = window;
        done
    }

    /// The cutter by content, for [`Ingest::cut_each`].
    pub fn cutter(&self) -> Arc<Cutter> {
        Arc::clone(&self.cutter)
    }

    /// Puts a chunk whose id the caller has computed, unless it is a duplicate.
    ///
    /// The id must be that of the bytes: [`DomainKeys::chunk_id`], for nodes [`DomainKeys::node_id`].
    /// Refuses bytes that are none or more than a frame takes (`Misuse`); the run goes on.
    pub fn put(&mut self, kind: ChunkKind, id: ChunkId, bytes: &[u8]) -> Result<CutChunk, IngestError> {
        if bytes.is_empty() || bytes.len() > FRAME_BYTES_MAX as usize {
            let doing = format!("put a chunk of {} bytes: allowed is 1 to {FRAME_BYTES_MAX}", bytes.len());
            return Err(IngestError::new(IngestErrorKind::Misuse, doing));
        }
        self.counts.bytes_in += bytes.len() as u64;
        self.counts.chunks += 1;
        let chunk = CutChunk { id, bytes: bytes.len() as u32, at: None };
        let stored = self.clocks.looking_up.time(|| {
            let shared = &self.pipeline.shared;
            shared.in_flight.find(&id).or_else(|| shared.known.find(&id).map(Place::At))
        });
        if let Some(place) = stored {
            self.counts.duplicates += 1;
            return Ok(CutChunk { at: place.location(), ..chunk });
        }
        self.gather(kind, id, bytes)?;
        self.counts.unique_bytes += bytes.len() as u64;
        Ok(chunk)
    }

    /// Sees to it that the place of everything put so far is known: writes open frames and waits for
    /// those on their way. What was put is not durable by that.
    pub fn settle(&mut self) -> Result<(), IngestError> {
        self.flush()?;
        self.pipeline.drain();
        self.pipeline.shared.check()
    }

    /// Where a chunk lies: one of this run, as far as that is known, or a known one.
    pub fn location(&self, id: &ChunkId) -> Option<Location> {
        let shared = &self.pipeline.shared;
        shared.in_flight.find(id).map_or_else(|| shared.known.find(id), Place::location)
    }

    /// This instant of the run.
    pub fn mark(&self) -> Mark {
        Mark(self.puts)
    }

    /// Everything put before this mark is durable in local packs, and [`Known`] has learned it.
    pub fn durable(&self) -> Mark {
        let open = self.groups.iter().flatten().map(|open| open.first_put);
        // Groups are looked at first: what leaves them meanwhile cannot, `self` is borrowed.
        Mark(open.chain(self.pipeline.shared.first_unfinished()).min().unwrap_or(self.puts))
    }

    /// Writes and finishes the open pack now, so that [`Ingest::durable`] passes [`Ingest::mark`] soon.
    pub fn close_pack(&mut self) -> Result<(), IngestError> {
        self.flush()?;
        match self.pack.take() {
            Some(pack) => self.pipeline.close(&pack),
            None => Ok(()),
        }
    }

    /// Finishes all packs and ends the run.
    pub fn finish(mut self) -> Result<IngestReport, IngestError> {
        self.close_pack()?;
        self.pipeline.finish()?;
        Ok(self.report())
    }

    /// What the run has done so far.
    pub fn report(&self) -> IngestReport {
        self.pipeline.shared.tally.complete(IngestReport {
            cutting: self.clocks.cutting.total(),
            digesting: self.clocks.digesting.total(),
            looking_up: self.clocks.looking_up.total(),
            waiting: self.clocks.waiting.total(),
            ..self.counts
        })
    }

    fn cut_window(
        &mut self,
        cutter: &Cutter,
        window: &mut Window,
        mut source: impl Read,
        mut each: impl FnMut(CutChunk) -> ControlFlow<()>,
    ) -> Result<(), IngestError> {
        let unreadable =
            |error| IngestError::new(IngestErrorKind::Source, "read the bytes to take in").caused_by(error);
        while window.fill(&mut source).map_err(|error: io::Error| unreadable(error))? {
            while let Some(chunk) = self.clocks.cutting.time(|| window.next_chunk(cutter)) {
                let id = self.clocks.digesting.time(|| self.keys.chunk_id(chunk));
                if each(self.put(ChunkKind::Data, id, chunk)?).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Adds a new chunk to the group of its kind, which goes on its way when it is full.
    fn gather(&mut self, kind: ChunkKind, id: ChunkId, bytes: &[u8]) -> Result<(), IngestError> {
        let place = kind as usize - 1;
        let target = self.options.frame_target;
        if self.groups[place].as_ref().is_some_and(|open| !open.group.has_room(bytes.len(), target)) {
            self.send(place)?;
        }
        let first_put = self.puts;
        let shared = &self.pipeline.shared;
        let open =
            self.groups[place].get_or_insert_with(|| OpenGroup { group: shared.group(kind), first_put });
        open.group.push(id, bytes).map_err(|error| IngestError::local("gather a chunk", error))?;
        shared.in_flight.put(id);
        self.puts += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IngestError> {
        (0..self.groups.len()).try_for_each(|place| self.send(place))
    }

    /// Sends the open group of this place on its way. A group that cannot go ends the run: later
    /// chunks may count on those in it.
    fn send(&mut self, place: usize) -> Result<(), IngestError> {
        self.pipeline.shared.check()?;
        let Some(open) = self.groups[place].take() else { return Ok(()) };
        self.send_group(open).inspect_err(|error| self.pipeline.shared.fail(error.clone()))
    }

    fn send_group(&mut self, open: OpenGroup) -> Result<(), IngestError> {
        let OpenGroup { group, first_put } = open;
        let pass = self.pipeline.enter(&self.clocks.waiting);
        let (pack, reservation) = self.reserve(&group)?;
        self.pipeline.shared.begin(pack.ordinal, first_put);
        self.pipeline.submit(Job { group, reservation, pack, pass })
    }

    /// A slot for the group: in the open pack, or in a new one if that is full.
    fn reserve(&mut self, group: &ChunkGroup) -> Result<(Arc<OpenPack>, Reservation), IngestError> {
        if let Some(pack) = &self.pack {
            if let Some(reservation) = reserve_in(pack, group)? {
                return Ok((Arc::clone(pack), reservation));
            }
            self.pipeline.close(pack)?;
        }
        let pack = Arc::new(self.begin_pack()?);
        self.pack = Some(Arc::clone(&pack));
        match reserve_in(&pack, group)? {
            Some(reservation) => Ok((pack, reservation)),
            None => Err(IngestError::local("begin a pack", "a new pack takes no frame")),
        }
    }

    fn begin_pack(&mut self) -> Result<OpenPack, IngestError> {
        let id = (self.pack_ids)().map_err(|error| IngestError::local("choose a pack id", error))?;
        self.packs_begun += 1;
        let options = &self.options;
        let pack_options = PackOptions {
            frame_target: options.frame_target,
            level: options.level,
            padding: options.padding,
        };
        let numbered = (id, self.packs_begun);
        OpenPack::create(&options.folder, &self.keys, numbered, options.pack_bytes_target, pack_options)
    }
}

fn reserve_in(pack: &OpenPack, group: &ChunkGroup) -> Result<Option<Reservation>, IngestError> {
    pack.reserve(group).map_err(|error| IngestError::local("reserve a frame of a pack", error))
}
