//! What is to be restored, and whether it can be: looked at before anything is written.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::RestoreError;
use super::folder::Folder;
use super::journal::{Identity, STATE_FOLDER, State};
use super::report::FAILURES_MAX;
use super::traversal::{Step, Traversal};
use crate::frozen::{Frozen, path_text};
use crate::map::{Entry, Inode, InodeNumber, Kind};

/// What a file takes on a disk besides its data, and what its data is rounded up to, in bytes.
const BLOCK_BYTES: u64 = 4096;

/// What is restored: a root, and the path in it.
#[derive(Clone)]
pub struct RestoreSource {
    /// The map.
    pub frozen: Frozen,
    /// Which repository it is of, as text.
    pub repository: String,
    /// Which share it is of, as text.
    pub share: String,
    /// The names from the root of the share down; none for everything.
    pub path: Vec<Vec<u8>>,
}

/// Bounds of a restore.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Files that are held open at once; folders around them are held too.
    pub files_max: usize,
    /// Attributes that this machine did not take, which are named and tried again by the next run; further ones are
    /// counted. At most a tenth of [`FAILURES_MAX`] makes sense.
    pub lapses_named_max: usize,
}

impl Default for RestoreOptions {
    /// 192 files: with their folders, well below what a process may open by default; 10,000 attributes.
    fn default() -> Self {
        Self { files_max: 192, lapses_named_max: FAILURES_MAX / 10 }
    }
}

/// How much there is to restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Names to be made, folders not counted.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Bytes of file data to be written; files with several names count once.
    pub bytes: u64,
    /// Names that an earlier run restored.
    pub files_before: u64,
    /// Paths that cannot be read.
    pub unreadable: u64,
    /// What it takes on the disk at most.
    pub(super) disk_bytes: u64,
}

/// Where the traversal begins.
pub(super) enum Start {
    Folder { path: Vec<u8>, number: InodeNumber, inode: Box<Inode> },
    File { parent_path: Vec<u8>, parent: InodeNumber, name: Bytes, entry: Entry },
}

/// See the head of this module.
pub struct Plan {
    pub(super) frozen: Frozen,
    pub(super) start: Start,
    pub(super) to: PathBuf,
    pub(super) identity: Identity,
    pub(super) earlier: Option<State>,
    pub(super) options: RestoreOptions,
    pub(super) totals: Totals,
}

impl Plan {
    /// Looks at share and folder. Writes nothing. Contents of a folder of the share go into `to`, a
    /// single file goes there under its name.
    pub async fn make(
        source: &RestoreSource,
        to: &Path,
        options: RestoreOptions,
    ) -> Result<Self, RestoreError> {
        let start = resolve(source).await?;
        let identity = Identity {
            repository: source.repository.clone(),
            share: source.share.clone(),
            root: source.frozen.root.id.to_string(),
            path: path_text(&joined(&source.path)),
        };
        let earlier = look_at(to, &identity)?;
        let totals = count(&source.frozen, &start, earlier.as_ref()).await?;
        let plan = Self {
            frozen: source.frozen.clone(),
            start,
            to: to.to_owned(),
            identity,
            earlier,
            options,
            totals,
        };
        plan.check_room()?;
        Ok(plan)
    }

    /// How much there is to do.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether it goes on with an earlier restore.
    pub fn is_resumed(&self) -> bool {
        self.earlier.is_some()
    }

    fn check_room(&self) -> Result<(), RestoreError> {
        let place = existing_parent(&self.to);
        let found = rustix::fs::statvfs(place).map_err(io::Error::from);
        let found = found.map_err(RestoreError::local(format!("look at {}", place.display())))?;
        let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
        let needed_bytes = self.totals.disk_bytes;
        if needed_bytes <= free_bytes {
            return Ok(());
        }
        Err(RestoreError::NoRoom { folder: self.to.clone(), needed_bytes, free_bytes })
    }
}

/// The nearest folder on the way to `path` that is there.
fn existing_parent(path: &Path) -> &Path {
    let there = path.ancestors().find(|folder| folder.is_dir());
    there.unwrap_or(Path::new("."))
}

fn joined(names: &[Vec<u8>]) -> Vec<u8> {
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().flat_map(|name| [b"/".as_slice(), name]).collect::<Vec<_>>().concat()
}

async fn resolve(source: &RestoreSource) -> Result<Start, RestoreError> {
    let missing = || RestoreError::NoSuchPath { path: path_text(&joined(&source.path)) };
    let frozen = &source.frozen;
    let mut number = InodeNumber::ROOT;
    for (depth, name) in source.path.iter().enumerate() {
        let entry = frozen.entry(number, name).await?.ok_or_else(missing)?;
        if entry.kind != Kind::Directory {
            if depth + 1 < source.path.len() {
                return Err(missing());
            }
            let (parent_path, name) = (joined(&source.path[..depth]), Bytes::copy_from_slice(name));
            return Ok(Start::File { parent_path, parent: number, name, entry });
        }
        number = entry.inode;
    }
    let inode = Box::new(frozen.inode(number).await?.ok_or_else(missing)?);
    Ok(Start::Folder { path: joined(&source.path), number, inode })
}

/// What an earlier run left in the folder; an error if anything else is there.
fn look_at(to: &Path, identity: &Identity) -> Result<Option<State>, RestoreError> {
    let looking = || RestoreError::local(format!("look at {}", to.display()));
    let folder = match Folder::open(to) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(looking()(error)),
    };
    let refused = |why: String| Err(RestoreError::NotEmpty { folder: to.to_owned(), why });
    if let Some(state) = State::find(&folder).map_err(looking())? {
        if state.identity == *identity {
            return Ok(Some(state));
        }
        return refused(format!("a restore of {} of another state was begun there", state.identity.path));
    }
    match folder.names().map_err(looking())?.next() {
        None => Ok(None),
        Some(Ok(name)) if name == STATE_FOLDER.as_bytes() => Ok(None),
        Some(Ok(name)) => refused(format!("there is {}", path_text(&name))),
        Some(Err(error)) => Err(looking()(error)),
    }
}

/// Goes through everything once.
async fn count(frozen: &Frozen, start: &Start, earlier: Option<&State>) -> Result<Totals, RestoreError> {
    let mut totals = Totals::default();
    let mut traversal = Traversal::new(frozen, start);
    while let Some(step) = traversal.next().await? {
        match step {
            Step::Enter { .. } => {
                totals.folders += 1;
                totals.disk_bytes = totals.disk_bytes.saturating_add(BLOCK_BYTES);
            }
            Step::Leave { .. } => {}
            Step::Unreadable { .. } => totals.unreadable += 1,
            Step::File { path, inode, .. } => {
                if earlier.is_some_and(|state| state.has(&path)) {
                    totals.files_before += 1;
                    continue;
                }
                totals.files += 1;
                let bytes = inode.used / u64::from(inode.links.max(1));
                let blocks = bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
                totals.bytes = totals.bytes.saturating_add(bytes);
                totals.disk_bytes = totals.disk_bytes.saturating_add(blocks);
            }
        }
    }
    Ok(totals)
}
