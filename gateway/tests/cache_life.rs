//! Claims about the cache on disk, with requests on the store counted. A gateway "elsewhere" attaches a
//! share that another one has written, so that everything it reads comes from the store at first.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{Appliance, ApplianceError, AttachPoint, Budgets};
use tidegate_gateway::namespace::Namespace;
use tidegate_gateway::namespace::data::read_ahead;
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

use support::{config, create, init, lookup, noise, open, open_within, read_all, served, slot_key, write};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
const MIB: usize = 1 << 20;

/// A repository with a share of files of noise, one commit for each so that each has packs of its own.
async fn written(folder: &Path, files: &[(&str, usize)]) -> (Arc<dyn Store>, SlotKey, Vec<Vec<u8>>) {
    let key = slot_key(folder);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = open(&folder.join("home"), store.clone(), &key).await;
    let share = home.serve(config("docs")).await.unwrap();
    let namespace = served(&home, share).namespace.clone();
    let mut contents = Vec::new();
    for (number, (name, length)) in files.iter().enumerate() {
        let content = noise(number as u64 + 1, *length);
        let file = create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
        for (piece, data) in content.chunks(MIB).enumerate() {
            write(&namespace, file, (piece * MIB) as u64, data).await.unwrap();
        }
        home.commit("docs").await.unwrap();
        contents.push(content);
    }
    home.close().await.unwrap();
    (store, key, contents)
}

fn small_cache() -> Budgets {
    Budgets { memory_bytes: 128 << 20, dirty_bytes: 64 << 20, cache_bytes: 16 << 20 }
}

/// Closes a gateway and opens it again, with nothing in memory.
async fn restart(appliance: Arc<Appliance>, folder: &Path, store: &Arc<dyn Store>, key: &SlotKey) -> Gateway {
    appliance.close().await.unwrap();
    drop(appliance);
    start(folder, store, key).await
}

struct Gateway {
    appliance: Arc<Appliance>,
    share: ShareId,
}

async fn start(folder: &Path, store: &Arc<dyn Store>, key: &SlotKey) -> Gateway {
    let appliance = open_within(&folder.join("away"), store.clone(), key, small_cache()).await;
    match appliance.attach("docs", AttachPoint::Newest).await {
        Ok(_) | Err(ApplianceError::ShareExists { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let share = appliance.serve(config("docs")).await.unwrap();
    Gateway { appliance, share }
}

impl Gateway {
    fn namespace(&self) -> Namespace {
        served(&self.appliance, self.share).namespace.clone()
    }

    async fn read(&self, name: &str) -> Vec<u8> {
        let namespace = self.namespace();
        let file = lookup(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
        read_all(&namespace, file).await.unwrap()
    }

    fn requests(&self) -> u64 {
        self.appliance.cache_report().store_requests
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_once_is_read_after_a_restart_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key, contents) = written(folder.path(), &[("file", 3 * MIB)]).await;
    let away = start(folder.path(), &store, &key).await;
    assert!(away.read("file").await == contents[0]);
    assert!(away.requests() > 0);
    let away = restart(away.appliance, folder.path(), &store, &key).await;
    assert!(away.read("file").await == contents[0]);
    let report = away.appliance.cache_report();
    assert_eq!(report.store_requests, 0, "{report:?}");
    assert!(report.hits > 0 && report.misses == 0 && report.disk_bytes > 3 << 20, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_cold_data_does_not_evict_a_hot_set() {
    let folder = tempfile::tempdir().unwrap();
    let cold: Vec<String> = (0..12).map(|number| format!("cold-{number}")).collect();
    let mut files = vec![("hot", 3 * MIB)];
    files.extend(cold.iter().map(|name| (name.as_str(), 5 * MIB)));
    let (store, key, contents) = written(folder.path(), &files).await;
    let away = start(folder.path(), &store, &key).await;
    assert!(away.read("hot").await == contents[0]);
    let away = restart(away.appliance, folder.path(), &store, &key).await;
    assert!(away.read("hot").await == contents[0]);
    for name in &cold {
        away.read(name).await;
    }
    // 60 MiB went through a cache of 16.
    away.appliance.commit("docs").await.unwrap();
    let away = restart(away.appliance, folder.path(), &store, &key).await;
    assert!(away.appliance.cache_report().disk_bytes <= 20 << 20);
    let before = away.requests();
    assert!(away.read("hot").await == contents[0]);
    assert!(away.requests() - before <= 1, "{} requests for the hot set", away.requests() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_and_spoilt_files_of_the_cache_cost_requests_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key, contents) = written(folder.path(), &[("file", 5 * MIB)]).await;
    let away = start(folder.path(), &store, &key).await;
    assert!(away.read("file").await == contents[0]);
    away.appliance.close().await.unwrap();
    drop(away);
    for (number, entry) in std::fs::read_dir(folder.path().join("away/cache")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if number % 2 == 0 {
            // The index stays sound: only opening the frames can tell.
            let end = bytes.len().min(900_000);
            bytes[..end].iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
        } else {
            bytes.truncate(bytes.len() / 2);
        }
        std::fs::write(&path, bytes).unwrap();
    }
    let away = start(folder.path(), &store, &key).await;
    assert!(away.read("file").await == contents[0]);
    assert!(away.requests() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_made_here_are_evicted_once_indexed_and_read_back_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = open_within(&folder.path().join("home"), store.clone(), &key, small_cache()).await;
    let share = home.serve(config("docs")).await.unwrap();
    let namespace = served(&home, share).namespace.clone();
    let content = noise(9, 40 * MIB);
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    for (piece, data) in content.chunks(4 * MIB).enumerate() {
        for (part, data) in data.chunks(MIB).enumerate() {
            write(&namespace, file, (piece * 4 * MIB + part * MIB) as u64, data).await.unwrap();
        }
        home.commit("docs").await.unwrap();
    }
    assert!(home.cache_report().disk_bytes <= 16 << 20, "{:?}", home.cache_report());
    assert!(read_all(&namespace, file).await.unwrap() == content);
    assert!(home.cache_report().store_requests > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_reader_finds_the_next_chunks_in_memory() {
    const READ: u64 = 128 << 10;
    let folder = tempfile::tempdir().unwrap();
    let (store, key, _) = written(folder.path(), &[("file", 6 * MIB)]).await;
    let away = start(folder.path(), &store, &key).await;
    let namespace = away.namespace();
    let file = lookup(&namespace, ROOT_INODE, b"file").await.unwrap();
    let read = async |place: u64| {
        let range = place * READ..(place + 1) * READ;
        namespace.reader().read(namespace.share(), file, range.clone(), &support::ROOT).await.unwrap();
        read_ahead(namespace.share(), None, file, &range);
    };
    read(0).await;
    read(1).await;
    let until = Instant::now() + Duration::from_secs(20);
    let quiet = async || {
        let before = away.requests();
        tokio::time::sleep(Duration::from_millis(300)).await;
        before == away.requests()
    };
    while !quiet().await && Instant::now() < until {}
    let ahead = away.requests();
    let range = 2 * READ..3 * READ;
    namespace.reader().read(namespace.share(), file, range, &support::ROOT).await.unwrap();
    assert_eq!(away.requests(), ahead, "the next chunks were there already");
}
