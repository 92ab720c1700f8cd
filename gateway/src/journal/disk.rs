//! The folder and the files of a journal, as the operating system gives them.
//!
//! Owns every system call of the journal: create, write, sync, rename, delete, lock. The traits are
//! the seam where tests put a disk that fails, fills up or loses power.
//!
//! Promises: a [`Folder`] is locked against other processes as long as it lives; the kernel frees the
//! lock when the process dies. Nothing here is durable before the matching `sync`: of the file for its
//! bytes and length, of the disk for names.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::ReadWriteFlags;

use super::JournalError;

/// A folder of files.
pub(super) trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a file with room for `bytes`, full of zeros. Fails if it exists.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name. Who has the file open reads on.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
    /// For messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// One file, shared by its writer and any number of readers.
pub(super) trait LogFile: Send + Sync {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// As [`Self::read_at`], if memory has it all; `WouldBlock` when the disk would have to be waited for.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all pieces one after the other from `offset` on. After an error any part may be written.
    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes bytes and length durable. After an error nothing is known, and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// A real folder, locked.
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
    _lock: File,
}

impl Folder {
    const LOCK: &str = "lock";

    /// Makes the folder if it is missing, durably, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let context = |doing| JournalError::io(doing, path.to_owned());
        make_durably(path).map_err(context("make the folder"))?;
        let handle = File::open(path).map_err(context("open the folder"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(Self::LOCK))
            .map_err(context("make the lock file in"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), handle, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::InUse { folder: path.to_owned() }),
            Err(error) => Err(context("lock")(error.into())),
        }
    }
}

/// Makes `path` and what is missing above it. A folder lasts only once the one above it is synced; this
/// is done also for one that is there, since an earlier start may have died in between.
fn make_durably(path: &Path) -> io::Result<()> {
    // The folder above a bare name is the working folder.
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    if !parent.is_dir() {
        make_durably(parent)?;
    }
    if !path.is_dir() {
        std::fs::create_dir(path)?;
    }
    File::open(parent)?.sync_all()
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // Names that are not text are none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // File systems that cannot set room aside: a full disk then stops the journal when it is
            // met, instead of being known beforehand.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(Arc::new(file)),
            Err(error) => {
                drop(file);
                std::fs::remove_file(self.path.join(name))?;
                Err(error.into())
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Pieces that one system call takes (`IOV_MAX` on Linux).
const PIECES_PER_CALL: usize = 1024;

impl LogFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let place = &mut [IoSliceMut::new(&mut buffer[filled..])];
            match rustix::io::preadv2(self, place, offset + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                // Of a file system that cannot tell it is not known either.
                Err(rustix::io::Errno::OPNOTSUPP) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, pieces: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut left = pieces;
        // Leading empty pieces would make the last call write nothing.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let now = left.len().min(PIECES_PER_CALL);
            match rustix::io::pwritev(self, &left[..now], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    offset += count as u64;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
