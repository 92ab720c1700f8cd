//! A folder of this machine.
//!
//! Everything is opened relative to the folder that was opened first, and never through a symbolic link, so nobody who
//! may write in the folder can lead the backup out of it. Reading leaves no trace in the times of access where the system
//! allows that.
//!
//! *Unchanged* means: same inode number, size, time of change of data and of attributes. That can be fooled only by setting
//! the clock back, or by a file system that does not keep those times. A file that was changed moments before it was
//! read may change again within what its times can tell; it is written down so that the next run reads it again.
//!
//! Memory: a name for each level of folders, and [`ahead::AHEAD_BYTES_MAX`] of files that are read ahead.

mod ahead;
mod content;
mod entry;
mod walk;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;
use tidegate_replicator::backup::{BackupError, Found, Source, SourceError, Take, Told, WantedFiles};
use tidegate_replicator::map::Timestamp;

use super::selection::Selection;

/// How a folder is saved.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The folder.
    pub folder: PathBuf,
    /// What of it.
    pub selection: Selection,
    /// Whether other file systems below it are left out; their mount points stay as empty folders.
    pub one_file_system: bool,
    /// Folders that are never saved, wherever they are: what this program keeps itself.
    pub never: Vec<PathBuf>,
    /// Threads that read ahead.
    pub readers: usize,
    /// When the run began.
    pub now: Timestamp,
}

/// See the head of this module.
#[derive(Debug)]
pub struct FolderSource {
    options: FolderOptions,
    top: OwnedFd,
}

/// Flags of everything that is opened to be read.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

impl FolderSource {
    /// Opens the folder. Fails when it is not there.
    pub fn open(options: FolderOptions) -> Result<Self, SourceError> {
        let folder = &options.folder;
        let missing = |error: Errno| {
            SourceError::because(format!("folder {} cannot be opened", folder.display()), error.into())
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, folder, flags, Mode::empty()).map_err(missing)?;
        Ok(Self { options, top })
    }
}

/// Opens a path below a folder, without following a link anywhere on the way.
fn open_below(top: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
    let opening = |flags: OFlags| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(top, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS) => step_by_step(top, path.as_bytes(), flags),
            opened => opened,
        }
    };
    // Only who owns a file may read it without a trace.
    match opening(FLAGS | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(opening(FLAGS)?),
        opened => Ok(opened?),
    }
}

/// The same where the system cannot do it at once.
fn step_by_step(top: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut at: Option<OwnedFd> = None;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() {
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC
        } else {
            flags
        };
        let name = OsStr::from_bytes(name);
        at = Some(openat(at.as_ref().unwrap_or(top), name, flags, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

impl Source for FolderSource {
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError> {
        walk::walk(&self.top, &self.options, told)
    }

    fn read(&mut self, wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError> {
        self.look_again()?;
        ahead::read(&self.top, &self.options, wanted, take)
    }
}

impl FolderSource {
    /// A folder that was unmounted between listing and reading has nothing that could be opened.
    fn look_again(&self) -> Result<(), SourceError> {
        let folder = &self.options.folder;
        let gone =
            |error: io::Error| SourceError::because(format!("folder {} went away", folder.display()), error);
        let there = open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| gone(error.into()))?;
        let (one, other) = (entry::look(&self.top).map_err(gone)?, entry::look(&there).map_err(gone)?);
        let same = (one.stx_ino, entry::file_system(&one)) == (other.stx_ino, entry::file_system(&other));
        if same { Ok(()) } else { Err(gone(io::Error::other("another one stands in its place"))) }
    }
}

/// A file that changed moments before the run may change again without its times telling: its time of change is written
/// down wrong by a nanosecond, so that the next run reads it again.
fn distrust_if_young(found: &mut Found, now: Timestamp) {
    const YOUNG_SECONDS: i64 = 2;
    if found.times.changed.seconds >= now.seconds - YOUNG_SECONDS {
        found.times.changed.nanos ^= 1;
    }
}
