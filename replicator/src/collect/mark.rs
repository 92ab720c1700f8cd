//! Marking: which packs are reached, and how much of each is alive.
//!
//! Order: packs are listed before roots, so that whatever a root refers to that was stored later is not in
//! the list and not judged. Then every tree is walked once, subtrees that several roots share only once as
//! far as memory goes; each chunk that is reached goes to a [`Spill`], with the pack of its hint. Then the
//! index is read once, and what it says of listed packs goes to another. At last both are joined, part by
//! part: a chunk that is reached is alive at every place where the index says that it lies, and the pack of
//! a hint is reached even if the index does not know it.
//!
//! Half an id stands for it: two chunks of one repository that meet in 128 bits are as rare as it takes, and
//! then too much is kept, not too little.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_chunker::{DomainId, Location, PackId};

use super::error::CollectError;
use super::options::{CollectOptions, Observer, checkpoint};
use super::roots::{self, Roots};
use super::spill::{PARTS, Spill};
use crate::frozen::{DomainReader, ReadError};
use crate::repository::{Opened, Repository, RepositoryError};
use crate::tree::{ChunkRef, TreeError, Visitor, walk};

/// How much of an id is noted, in bytes.
const HALF: usize = 16;
/// A chunk that is reached: half its id, and the number of the pack of its hint.
const REACHED: usize = HALF + 4;
/// A fact of the index: half the id of a chunk, the number of its pack, its length.
const FACT: usize = HALF + 8;
/// The number of no pack that was listed.
const NO_PACK: u32 = u32::MAX;
/// What a remembered node takes, in bytes.
const NOTED_NODE_BYTES: u64 = 32;
/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// A pack, and what is known of it in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MarkedPack {
    pub(super) id: PackId,
    /// Length in bytes.
    pub(super) bytes: u64,
    /// When it was stored, by the store's clock.
    pub(super) modified: SystemTime,
    /// Length of all chunks that the index names in it, and of those that are reached.
    pub(super) chunk_bytes: u64,
    pub(super) live_bytes: u64,
    /// Whether a tree names it.
    pub(super) reached: bool,
}

impl MarkedPack {
    /// Whether nothing needs it.
    pub(super) fn is_dead(&self) -> bool {
        !self.reached && self.live_bytes == 0
    }
}

/// All packs that were listed, in order of id; and the roots.
pub(super) struct Marked {
    pub(super) packs: Vec<MarkedPack>,
    pub(super) roots: Roots,
}

/// Marks everything. See the head of this module.
pub(super) async fn mark(
    repository: &Arc<Repository<Opened>>,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Marked, CollectError> {
    observer.phase("list packs");
    let packs = list(repository, observer).await?;
    let roots = roots::list(repository, options.now).await?;
    let scratch = |source| CollectError::Scratch { folder: options.scratch.display().to_string(), source };
    let mut book = Book {
        packs,
        reached: Spill::create(&options.scratch).map_err(scratch)?,
        facts: Spill::create(&options.scratch).map_err(scratch)?,
    };
    observer.phase("walk the trees");
    walk_all(repository, options, observer, &roots, &mut book).await?;
    observer.phase("read the index");
    read_index(repository, options, observer, &mut book).await?;
    let joined = tokio::task::spawn_blocking(move || book.join()).await;
    let packs = joined.map_err(|_| CollectError::Cancelled)?.map_err(scratch)?;
    Ok(Marked { packs, roots })
}

async fn list(
    repository: &Repository<Opened>,
    observer: &dyn Observer,
) -> Result<Vec<MarkedPack>, CollectError> {
    let mut packs = Vec::new();
    let mut after = None;
    loop {
        checkpoint(observer)?;
        let (page, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
        after = page.last().map(|pack| pack.0);
        observer.advanced(page.len() as u64);
        packs.extend(page.into_iter().map(|(id, bytes, modified)| MarkedPack {
            id,
            bytes,
            modified,
            chunk_bytes: 0,
            live_bytes: 0,
            reached: false,
        }));
        if !more {
            return Ok(packs);
        }
    }
}

async fn walk_all(
    repository: &Arc<Repository<Opened>>,
    options: &CollectOptions,
    observer: &dyn Observer,
    roots: &Roots,
    book: &mut Book,
) -> Result<(), CollectError> {
    let visited_max = (options.memory_bytes_max / 4 / NOTED_NODE_BYTES) as usize;
    let mut walker = Walker { book, visited: HashSet::new(), visited_max, failed: None };
    let domains: BTreeSet<DomainId> = roots.retained.iter().map(|root| root.domain).collect();
    for domain in domains {
        let reader = DomainReader::open(repository, domain, options.memory_bytes_max / 2)?;
        let mut walked = HashSet::new();
        for root in roots.retained.iter().filter(|root| root.domain == domain) {
            checkpoint(observer)?;
            if !walked.insert(root.root.id) {
                continue;
            }
            let walk = walk(&root.root, &*reader.nodes, &mut walker).await;
            if let Some(source) = walker.failed.take() {
                return Err(CollectError::Scratch { folder: options.scratch.display().to_string(), source });
            }
            walk.map_err(|error| CollectError::of_walk(&root.what, ReadError::from(error)))?;
            observer.advanced(1);
        }
    }
    Ok(())
}

async fn read_index(
    repository: &Repository<Opened>,
    options: &CollectOptions,
    observer: &dyn Observer,
    book: &mut Book,
) -> Result<(), CollectError> {
    let mut reader = repository.index_reader();
    loop {
        checkpoint(observer)?;
        match reader.next().await {
            Ok(None) => return Ok(()),
            Ok(Some((_, object))) => {
                let mut noted =
                    object.entries().map(|entry| book.fact(entry.chunk.as_bytes(), &entry.location));
                noted.try_for_each(|noted| noted).map_err(|source| CollectError::Scratch {
                    folder: options.scratch.display().to_string(),
                    source,
                })?;
                observer.advanced(1);
            }
            // A chunk that lies elsewhere than its hint says would look dead there.
            Err(RepositoryError::Damaged { object, why }) => {
                return Err(CollectError::Unreadable { what: object, why });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is noted while trees and index are read.
struct Book {
    packs: Vec<MarkedPack>,
    reached: Spill<REACHED>,
    facts: Spill<FACT>,
}

impl Book {
    fn number_of(&self, pack: &PackId) -> u32 {
        self.packs.binary_search_by(|known| known.id.cmp(pack)).map_or(NO_PACK, |number| number as u32)
    }

    fn reach(&mut self, chunk: &ChunkRef) -> std::io::Result<()> {
        let number = chunk.at.map_or(NO_PACK, |at| self.number_of(&at.pack));
        let mut record = [0; REACHED];
        record[..HALF].copy_from_slice(&chunk.id.as_bytes()[..HALF]);
        record[HALF..].copy_from_slice(&number.to_be_bytes());
        self.reached.push(&record)
    }

    fn fact(&mut self, chunk: &[u8], at: &Location) -> std::io::Result<()> {
        let number = self.number_of(&at.pack);
        if number == NO_PACK {
            return Ok(());
        }
        let mut record = [0; FACT];
        record[..HALF].copy_from_slice(&chunk[..HALF]);
        record[HALF..HALF + 4].copy_from_slice(&number.to_be_bytes());
        record[HALF + 4..].copy_from_slice(&at.chunk_bytes.to_be_bytes());
        self.facts.push(&record)
    }

    /// Holds what is reached against what the index says. Blocks.
    fn join(mut self) -> std::io::Result<Vec<MarkedPack>> {
        for part in 0..PARTS {
            let reached = self.reached.sorted(part)?;
            let mut facts = self.facts.sorted(part)?;
            facts.dedup();
            for record in &reached {
                if let Some(pack) = self.packs.get_mut(number_at(record) as usize) {
                    pack.reached = true;
                }
            }
            let mut reached = reached.iter().peekable();
            for fact in &facts {
                while reached.next_if(|record| record[..HALF] < fact[..HALF]).is_some() {}
                let is_live = reached.peek().is_some_and(|record| record[..HALF] == fact[..HALF]);
                let pack = &mut self.packs[number_at(fact) as usize];
                let bytes = u64::from(last_number(fact));
                pack.chunk_bytes += bytes;
                pack.live_bytes += if is_live { bytes } else { 0 };
            }
        }
        Ok(self.packs)
    }
}

/// The number of the pack in a record.
fn number_at(record: &[u8]) -> u32 {
    u32::from_be_bytes([record[HALF], record[HALF + 1], record[HALF + 2], record[HALF + 3]])
}

/// The last four bytes of a record as a number.
fn last_number(record: &[u8]) -> u32 {
    record.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Notes what a walk finds.
struct Walker<'a> {
    book: &'a mut Book,
    visited: HashSet<[u8; HALF]>,
    visited_max: usize,
    /// Why nothing more could be noted.
    failed: Option<std::io::Error>,
}

impl Walker<'_> {
    fn note(&mut self, chunk: &ChunkRef) {
        if self.failed.is_none() {
            self.failed = self.book.reach(chunk).err();
        }
    }
}

impl Visitor for Walker<'_> {
    fn node(&mut self, node: &ChunkRef, _level: u8) -> bool {
        let mut half = [0; HALF];
        half.copy_from_slice(&node.id.as_bytes()[..HALF]);
        let is_new = if self.visited.len() < self.visited_max {
            self.visited.insert(half)
        } else {
            !self.visited.contains(&half)
        };
        // Also when it was visited: another root may know another place of it.
        self.note(node);
        is_new && self.failed.is_none()
    }

    fn value(&mut self, _key: &[u8], value: &ChunkRef) {
        self.note(value);
    }

    fn data(&mut self, _key: &[u8], chunk: &ChunkRef) {
        self.note(chunk);
    }

    fn failed(
        &mut self,
        _node: &ChunkRef,
        _above: Option<&[u8]>,
        _last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError> {
        Err(error)
    }
}
