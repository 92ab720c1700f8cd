//! Changes over a source that are kept on the local disk and thrown away: what drills write.
//!
//! They lie in a file without a name, at their own offsets, so nothing of them outlives the process. All scratch volumes
//! together keep at most what the settings say; beyond that a change finds no space. Nothing is promised of
//! what they hold when power is lost.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use tidegate_protocols::blocks::{BlockError, Piece, Stretch};

use super::stretches::{Own, OwnParts};

/// The most ranges of one scratch volume, about 64 MiB of memory.
const PARTS_MAX: usize = 1 << 20;

/// Where scratch volumes are kept, and how much of them.
pub(super) struct ScratchRoom {
    folder: PathBuf,
    bytes_max: u64,
    used: AtomicU64,
    next: AtomicU64,
}

impl ScratchRoom {
    pub(super) fn new(folder: PathBuf, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { folder, bytes_max, used: AtomicU64::new(0), next: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> Result<(), BlockError> {
        let enough = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough);
        taken.map(drop).map_err(|_| BlockError::NoSpace)
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A new file without a name.
    fn file(&self) -> io::Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let name = format!("{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

/// See the head of this module.
pub(super) struct Scratch {
    room: Arc<ScratchRoom>,
    file: Arc<File>,
    parts: Mutex<OwnParts>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.room.give(self.parts.lock().bytes());
    }
}

impl Scratch {
    /// One in which nothing has changed.
    pub(super) fn new(room: Arc<ScratchRoom>) -> io::Result<Self> {
        let file = Arc::new(room.file()?);
        Ok(Self { room, file, parts: Mutex::default() })
    }

    /// The bytes that it keeps on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.lock().bytes()
    }

    /// The range in pieces, in order: what is here, and what is to be asked of the source.
    pub(super) fn pieces(&self, range: &Range<u64>) -> Vec<(Range<u64>, Option<Own>)> {
        self.parts.lock().pieces(range)
    }

    /// What is here of one of those pieces.
    pub(super) async fn read(&self, range: Range<u64>, own: Own) -> Result<Piece, BlockError> {
        if own == Own::Hole {
            return Ok(Piece::Hole(range.end - range.start));
        }
        let file = self.file.clone();
        let read = move || {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Piece::Data(Bytes::from(bytes)))
        };
        blocking(read).await
    }

    pub(super) async fn write(&self, offset: u64, data: Bytes) -> Result<(), BlockError> {
        let range = offset..offset + data.len() as u64;
        // Room first, as much as may be needed; what was not is given back.
        let length = data.len() as u64;
        self.room.take(length)?;
        let file = self.file.clone();
        if let Err(error) = blocking(move || file.write_all_at(&data, offset)).await {
            self.room.give(length);
            return Err(error);
        }
        let mut parts = self.parts.lock();
        if parts.len() >= PARTS_MAX {
            self.room.give(length);
            return Err(BlockError::NoSpace);
        }
        self.room.give(length - parts.growth(&range));
        parts.set(range, Own::Bytes);
        Ok(())
    }

    pub(super) async fn zero(&self, range: Range<u64>) -> Result<(), BlockError> {
        let freed = {
            let mut parts = self.parts.lock();
            if parts.len() >= PARTS_MAX {
                return Err(BlockError::NoSpace);
            }
            let before = parts.bytes();
            parts.set(range.clone(), Own::Hole);
            before - parts.bytes()
        };
        self.room.give(freed);
        if freed > 0 {
            let file = self.file.clone();
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where the file system cannot, the room is not given back to the disk, and nothing else is amiss.
            let _ = blocking(move || {
                Ok(rustix::fs::fallocate(&*file, punch, range.start, range.end - range.start)?)
            })
            .await;
        }
        Ok(())
    }

    /// As a stretch, if it is known without asking the source.
    pub(super) fn stretch((range, own): &(Range<u64>, Option<Own>)) -> Option<Stretch> {
        let length = range.end - range.start;
        own.map(|own| Stretch { length, hole: own == Own::Hole })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlockError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).and_then(|done| done).map_err(|error| {
        tracing::warn!(%error, "the file of a scratch volume cannot be used");
        if error.kind() == io::ErrorKind::StorageFull { BlockError::NoSpace } else { BlockError::Io }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_back_and_room_is_bounded_and_given_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = ScratchRoom::new(folder.path().join("scratch"), 100);
        let (one, other) =
            (Scratch::new(room.clone()).expect("made"), Scratch::new(room.clone()).expect("made"));
        one.write(1000, Bytes::from(vec![7; 60])).await.expect("room");
        assert_eq!(other.write(0, Bytes::from(vec![8; 60])).await, Err(BlockError::NoSpace));
        one.write(1010, Bytes::from(vec![9; 40])).await.expect("over what is there");
        assert_eq!(one.bytes(), 60);
        one.zero(1000..1010).await.expect("less");
        other.write(0, Bytes::from(vec![8; 50])).await.expect("room");
        let pieces = one.pieces(&(990..1020));
        assert_eq!(
            pieces,
            [(990..1000, None), (1000..1010, Some(Own::Hole)), (1010..1020, Some(Own::Bytes))]
        );
        let read = one.read(1010..1020, Own::Bytes).await.expect("there");
        assert_eq!(read, Piece::Data(Bytes::from(vec![9; 10])));
        drop((one, other));
        assert_eq!(room.used.load(Ordering::Relaxed), 0);
        assert_eq!(std::fs::read_dir(folder.path().join("scratch")).expect("there").count(), 0);
    }
}
