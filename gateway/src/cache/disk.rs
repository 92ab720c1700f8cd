//! Frames that came from the store, gathered in local files.
//!
//! Owns the folder `<data>/cache` and the index of what is in it, in memory. Layout of the files and what
//! a crash leaves: [`super::file`]; who writes them: [`super::writer`].
//!
//! [`DiskCache::offer`] takes a frame and returns at once: the frame is answered from memory until the
//! writer has put it into a file, or dropped when the queue is full. [`DiskCache::forget`] takes a frame
//! out that did not open, wherever it is on its way.
//!
//! | | offer | writer | get | remove |
//! |---|---|---|---|---|
//! | **offer** | the lock of the index | bounded queue, never waits | sees the frame in memory | - |
//! | **writer** | | there is one | file position replaces memory under the lock | only sealed files are removed |
//! | **get** | | | no lock is held while reading | has the file open, or misses |
//!
//! Bounds: frames in the index by `frames_max`; the queue by [`QUEUE_FRAMES_MAX`] and `queue_bytes_max`;
//! rejected frames remembered by [`REJECTED_MAX`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_chunker::{PackId, UnverifiedFrame};
use tidegate_replicator::fetch::FrameAt;
use tokio::sync::Notify;

use super::contents::Contents;
use super::file::{self, Entry, Growing, Sealed};
use super::writer::Writer;
use super::{Place, Policy, Unit, Volume};

/// Frames on their way to the disk.
const QUEUE_FRAMES_MAX: usize = 256;
/// Who waits for the queue looks again after this at the latest.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Frames remembered that did not open; then the oldest may be kept again.
const REJECTED_MAX: usize = 4096;
/// What a frame costs in the index, in bytes, about.
const FRAME_INDEX_BYTES: u64 = 192;
/// Files that the bound of the cache is divided into, about.
const FILES: u64 = 64;
/// Files of names are so much shorter, as names are less: what a crash takes back is fetched again, frame by frame.
const NAMES_PART: u64 = 16;
/// Least and greatest length of a file, in bytes.
const FILE_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);
const _: () = assert!(*FILE_BYTES.end() <= file::FILE_BYTES_MAX / 2);

#[allow(clippy::struct_field_names)] // the unit belongs to each name
/// Bounds of a [`DiskCache`], in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskCacheBounds {
    /// Of all units of the cache together; decides how long a file is.
    pub(crate) cache_bytes: u64,
    /// Of the index in memory.
    pub(crate) index_bytes: u64,
    /// Of frames on their way to the disk.
    pub(crate) queue_bytes: u64,
}

/// Where a frame is.
pub(super) enum Kept {
    /// On its way.
    Queued(UnverifiedFrame),
    /// In a file.
    Filed { file: u64, position: u32 },
}

/// What lies in a file.
struct Filed {
    contents: Contents,
    frames: Vec<FrameAt>,
}

#[derive(Default)]
struct Index {
    frames: HashMap<FrameAt, Kept>,
    files: HashMap<u64, Filed>,
    rejected: HashSet<FrameAt>,
    rejected_order: VecDeque<FrameAt>,
}

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    file_bytes: u64,
    pub(super) policy: Arc<Mutex<Policy>>,
    pub(super) volume: Arc<dyn Volume>,
    /// What the journal will need: it is left free besides the reserve.
    pub(super) wanted_bytes: AtomicU64,
    queued_bytes: AtomicU64,
    /// Told when something has left the queue.
    left: Notify,
    index: Mutex<Index>,
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    /// It is here, or on its way.
    Kept,
    /// The queue is full now.
    Busy,
    /// There is no room for it, or it is not wanted.
    Refused,
}

/// See the head of this module.
pub(crate) struct DiskCache {
    shared: Arc<Shared>,
    frames_max: usize,
    queue_bytes_max: u64,
    queue: Mutex<Option<SyncSender<FrameAt>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DiskCache {
    /// Opens the cache in `folder`: reads the index of each file, deletes files that are torn or damaged.
    pub(crate) fn open(
        folder: &Path,
        policy: Arc<Mutex<Policy>>,
        volume: Arc<dyn Volume>,
        bounds: DiskCacheBounds,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let shared = Shared {
            folder: folder.to_path_buf(),
            file_bytes: (bounds.cache_bytes / FILES).clamp(*FILE_BYTES.start(), *FILE_BYTES.end()),
            policy,
            volume,
            wanted_bytes: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            left: Notify::new(),
            index: Mutex::default(),
        };
        let next = shared.load()?;
        let shared = Arc::new(shared);
        let (queue, queued) = sync_channel(QUEUE_FRAMES_MAX);
        let writer = Writer::new(shared.clone(), next);
        let writer = std::thread::Builder::new().name("cache".into()).spawn(move || writer.run(&queued))?;
        Ok(Self {
            shared,
            frames_max: (bounds.index_bytes / FRAME_INDEX_BYTES) as usize,
            queue_bytes_max: bounds.queue_bytes,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Keeps a frame if there is room for it on its way. Never waits.
    pub(crate) fn offer(&self, at: FrameAt, frame: &UnverifiedFrame) {
        self.try_offer(at, frame);
    }

    /// The same for who has time: waits while the queue is full; whether the frame is kept.
    pub(crate) async fn keep(&self, at: FrameAt, frame: &UnverifiedFrame) -> bool {
        loop {
            let left = self.shared.left.notified();
            match self.try_offer(at, frame) {
                Offered::Kept => return true,
                Offered::Refused => return false,
                // What left between the look and the wait is made up for by the next look.
                Offered::Busy => {
                    let _told = tokio::time::timeout(LOOK_AGAIN, left).await;
                }
            }
        }
    }

    fn try_offer(&self, at: FrameAt, frame: &UnverifiedFrame) -> Offered {
        let bytes = u64::from(at.bytes);
        if bytes > self.shared.file_bytes || bytes > self.queue_bytes_max {
            return Offered::Refused;
        }
        if self.shared.queued_bytes.load(Ordering::Relaxed) + bytes > self.queue_bytes_max {
            return Offered::Busy;
        }
        {
            let mut index = self.shared.index.lock();
            if index.frames.contains_key(&at) {
                return Offered::Kept;
            }
            if index.rejected.contains(&at) || index.frames.len() >= self.frames_max {
                return Offered::Refused;
            }
            index.frames.insert(at, Kept::Queued(frame.clone()));
        }
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = self.queue.lock().as_ref().map(|queue| queue.try_send(at).is_ok());
        match sent {
            Some(true) => return Offered::Kept,
            Some(false) | None => self.shared.take_queued(at),
        }
        if sent.is_some() { Offered::Busy } else { Offered::Refused }
    }

    /// What of the wanted packs is here: bytes of each, in order. Looks at the whole index once.
    pub(crate) fn held_of(&self, wanted: impl Fn(&PackId) -> bool) -> HashMap<PackId, Vec<Range<u64>>> {
        let mut held: HashMap<PackId, Vec<Range<u64>>> = HashMap::new();
        for at in self.shared.index.lock().frames.keys().filter(|at| wanted(&at.pack)) {
            held.entry(at.pack).or_default().push(at.range());
        }
        held.values_mut().for_each(|ranges| ranges.sort_unstable_by_key(|range| range.start));
        held
    }

    /// A frame, if it is here. Blocks: it reads from the disk.
    pub(crate) fn get(&self, at: FrameAt) -> Option<UnverifiedFrame> {
        let (number, position) = match self.shared.index.lock().frames.get(&at)? {
            Kept::Queued(frame) => return Some(frame.clone()),
            Kept::Filed { file, position } => (*file, *position),
        };
        let frame = self.shared.read(number, position, at);
        match &frame {
            Some(_) => self.shared.policy.lock().touch(Unit::Gathered(number), position.into()),
            None => drop(self.forget(at)),
        }
        frame
    }

    /// Whether it is here.
    pub(crate) fn contains(&self, at: &FrameAt) -> bool {
        self.shared.index.lock().frames.contains_key(at)
    }

    /// Forgets a frame that did not open, and does not keep it again soon; whether it was here.
    pub(crate) fn forget(&self, at: FrameAt) -> bool {
        let mut index = self.shared.index.lock();
        let was_here = index.frames.remove(&at).is_some();
        if was_here && index.rejected.insert(at) {
            index.rejected_order.push_back(at);
        }
        if index.rejected_order.len() > REJECTED_MAX
            && let Some(oldest) = index.rejected_order.pop_front()
        {
            index.rejected.remove(&oldest);
        }
        was_here
    }

    /// Keeps no frame from now on where that would leave less than this free besides the reserve.
    pub(crate) fn leave_free(&self, bytes: u64) {
        self.shared.wanted_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Removes a file that the policy has given up. Who is reading from it reads on.
    pub(crate) fn remove(&self, number: u64) -> io::Result<()> {
        if let Some(Filed { contents: Contents::Data, frames }) = self.shared.drop_file(number) {
            let packs: HashSet<_> = frames.into_iter().map(|at| at.pack).collect();
            self.shared.policy.lock().remember(packs);
        }
        match std::fs::remove_file(file::path(&self.shared.folder, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the index is so full that files should go.
    pub(crate) fn index_is_full(&self) -> bool {
        // What is offered until the next sweep must fit too.
        self.shared.index.lock().frames.len() + QUEUE_FRAMES_MAX >= self.frames_max
    }

    /// Writes what is queued, seals the open files, and keeps nothing more.
    pub(crate) fn close(&self) {
        drop(self.queue.lock().take());
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::warn!("the writer of the cache has died; its files are dropped at the next start");
        }
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Takes in the files that are there; gives the number for the next.
    fn load(&self) -> io::Result<u64> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(file::number_of));
        }
        numbers.sort_unstable();
        for &number in &numbers {
            let path = file::path(&self.folder, number);
            match file::read_index(&path) {
                Ok(Some(sealed)) => self.admit(number, &sealed),
                Ok(None) => std::fs::remove_file(&path)?,
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a file of the cache cannot be read: dropped");
                    std::fs::remove_file(&path)?;
                }
            }
        }
        Ok(numbers.last().map_or(0, |last| last + 1))
    }

    /// How long a file becomes, in bytes.
    pub(super) fn file_bytes(&self, contents: Contents) -> u64 {
        match contents {
            Contents::Data => self.file_bytes,
            Contents::Names => (self.file_bytes / NAMES_PART).max(*FILE_BYTES.start()),
        }
    }

    fn admit(&self, number: u64, Sealed { contents, entries, bytes }: &Sealed) {
        {
            let mut index = self.index.lock();
            for entry in entries {
                let kept = Kept::Filed { file: number, position: entry.position };
                index.frames.insert(entry.frame, kept);
            }
            let frames = entries.iter().map(|entry| entry.frame).collect();
            index.files.insert(number, Filed { contents: *contents, frames });
        }
        self.policy.lock().admit(Unit::Gathered(number), *bytes, Place::Main.of(*contents));
    }

    fn read(&self, number: u64, position: u32, at: FrameAt) -> Option<UnverifiedFrame> {
        let mut bytes = vec![0; at.bytes as usize];
        let file = File::open(file::path(&self.folder, number)).ok()?;
        file.read_exact_at(&mut bytes, position.into()).ok()?;
        UnverifiedFrame::new(Bytes::from(bytes)).ok()
    }

    /// A queued frame that has come to the writer, if it is still wanted.
    pub(super) fn queued(&self, at: FrameAt) -> Option<UnverifiedFrame> {
        match self.index.lock().frames.get(&at) {
            Some(Kept::Queued(frame)) => Some(frame.clone()),
            Some(Kept::Filed { .. }) | None => None,
        }
    }

    /// A frame is in a file now, unless it was forgotten meanwhile.
    pub(super) fn filed(&self, growing: &Growing, entry: Entry) {
        let mut index = self.index.lock();
        if let Some(kept) = index.frames.get_mut(&entry.frame) {
            *kept = Kept::Filed { file: growing.number, position: entry.position };
        }
        let new = || Filed { contents: growing.contents, frames: Vec::new() };
        index.files.entry(growing.number).or_insert_with(new).frames.push(entry.frame);
    }

    /// A frame is no longer on its way, whatever became of it.
    pub(super) fn left_queue(&self, at: FrameAt) {
        self.queued_bytes.fetch_sub(at.bytes.into(), Ordering::Relaxed);
        self.left.notify_waiters();
    }

    /// Gives up a frame that is on its way.
    pub(super) fn take_queued(&self, at: FrameAt) {
        self.left_queue(at);
        let mut index = self.index.lock();
        if matches!(index.frames.get(&at), Some(Kept::Queued(_))) {
            index.frames.remove(&at);
        }
    }

    /// Forgets all frames of a file; gives what it was, if it was known.
    fn drop_file(&self, number: u64) -> Option<Filed> {
        let mut index = self.index.lock();
        let filed = index.files.remove(&number)?;
        for at in &filed.frames {
            if matches!(index.frames.get(at), Some(Kept::Filed { file, .. }) if *file == number) {
                index.frames.remove(at);
            }
        }
        Some(filed)
    }

    /// Forgets all frames of a file that is given up while it is written.
    pub(super) fn discard(&self, number: u64) {
        drop(self.drop_file(number));
    }
}
