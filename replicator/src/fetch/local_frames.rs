//! Frames out of a folder of local packs: those that wait for upload, and those kept after it.
//!
//! Reads with one `pread` on a blocking thread. A pack that is not in the folder is `Missing`, a file
//! that is too short `Damaged`, any other trouble of the disk `Unreachable`.
//!
//! Bounds: at most [`HANDLES_MAX`] files are held open, at most [`REJECTED_MAX`] rejected frames are
//! remembered. A file that is removed while its handle is held can still be read until then.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::PackId;

use super::source::{FrameResult, Origin};
use super::{FetchError, FetchErrorKind, FrameAt, FrameSource};
use crate::ingest::pack_file_name;

/// Files held open at most.
const HANDLES_MAX: usize = 64;
/// Rejected frames remembered at most; then the oldest is given another chance.
const REJECTED_MAX: usize = 4096;

/// See the head of this module.
pub struct LocalFrames {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    handles: Mutex<Handles>,
    rejected: Mutex<Rejected>,
}

impl LocalFrames {
    /// Reads packs in `folder`, which are named as [`pack_file_name`] says.
    pub fn new(folder: PathBuf) -> Self {
        let (handles, rejected) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { folder, handles, rejected }) }
    }

    /// Closes the pack's file, before or after it is removed.
    pub fn close(&self, pack: &PackId) {
        self.inner.handles.lock().close(pack);
    }
}

#[async_trait]
impl FrameSource for LocalFrames {
    async fn frame(&self, at: FrameAt) -> FrameResult {
        if self.inner.rejected.lock().names.contains(&at) {
            return Err(FetchError::new(FetchErrorKind::Damaged, at.reading()));
        }
        let inner = Arc::clone(&self.inner);
        crate::blocking::spawn_blocking(move || inner.read(at)).await.unwrap_or_else(|error| {
            Err(FetchError::new(FetchErrorKind::Unreachable, at.reading()).caused_by(error))
        })
    }

    fn reject(&self, at: FrameAt) -> bool {
        let there = self.inner.folder.join(pack_file_name(&at.pack)).exists();
        there && self.inner.rejected.lock().remember(at)
    }
}

impl Inner {
    fn read(&self, at: FrameAt) -> FrameResult {
        let mut bytes = vec![0; at.bytes as usize];
        match self.open(&at.pack).and_then(|file| file.read_exact_at(&mut bytes, at.offset.into())) {
            Ok(()) => at.received(bytes.into(), Origin::Here),
            Err(error) => Err(FetchError::new(kind_of(&error), at.reading()).caused_by(error)),
        }
    }

    fn open(&self, pack: &PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.handles.lock().open.get(pack) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.folder.join(pack_file_name(pack)))?);
        self.handles.lock().keep(*pack, Arc::clone(&file));
        Ok(file)
    }
}

fn kind_of(error: &io::Error) -> FetchErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => FetchErrorKind::Missing,
        io::ErrorKind::UnexpectedEof => FetchErrorKind::Damaged,
        _ => FetchErrorKind::Unreachable,
    }
}

/// Open files; the one that was opened first is closed first.
#[derive(Default)]
struct Handles {
    open: HashMap<PackId, Arc<File>>,
    order: VecDeque<PackId>,
}

impl Handles {
    fn keep(&mut self, pack: PackId, file: Arc<File>) {
        if self.open.insert(pack, file).is_none() {
            self.order.push_back(pack);
        }
        if self.order.len() > HANDLES_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.open.remove(&first);
        }
    }

    fn close(&mut self, pack: &PackId) {
        if self.open.remove(pack).is_some() {
            self.order.retain(|open| open != pack);
        }
    }
}

#[derive(Default)]
struct Rejected {
    names: HashSet<FrameAt>,
    order: VecDeque<FrameAt>,
}

impl Rejected {
    /// Whether it is news.
    fn remember(&mut self, at: FrameAt) -> bool {
        if !self.names.insert(at) {
            return false;
        }
        self.order.push_back(at);
        if self.order.len() > REJECTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        true
    }
}
