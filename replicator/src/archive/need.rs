//! Which packs a share, or a path of it, needs to be read as a whole.
//!
//! The map is walked as a restore does; its nodes stay warm, so nothing that sleeps is asked for. Where a hint leads
//! to a pack that is gone, the index says where the chunk lies now; what nobody knows is counted.
//!
//! **Bounds.** A record for each pack of the repository, and a page of names for each level of folders. Files with several
//! names are looked at once a name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chunker::{DomainId, PackId};

use crate::fetch::Locate;
use crate::frozen::{DomainReader, Frozen, LocateInIndex, PAGE_ENTRIES_MAX, ReadError};
use crate::map::{InodeNumber, Kind, Source};
use crate::observer::Observer;
use crate::repository::{Opened, PackObject, Repository, RepositoryError};
use crate::tree::{ChunkRef, Root};

/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// Packs that are needed.
#[derive(Clone, Debug, Default)]
pub struct Need {
    /// As the listing shows them.
    pub packs: BTreeMap<PackId, PackObject>,
    /// Files that were looked at.
    pub files: u64,
    /// Chunks of which nobody knows where they lie.
    pub lost: u64,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum NeedError {
    /// There is no such path at that moment.
    #[error("there is no such path in the share at that moment")]
    NoSuchPath,
    /// The map cannot be read.
    #[error("failed to read the repository: {0}")]
    Read(#[from] ReadError),
    /// The repository cannot be asked.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was asked to stop.
    #[error("it was stopped")]
    Cancelled,
}

/// The packs of everything at and below a path of a root; `path` are the names from the root of the share down.
pub async fn need_of(
    repository: &Arc<Repository<Opened>>,
    (domain, root): (DomainId, &Root),
    path: &[Vec<u8>],
    memory_bytes_max: u64,
    observer: &dyn Observer,
) -> Result<Need, NeedError> {
    observer.phase("list packs");
    let listed = list(repository, observer).await?;
    let reader = DomainReader::open(repository, domain, memory_bytes_max / 2)?;
    let index = LocateInIndex::new(repository.clone(), domain, memory_bytes_max / 4);
    let frozen = reader.frozen(root);
    observer.phase("look which packs are needed");
    let mut search = Search { frozen: &frozen, listed, index, need: Need::default(), observer };
    search.begin(path).await?;
    Ok(search.need)
}

async fn list(
    repository: &Repository<Opened>,
    observer: &dyn Observer,
) -> Result<HashMap<PackId, PackObject>, NeedError> {
    let (mut listed, mut after) = (HashMap::new(), None);
    loop {
        if observer.is_cancelled() {
            return Err(NeedError::Cancelled);
        }
        let (page, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
        after = page.last().map(|pack| pack.id);
        listed.extend(page.into_iter().map(|pack| (pack.id, pack)));
        if !more || after.is_none() {
            return Ok(listed);
        }
    }
}

struct Search<'a> {
    frozen: &'a Frozen,
    listed: HashMap<PackId, PackObject>,
    index: LocateInIndex,
    need: Need,
    observer: &'a dyn Observer,
}

/// A folder whose names are being gone through.
struct Level {
    number: InodeNumber,
    last: Option<Bytes>,
    more: bool,
}

impl Search<'_> {
    async fn begin(&mut self, path: &[Vec<u8>]) -> Result<(), NeedError> {
        let (mut number, mut kind) = (InodeNumber::ROOT, Kind::Directory);
        for name in path {
            if kind != Kind::Directory {
                return Err(NeedError::NoSuchPath);
            }
            let entry = self.frozen.entry(number, name).await?.ok_or(NeedError::NoSuchPath)?;
            (number, kind) = (entry.inode, entry.kind);
        }
        match kind {
            Kind::Directory => self.below(number).await,
            Kind::Regular => self.file(number).await,
            Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => Ok(()),
        }
    }

    /// Everything below a folder, depth first.
    async fn below(&mut self, folder: InodeNumber) -> Result<(), NeedError> {
        let mut levels = vec![Level { number: folder, last: None, more: true }];
        while let Some(level) = levels.last_mut() {
            if self.observer.is_cancelled() {
                return Err(NeedError::Cancelled);
            }
            if !level.more {
                levels.pop();
                continue;
            }
            let page = self.frozen.entries_after(level.number, level.last.as_deref()).await?;
            level.more = page.len() == PAGE_ENTRIES_MAX;
            level.last = page.back().map(|(name, _)| name.clone());
            let mut folders = Vec::new();
            for (_, entry) in page {
                match entry.kind {
                    Kind::Directory => folders.push(Level { number: entry.inode, last: None, more: true }),
                    Kind::Regular => self.file(entry.inode).await?,
                    Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => {}
                }
            }
            levels.extend(folders);
        }
        Ok(())
    }

    async fn file(&mut self, number: InodeNumber) -> Result<(), NeedError> {
        let mut extents = self.frozen.extents(number).await?;
        while let Some(extent) = extents.next(u64::MAX).await? {
            if let Source::Chunk { chunk, .. } = &extent.source {
                self.chunk(chunk).await?;
            }
        }
        self.need.files += 1;
        self.observer.advanced(1);
        Ok(())
    }

    async fn chunk(&mut self, chunk: &ChunkRef) -> Result<(), NeedError> {
        let hinted = chunk.at.map(|at| at.pack).filter(|pack| self.listed.contains_key(pack));
        let pack = match hinted {
            Some(pack) => Some(pack),
            None => {
                let found = self.index.locate(&chunk.id).await.map_err(ReadError::from)?;
                found.map(|at| at.pack).filter(|pack| self.listed.contains_key(pack))
            }
        };
        match pack.and_then(|pack| self.listed.get(&pack)) {
            None => self.need.lost += 1,
            Some(pack) if self.need.packs.contains_key(&pack.id) => {}
            Some(pack) => {
                let pack = pack.clone();
                self.need.packs.insert(pack.id, pack);
            }
        }
        Ok(())
    }
}
