//! Live maps: the journal, the memory layer and RocksDB as one.
//!
//! A change goes journal -> memory layer -> (durable) -> RocksDB, and a reader looks memory layer ->
//! RocksDB -> base tree. [`Live`] owns the first two of those ways; the base is joined in
//! [`crate::share`].
//!
//! Promises:
//! * [`Live::submit`] makes a batch visible to every reader at once, and names the sequence to wait
//!   for with [`Live::durable`] before anybody is told.
//! * RocksDB never holds what the journal has not made durable.
//! * A [`Frozen`] view shows exactly the records up to its sequence.
//!
//! Two changes of one inode must not be submitted at the same time: callers hold the inode's lock
//! ([`crate::share`]) from before they read until `submit` has returned.
//!
//! | starts \ while runs | submit (other inode) | applier | rebase | reader |
//! |---|---|---|---|---|
//! | submit | journal orders them | memory layer keeps the newer value | marks newer than the base stay | shard locks: whoever sees a part of a batch finds the rest |
//! | reader | sees one of both states | shard lock held until the RocksDB snapshot is taken | base is set before what hid the old one goes | - |

mod applier;
mod change;
mod db;
mod outcomes;
mod pending;
mod records;
mod sweep;
#[cfg(test)]
mod tests;
mod view;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tidegate_replicator::map::{JournalPiece, MapError};
use tokio::sync::watch;

pub use change::{Batch, Change};
pub(crate) use db::{Database, SideTable};
pub use records::Usage;
pub(crate) use view::{Page, frozen_page};

use crate::journal::{Journal, JournalError, Replay, Sequence};
use applier::Applier;
pub(crate) use pending::Known;
use pending::Pending;

/// Names one incarnation of one map in this gateway's RocksDB. Local; never stored in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u64);

/// What can go wrong with live maps.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The journal refused; nothing is acknowledged any more until a restart if it says so.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// RocksDB failed.
    #[error("failed to use the local metadata")]
    Database(#[from] rocksdb::Error),
    /// A record of ours that does not decode: local damage, or a newer program wrote it.
    #[error("{0} does not decode")]
    Undecodable(&'static str),
    /// A key or value of a map that does not decode.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The applier stopped after an error; the log has it.
    #[error("the applier has stopped: see the log, then restart")]
    Stopped,
}

/// Bounds of the live maps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that the memory layer holds before writers wait for the applier.
    pub pending_bytes_max: usize,
    /// RocksDB's block cache.
    pub block_cache_bytes: usize,
    /// What RocksDB holds in memory before it is flushed.
    pub memtable_bytes: usize,
    /// Journal bytes after which RocksDB is flushed, so that replay is bounded.
    pub flush_journal_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_bytes_max: 32 << 20,
            block_cache_bytes: 48 << 20,
            memtable_bytes: 48 << 20,
            flush_journal_bytes: 256 << 20,
        }
    }
}

/// The live maps of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    database: Arc<Database>,
    pending: Arc<Pending>,
    applier: Applier,
    limits: Limits,
}

impl Live {
    /// Replays what RocksDB lacks, and starts the applier.
    pub(crate) fn open(
        journal: Journal,
        replay: &Replay,
        database: Arc<Database>,
        limits: Limits,
    ) -> Result<Self, LiveError> {
        applier::replay(replay, &database)?;
        let pending = Arc::new(Pending::new());
        let applier = Applier::start(journal.clone(), database.clone(), pending.clone(), limits)?;
        Ok(Self { inner: Arc::new(Inner { journal, database, pending, applier, limits }) })
    }

    /// Appends a batch with its payload and makes it visible. Waits for room, never for the disk.
    pub async fn submit(&self, batch: Batch, payload: Bytes) -> Result<Sequence, LiveError> {
        self.submit_noting(batch, payload, None).await
    }

    /// As [`Live::submit`]; `on_its_way` is set when there is room and nothing is waited for any more: until then the
    /// change may be dropped, from then on it happens.
    pub(crate) async fn submit_noting(
        &self,
        mut batch: Batch,
        payload: Bytes,
        on_its_way: Option<&AtomicBool>,
    ) -> Result<Sequence, LiveError> {
        let inner = &*self.inner;
        inner.applier.room(&inner.pending, inner.limits.pending_bytes_max).await?;
        let encoded = batch.encode();
        let permit = inner.journal.reserve((encoded.len() + payload.len()) as u64).await?;
        if let Some(on_its_way) = on_its_way {
            on_its_way.store(true, Ordering::Relaxed);
        }
        let appended = inner.journal.append(permit, &encoded, &[payload])?;
        let place = JournalPiece { segment: appended.position.segment, offset: appended.position.offset };
        batch.resolve(place)?;
        let batch = Arc::new(batch);
        inner.pending.insert(appended.sequence, &batch);
        inner.applier.enqueue(appended.sequence, batch);
        Ok(appended.sequence)
    }

    /// Waits until a record is on stable storage.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), LiveError> {
        Ok(self.inner.journal.durable(sequence).await?)
    }

    /// Submits and waits until it is durable.
    pub async fn submit_durably(&self, batch: Batch, payload: Bytes) -> Result<Sequence, LiveError> {
        let sequence = self.submit(batch, payload).await?;
        self.durable(sequence).await?;
        Ok(sequence)
    }

    /// Waits until RocksDB holds everything that has been submitted so far.
    pub async fn settle(&self) -> Result<Sequence, LiveError> {
        let sequence = self.inner.journal.appended_sequence();
        self.durable(sequence).await?;
        self.inner.applier.applied(sequence).await?;
        Ok(sequence)
    }

    /// RocksDB takes in nothing more until [`Live::let_applier_go_on`]: for the moment in which several views are taken.
    pub(crate) fn pause_applier(&self) {
        self.inner.applier.pause();
    }

    /// Ends a pause.
    pub(crate) fn let_applier_go_on(&self) {
        self.inner.applier.go_on();
    }

    /// Waits until RocksDB holds a record.
    pub async fn applied(&self, sequence: Sequence) -> Result<(), LiveError> {
        self.inner.applier.applied(sequence).await
    }

    /// What is known of a key above the base.
    pub(crate) fn get(&self, map: MapId, key: &[u8]) -> Result<Known, LiveError> {
        let key = full_key(map, key);
        match self.inner.pending.get(&key) {
            Known::Unknown => self.inner.database.get(&key),
            known => Ok(known),
        }
    }

    /// What is known of several keys above the base: of each as [`Live::get`] has it, and as fresh.
    pub(crate) fn get_many(&self, map: MapId, keys: &[Vec<u8>]) -> Result<Vec<Known>, LiveError> {
        let full: Vec<_> = keys.iter().map(|key| full_key(map, key)).collect();
        let mut found: Vec<_> = full.iter().map(|key| self.inner.pending.get(key)).collect();
        let unknown = found.iter().zip(full).enumerate().filter(|(_, (known, _))| **known == Known::Unknown);
        let mut below: Vec<_> = unknown.map(|(place, (_, key))| (key, place)).collect();
        below.sort_unstable();
        let (keys, places): (Vec<_>, Vec<_>) = below.into_iter().unzip();
        for (place, known) in places.into_iter().zip(self.inner.database.get_many(&keys)?) {
            found[place] = known;
        }
        Ok(found)
    }

    /// Up to `limit` overlay entries of a range of keys of one inode, with what they hide and the base
    /// they stand over, all of one moment.
    pub(crate) fn page(&self, map: MapId, range: &Range<Vec<u8>>, limit: usize) -> Result<Page, LiveError> {
        view::page(&self.inner.pending, &self.inner.database, map, range, limit)
    }

    /// What a map uses, as of what RocksDB holds.
    pub fn usage(&self, map: MapId) -> Result<Usage, LiveError> {
        let database = &self.inner.database;
        database.usage(&database.snapshot(), map)
    }

    /// The journal, to read payloads from.
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// The database, for frozen views and side tables.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.inner.database
    }

    /// Watches the newest record that RocksDB holds.
    pub fn subscribe_applied(&self) -> watch::Receiver<Sequence> {
        self.inner.applier.subscribe()
    }

    /// The newest record that RocksDB has flushed to disk.
    pub fn flushed(&self) -> Sequence {
        self.inner.applier.flushed()
    }

    /// Flushes RocksDB, so that the journal may be shortened.
    pub(crate) fn flush(&self) -> Result<Sequence, LiveError> {
        self.inner.applier.flush(&self.inner.database)
    }
}

/// The key in RocksDB: map id big-endian, then the key in the map.
fn full_key(map: MapId, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(8 + key.len());
    full.extend_from_slice(&map.0.to_be_bytes());
    full.extend_from_slice(key);
    full
}
