//! Folders of this machine, by open handle: every step is one name from a folder that is held open, and
//! no link is followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, chmodat, linkat, makedev, mkdirat, mknodat, openat, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::map::{Inode, Kind};

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What files and folders may be while they are restored: nobody else's business.
const PRIVATE_FOLDER: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Tells a folder from all others: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderId(u64, u64);

/// A folder that is held open; clones share the handle.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<OwnedFd>);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Folder {
    /// Opens the folder that the user named; links on the way there are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(Arc::new(rustix::fs::open(path, flags, Mode::empty())?)))
    }

    pub(super) fn id(&self) -> io::Result<FolderId> {
        let stat = rustix::fs::fstat(self)?;
        Ok(FolderId(stat.st_dev, stat.st_ino))
    }

    /// A folder in this one, made if there is none.
    pub(super) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        match mkdirat(self, name, PRIVATE_FOLDER) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.existing(name)
    }

    /// A folder in this one that is there; opened for its owner, if it was left closed.
    pub(super) fn existing(&self, name: &[u8]) -> io::Result<Self> {
        let open = || openat(self, name, OPEN_FOLDER, Mode::empty());
        let opened = open().or_else(|error| {
            let there = statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if error != Errno::ACCESS || !FileType::from_raw_mode(there.st_mode).is_dir() {
                return Err(error);
            }
            chmodat(self, name, PRIVATE_FOLDER, AtFlags::empty())?;
            open()
        });
        let folder = Self(Arc::new(opened?));
        rustix::fs::fchmod(&folder, PRIVATE_FOLDER)?;
        Ok(folder)
    }

    /// The folder around this one, which must be the one that it was.
    pub(super) fn parent(&self, expected: FolderId) -> io::Result<Self> {
        let parent = Self(Arc::new(openat(self, "..", OPEN_FOLDER, Mode::empty())?));
        if parent.id()? == expected {
            return Ok(parent);
        }
        Err(io::Error::other("a folder was moved while it was restored"))
    }

    /// A new empty file, in place of whatever had its name.
    pub(super) fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(self, name, flags, PRIVATE_FILE);
        let made = match create() {
            Err(Errno::EXIST) => {
                self.clear(name)?;
                create()?
            }
            made => made?,
        };
        Ok(File::from(made))
    }

    /// A new file that has no data of its own, in place of whatever had its name.
    pub(super) fn create_special(&self, name: &[u8], inode: &Inode) -> io::Result<()> {
        self.clear(name)?;
        let device = makedev(inode.device.major, inode.device.minor);
        let node = |kind, device| mknodat(self, name, kind, PRIVATE_FILE, device);
        match inode.kind {
            Kind::Symlink => symlinkat(&inode.target[..], self, name)?,
            Kind::Block => node(FileType::BlockDevice, device)?,
            Kind::Character => node(FileType::CharacterDevice, device)?,
            Kind::Fifo => node(FileType::Fifo, 0)?,
            Kind::Socket => node(FileType::Socket, 0)?,
            Kind::Regular | Kind::Directory => {
                return Err(io::Error::other("a file with data is not made without it"));
            }
        }
        Ok(())
    }

    /// Gives a file of `from` a further name here, in place of whatever had that.
    pub(super) fn link(&self, name: &[u8], from: &Self, old: &[u8]) -> io::Result<()> {
        self.clear(name)?;
        Ok(linkat(from, old, self, name, AtFlags::empty())?)
    }

    /// Moves a name of this folder to another.
    pub(super) fn rename(&self, name: &[u8], to: &Self, new: &[u8]) -> io::Result<()> {
        Ok(renameat(self, name, to, new)?)
    }

    pub(super) fn has(&self, name: &[u8]) -> io::Result<bool> {
        match statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name that is no folder; that there is none is well.
    pub(super) fn clear(&self, name: &[u8]) -> io::Result<()> {
        match unlinkat(self, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty folder.
    pub(super) fn remove_folder(&self, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(self, name, AtFlags::REMOVEDIR)?)
    }

    /// The names in it, one after the other.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
        let names = Dir::read_from(self)?.map(|entry| Ok(entry?.file_name().to_bytes().to_vec()));
        Ok(names.filter(|name| !matches!(name.as_deref(), Ok(b"." | b".."))))
    }
}
