//! A store in a local directory, or in one of a mounted file server.
//!
//! Layout: the object `packs/ab/cd` is the file `packs/ab/cd` below the root; nothing else is kept.
//! Files whose names are not legal in object names are not seen, and links are not followed.
//!
//! * Puts go through [`Draft`]: see there for the order of writes and what a crash at each step
//!   leaves. Leftovers are never listed, and a listing that meets one which nobody has written to
//!   for [`LEFTOVER_AGE`] removes it; should its writer be alive after all, its put fails and may be tried
//!   again.
//! * [`PutMode::CreateNew`] is a hard link, hence atomic on every file system that has them.
//! * Folders are made durable before the first file in them, and are never removed, so that a folder
//!   once synced stays so.
//! * The root is recognised by device and inode: when what was opened is no longer there (somebody
//!   unmounted it), every call fails as [`ErrorKind::Misconfigured`] rather than find nothing.
//! * At most [`CALLS_MAX`] calls run at once. A call whose caller has given up keeps its place until
//!   the file system answers, so a hanging one cannot eat all threads.
//!
//! Not possible here, though S3 allows it: an object whose name is also a folder of another.

mod error;
mod listing;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::error::store_error;
use super::body::{changed, unreadable};
use super::checks::{check_folder, check_prefix, checked_range, missing, tail_range};
use super::durable_file::{Draft, create_folders, remove_durably};
use super::link::passage::Pace;
use super::{
    Body, Capabilities, Direction, ErrorKind, LIST_LIMIT_MAX, ListPage, ObjectInfo, ObjectName, PutMode,
    Store, StoreError,
};

/// How many calls run at once.
const CALLS_MAX: usize = 64;

/// How much is copied at a time, at the pace of the link.
const COPY_BYTES: u64 = 256 << 10;

/// How many folders are remembered as durable; above it all are forgotten and synced again.
const KNOWN_FOLDERS_MAX: usize = 4096;

/// How long a draft must have lain untouched to count as left by a killed process.
pub(super) const LEFTOVER_AGE: Duration = Duration::from_hours(1);

/// See the head of this module.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    directory: Arc<Directory>,
    calls: Arc<Semaphore>,
}

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    /// Device and inode of the root when it was opened.
    identity: (u64, u64),
    /// Folders that this process has made durable.
    known_folders: Mutex<HashSet<PathBuf>>,
}

impl DirectoryStore {
    /// Opens an existing directory. [`ErrorKind::Misconfigured`] if there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let doing = || format!("open the directory {}", root.display());
        let metadata = fs::metadata(root).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::new(ErrorKind::Misconfigured, doing()).caused_by(error),
            _ => store_error(doing(), error),
        })?;
        if !metadata.is_dir() {
            return Err(StoreError::new(ErrorKind::Misconfigured, doing()).caused_by("it is not a directory"));
        }
        let directory = Directory {
            root: root.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            known_folders: Mutex::default(),
        };
        Ok(Self { directory: Arc::new(directory), calls: Arc::new(Semaphore::new(CALLS_MAX)) })
    }

    /// Opens a directory, after creating it durably where it is missing.
    pub fn create(root: &Path) -> Result<Self, StoreError> {
        create_folders(root)
            .map_err(|error| store_error(format!("create the directory {}", root.display()), error))?;
        Self::open(root)
    }

    /// Runs one call on a blocking thread, once there is room for it.
    async fn run<T: Send + 'static>(
        &self,
        doing: String,
        call: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.calls).acquire_owned().await.expect("the semaphore is never closed");
        let directory = Arc::clone(&self.directory);
        crate::blocking::spawn_blocking(move || {
            let _permit = permit;
            directory.check_root()?;
            call(&directory)
        })
        .await
        .map_err(|error| StoreError::new(ErrorKind::Transient, doing).caused_by(error))?
    }
}

impl Directory {
    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn check_root(&self) -> Result<(), StoreError> {
        let found = fs::metadata(&self.root).map(|metadata| (metadata.dev(), metadata.ino()));
        if found.is_ok_and(|found| found == self.identity) {
            return Ok(());
        }
        let doing = format!("use the directory {}", self.root.display());
        Err(StoreError::new(ErrorKind::Misconfigured, doing)
            .caused_by("it is no longer the directory that was opened; is its file system still mounted?"))
    }

    fn put(&self, name: &ObjectName, body: &Body, mode: PutMode, pace: &Pace) -> Result<(), StoreError> {
        let failed = |error| store_error(format!("store {name}"), error);
        let path = self.path(name);
        let folder = path.parent().expect("a path below the root");
        self.make_durable(folder).map_err(failed)?;
        let draft = match Draft::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody has removed the folder since it was made.
                self.known_folders.lock().clear();
                self.make_durable(folder).and_then(|()| Draft::create(&path))
            }
            draft => draft,
        };
        let mut draft = draft.map_err(failed)?;
        match body {
            Body::Bytes(bytes) => {
                pace.moves_blocking(Direction::Up, bytes.len() as u64);
                draft.file().write_all(bytes).map_err(failed)?;
            }
            Body::File { path, bytes } => {
                let mut source = File::open(path).map_err(|error| unreadable(path, error))?;
                let copied = copy(&mut source, draft.file(), pace).map_err(failed)?;
                if copied != *bytes {
                    return Err(changed(path, *bytes, copied));
                }
            }
        }
        match mode {
            PutMode::Overwrite => draft.publish_over(),
            PutMode::CreateNew => draft.publish_new(),
        }
        .map_err(failed)
    }

    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.known_folders.lock().contains(folder) {
            return Ok(());
        }
        self.make_durable(folder.parent().expect("a folder below the root"))?;
        create_folders(folder)?;
        let mut known = self.known_folders.lock();
        if known.len() >= KNOWN_FOLDERS_MAX {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    /// Opens an object and tells its length.
    fn open_object(&self, name: &ObjectName) -> Result<(File, u64), StoreError> {
        let failed = |error| store_error(format!("open {name}"), error);
        let file = File::open(self.path(name)).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(missing(name)) }
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let failed = |error| store_error(format!("look at {name}"), error);
        let metadata = fs::symlink_metadata(self.path(name)).map_err(failed)?;
        if !metadata.is_file() {
            return Err(missing(name));
        }
        let modified = metadata.modified().map_err(failed)?;
        Ok(ObjectInfo { name: name.clone(), bytes: metadata.len(), modified, class: None })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        match remove_durably(&self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|error| store_error(format!("delete {name}"), error)),
        }
    }
}

/// Copies to the end, and counts.
fn copy(source: &mut File, to: &mut File, pace: &Pace) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let piece = io::copy(&mut Read::take(&mut *source, COPY_BYTES), to)?;
        if piece == 0 {
            return Ok(copied);
        }
        copied += piece;
        pace.moves_blocking(Direction::Up, piece);
    }
}

fn read_range(name: &ObjectName, file: &File, range: Range<u64>, pace: &Pace) -> Result<Bytes, StoreError> {
    let mut buffer = vec![0; (range.end - range.start) as usize];
    let failed = |error| store_error(format!("read bytes {} to {} of {name}", range.start, range.end), error);
    let mut offset = range.start;
    for piece in buffer.chunks_mut(COPY_BYTES as usize) {
        pace.moves_blocking(Direction::Down, piece.len() as u64);
        file.read_exact_at(piece, offset).map_err(failed)?;
        offset += piece.len() as u64;
    }
    Ok(buffer.into())
}

#[async_trait]
impl Store for DirectoryStore {
    fn address(&self) -> String {
        format!("file://{}", self.directory.root.display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new: true, ..Capabilities::default() }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let (object, pace) = (name.clone(), Pace::current());
        self.run(format!("store {name}"), move |directory| directory.put(&object, &body, mode, &pace)).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let (object, pace) = (name.clone(), Pace::current());
        self.run(format!("read {name}"), move |directory| {
            let (file, length) = directory.open_object(&object)?;
            read_range(&object, &file, checked_range(&object, range, length)?, &pace)
        })
        .await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let (object, pace) = (name.clone(), Pace::current());
        self.run(format!("read {name}"), move |directory| {
            let (file, length) = directory.open_object(&object)?;
            Ok((read_range(&object, &file, tail_range(bytes, length), &pace)?, length))
        })
        .await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let object = name.clone();
        self.run(format!("look at {name}"), move |directory| directory.head(&object)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        check_prefix(prefix)?;
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.run(format!("list {prefix:?}"), move |directory| {
            listing::page(&directory.root, &prefix, after.as_ref(), limit.clamp(1, LIST_LIMIT_MAX))
        })
        .await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_folder(prefix)?;
        let prefix = prefix.to_owned();
        self.run(format!("list the folders of {prefix:?}"), move |directory| {
            listing::folders(&directory.root, &prefix)
        })
        .await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let object = name.clone();
        self.run(format!("delete {name}"), move |directory| directory.delete(&object)).await
    }
}
