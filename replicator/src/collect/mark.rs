//! Marking: which packs are reached, and how much of each is alive.
//!
//! Order: packs are listed before roots, so that whatever a root refers to that was stored later is not in
//! the list and not judged. Then every tree is walked once, subtrees that several roots share only once as
//! far as memory goes; each chunk that is reached goes to a [`Spill`], with the pack of its hint. Then the
//! index is read once, and what it says of listed packs goes to another. At last both are joined, part by
//! part.
//!
//! A chunk that is reached is alive wherever the index says that it lies, and the pack of its hint is reached
//! even if the index does not know it; with one exception: in a pack that was ever condemned it is not alive
//! when it lies in a *replacement* too, a pack made by repacking, which verified it, and which was not
//! condemned itself. So a pack whose live chunks were copied can go, no copy that nobody has looked at is
//! relied on, and no two plans rely on each other.
//!
//! A reached chunk that neither its hint nor the index leads to is a *stray*: something is lost, perhaps of the index alone. It is
//! looked for in packs that would go (`strays.rs`).
//!
//! Half an id stands for it: two chunks of one repository that meet in 128 bits are as rare as it takes, and
//! then too much is kept, not too little.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_chunker::{ChunkKind, DomainId, Location, PackId};

use super::error::CollectError;
use super::options::{CollectOptions, checkpoint};
use super::roots::{self, Roots};
use super::spill::{PARTS, Spill};
use super::strays::{self, Strays};
use super::void::VoidPacks;
use crate::frozen::{DomainReader, ReadError};
use crate::observer::Observer;
use crate::repository::{Opened, PackObject, Repository, RepositoryError, UtcNanos};
use crate::store::StorageClass;
use crate::tree::{ChunkRef, TreeError, Visitor, walk};

/// How much of an id is noted, in bytes.
pub(super) const HALF: usize = 16;
/// A chunk that is reached: half its id, and the number of the pack of its hint.
const REACHED: usize = HALF + 4;
/// A fact of the index: half the id of a chunk, the number of its pack, its length.
const FACT: usize = HALF + 8;
/// The number of no pack that was listed; and of none, where a fork or a branch alone says so.
const NO_PACK: u32 = u32::MAX;
const NO_PACK_OF_FORK: u32 = u32::MAX - 1;
/// What a remembered node takes, in bytes.
const NOTED_NODE_BYTES: u64 = 32;
/// References that are remembered so that one which comes again and again is noted once.
const LATELY: usize = 1 << 16;
/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// A pack, and what is known of it in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkedPack {
    pub(crate) id: PackId,
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// When it was stored, by the store's clock.
    pub(crate) modified: SystemTime,
    /// Length of all chunks that the index names in it, and of those that are reached.
    pub(crate) chunk_bytes: u64,
    pub(crate) live_bytes: u64,
    /// Whether a tree names it.
    pub(crate) reached: bool,
    /// Whether a tree finds something in it of which the index knows nothing.
    pub(crate) lacks_facts: bool,
    /// Whether a plan condemns it, or did; and whether that one waits.
    pub(crate) condemned: bool,
    pub(crate) in_open_plan: bool,
    /// Whether it was made by repacking, and was not condemned itself.
    pub(crate) replaces: bool,
    /// Its storage class.
    pub(crate) class: Option<StorageClass>,
    /// Whether the index names tree nodes or values in it.
    pub(crate) has_metadata: bool,
    /// Whether something in it is reached that the index does not lead to.
    pub(crate) has_strays: bool,
    /// Whether it stays in this round whatever else is known of it: something may lie in it that was not found.
    pub(crate) is_kept: bool,
}

impl MarkedPack {
    /// One of which nothing is known but what a listing tells.
    pub(super) fn listed(pack: PackObject) -> Self {
        let PackObject { id, bytes, modified, class } = pack;
        Self {
            id,
            bytes,
            modified,
            chunk_bytes: 0,
            live_bytes: 0,
            reached: false,
            lacks_facts: false,
            condemned: false,
            in_open_plan: false,
            replaces: false,
            class,
            has_metadata: false,
            has_strays: false,
            is_kept: false,
        }
    }

    /// Whether nothing needs it.
    pub(crate) fn is_dead(&self) -> bool {
        !self.is_kept && !self.reached && self.live_bytes == 0
    }

    /// Whether less than so many percent of its chunks are alive, as far as the index knows them.
    pub(crate) fn is_sparse(&self, below_percent: u8) -> bool {
        let (live, all) = (u128::from(self.live_bytes), u128::from(self.chunk_bytes));
        !self.is_kept && live * 100 < all * u128::from(below_percent)
    }
}

/// What is alive of a pack: halves of ids.
pub(super) type Live = HashSet<[u8; HALF]>;

/// All packs that were listed, in order of id; and the roots.
pub(crate) struct Marked {
    pub(crate) packs: Vec<MarkedPack>,
    pub(super) roots: Roots,
    book: Book,
    folder: String,
}

impl Marked {
    /// What would have to be copied before these packs (numbers in `packs`) could go: for each, the live
    /// chunks that lie in no replacement.
    pub(super) async fn live_in(self, chosen: Vec<usize>) -> Result<Vec<(usize, Live)>, CollectError> {
        let (book, folder) = (self.book, self.folder);
        let replaces: Vec<bool> = self.packs.iter().map(|pack| pack.replaces).collect();
        let finding = crate::blocking::spawn_blocking(move || book.live_in(&chosen, &replaces));
        let found = finding.await.map_err(|_| CollectError::Died)?;
        found.map_err(|source| CollectError::Scratch { folder, source })
    }

    /// When the newest pack was stored, by the store's clock.
    pub(super) fn newest(&self) -> UtcNanos {
        newest(&self.packs)
    }
}

/// Marks everything. See the head of this module.
pub(crate) async fn mark(
    repository: &Arc<Repository<Opened>>,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Marked, CollectError> {
    observer.phase("list packs");
    let mut void = VoidPacks::default();
    void.refresh(repository).await?;
    let mut packs = list(repository, observer).await?;
    for pack in &mut packs {
        pack.condemned = void.contains(&pack.id);
        pack.in_open_plan = void.is_in_open_plan(&pack.id);
        pack.replaces = void.is_replacement(&pack.id) && !pack.condemned;
    }
    // No time has passed that the store does not know of.
    let roots = roots::list(repository, options.now.min(newest(&packs))).await?;
    let scratch = |source| CollectError::Scratch { folder: options.scratch.display().to_string(), source };
    let mut book = Book {
        packs: packs.iter().map(|pack| pack.id).collect(),
        with_metadata: vec![false; packs.len()],
        reached: Spill::create(&options.scratch).map_err(scratch)?,
        facts: Spill::create(&options.scratch).map_err(scratch)?,
        lately: vec![[0; REACHED]; LATELY],
        cut: HashSet::new(),
        void,
    };
    observer.phase("walk the trees");
    walk_all(repository, options, observer, &roots, &mut book).await?;
    observer.phase("read the index");
    read_index(repository, options, observer, &mut book).await?;
    let joining = crate::blocking::spawn_blocking(move || {
        let strays = book.join(&mut packs)?;
        Ok((packs, book, strays))
    });
    let (mut packs, book, strays) = joining.await.map_err(|_| CollectError::Died)?.map_err(scratch)?;
    // On the heap: hardly ever needed, and every collection would carry its room.
    Box::pin(strays::find(repository, &mut packs, strays, observer)).await?;
    Ok(Marked { packs, roots, book, folder: options.scratch.display().to_string() })
}

fn newest(packs: &[MarkedPack]) -> UtcNanos {
    UtcNanos::from(packs.iter().map(|pack| pack.modified).max().unwrap_or(SystemTime::UNIX_EPOCH))
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
        after = page.last().map(|pack| pack.id);
        observer.advanced(page.len() as u64);
        packs.extend(page.into_iter().map(MarkedPack::listed));
        if !more {
            packs.sort_unstable_by_key(|pack: &MarkedPack| pack.id);
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
    let (visited, cut) = Default::default();
    let mut walker = Walker { book, visited, visited_max, in_fork: None, cut, failed: None };
    let domains: BTreeSet<DomainId> = roots.retained.iter().map(|root| root.domain).collect();
    for domain in domains {
        let reader = DomainReader::open(repository, domain, options.memory_bytes_max / 2)?;
        let mut walked = HashSet::new();
        // What a fork alone reaches may be damaged: who wrote it had been superseded, and perhaps did not know of a
        // plan. It comes last, so that nothing which is needed otherwise is met there first and tolerated.
        let (forks, needed): (Vec<_>, Vec<_>) =
            roots.retained.iter().filter(|root| root.domain == domain).partition(|root| root.is_fork);
        for root in needed.into_iter().chain(forks) {
            checkpoint(observer)?;
            if !walked.insert(root.root.id) {
                continue;
            }
            walker.in_fork = root.is_fork.then(|| root.what.clone());
            let walk = walk(&root.root, &*reader.nodes, &mut walker).await;
            if let Some(source) = walker.failed.take() {
                return Err(CollectError::Scratch { folder: options.scratch.display().to_string(), source });
            }
            walk.map_err(|error| CollectError::of_walk(&root.what, ReadError::from(error)))?;
            observer.advanced(1);
        }
    }
    let cut = walker.cut;
    book.cut = cut;
    Ok(())
}

async fn read_index(
    repository: &Repository<Opened>,
    options: &CollectOptions,
    observer: &dyn Observer,
    book: &mut Book,
) -> Result<(), CollectError> {
    let mut reader = repository.index_reader();
    let mut read = BTreeSet::new();
    loop {
        checkpoint(observer)?;
        match reader.next().await {
            Ok(None) => {
                // An object may have been written anew under a name that the listing had passed.
                let names = repository.legible_index_names().await?;
                if names.iter().all(|name| read.contains(name)) {
                    return Ok(());
                }
                reader = repository.index_reader_after(read.clone());
            }
            Ok(Some((name, object))) => {
                read.insert(name);
                let mut noted = object
                    .entries()
                    .map(|entry| book.fact(entry.chunk.as_bytes(), &entry.location, entry.kind));
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
    /// Sorted.
    packs: Vec<PackId>,
    /// Of each whether tree nodes or values lie in it.
    with_metadata: Vec<bool>,
    reached: Spill<REACHED>,
    facts: Spill<FACT>,
    /// References that were noted lately, by their first bytes.
    lately: Vec<[u8; REACHED]>,
    /// Nodes of forks and branches that could not be read.
    cut: HashSet<[u8; HALF]>,
    void: VoidPacks,
}

/// All that is noted of one chunk, each sorted by pack.
struct Noted<'a> {
    half: [u8; HALF],
    reached: &'a [[u8; REACHED]],
    facts: &'a [[u8; FACT]],
}

impl Noted<'_> {
    /// Whether it lies in a replacement.
    fn is_safe(&self, replaces: impl Fn(usize) -> bool) -> bool {
        self.facts.iter().any(|fact| replaces(number_at(fact) as usize))
    }

    /// Whether it is reached, and nothing says where it lies.
    fn is_stray(&self) -> bool {
        let leads_nowhere = |hint: &[u8; REACHED]| number_at(hint) >= NO_PACK_OF_FORK;
        !self.reached.is_empty() && self.facts.is_empty() && self.reached.iter().all(leads_nowhere)
    }
}

impl Book {
    fn number_of(&self, pack: &PackId) -> u32 {
        self.packs.binary_search(pack).map_or(NO_PACK, |number| number as u32)
    }

    fn reach(&mut self, chunk: &ChunkRef, in_fork: bool) -> std::io::Result<()> {
        let number = match chunk.at.map_or(NO_PACK, |at| self.number_of(&at.pack)) {
            NO_PACK if in_fork => NO_PACK_OF_FORK,
            number => number,
        };
        let mut record = [0; REACHED];
        record[..HALF].copy_from_slice(&chunk.id.as_bytes()[..HALF]);
        record[HALF..].copy_from_slice(&number.to_be_bytes());
        let place = usize::from(record[0]) << 8 | usize::from(record[1]);
        if self.lately[place] == record {
            return Ok(());
        }
        self.lately[place] = record;
        self.reached.push(&record)
    }

    fn fact(&mut self, chunk: &[u8], at: &Location, kind: ChunkKind) -> std::io::Result<()> {
        let number = self.number_of(&at.pack);
        // What was stored after the listing is not judged, and is no stray.
        if number == NO_PACK && self.void.contains(&at.pack) {
            return Ok(());
        }
        if kind != ChunkKind::Data
            && let Some(has_metadata) = self.with_metadata.get_mut(number as usize)
        {
            *has_metadata = true;
        }
        let mut record = [0; FACT];
        record[..HALF].copy_from_slice(&chunk[..HALF]);
        record[HALF..HALF + 4].copy_from_slice(&number.to_be_bytes());
        record[HALF + 4..].copy_from_slice(&at.chunk_bytes.to_be_bytes());
        self.facts.push(&record)
    }

    /// Holds what is reached against what the index says. Blocks.
    fn join(&mut self, packs: &mut [MarkedPack]) -> std::io::Result<Strays> {
        let mut strays = Strays::beside(std::mem::take(&mut self.cut));
        for (pack, has_metadata) in packs.iter_mut().zip(&self.with_metadata) {
            pack.has_metadata = *has_metadata;
        }
        self.each(|noted| {
            if noted.is_stray() {
                let is_needed = noted.reached.iter().any(|hint| number_at(hint) == NO_PACK);
                strays.add(noted.half, is_needed);
            }
            let safe = noted.is_safe(|pack| packs.get(pack).is_some_and(|pack| pack.replaces));
            for hint in noted.reached {
                if let Some(pack) = packs.get_mut(number_at(hint) as usize) {
                    pack.reached |= !(safe && pack.condemned);
                    pack.lacks_facts |= !noted.facts.iter().any(|fact| number_at(fact) == number_at(hint));
                }
            }
            for fact in noted.facts {
                let Some(pack) = packs.get_mut(number_at(fact) as usize) else { continue };
                let bytes = u64::from(last_number(fact));
                let is_dead = noted.reached.is_empty() || (safe && pack.condemned);
                pack.chunk_bytes += bytes;
                pack.live_bytes += if is_dead { 0 } else { bytes };
            }
        })?;
        Ok(strays)
    }

    /// See [`Marked::live_in`]. Blocks.
    fn live_in(mut self, chosen: &[usize], replaces: &[bool]) -> std::io::Result<Vec<(usize, Live)>> {
        let mut live: BTreeMap<usize, Live> = chosen.iter().map(|pack| (*pack, Live::new())).collect();
        self.each(|noted| {
            let stays =
                |pack| replaces.get(pack).is_some_and(|replaces| *replaces) && !live.contains_key(&pack);
            if noted.reached.is_empty() || noted.is_safe(stays) {
                return;
            }
            for fact in noted.facts {
                if let Some(live) = live.get_mut(&(number_at(fact) as usize)) {
                    live.insert(noted.half);
                }
            }
        })?;
        Ok(live.into_iter().collect())
    }

    /// Calls `each` with all that is noted of each chunk.
    fn each(&mut self, mut each: impl FnMut(Noted<'_>)) -> std::io::Result<()> {
        for part in 0..PARTS {
            let reached = self.reached.sorted(part)?;
            let mut facts = self.facts.sorted(part)?;
            facts.dedup();
            let (mut reached, mut facts) = (&reached[..], &facts[..]);
            loop {
                let next = match (reached.first(), facts.first()) {
                    (None, None) => break,
                    (Some(one), None) => &one[..HALF],
                    (None, Some(other)) => &other[..HALF],
                    (Some(one), Some(other)) => (&one[..HALF]).min(&other[..HALF]),
                };
                let mut half = [0; HALF];
                half.copy_from_slice(next);
                let ours = |record: &[u8]| record[..HALF] == half;
                let (here, later) = reached.split_at(reached.partition_point(|record| ours(record)));
                let (said, more) = facts.split_at(facts.partition_point(|record| ours(record)));
                each(Noted { half, reached: here, facts: said });
                (reached, facts) = (later, more);
            }
        }
        Ok(())
    }
}

fn half(chunk: &ChunkRef) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&chunk.id.as_bytes()[..HALF]);
    half
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
    /// The fork that is walked: what of it cannot be read is left out.
    in_fork: Option<String>,
    cut: HashSet<[u8; HALF]>,
    /// Why nothing more could be noted.
    failed: Option<std::io::Error>,
}

impl Walker<'_> {
    fn note(&mut self, chunk: &ChunkRef) {
        if self.failed.is_none() {
            self.failed = self.book.reach(chunk, self.in_fork.is_some()).err();
        }
    }
}

impl Visitor for Walker<'_> {
    fn node(&mut self, node: &ChunkRef, _level: u8) -> bool {
        let half = half(node);
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
        node: &ChunkRef,
        _above: Option<&[u8]>,
        _last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError> {
        match &self.in_fork {
            Some(what) if !ReadError::is_away_from(&error) => {
                self.cut.insert(half(node));
                tracing::warn!(what, %error, "a fork is damaged: what can be read of it is kept");
                Ok(())
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
