//! The ledger of packs: which packs this gateway made, what is in them, how far they have come.
//!
//! A pack goes local -> uploaded -> indexed. *Local*: synced in `<data>/packs`, and its chunks count as
//! duplicates from then on. *Uploaded*: the target has it. *Indexed*: an
//! index object on the target names its chunks, so nothing needs the file here any more and it may be
//! evicted ([`crate::cache`]). What is evicted stays in both tables: its chunks are on the target.
//!
//! Layout: side tables `waiting` (packs that are local or uploaded) and `packs` (indexed ones), pack id ->
//! version u8 = 1, stage u8, bytes u64, domain id; side table `chunks`, chunk id -> location. All can be
//! made again: from the files in the folder, and from the index on the target. What waits is apart, so that
//! a commit looks at what waits and not at everything that was ever stored.
//!
//! Order of writes: the pack file is synced under its name, then the ledger learns it. A crash between
//! the two leaves a file that [`Ledger::open`] learns; it is uploaded like the others, for a later commit
//! may already refer to what it holds. The tables are flushed with the rest of RocksDB, all at once: what a
//! crash takes back is learned again, and asked for at the target before it is uploaded again, so that only what was on
//! its way goes twice. A local pack whose file is gone
//! is forgotten with all its chunks, so that nothing counts as a duplicate of it.
//!
//! What copies of the repository lack of the packs made here is in the side table `owed`; where the settings ask for
//! more targets than the lead, a pack stays here until as many have it.
//!
//! Chunks in packs that a collection plan condemns or has deleted are *void*: found by readers, and duplicates
//! for nobody. Which packs that are is in the side table `void`, flushed before anything relies on it.

mod owed;
mod shredded;
mod void;

pub use owed::Owed;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_chunker::{
    ChunkId, DomainId, DomainKeys, Location, PACK_TAIL_BYTES, PackId, PackIndex, PackTail,
};
use tidegate_replicator::ingest::{FinishedPack, Known, pack_file_name, pack_of_file_name, remove_leftovers};

use parking_lot::{Mutex, RwLock};
use tidegate_replicator::collect::VoidPacks;

use crate::live::{Database, LiveError, SideTable};
use owed::Copies;

const VERSION: u8 = 1;
/// Chunks that are forgotten in one write, when packs have vanished.
const FORGOTTEN_CHUNKS_MAX: usize = 4096;
/// Length of a location in bytes.
const LOCATION: usize = Location::LEN;

/// How far a pack has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Only here.
    Local,
    /// On the target.
    Uploaded,
    /// On the target, and named by its index.
    Indexed,
}

/// What the ledger says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// How far it has come.
    pub stage: Stage,
    /// Length in bytes.
    pub bytes: u64,
    /// The domain that sealed it.
    pub domain: DomainId,
}

impl PackRecord {
    fn encode(&self) -> Vec<u8> {
        let stage = match self.stage {
            Stage::Local => 0,
            Stage::Uploaded => 1,
            Stage::Indexed => 2,
        };
        [&[VERSION, stage][..], &self.bytes.to_le_bytes(), self.domain.as_bytes()].concat()
    }

    fn decode(record: &[u8]) -> Result<Self, LiveError> {
        let bad = || LiveError::Undecodable("the record of a pack");
        let (head, rest) = record.split_first_chunk::<2>().ok_or_else(bad)?;
        let (bytes, domain) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let stage = match head {
            [VERSION, 0] => Stage::Local,
            [VERSION, 1] => Stage::Uploaded,
            [VERSION, 2] => Stage::Indexed,
            _ => return Err(bad()),
        };
        let domain = DomainId::from_slice(domain).ok_or_else(bad)?;
        Ok(Self { stage, bytes: u64::from_le_bytes(*bytes), domain })
    }
}

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A step died.
    #[error("a step of the ledger ended early: see the log")]
    Died,
    /// The tables.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The folder of packs.
    #[error("failed to read the folder of packs {folder}")]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A pack of ours that does not open: it is damaged, or the keys that it was sealed under are not where the repository
    /// is to be led from now, or were destroyed.
    #[error(
        "failed to open local pack {pack}: if the settings name another lead than before, let the one of before lead until \
         the new one is a whole copy; if a share that was here has been shredded, or the upload of this pack is not done, move \
         the file away and restart"
    )]
    Pack {
        /// Which pack.
        pack: PackId,
        /// Why.
        source: tidegate_chunker::Error,
    },
}

/// See [`Ledger::make_stages_durable`].
#[derive(Debug, Default)]
struct Stages {
    noted: u64,
    durable: u64,
}

/// See the head of this module.
#[derive(Debug)]
pub struct Ledger {
    database: Arc<Database>,
    folder: PathBuf,
    /// Bytes of packs that are only here.
    backlog_bytes: AtomicU64,
    /// Packs that were indexed since they were last asked for, with their lengths.
    indexed: Mutex<Vec<(PackId, u64)>>,
    /// How often stages were noted, and up to which of these a crash takes nothing back.
    stages: Mutex<Stages>,
    /// Packs that are only here and that the target may have all the same: a process before this one, or a call whose
    /// answer was lost, may have stored them.
    doubtful: Mutex<HashSet<PackId>>,
    /// Packs in which nothing counts as a duplicate.
    void: RwLock<Arc<VoidPacks>>,
    /// Which copies there are, and what they are owed.
    copies: Copies,
}

impl Ledger {
    /// Opens the ledger over `folder`, and puts tables and files in accord. `keys` are those of every
    /// domain of the repository.
    pub(crate) fn open(
        database: Arc<Database>,
        folder: PathBuf,
        keys: &[Arc<DomainKeys>],
    ) -> Result<Arc<Self>, LedgerError> {
        let unreadable = |source| LedgerError::Folder { folder: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(unreadable)?;
        remove_leftovers(&folder).map_err(unreadable)?;
        let ledger = Self {
            database,
            folder: folder.clone(),
            backlog_bytes: AtomicU64::new(0),
            indexed: Mutex::default(),
            stages: Mutex::default(),
            doubtful: Mutex::default(),
            void: RwLock::default(),
            copies: Copies::default(),
        };
        *ledger.void.write() = Arc::new(void::load(&ledger.database)?);
        ledger.forget_waiting_of_evicted()?;
        ledger.forget_vanished()?;
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Some(pack) = entry.file_name().to_str().and_then(pack_of_file_name) else { continue };
            if ledger.record(&pack)?.is_none() {
                ledger.learn_file(pack, &entry.path(), keys)?;
            }
        }
        let local = ledger.local()?;
        let backlog = local.iter().map(|(_, record)| record.bytes).sum();
        *ledger.doubtful.lock() = local.into_iter().map(|(pack, _)| pack).collect();
        ledger.backlog_bytes.store(backlog, Ordering::Relaxed);
        Ok(Arc::new(ledger))
    }

    /// The folder of packs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a pack, if it is here.
    pub fn path(&self, pack: &PackId) -> PathBuf {
        self.folder.join(pack_file_name(pack))
    }

    /// Bytes of packs that are only here.
    pub fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of packs that must stay here: too few targets have them.
    pub fn needed_bytes(&self) -> u64 {
        self.backlog_bytes() + self.unspread_bytes()
    }

    /// What is known of a pack.
    pub fn record(&self, pack: &PackId) -> Result<Option<PackRecord>, LedgerError> {
        let record = match self.database.side(SideTable::Waiting, pack.as_bytes())? {
            Some(waiting) => Some(waiting),
            None => self.database.side(SideTable::Packs, pack.as_bytes())?,
        };
        Ok(record.map(|record| PackRecord::decode(&record)).transpose()?)
    }

    /// The packs that are only here.
    pub fn local(&self) -> Result<Vec<(PackId, PackRecord)>, LedgerError> {
        self.waiting_at(Stage::Local)
    }

    /// The packs that the target has and no index there names yet.
    pub fn uploaded(&self) -> Result<Vec<(PackId, PackRecord)>, LedgerError> {
        self.waiting_at(Stage::Uploaded)
    }

    fn waiting_at(&self, stage: Stage) -> Result<Vec<(PackId, PackRecord)>, LedgerError> {
        let mut found = Vec::new();
        for entry in self.database.side_entries(SideTable::Waiting) {
            let (key, value) = entry?;
            let record = PackRecord::decode(&value)?;
            let pack = PackId::from_slice(&key).ok_or(LiveError::Undecodable("the id of a pack"))?;
            if record.stage == stage {
                found.push((pack, record));
            }
        }
        Ok(found)
    }

    /// Whether the target may have a pack although it counts as only here. To be asked before it is sent; from then on it
    /// may.
    pub(crate) fn begin_upload(&self, pack: &PackId) -> bool {
        !self.doubtful.lock().insert(*pack)
    }

    /// Notes that a pack has come further.
    pub fn advance(&self, pack: &PackId, stage: Stage) -> Result<(), LedgerError> {
        let Some(old) = self.record(pack)? else { return Ok(()) };
        if old.stage == Stage::Local && stage > Stage::Local {
            self.doubtful.lock().remove(pack);
            self.backlog_bytes.fetch_sub(old.bytes, Ordering::Relaxed);
        }
        let becomes_indexed = old.stage < Stage::Indexed && stage == Stage::Indexed;
        {
            // Whoever sees that a pack is indexed, and means to evict it, waits here until that is noted as not durable yet.
            let mut stages = self.stages.lock();
            stages.noted += 1;
            self.note(pack, &PackRecord { stage, ..old })?;
            if becomes_indexed {
                // A crash between the two leaves it in both tables: it counts as waiting, and is indexed again.
                self.database.set_side(SideTable::Waiting, [(&pack.as_bytes()[..], None)])?;
            }
        }
        if becomes_indexed && self.note_indexed(pack, old.bytes)? {
            self.indexed.lock().push((*pack, old.bytes));
        }
        Ok(())
    }

    fn note(&self, pack: &PackId, record: &PackRecord) -> Result<(), LedgerError> {
        let table = if record.stage == Stage::Indexed { SideTable::Packs } else { SideTable::Waiting };
        Ok(self.database.set_side(table, [(&pack.as_bytes()[..], Some(&record.encode()[..]))])?)
    }

    /// A pack of zeros at a stage, with its file.
    #[cfg(test)]
    pub(crate) fn put_for_test(&self, pack: PackId, bytes: u64, domain: DomainId) {
        std::fs::write(self.path(&pack), vec![0; bytes as usize]).expect("room");
        self.note(&pack, &PackRecord { stage: Stage::Local, bytes, domain }).expect("a sound database");
        self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Packs that were indexed since the last call, with their lengths: the cache may have them.
    pub(crate) fn take_indexed(&self) -> Vec<(PackId, u64)> {
        std::mem::take(&mut self.indexed.lock())
    }

    /// The packs that may be evicted and whose files are here, with their lengths.
    pub(crate) fn evictable_files(&self) -> Result<Vec<(PackId, u64)>, LedgerError> {
        let mut found = self.files_of_indexed()?;
        let mut failure = None;
        found.retain(|(pack, _)| {
            self.is_spread(pack).unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        });
        failure.map_or(Ok(found), Err)
    }

    /// Whether the file of a pack may go.
    pub(crate) fn may_evict(&self, pack: &PackId) -> Result<bool, LedgerError> {
        let indexed = self.record(pack)?.is_some_and(|record| record.stage == Stage::Indexed);
        Ok(indexed && self.is_spread(pack)?)
    }

    fn files_of_indexed(&self) -> Result<Vec<(PackId, u64)>, LedgerError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|source| self.unreadable(source))? {
            let entry = entry.map_err(|source| self.unreadable(source))?;
            let Some(pack) = entry.file_name().to_str().and_then(pack_of_file_name) else { continue };
            if let Some(record) = self.record(&pack)?.filter(|record| record.stage == Stage::Indexed) {
                found.push((pack, record.bytes));
            }
        }
        Ok(found)
    }

    /// Makes every stage noted so far survive a crash. To be called before a file is evicted: a ledger
    /// that fell back to "only here" would take the pack for lost.
    pub(crate) fn make_stages_durable(&self) -> Result<(), LedgerError> {
        let noted = {
            let stages = self.stages.lock();
            if stages.durable == stages.noted {
                return Ok(());
            }
            stages.noted
        };
        // Not under the lock: whoever notes a stage does not wait for the disk.
        self.database.flush()?;
        let mut stages = self.stages.lock();
        stages.durable = stages.durable.max(noted);
        Ok(())
    }

    /// Where a chunk lies that this gateway has put or learned of.
    pub fn find(&self, chunk: &ChunkId) -> Result<Option<Location>, LedgerError> {
        let record = self.database.side(SideTable::Chunks, chunk.as_bytes())?;
        let location = record.and_then(|record| <[u8; LOCATION]>::try_from(&record[..]).ok());
        Ok(location.map(|record| Location::from_bytes(&record)))
    }

    /// Where a chunk lies that counts as a duplicate.
    fn find_countable(&self, chunk: &ChunkId) -> Result<Option<Location>, LedgerError> {
        let found = self.find(chunk)?;
        Ok(found.filter(|at| self.void.read().counts(&at.pack)))
    }

    /// Whether a plan condemns a pack, or did: it may be gone.
    pub(crate) fn is_void(&self, pack: &PackId) -> bool {
        self.void.read().contains(pack)
    }

    /// What is void now.
    pub(crate) fn void(&self) -> VoidPacks {
        self.void.read().as_ref().clone()
    }

    /// From now on nothing in these packs is a duplicate, also after a crash; tells whether that is
    /// news. `void` must have come from [`Ledger::void`].
    pub(crate) async fn note_void(self: &Arc<Self>, void: &VoidPacks) -> Result<bool, LedgerError> {
        let known = self.void.read().clone();
        if known.generation() == void.generation() {
            return Ok(false);
        }
        let (ledger, next) = (self.clone(), void.clone());
        let storing = tokio::task::spawn_blocking(move || void::store(&ledger.database, &known, &next));
        storing.await.map_err(|_| LedgerError::Died)??;
        *self.void.write() = Arc::new(void.clone());
        Ok(true)
    }

    /// Takes over chunks that the target's index names.
    pub fn learn_remote(
        &self,
        chunks: impl IntoIterator<Item = (ChunkId, Location)>,
    ) -> Result<(), LedgerError> {
        let chunks: Vec<_> = chunks.into_iter().map(|(id, at)| (*id.as_bytes(), at.to_bytes())).collect();
        let entries = chunks.iter().map(|(id, at)| (&id[..], Some(&at[..])));
        Ok(self.database.set_side(SideTable::Chunks, entries)?)
    }

    /// These chunks are not to be had there: they count as duplicates no more, also after a crash, unless they are known
    /// to lie elsewhere. Blocks.
    pub(crate) fn forget_places(&self, chunks: &[(ChunkId, Location)]) -> Result<(), LedgerError> {
        let mut forgotten = Vec::new();
        for (chunk, at) in chunks {
            if self.find(chunk)?.as_ref() == Some(at) {
                forgotten.push(chunk.as_bytes().to_vec());
            }
        }
        if !forgotten.is_empty() {
            self.forget_chunks(&mut forgotten)?;
            self.database.flush()?;
        }
        Ok(())
    }

    /// The chunks that are known to lie in a pack. Reads everything that is known. Blocks.
    pub(crate) fn chunks_in(&self, pack: &PackId) -> Result<Vec<(ChunkId, Location)>, LedgerError> {
        let mut found = Vec::new();
        for entry in self.database.side_entries(SideTable::Chunks) {
            let (chunk, at) = entry?;
            let at = <[u8; LOCATION]>::try_from(&at[..]).map(|at| Location::from_bytes(&at));
            if let (Ok(at), Some(chunk)) = (at, ChunkId::from_slice(&chunk))
                && at.pack == *pack
            {
                found.push((chunk, at));
            }
        }
        Ok(found)
    }

    /// The index of a local pack, read from its file.
    pub fn read_index(
        &self,
        pack: &PackId,
        keys: &[Arc<DomainKeys>],
    ) -> Result<(DomainId, PackIndex), LedgerError> {
        read_index(&self.path(pack), *pack, keys)
    }

    /// What an ingest of a domain asks and tells.
    pub fn known(self: &Arc<Self>, domain: DomainId) -> Arc<dyn Known> {
        Arc::new(KnownChunks { ledger: self.clone(), domain })
    }

    fn learn(
        &self,
        pack: PackId,
        index: &PackIndex,
        bytes: u64,
        domain: DomainId,
    ) -> Result<(), LedgerError> {
        self.learn_remote(index.chunks().map(|placed| (placed.id, placed.location)))?;
        self.note(&pack, &PackRecord { stage: Stage::Local, bytes, domain })?;
        self.owe(&pack, bytes)?;
        self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn learn_file(&self, pack: PackId, path: &Path, keys: &[Arc<DomainKeys>]) -> Result<(), LedgerError> {
        let (domain, index) = read_index(path, pack, keys)?;
        let bytes = std::fs::metadata(path).map_err(|source| self.unreadable(source))?.len();
        self.learn(pack, &index, bytes, domain)
    }

    /// Packs that are indexed and wait all the same, and whose files were evicted: they do not wait.
    fn forget_waiting_of_evicted(&self) -> Result<(), LedgerError> {
        for (pack, _) in self.uploaded()? {
            let is_indexed = self.database.side(SideTable::Packs, pack.as_bytes())?.is_some();
            if is_indexed && !self.path(&pack).exists() {
                self.database.set_side(SideTable::Waiting, [(&pack.as_bytes()[..], None)])?;
            }
        }
        Ok(())
    }

    /// Forgets packs that were only here and are not.
    fn forget_vanished(&self) -> Result<(), LedgerError> {
        let mut vanished = self.local()?;
        vanished.retain(|(pack, _)| !self.path(pack).exists());
        if vanished.is_empty() {
            return Ok(());
        }
        tracing::error!(
            packs = vanished.len(),
            "packs that were not uploaded yet are gone from the local disk"
        );
        let gone: std::collections::HashSet<_> = vanished.iter().map(|(pack, _)| *pack).collect();
        self.forget_chunks_where(|at| gone.contains(&at.pack))?;
        let packs = gone.iter().map(|pack| (&pack.as_bytes()[..], None));
        Ok(self.database.set_side(SideTable::Waiting, packs)?)
    }

    /// Looks at every chunk that is known.
    fn forget_chunks_where(&self, mut goes: impl FnMut(&Location) -> bool) -> Result<(), LedgerError> {
        let mut forgotten = Vec::new();
        for entry in self.database.side_entries(SideTable::Chunks) {
            let (chunk, at) = entry?;
            let at = <[u8; LOCATION]>::try_from(&at[..]).map(|at| Location::from_bytes(&at));
            if at.is_ok_and(|at| goes(&at)) {
                forgotten.push(chunk);
            }
            if forgotten.len() == FORGOTTEN_CHUNKS_MAX {
                self.forget_chunks(&mut forgotten)?;
            }
        }
        self.forget_chunks(&mut forgotten)
    }

    fn forget_chunks(&self, chunks: &mut Vec<Vec<u8>>) -> Result<(), LedgerError> {
        let entries = chunks.iter().map(|chunk| (&chunk[..], None));
        self.database.set_side(SideTable::Chunks, entries)?;
        chunks.clear();
        Ok(())
    }

    fn unreadable(&self, source: std::io::Error) -> LedgerError {
        LedgerError::Folder { folder: self.folder.clone(), source }
    }
}

/// Opens the index at the end of a pack file with the keys of whichever domain sealed it.
fn read_index(
    path: &Path,
    pack: PackId,
    keys: &[Arc<DomainKeys>],
) -> Result<(DomainId, PackIndex), LedgerError> {
    let folder = || path.parent().unwrap_or(path).to_path_buf();
    let unreadable = |source| LedgerError::Folder { folder: folder(), source };
    let mut tail = read_tail(path, PACK_TAIL_BYTES).map_err(unreadable)?;
    let mut failure = None;
    for keys in keys {
        let mut opened = PackIndex::from_tail(keys, pack, &tail);
        if let Ok(PackTail::NeedsBytes(bytes)) = opened {
            tail = read_tail(path, bytes).map_err(unreadable)?;
            opened = PackIndex::from_tail(keys, pack, &tail);
        }
        match opened {
            Ok(PackTail::Index(index)) => return Ok((keys.domain(), index)),
            Ok(PackTail::NeedsBytes(_)) => {}
            Err(source) => failure = Some(LedgerError::Pack { pack, source }),
        }
    }
    Err(failure.unwrap_or_else(|| unreadable(std::io::ErrorKind::UnexpectedEof.into())))
}

fn read_tail(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut tail = Vec::with_capacity(bytes.min(length) as usize);
    file.take(bytes).read_to_end(&mut tail)?;
    Ok(tail)
}

struct KnownChunks {
    ledger: Arc<Ledger>,
    domain: DomainId,
}

impl Known for KnownChunks {
    fn find(&self, id: &ChunkId) -> Option<Location> {
        // What cannot be looked up now is stored once more.
        self.ledger.find_countable(id).unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to look a chunk up; it may be stored twice");
            None
        })
    }

    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.ledger.learn(pack.pack, &pack.index, pack.bytes, self.domain)?)
    }
}
