//! What the ends of packs say: which chunks lie in which pack, and where.
//!
//! Of every pack is kept what it takes to answer "does this chunk lie there?": one number of eight bytes
//! a chunk. When that would be more than the bound, the packs that come last are read but not kept; what
//! refers to them is then only held against the list of packs, and the report says so. Of packs that a
//! collection has made of others the ids of chunks are kept too, 16 bytes each: hints lead to where they were.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{ChunkId, DomainId, Location, PackId};

use super::control::Away;
use super::finding::Finding;
use super::run::Run;
use crate::repository::{RepositoryError, pack_name};

/// Packs whose ends are read at once.
const READS_MAX: usize = 16;
/// Packs that are listed at once.
const LIST_PAGE: usize = 1000;

/// What is known of a pack.
pub(super) struct KnownPack {
    /// What is wrong with it as a whole.
    pub(super) trouble: Option<String>,
    pub(super) domain: Option<DomainId>,
    /// Its facts, sorted; `None` if there was no room to keep them.
    facts: Option<Box<[u64]>>,
    /// Of each fact whether the index says it too.
    indexed: Box<[u64]>,
    /// Whether a tree reaches it.
    pub(super) is_used: bool,
    /// Whether a tree reaches something in it only by the index, since the pack of its hint is gone.
    is_moved_to: bool,
}

/// Whether a chunk lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    /// The pack is there, and was not kept.
    Unknown,
    /// The pack says otherwise.
    No,
    /// The pack cannot be used.
    BadPack,
    NoPack,
}

/// All packs.
#[derive(Default)]
pub(super) struct PackBook {
    pub(super) packs: BTreeMap<PackId, KnownPack>,
    /// Packs that came after the list.
    pub(super) newer: BTreeSet<PackId>,
    /// Where chunks lie that a collection has moved, by half their ids.
    moved: HashMap<[u8; 16], PackId>,
    facts: usize,
    pub(super) unkept: u64,
}

impl PackBook {
    /// Whether the chunk lies there; the pack counts as used.
    pub(super) fn holds(&mut self, chunk: &ChunkId, at: &Location) -> Held {
        let Some(pack) = self.packs.get_mut(&at.pack) else { return self.holds_moved(chunk) };
        pack.is_used = true;
        match &pack.facts {
            _ if pack.trouble.is_some() => Held::BadPack,
            None => Held::Unknown,
            Some(facts) if facts.binary_search(&fact(chunk, at)).is_ok() => Held::Yes,
            Some(_) => Held::No,
        }
    }

    /// Whether a chunk whose pack is gone lies where a collection has moved it.
    fn holds_moved(&mut self, chunk: &ChunkId) -> Held {
        let moved = self.moved.get(&half(chunk)).and_then(|pack| self.packs.get_mut(pack));
        let Some(pack) = moved.filter(|pack| pack.trouble.is_none()) else { return Held::NoPack };
        (pack.is_used, pack.is_moved_to) = (true, true);
        Held::Yes
    }

    /// As [`PackBook::holds`], for what the index says, which uses nothing; notes that it was said.
    pub(super) fn is_indexed(&mut self, chunk: &ChunkId, at: &Location) -> Held {
        let Some(pack) = self.packs.get_mut(&at.pack) else { return Held::NoPack };
        let Some(facts) = &pack.facts else { return Held::Unknown };
        if pack.trouble.is_some() {
            return Held::BadPack;
        }
        match facts.binary_search(&fact(chunk, at)) {
            Ok(place) => {
                pack.indexed[place / 64] |= 1 << (place % 64);
                Held::Yes
            }
            Err(_) => Held::No,
        }
    }

    /// The pack is where something was found.
    pub(super) fn use_pack(&mut self, id: &PackId) {
        if let Some(pack) = self.packs.get_mut(id) {
            pack.is_used = true;
        }
    }

    fn add(&mut self, id: PackId, read: Read, facts_max: usize) {
        let Read { trouble, domain, mut facts, moved, is_asleep, is_condemned } = read;
        for chunk in moved {
            // One that was condemned itself may be gone tomorrow.
            let place = self.moved.entry(chunk).or_insert(id);
            if !is_condemned {
                *place = id;
            }
        }
        facts.sort_unstable();
        let room = !is_asleep && self.facts + facts.len() <= facts_max;
        let indexed = if room { vec![0; facts.len().div_ceil(64)] } else { Vec::new() };
        if room {
            self.facts += facts.len();
        } else if !is_asleep {
            self.unkept += 1;
        }
        let facts = room.then(|| facts.into_boxed_slice());
        let indexed = indexed.into();
        let pack = KnownPack { trouble, domain, facts, indexed, is_used: false, is_moved_to: false };
        self.packs.insert(id, pack);
    }
}

impl KnownPack {
    /// How many of its chunks the index does not know.
    pub(super) fn not_indexed(&self) -> usize {
        let known: u32 = self.indexed.iter().map(|bits| bits.count_ones()).sum();
        self.facts.as_ref().map_or(0, |facts| facts.len() - known as usize)
    }
}

/// What reading the end of a pack gave.
struct Read {
    trouble: Option<String>,
    domain: Option<DomainId>,
    facts: Vec<u64>,
    /// The chunks, by half their ids, of a pack that was made of condemned ones.
    moved: Vec<[u8; 16]>,
    is_asleep: bool,
    is_condemned: bool,
}

impl Read {
    /// Nothing of it.
    fn nothing(trouble: Option<String>, is_asleep: bool) -> Self {
        Self { trouble, domain: None, facts: Vec::new(), moved: Vec::new(), is_asleep, is_condemned: false }
    }
}

fn half(chunk: &ChunkId) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&chunk.as_bytes()[..16]);
    half
}

/// A chunk and its place as one number. Two facts that meet in one are as rare as it takes.
fn fact(chunk: &ChunkId, at: &Location) -> u64 {
    let mut hasher = DefaultHasher::new();
    chunk.as_bytes().hash(&mut hasher);
    (at.frame_offset, at.frame_bytes, at.chunk_offset, at.chunk_bytes).hash(&mut hasher);
    hasher.finish()
}

impl Run<'_> {
    /// Lists all packs and reads their ends.
    pub(super) async fn packs(&mut self) -> Result<PackBook, Away> {
        let mut book = PackBook::default();
        let facts_max = (self.options.memory_bytes_max / 4 / size_of::<u64>() as u64) as usize;
        let mut after = None;
        loop {
            let page = self.repository.store().list("packs/", after.as_ref(), LIST_PAGE).await?;
            after = page.objects.last().map(|object| object.name.clone());
            let mut known = Vec::new();
            for object in page.objects {
                let segment = object.name.as_str().rsplit('/').next().unwrap_or_default();
                match PackId::from_hex(segment).filter(|id| pack_name(*id) == object.name) {
                    Some(id) => known.push((id, object.bytes)),
                    None => self.report.add(Finding::damage(object.name.as_str(), "no pack has such a name")),
                }
            }
            let reads = known.into_iter().map(|(id, bytes)| self.read_pack_end(id, bytes));
            let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX);
            let mut ends = Vec::new();
            while let Some(end) = reads.try_next().await? {
                ends.extend(end);
            }
            drop(reads);
            for (id, bytes, read) in ends {
                self.report.counts.packs += 1;
                self.report.counts.pack_bytes += bytes;
                self.report.counts.packs_asleep += u64::from(read.is_asleep);
                self.report.counts.pack_bytes_asleep += if read.is_asleep { bytes } else { 0 };
                book.add(id, read, facts_max);
            }
            self.observer.advanced(0);
            if !page.more {
                return Ok(book);
            }
        }
    }

    /// `None` if it is gone since it was listed: a collection may run meanwhile.
    async fn read_pack_end(&self, id: PackId, bytes: u64) -> Result<Option<(PackId, u64, Read)>, Away> {
        let bad = |why: String| Ok(Some((id, bytes, Read::nothing(Some(why), false))));
        let (domain, index) = match self.repository.pack_index(id).await {
            Ok(read) => read,
            Err(RepositoryError::Missing { .. }) => return Ok(None),
            Err(error) if error.is_asleep() => return Ok(Some((id, bytes, Read::nothing(None, true)))),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => return Err(error),
            Err(error) => return bad(error.to_string()),
        };
        let facts = index.chunks().map(|placed| fact(&placed.id, &placed.location)).collect();
        let is_replacement = self.void.is_replacement(&id);
        let moved = index.chunks().filter(|_| is_replacement).map(|placed| half(&placed.id)).collect();
        let is_condemned = self.void.contains(&id);
        let read = Read { trouble: None, domain: Some(domain), facts, moved, is_asleep: false, is_condemned };
        Ok(Some((id, bytes, read)))
    }

    /// Whether a collection has deleted a pack since it was listed: what lived in it has been moved.
    pub(super) async fn is_collected(&mut self, id: PackId) -> Result<bool, Away> {
        self.plans().await?;
        Ok(self.void.contains(&id) && self.repository.pack_modified(id).await?.is_none())
    }

    /// What is wrong with packs, now that it is known which of them matter.
    pub(super) fn judge_packs(&mut self, book: &PackBook) {
        for (id, pack) in &book.packs {
            let object = pack_name(*id).to_string();
            match (&pack.trouble, pack.is_used) {
                (Some(why), true) => self.report.add(Finding::damage(object, why)),
                (Some(why), false) => {
                    let why = format!("{why}; no head or snapshot that was looked at refers to it");
                    self.report.add(Finding::notice(object, why));
                }
                // Whether it was deleted and came back, or was spared: nobody comes to refer to it anew, and the trees say
                // where in it everything lies that they still reach there.
                (None, true) if self.void.contains(id) && !pack.is_moved_to => {}
                (None, true) => {
                    let missing = pack.not_indexed();
                    if missing > 0 {
                        let what = format!("the index lacks {missing} chunks of {object}: rebuild the index");
                        self.report.add(Finding::damage("index/", what));
                    }
                }
                (None, false) => {}
            }
            self.report.counts.packs_unreached += u64::from(!pack.is_used);
        }
        let counts = self.report.counts;
        if counts.packs_asleep > 0 {
            let what = format!(
                "{} packs ({} bytes) sleep in the archive of the store: they are there, and nothing in them was looked at; \
                 `tidegate thaw SHARE` brings them back for some days",
                counts.packs_asleep, counts.pack_bytes_asleep
            );
            self.report.add(Finding::notice("packs/", what));
        }
        if book.unkept > 0 {
            let what = format!("{} packs were not compared with the index, for want of memory", book.unkept);
            self.report.add(Finding::notice("packs/", what));
        }
    }
}
