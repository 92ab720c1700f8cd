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
//! Half an id stands for it: two chunks of one repository that meet in 128 bits are as rare as it takes, and
//! then too much is kept, not too little.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_chunker::{DomainId, Location, PackId};

use super::error::CollectError;
use super::options::{CollectOptions, checkpoint};
use super::roots::{self, Roots};
use super::spill::{PARTS, Spill};
use super::void::VoidPacks;
use crate::frozen::{DomainReader, ReadError};
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError, UtcNanos};
use crate::tree::{ChunkRef, TreeError, Visitor, walk};

/// How much of an id is noted, in bytes.
pub(super) const HALF: usize = 16;
/// A chunk that is reached: half its id, and the number of the pack of its hint.
const REACHED: usize = HALF + 4;
/// A fact of the index: half the id of a chunk, the number of its pack, its length.
const FACT: usize = HALF + 8;
/// The number of no pack that was listed.
const NO_PACK: u32 = u32::MAX;
/// What a remembered node takes, in bytes.
const NOTED_NODE_BYTES: u64 = 32;
/// References that are remembered so that one which comes again and again is noted once.
const LATELY: usize = 1 << 16;
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
    /// Whether a plan condemns it, or did; and whether that one waits.
    pub(super) condemned: bool,
    pub(super) in_open_plan: bool,
    /// Whether it was made by repacking, and was not condemned itself.
    pub(super) replaces: bool,
}

impl MarkedPack {
    /// Whether nothing needs it.
    pub(super) fn is_dead(&self) -> bool {
        !self.reached && self.live_bytes == 0
    }

    /// Whether less than so many percent of its chunks are alive, as far as the index knows them.
    pub(super) fn is_sparse(&self, below_percent: u8) -> bool {
        u128::from(self.live_bytes) * 100 < u128::from(self.chunk_bytes) * u128::from(below_percent)
    }
}

/// What is alive of a pack: halves of ids.
pub(super) type Live = HashSet<[u8; HALF]>;

/// All packs that were listed, in order of id; and the roots.
pub(super) struct Marked {
    pub(super) packs: Vec<MarkedPack>,
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
pub(super) async fn mark(
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
        reached: Spill::create(&options.scratch).map_err(scratch)?,
        facts: Spill::create(&options.scratch).map_err(scratch)?,
        lately: vec![[0; REACHED]; LATELY],
    };
    observer.phase("walk the trees");
    walk_all(repository, options, observer, &roots, &mut book).await?;
    observer.phase("read the index");
    read_index(repository, options, observer, &mut book).await?;
    let joining = crate::blocking::spawn_blocking(move || {
        book.join(&mut packs)?;
        Ok((packs, book))
    });
    let (packs, book) = joining.await.map_err(|_| CollectError::Died)?.map_err(scratch)?;
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
        after = page.last().map(|pack| pack.0);
        observer.advanced(page.len() as u64);
        packs.extend(page.into_iter().map(|(id, bytes, modified)| MarkedPack {
            id,
            bytes,
            modified,
            chunk_bytes: 0,
            live_bytes: 0,
            reached: false,
            condemned: false,
            in_open_plan: false,
            replaces: false,
        }));
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
            match walk.map_err(|error| CollectError::of_walk(&root.what, ReadError::from(error))) {
                // Who wrote it had been superseded, and perhaps did not know of a plan.
                Err(CollectError::Unreadable { what, why }) if root.is_fork => {
                    tracing::warn!(what, why, "a fork is damaged: what can be read of it is kept");
                }
                walked => walked?,
            }
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
    /// Sorted.
    packs: Vec<PackId>,
    reached: Spill<REACHED>,
    facts: Spill<FACT>,
    /// References that were noted lately, by their first bytes.
    lately: Vec<[u8; REACHED]>,
}

/// All that is noted of one chunk, each sorted by pack.
struct Noted<'a> {
    reached: &'a [[u8; REACHED]],
    facts: &'a [[u8; FACT]],
}

impl Noted<'_> {
    fn half(&self) -> [u8; HALF] {
        let mut half = [0; HALF];
        half.copy_from_slice(&self.facts[0][..HALF]);
        half
    }

    /// Whether it lies in a replacement.
    fn is_safe(&self, replaces: impl Fn(usize) -> bool) -> bool {
        self.facts.iter().any(|fact| replaces(number_at(fact) as usize))
    }
}

impl Book {
    fn number_of(&self, pack: &PackId) -> u32 {
        self.packs.binary_search(pack).map_or(NO_PACK, |number| number as u32)
    }

    fn reach(&mut self, chunk: &ChunkRef) -> std::io::Result<()> {
        let number = chunk.at.map_or(NO_PACK, |at| self.number_of(&at.pack));
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
    fn join(&mut self, packs: &mut [MarkedPack]) -> std::io::Result<()> {
        self.each(|noted| {
            let safe = noted.is_safe(|pack| packs[pack].replaces);
            for hint in noted.reached {
                if let Some(pack) = packs.get_mut(number_at(hint) as usize) {
                    pack.reached |= !(safe && pack.condemned);
                }
            }
            for fact in noted.facts {
                let pack = &mut packs[number_at(fact) as usize];
                let bytes = u64::from(last_number(fact));
                let is_dead = noted.reached.is_empty() || (safe && pack.condemned);
                pack.chunk_bytes += bytes;
                pack.live_bytes += if is_dead { 0 } else { bytes };
            }
        })
    }

    /// See [`Marked::live_in`]. Blocks.
    fn live_in(mut self, chosen: &[usize], replaces: &[bool]) -> std::io::Result<Vec<(usize, Live)>> {
        let mut live: BTreeMap<usize, Live> = chosen.iter().map(|pack| (*pack, Live::new())).collect();
        self.each(|noted| {
            if noted.reached.is_empty() || noted.is_safe(|pack| replaces[pack] && !live.contains_key(&pack)) {
                return;
            }
            for fact in noted.facts {
                if let Some(live) = live.get_mut(&(number_at(fact) as usize)) {
                    live.insert(noted.half());
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
                each(Noted { reached: here, facts: said });
                (reached, facts) = (later, more);
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use tidegate_chunker::ChunkId;

    use super::*;

    /// Chunks of a pack, and their length.
    const PACK_CHUNKS: u64 = 1000;
    const CHUNK_BYTES: u32 = 65_536;

    fn pack(number: u64) -> PackId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        PackId::new(id)
    }

    fn chunk(number: u64) -> ChunkId {
        let mixed =
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&mixed.to_be_bytes());
        id[8..16].copy_from_slice(&number.to_be_bytes());
        ChunkId::new(id)
    }

    fn at(number: u64) -> Location {
        let pack = pack(number);
        Location { pack, frame_offset: 48, frame_bytes: 9, chunk_offset: 0, chunk_bytes: CHUNK_BYTES }
    }

    fn marked(number: u64) -> MarkedPack {
        let (id, modified) = (pack(number), SystemTime::UNIX_EPOCH);
        let (chunk_bytes, live_bytes) = (0, 0);
        let (reached, condemned, in_open_plan, replaces) = Default::default();
        MarkedPack {
            id,
            bytes: 1,
            modified,
            chunk_bytes,
            live_bytes,
            reached,
            condemned,
            in_open_plan,
            replaces,
        }
    }

    fn book(packs: u64) -> (Book, Vec<MarkedPack>) {
        let folder = std::env::temp_dir();
        let reached = Spill::create(&folder).expect("room");
        let facts = Spill::create(&folder).expect("room");
        let marked: Vec<_> = (0..packs).map(marked).collect();
        let packs = marked.iter().map(|pack| pack.id).collect();
        (Book { packs, reached, facts, lately: vec![[0; REACHED]; LATELY] }, marked)
    }

    /// The most memory that this process has had, in bytes.
    fn peak_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("there");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// `TIDEGATE_CHUNKS` makes the index larger. With 100 million, which is 6 TiB of data, memory is measured too:
    /// run it alone then.
    #[test]
    fn every_pack_is_as_alive_as_its_chunks_are_in_bounded_memory() {
        let chunks = std::env::var("TIDEGATE_CHUNKS").map_or(200_000, |text| text.parse().expect("a number"));
        let packs = chunks / PACK_CHUNKS;
        let before = peak_bytes();
        let (mut book, mut marked) = book(packs);
        // Of pack p the first p chunks in every hundred are reached, each twice; of pack 0 none.
        let is_reached = |number: u64| number % 100 < (number / PACK_CHUNKS) % 100;
        for number in 0..chunks {
            let (id, at) = (chunk(number), at(number / PACK_CHUNKS));
            book.fact(id.as_bytes(), &at).expect("room");
            if is_reached(number) {
                book.reach(&ChunkRef { id, at: Some(at) }).expect("room");
                book.reach(&ChunkRef { id, at: None }).expect("room");
            }
        }
        book.join(&mut marked).expect("joined");
        for (number, pack) in marked.iter().enumerate() {
            let live = (number as u64 % 100) * PACK_CHUNKS / 100;
            assert_eq!(pack.live_bytes, live * u64::from(CHUNK_BYTES), "pack {number}");
            assert_eq!(pack.chunk_bytes, PACK_CHUNKS * u64::from(CHUNK_BYTES));
            assert_eq!((pack.is_dead(), pack.is_sparse(50)), (live == 0, live < 500));
        }
        if chunks >= 100_000_000 {
            let grown = peak_bytes() - before;
            println!("{chunks} chunks in {packs} packs: {} MiB of memory", grown >> 20);
            assert!(grown < 128 << 20, "{grown} bytes: half of the budget is for reading trees");
        }
    }

    #[test]
    fn a_chunk_in_a_condemned_pack_is_dead_only_where_a_replacement_has_it() {
        let (mut book, mut packs) = book(5);
        // 1: in packs 0 and 1, a replacement. 2: in pack 0 alone. 3: in packs 0 and 3, both condemned. 4: in pack 2,
        // known by a hint alone. 5: in packs 0 and 4, of which nobody has verified the latter.
        for (number, places) in [(1, &[0, 1][..]), (2, &[0]), (3, &[0, 3]), (5, &[0, 4])] {
            for place in places {
                book.fact(chunk(number).as_bytes(), &at(*place)).expect("room");
            }
            book.reach(&ChunkRef { id: chunk(number), at: Some(at(places[0])) }).expect("room");
        }
        book.reach(&ChunkRef { id: chunk(4), at: Some(at(2)) }).expect("room");
        packs[0].condemned = true;
        packs[1].replaces = true;
        packs[3].condemned = true;
        book.join(&mut packs).expect("joined");
        let live: Vec<u64> = packs.iter().map(|pack| pack.live_bytes / u64::from(CHUNK_BYTES)).collect();
        assert_eq!(live, [3, 1, 0, 1, 1]);
        assert!(packs.iter().all(|pack| !pack.is_dead()));
    }

    #[test]
    fn what_is_to_be_copied_is_all_that_lives_but_what_was_copied_before() {
        let (mut book, mut packs) = book(4);
        // Packs 0 and 1 shall go, 2 is a replacement. 1 lies in both, 2 in 0 and in 2, 3 in 1; 4 is reached by nothing.
        for (number, places) in [(1, &[0, 1][..]), (2, &[0, 2]), (3, &[1]), (4, &[0])] {
            for place in places {
                book.fact(chunk(number).as_bytes(), &at(*place)).expect("room");
            }
            if number < 4 {
                book.reach(&ChunkRef { id: chunk(number), at: None }).expect("room");
            }
        }
        packs[2].replaces = true;
        let replaces: Vec<bool> = packs.iter().map(|pack| pack.replaces).collect();
        let found = book.live_in(&[0, 1], &replaces).expect("found");
        let half = |number| {
            let mut half = [0; HALF];
            half.copy_from_slice(&chunk(number).as_bytes()[..HALF]);
            half
        };
        assert_eq!(found, [(0, Live::from([half(1)])), (1, Live::from([half(1), half(3)]))]);
    }
}
