//! What the tests of the appliance share: a gateway put together from parts, over a store of the test's
//! choice.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_chunker::{ChunkParams, ShareId};
use tidegate_gateway::appliance::{
    Appliance, ApplianceError, Budgets, Parts, ShareConfig, Targets, WarmWhat,
};
use tidegate_gateway::clock::{Clock, SystemClock};
use tidegate_gateway::files::{ExportRules, Served, Squash};
use tidegate_gateway::namespace::{Context, Credentials, Namespace};
use tidegate_gateway::share::Quota;
use tidegate_protocols::view::{CreateHow, FsError, SetAttributes};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{
    Claimant, KeyFile, Ladder, NewRepository, Opened, Repository, SlotKey, UtcNanos,
};
use tidegate_replicator::store::Store;

pub static ROOT: Credentials = Credentials::ROOT;

/// The key of every test repository.
pub fn slot_key(folder: &Path) -> SlotKey {
    let path = folder.join("repository.key");
    let key = if path.exists() { KeyFile::open(&path) } else { KeyFile::create(&path) };
    SlotKey::KeyFile(key.unwrap())
}

pub async fn init(store: Arc<dyn Store>, key: &SlotKey) -> Repository<Opened> {
    let new = NewRepository {
        chunks: ChunkParams::default(),
        slot_label: "test".into(),
        domain_label: "test".into(),
        created_at: UtcNanos::new(0),
    };
    Repository::init(store, &new, key).await.unwrap()
}

pub fn budgets() -> Budgets {
    Budgets { memory_bytes: 256 << 20, dirty_bytes: 1 << 30, cache_bytes: 1 << 30 }
}

pub async fn open(data: &Path, store: Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    try_open(data, store, key, budgets()).await.unwrap()
}

pub async fn open_within(
    data: &Path,
    store: Arc<dyn Store>,
    key: &SlotKey,
    budgets: Budgets,
) -> Arc<Appliance> {
    try_open(data, store, key, budgets).await.unwrap()
}

pub async fn try_open(
    data: &Path,
    store: Arc<dyn Store>,
    key: &SlotKey,
    budgets: Budgets,
) -> Result<Arc<Appliance>, ApplianceError> {
    try_open_at(data, store, key, budgets, Arc::new(SystemClock)).await
}

/// As [`open`], by a clock of the test's choice.
pub async fn open_at(
    data: &Path,
    store: Arc<dyn Store>,
    key: &SlotKey,
    clock: Arc<dyn Clock>,
) -> Arc<Appliance> {
    try_open_at(data, store, key, budgets(), clock).await.unwrap()
}

async fn try_open_at(
    data: &Path,
    store: Arc<dyn Store>,
    key: &SlotKey,
    budgets: Budgets,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Appliance>, ApplianceError> {
    let repository = Repository::open(store.clone(), key).await.unwrap();
    let parts = Parts {
        data: data.to_path_buf(),
        repository,
        targets: Targets::only(store),
        clock,
        claimant: Claimant { host: "test".into(), instance: data.display().to_string() },
        settle: Duration::from_millis(1),
        budgets,
        ladder: Ladder::default(),
        drill: false,
    };
    Appliance::open(parts).await
}

/// As [`open`], after the last clone of an earlier appliance has let go of the folder.
pub async fn reopen(data: &Path, store: Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    open(data, store, key).await
}

pub fn config(name: &str) -> ShareConfig {
    ShareConfig {
        name: name.into(),
        rules: ExportRules {
            path: format!("/{name}"),
            exported: true,
            clients: Vec::new(),
            secure_ports: false,
            read_only: false,
            squash: Squash::None,
            anonymous_uid: 65534,
            anonymous_gid: 65534,
            snapshot_folder: true,
        },
        // Commits are asked for, never left to the clock.
        rpo: Duration::from_hours(24),
        follow: false,
        stop_without_store: false,
        own_key: false,
        keep_handles: false,
        warm: WarmWhat::None,
        thaw_on_read: false,
        quota: Quota::default(),
        settings: serde_json::json!({}),
    }
}

pub fn served(appliance: &Appliance, share: ShareId) -> Arc<Served> {
    appliance.files().share(share).expect("it is served")
}

pub fn context() -> Context<'static> {
    Context::new(&ROOT)
}

pub async fn create(
    namespace: &Namespace,
    directory: InodeNumber,
    name: &[u8],
) -> Result<InodeNumber, FsError> {
    let set = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
    let outcome = namespace.create(context(), directory, name, CreateHow::Guarded(set)).await?;
    Ok(outcome.object.expect("a create gives an object").number)
}

pub async fn write(
    namespace: &Namespace,
    file: InodeNumber,
    offset: u64,
    data: &[u8],
) -> Result<(), FsError> {
    let data = Bytes::copy_from_slice(data);
    let (_, sequence) = namespace.write(&ROOT, file, offset, data).await?;
    namespace.sync(sequence).await
}

pub async fn read_all(namespace: &Namespace, file: InodeNumber) -> Result<Vec<u8>, FsError> {
    let reader = namespace.reader();
    let mut out = Vec::new();
    loop {
        let at = out.len() as u64;
        let data = reader.read(namespace.share(), file, at..at + (1 << 20), &ROOT).await?;
        data.pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        if data.end {
            return Ok(out);
        }
    }
}

pub async fn lookup(
    namespace: &Namespace,
    directory: InodeNumber,
    name: &[u8],
) -> Result<InodeNumber, FsError> {
    let reader = namespace.reader();
    let node = reader.node(directory).await?;
    Ok(reader.lookup(&node, name, &ROOT).await?.number)
}

/// Bytes that neither repeat nor compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
