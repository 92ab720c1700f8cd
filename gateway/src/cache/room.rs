//! Room on the file system of the local state: how much there is, and what is kept free.
//!
//! A *reserve* is never given to data of clients or to the cache: it is for what makes room again, which
//! itself needs some: the swap records of a commit, packs of tree nodes, flushes of RocksDB, deletes.
//! And as much as the journal holds must be free besides, because a commit writes it a second time, into
//! packs, before the journal can be shortened.

use std::io;
use std::path::{Path, PathBuf};

/// The reserve's part of the file system: one in this many bytes.
const RESERVE_PART: u64 = 16;
/// Least reserve in bytes.
const RESERVE_BYTES_MIN: u64 = 32 << 20;
/// Greatest reserve in bytes.
const RESERVE_BYTES_MAX: u64 = 1 << 30;

/// Room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// All there is.
    pub(crate) total_bytes: u64,
    /// What is free for this process.
    pub(crate) free_bytes: u64,
}

impl Room {
    /// What is kept free; see the head of this module.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        (self.total_bytes / RESERVE_PART).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
    }
}

/// Something that has room. A seam, so that tests can be short of it.
pub(crate) trait Volume: Send + Sync + 'static {
    /// How much there is now. An error says nothing about the room.
    fn room(&self) -> io::Result<Room>;
}

/// The file system that a folder lies on.
#[derive(Debug)]
pub(crate) struct FileSystem {
    folder: PathBuf,
}

impl FileSystem {
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }
}

impl Volume for FileSystem {
    fn room(&self) -> io::Result<Room> {
        let found = rustix::fs::statvfs(&self.folder)?;
        let unit = found.f_frsize;
        Ok(Room { total_bytes: found.f_blocks * unit, free_bytes: found.f_bavail * unit })
    }
}
