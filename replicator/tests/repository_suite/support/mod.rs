//! What the repository tests share: quick repositories, heads, a store that dies, seeds.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod dying_store;
pub(crate) mod virtual_time;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_chunker::{
    ChunkKind, ChunkParams, DomainId, PackId, PackOptions, PackWriter, SecretKey, ShareId,
};
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Claimant, CommitStatistics, DurablePack, DurablePacks, Head, HeadName, Heat,
    Incarnation, IndexEntry, KeyFile, Leadership, LineTotals, NewRepository, Opened, Published, Repository,
    RepositoryError, ShareDescription, SlotKey, Usage, UtcNanos,
};
use tidegate_replicator::store::{Body, MemoryStore, Store};
use tidegate_replicator::tree::Root;

/// The share that tests use.
pub(crate) const SHARE: ShareId = ShareId::new([0x5a; 16]);

/// A key file whose secret is 32 times `byte`: quick to use.
pub(crate) fn quick_key(byte: u8) -> SlotKey {
    let digits = format!("{byte:02x}").repeat(SecretKey::LEN);
    let sum = crc32c::crc32c(&[byte; SecretKey::LEN]);
    let file = KeyFile::from_text(&format!("tidegate-key-1-{digits}-{sum:08x}"), "a test's key");
    SlotKey::KeyFile(file.expect("the text of a key file"))
}

pub(crate) fn new_repository() -> NewRepository {
    NewRepository {
        chunks: ChunkParams::default(),
        slot_label: "first".to_owned(),
        domain_label: "default".to_owned(),
        created_at: UtcNanos::new(1),
    }
}

/// A new repository on `store`.
pub(crate) async fn create_on(store: Arc<dyn Store>) -> Repository<Opened> {
    Repository::init(store, &new_repository(), &quick_key(7)).await.expect("created")
}

/// The repository on `store`, opened.
pub(crate) async fn open_on(store: Arc<dyn Store>) -> Repository<Opened> {
    Repository::open(store, &quick_key(7)).await.expect("opened")
}

/// A new repository in memory, and its store.
pub(crate) async fn create() -> (Repository<Opened>, MemoryStore) {
    let store = MemoryStore::new();
    (create_on(Arc::new(store.clone())).await, store)
}

pub(crate) fn claimant(name: &str) -> Claimant {
    Claimant { host: name.to_owned(), instance: "test".to_owned() }
}

/// Claims [`SHARE`] without waiting; nobody else may be claiming.
pub(crate) async fn lead(repository: &Repository<Opened>) -> Leadership {
    let state = repository.lease(SHARE).await.expect("the lease is read");
    let options = ClaimOptions::new(claimant("host"), UtcNanos::new(1), std::time::Duration::ZERO);
    match repository.claim(&state, &options.expect("valid")).await.expect("the claim is answered") {
        ClaimOutcome::Leading(leadership) => leadership,
        ClaimOutcome::Lost { to } => panic!("lost to {to}"),
    }
}

/// The next head of [`SHARE`] after `parent`.
pub(crate) fn next_head(
    repository: &Repository<Opened>,
    leadership: &Leadership,
    parent: Option<HeadName>,
) -> Head {
    let share =
        ShareDescription { id: SHARE, name: "documents".to_owned(), domain: repository.default_domain() };
    Head {
        share,
        epoch: leadership.epoch(),
        sequence: leadership.next_sequence(parent.as_ref()),
        parent,
        root: Root::EMPTY,
        frozen_at: UtcNanos::new(20),
        published_at: UtcNanos::new(30),
        incarnation: Incarnation::new([4; 8]),
        handover: None,
        keep_handles: None,
        next_inode: u64::MAX,
        journal_sequence: 6,
        plans_honoured: Vec::new(),
        kept: Vec::new(),
        passed: Vec::new(),
        turns: Vec::new(),
        settings: serde_json::json!({"export": "/documents", "clients": ["10.0.0.0/8"]}),
        usage: Usage { bytes: 8, inodes: 9, ..Usage::default() },
        heat: Heat::default(),
        heat_in: None,
        totals: LineTotals::default(),
        statistics: CommitStatistics { bytes_read: 1, ..CommitStatistics::default() },
    }
}

/// Publishes a head without new packs after `parent`.
pub(crate) async fn publish_after(
    repository: &Repository<Opened>,
    leadership: Leadership,
    parent: Option<HeadName>,
) -> (Leadership, HeadName) {
    let head = next_head(repository, &leadership, parent);
    let prepared = repository.prepare_head(&leadership, &head).expect("prepared");
    let durable =
        repository.write_index(told(Vec::new()), &DurablePacks::new()).await.expect("nothing to write");
    match repository.publish(leadership, &prepared, &durable).await {
        Published::Done(leadership) => (leadership, prepared.name()),
        other => panic!("not published: {other:?}"),
    }
}

/// The seeds to run: the one in `TIDEGATE_TEST_SEED`, or this many.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

/// Numbers that follow from a seed (xorshift64* over a spread seed).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Entries as writing an index is told them: all at once.
pub(crate) fn told(entries: Vec<IndexEntry>) -> [Result<Vec<IndexEntry>, RepositoryError>; 1] {
    [Ok(entries)]
}

/// Packs chunks and stores the pack, and gives the evidence and its entries.
pub(crate) async fn store_pack(
    repository: &Repository<Opened>,
    domain: DomainId,
    chunks: &[&[u8]],
) -> (DurablePack, Vec<IndexEntry>) {
    let keys = repository.domain_keys(domain).expect("known");
    let id = PackId::new(*keys.chunk_id(&chunks.concat()).as_bytes());
    let mut writer = PackWriter::create(Vec::new(), &keys, id, PackOptions::default()).expect("created");
    for chunk in chunks {
        writer.push(ChunkKind::Data, keys.chunk_id(chunk), chunk).expect("packed");
    }
    let (bytes, summary) = writer.finish().expect("finished");
    let entries = summary.index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect();
    let pack = repository.put_pack(id, Body::Bytes(bytes.into())).await.expect("stored");
    (pack, entries)
}

/// Everything that the index says, once.
pub(crate) async fn read_index(repository: &Repository<Opened>) -> BTreeSet<IndexEntry> {
    let mut all = BTreeSet::new();
    let mut reader = repository.index_reader();
    while let Some((_, object)) = reader.next().await.expect("the index is read") {
        all.extend(object.entries());
    }
    all
}
