//! A folder of the local file system behind the crate `nfsserve`: what a server built on it would be.
//!
//! The plainest backend that keeps the crate's word: as the crate answers every WRITE with FILE_SYNC,
//! each is synced. Files are known by inode number, opened for each call, and named by the path under
//! which they were last seen. Only what the bench calls works; the rest answers NOTSUPP.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nfsserve::fs_util::metadata_to_fattr3;
use nfsserve::nfs::{fattr3, fileid3, filename3, nfspath3, nfsstat3, nfsstring, sattr3, set_size3};
use nfsserve::tcp::{NFSTcp, NFSTcpListener};
use nfsserve::vfs::{DirEntry, NFSFileSystem, ReadDirResult, VFSCapabilities};
use tidegate_benches::Outcome;
use tokio::task::block_in_place;

type Answer<T> = Result<T, nfsstat3>;

/// Serves a folder at an address until it is killed.
pub(crate) fn serve(folder: &str, address: &str) -> Outcome<()> {
    let mirror = Mirror::new(PathBuf::from(folder))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = NFSTcpListener::bind(address, mirror).await?;
        listener.handle_forever().await
    })?;
    Ok(())
}

struct Mirror {
    root: fileid3,
    /// Where each file was last seen.
    paths: Mutex<HashMap<fileid3, PathBuf>>,
    listings: Mutex<HashMap<fileid3, Listing>>,
}

/// The names of a directory in order of file id, as of a change time: what pages are cut from.
#[derive(Clone)]
struct Listing {
    changed: (i64, i64),
    names: Arc<Vec<(fileid3, PathBuf)>>,
}

impl Mirror {
    fn new(folder: PathBuf) -> io::Result<Self> {
        let root = folder.symlink_metadata()?.ino();
        let paths = Mutex::new(HashMap::from([(root, folder)]));
        Ok(Self { root, paths, listings: Mutex::default() })
    }

    fn path(&self, id: fileid3) -> Answer<PathBuf> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(&id).cloned().ok_or(nfsstat3::NFS3ERR_STALE)
    }

    fn child(&self, directory: fileid3, name: &filename3) -> Answer<PathBuf> {
        Ok(self.path(directory)?.join(OsStr::from_bytes(name)))
    }

    /// Remembers a file, and gives its id with its attributes.
    fn seen(&self, path: PathBuf) -> Answer<(fileid3, fattr3)> {
        let found = path.symlink_metadata().map_err(status)?;
        let attributes = metadata_to_fattr3(found.ino(), &found);
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(found.ino(), path);
        Ok((found.ino(), attributes))
    }

    fn make(&self, path: PathBuf, new: bool) -> Answer<(fileid3, fattr3)> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).create_new(new).truncate(false).open(&path).map_err(status)?;
        self.seen(path)
    }

    fn listing(&self, id: fileid3, directory: &Path) -> Answer<Listing> {
        let found = directory.symlink_metadata().map_err(status)?;
        let changed = (found.mtime(), found.mtime_nsec());
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listings.get(&id).filter(|listing| listing.changed == changed) {
            return Ok(listing.clone());
        }
        let entry = |entry: io::Result<std::fs::DirEntry>| -> io::Result<_> {
            let entry = entry?;
            Ok((std::os::unix::fs::DirEntryExt::ino(&entry), entry.path()))
        };
        let names: io::Result<Vec<_>> = directory.read_dir().map_err(status)?.map(entry).collect();
        let mut names = names.map_err(status)?;
        names.sort_unstable();
        let listing = Listing { changed, names: Arc::new(names) };
        listings.insert(id, listing.clone());
        Ok(listing)
    }

    fn page(&self, id: fileid3, after: fileid3, most: usize) -> Answer<ReadDirResult> {
        let names = self.listing(id, &self.path(id)?)?.names;
        let from = names.partition_point(|(id, _)| *id <= after);
        let mut page = ReadDirResult { entries: Vec::new(), end: names.len() - from <= most };
        for (_, path) in names[from..].iter().take(most) {
            let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
            let (fileid, attr) = self.seen(path.clone())?;
            page.entries.push(DirEntry { fileid, name: nfsstring(name), attr });
        }
        Ok(page)
    }
}

fn read_at(path: &Path, offset: u64, count: u32) -> io::Result<(Vec<u8>, bool)> {
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut data = vec![0; left.min(u64::from(count)) as usize];
    file.read_exact_at(&mut data, offset)?;
    let end = data.len() as u64 == left;
    Ok((data, end))
}

fn write_at(path: &Path, offset: u64, data: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(data, offset)?;
    file.sync_data()
}

fn status(error: io::Error) -> nfsstat3 {
    match error.kind() {
        io::ErrorKind::NotFound => nfsstat3::NFS3ERR_NOENT,
        io::ErrorKind::AlreadyExists => nfsstat3::NFS3ERR_EXIST,
        io::ErrorKind::NotADirectory => nfsstat3::NFS3ERR_NOTDIR,
        _ => nfsstat3::NFS3ERR_IO,
    }
}

#[async_trait]
impl NFSFileSystem for Mirror {
    fn capabilities(&self) -> VFSCapabilities {
        VFSCapabilities::ReadWrite
    }

    fn root_dir(&self) -> fileid3 {
        self.root
    }

    async fn lookup(&self, directory: fileid3, name: &filename3) -> Answer<fileid3> {
        block_in_place(|| self.seen(self.child(directory, name)?)).map(|(id, _)| id)
    }

    async fn getattr(&self, id: fileid3) -> Answer<fattr3> {
        let metadata = block_in_place(|| self.path(id)?.symlink_metadata().map_err(status))?;
        Ok(metadata_to_fattr3(id, &metadata))
    }

    async fn setattr(&self, id: fileid3, set: sattr3) -> Answer<fattr3> {
        if let set_size3::size(size) = set.size {
            let path = self.path(id)?;
            let cut = || OpenOptions::new().write(true).open(&path)?.set_len(size);
            block_in_place(cut).map_err(status)?;
        }
        self.getattr(id).await
    }

    async fn read(&self, id: fileid3, offset: u64, count: u32) -> Answer<(Vec<u8>, bool)> {
        block_in_place(|| read_at(&self.path(id)?, offset, count).map_err(status))
    }

    async fn write(&self, id: fileid3, offset: u64, data: &[u8]) -> Answer<fattr3> {
        block_in_place(|| write_at(&self.path(id)?, offset, data).map_err(status))?;
        self.getattr(id).await
    }

    async fn create(&self, directory: fileid3, name: &filename3, _: sattr3) -> Answer<(fileid3, fattr3)> {
        block_in_place(|| self.make(self.child(directory, name)?, false))
    }

    async fn create_exclusive(&self, directory: fileid3, name: &filename3) -> Answer<fileid3> {
        block_in_place(|| self.make(self.child(directory, name)?, true)).map(|(id, _)| id)
    }

    async fn mkdir(&self, directory: fileid3, name: &filename3) -> Answer<(fileid3, fattr3)> {
        block_in_place(|| {
            let path = self.child(directory, name)?;
            std::fs::DirBuilder::new().mode(0o755).create(&path).map_err(status)?;
            self.seen(path)
        })
    }

    async fn remove(&self, directory: fileid3, name: &filename3) -> Answer<()> {
        block_in_place(|| {
            let path = self.child(directory, name)?;
            let (id, _) = self.seen(path.clone())?;
            std::fs::remove_file(path).map_err(status)?;
            self.paths.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            Ok(())
        })
    }

    async fn rename(&self, _: fileid3, _: &filename3, _: fileid3, _: &filename3) -> Answer<()> {
        Err(nfsstat3::NFS3ERR_NOTSUPP)
    }

    async fn readdir(&self, directory: fileid3, after: fileid3, most: usize) -> Answer<ReadDirResult> {
        block_in_place(|| self.page(directory, after, most))
    }

    async fn symlink(
        &self,
        _: fileid3,
        _: &filename3,
        _: &nfspath3,
        _: &sattr3,
    ) -> Answer<(fileid3, fattr3)> {
        Err(nfsstat3::NFS3ERR_NOTSUPP)
    }

    async fn readlink(&self, _: fileid3) -> Answer<nfspath3> {
        Err(nfsstat3::NFS3ERR_NOTSUPP)
    }
}
