//! What a gateway's disk says of packs: the gateway's own ledger, dumbly. Tables are flushed all at once, now and then; a
//! crash takes back what was not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, DomainId, DomainKeys, ErrorKind, Location, PackId, PackIndex, PackTail};

use super::trouble::{Outcome, Trouble};
use super::world::World;
use crate::collect::VoidPacks;
use crate::ingest::{FinishedPack, Known, pack_file_name, pack_of_file_name, remove_leftovers};

/// How far a pack has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Local,
    Uploaded,
    Indexed,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    packs: BTreeMap<PackId, (Stage, u64)>,
    chunks: BTreeMap<ChunkId, Location>,
    /// Sites that are copies, with what each is owed.
    owed: BTreeMap<usize, BTreeMap<PackId, u64>>,
    whole_once: BTreeSet<usize>,
    void: VoidPacks,
    index_learned: bool,
}

/// See the head of this module.
pub(super) struct Ledger {
    world: Arc<World>,
    folder: PathBuf,
    now: Mutex<Tables>,
    flushed: Mutex<Tables>,
    doubtful: Mutex<BTreeSet<PackId>>,
}

impl Ledger {
    pub(super) fn new(world: Arc<World>, folder: PathBuf) -> Arc<Self> {
        let (now, flushed, doubtful) = Default::default();
        Arc::new(Self { world, folder, now, flushed, doubtful })
    }

    /// What a start finds after the process has died.
    pub(super) fn reopen(&self, keys: &[Arc<DomainKeys>]) -> Outcome<()> {
        *self.now.lock() = self.flushed.lock().clone();
        remove_leftovers(&self.folder)?;
        for pack in self.files()? {
            if !self.now.lock().packs.contains_key(&pack) {
                let index = read_index(&self.path(&pack), pack, keys)?;
                self.learn(pack, &index, std::fs::metadata(self.path(&pack))?.len());
            }
        }
        let local: Vec<PackId> = self.at(Stage::Local).into_iter().map(|(pack, _)| pack).collect();
        for pack in &local {
            if !self.path(pack).exists() {
                self.world.violation(format!("pack {pack} was only here, and its file is gone"));
            }
        }
        *self.doubtful.lock() = local.into_iter().collect();
        Ok(())
    }

    pub(super) fn flush(&self) {
        *self.flushed.lock() = self.now.lock().clone();
    }

    fn files(&self) -> Outcome<BTreeSet<PackId>> {
        let mut packs = BTreeSet::new();
        for entry in std::fs::read_dir(&self.folder)? {
            packs.extend(entry?.file_name().to_str().and_then(pack_of_file_name));
        }
        Ok(packs)
    }

    pub(super) fn path(&self, pack: &PackId) -> PathBuf {
        self.folder.join(pack_file_name(pack))
    }

    pub(super) fn at(&self, stage: Stage) -> Vec<(PackId, u64)> {
        let tables = self.now.lock();
        tables
            .packs
            .iter()
            .filter(|(_, (at, _))| *at == stage)
            .map(|(pack, (_, bytes))| (*pack, *bytes))
            .collect()
    }

    pub(super) fn length(&self, pack: &PackId) -> Option<u64> {
        self.now.lock().packs.get(pack).map(|(_, bytes)| *bytes)
    }

    /// Whether the target may have a pack already; from now on it may.
    pub(super) fn begin_upload(&self, pack: PackId) -> bool {
        !self.doubtful.lock().insert(pack)
    }

    pub(super) fn advance(&self, pack: PackId, to: Stage) {
        if let Some((stage, _)) = self.now.lock().packs.get_mut(&pack) {
            *stage = to;
        }
        if to > Stage::Local {
            self.doubtful.lock().remove(&pack);
        }
        if self.world.one_in(8) {
            self.flush();
        }
    }

    fn learn(&self, pack: PackId, index: &PackIndex, bytes: u64) {
        let mut tables = self.now.lock();
        tables.chunks.extend(index.chunks().map(|placed| (placed.id, placed.location)));
        tables.packs.insert(pack, (Stage::Local, bytes));
        for owed in tables.owed.values_mut() {
            owed.insert(pack, bytes);
        }
    }

    pub(super) fn learn_remote(&self, chunks: impl IntoIterator<Item = (ChunkId, Location)>) {
        self.now.lock().chunks.extend(chunks);
    }

    pub(super) fn find(&self, chunk: &ChunkId) -> Option<Location> {
        self.now.lock().chunks.get(chunk).copied()
    }

    /// These are not to be had there: they are no duplicates any more.
    pub(super) fn forget_places(&self, chunks: &[(ChunkId, Location)]) {
        let mut tables = self.now.lock();
        for (chunk, at) in chunks {
            if tables.chunks.get(chunk) == Some(at) {
                tables.chunks.remove(chunk);
            }
        }
        drop(tables);
        self.flush();
    }

    pub(super) fn chunks_in(&self, pack: &PackId) -> Vec<(ChunkId, Location)> {
        let tables = self.now.lock();
        tables.chunks.iter().filter(|(_, at)| at.pack == *pack).map(|(chunk, at)| (*chunk, *at)).collect()
    }

    pub(super) fn void(&self) -> VoidPacks {
        self.now.lock().void.clone()
    }

    /// Durable from now on.
    pub(super) fn note_void(&self, void: &VoidPacks) {
        if self.now.lock().void.generation() != void.generation() {
            self.now.lock().void = void.clone();
            self.flush();
        }
    }

    pub(super) fn index_learned(&self) -> bool {
        self.now.lock().index_learned
    }

    pub(super) fn note_index_learned(&self) {
        self.now.lock().index_learned = true;
        self.flush();
    }

    /// From now on these sites are copies.
    pub(super) fn set_copies(&self, copies: &[usize]) {
        let mut tables = self.now.lock();
        tables.owed.retain(|copy, _| copies.contains(copy));
        tables.whole_once.retain(|copy| copies.contains(copy));
        let waiting: BTreeMap<PackId, u64> = tables
            .packs
            .iter()
            .filter(|(_, (stage, _))| *stage < Stage::Indexed)
            .map(|(pack, (_, bytes))| (*pack, *bytes))
            .collect();
        for copy in copies {
            let owed = tables.owed.entry(*copy).or_default();
            owed.extend(waiting.iter().map(|(pack, bytes)| (*pack, *bytes)));
        }
    }

    /// What a copy is owed that the lead has with its index.
    pub(super) fn owed(&self, copy: usize) -> Vec<(PackId, u64)> {
        let tables = self.now.lock();
        let indexed =
            |pack: &PackId| tables.packs.get(pack).is_none_or(|(stage, _)| *stage == Stage::Indexed);
        let owed = tables.owed.get(&copy).into_iter().flatten();
        owed.filter(|(pack, _)| indexed(pack)).map(|(pack, bytes)| (*pack, *bytes)).collect()
    }

    pub(super) fn settle(&self, copy: usize, packs: &[(PackId, u64)], whole: bool) {
        let mut tables = self.now.lock();
        let Some(owed) = tables.owed.get_mut(&copy) else { return };
        for (pack, _) in packs {
            owed.remove(pack);
        }
        let is_new = whole && tables.whole_once.insert(copy);
        drop(tables);
        if is_new {
            self.flush();
        }
    }

    /// A copy was found empty.
    pub(super) fn forget_copy(&self, copy: usize) {
        self.now.lock().whole_once.remove(&copy);
        self.flush();
    }

    pub(super) fn was_whole_once(&self, copy: usize) -> bool {
        self.now.lock().whole_once.contains(&copy)
    }

    /// What a site that is to lead is owed goes up anew; gives what is not here.
    pub(super) fn send_again_what_is_owed(&self, copy: usize) -> Vec<PackId> {
        let mut tables = self.now.lock();
        let owed: Vec<PackId> = tables.owed.get(&copy).into_iter().flatten().map(|(pack, _)| *pack).collect();
        let mut lost = Vec::new();
        for pack in owed {
            let Some((stage, _)) = tables.packs.get_mut(&pack).filter(|(stage, _)| *stage != Stage::Local)
            else {
                continue;
            };
            if self.folder.join(pack_file_name(&pack)).exists() {
                *stage = Stage::Local;
            } else {
                lost.push(pack);
            }
        }
        lost
    }

    /// Known chunks in packs that are neither among these nor here, nor condemned.
    pub(super) fn count_outside(&self, packs: &BTreeSet<PackId>) -> usize {
        let tables = self.now.lock();
        let is_known = |at: &&Location| {
            packs.contains(&at.pack) || tables.void.contains(&at.pack) || self.path(&at.pack).exists()
        };
        tables.chunks.values().filter(|at| !is_known(at)).count()
    }

    /// Chunks elsewhere are no duplicates any more.
    pub(super) fn keep_only(&self, packs: &BTreeSet<PackId>) {
        let here = |at: &Location| packs.contains(&at.pack) || self.path(&at.pack).exists();
        self.now.lock().chunks.retain(|_, at| here(at));
    }

    /// Removes files that enough targets have, some of them.
    pub(super) fn evict(&self, required: usize) -> Outcome<usize> {
        let mut evicted = 0;
        for pack in self.files()? {
            let is_spread = {
                let tables = self.now.lock();
                let holds = |(copy, owed): &(&usize, &BTreeMap<PackId, u64>)| {
                    tables.whole_once.contains(*copy) && !owed.contains_key(&pack)
                };
                1 + tables.owed.iter().filter(holds).count() >= required
            };
            let indexed = self.now.lock().packs.get(&pack).is_some_and(|(stage, _)| *stage == Stage::Indexed);
            if indexed && is_spread && self.world.one_in(2) {
                self.flush();
                std::fs::remove_file(self.path(&pack))?;
                evicted += 1;
            }
        }
        Ok(evicted)
    }

    /// The index of a pack that is here.
    pub(super) fn read_index(&self, pack: PackId, keys: &[Arc<DomainKeys>]) -> Outcome<PackIndex> {
        read_index(&self.path(&pack), pack, keys)
    }

    pub(super) fn known(self: &Arc<Self>) -> Arc<dyn Known> {
        Arc::new(KnownChunks(self.clone()))
    }
}

struct KnownChunks(Arc<Ledger>);

impl Known for KnownChunks {
    fn find(&self, id: &ChunkId) -> Option<Location> {
        let tables = self.0.now.lock();
        tables.chunks.get(id).copied().filter(|at| tables.void.counts(&at.pack))
    }

    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.learn(pack.pack, &pack.index, pack.bytes);
        Ok(())
    }
}

fn read_index(path: &Path, pack: PackId, keys: &[Arc<DomainKeys>]) -> Outcome<PackIndex> {
    let bytes = std::fs::read(path)?;
    let mut lacks_keys = false;
    for keys in keys {
        match PackIndex::from_tail(keys, pack, &bytes) {
            Ok(PackTail::Index(index)) => return Ok(index),
            Ok(PackTail::NeedsBytes(_)) => {}
            Err(error) => lacks_keys |= error.kind() == ErrorKind::UnknownEpoch,
        }
    }
    if lacks_keys {
        return Err(Trouble::new("refused: the new lead lacks the keys of a local pack"));
    }
    Err(Trouble::new(format!("pack {pack} does not open")))
}

/// Only one domain is used in a simulation.
pub(super) fn single(domains: &[(DomainId, crate::repository::Domain)]) -> Vec<Arc<DomainKeys>> {
    domains.iter().map(|(_, domain)| domain.keys.clone()).collect()
}
