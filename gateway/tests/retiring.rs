//! A share that takes no more changes does not hold the journal of the others.
//!
//! Method: two shares of one appliance. One of them is taken away from it, in each way in which that
//! happens, with changes that are only in the journal; then the other one goes on writing and committing.
//! The journal must become short, and nothing of the first share may be missing.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets, ShareConfig};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
/// So little that segments of the journal are as short as they can be: 8 MiB.
const DIRTY_BYTES: u64 = 96 << 20;
/// Segments of a journal that nobody holds: the one in use, and one that has just been filled.
const SEGMENTS_MAX: u64 = 2;

async fn start(data: &Path, store: &Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    open_within(data, store.clone(), key, Budgets { dirty_bytes: DIRTY_BYTES, ..budgets() }).await
}

async fn put(appliance: &Appliance, share: &str, name: &str, content: &[u8]) {
    let namespace = appliance.namespace(share).unwrap();
    let file = create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
    write(&namespace, file, 0, content).await.unwrap();
}

async fn get(appliance: &Appliance, share: &str, name: &str) -> Vec<u8> {
    let namespace = appliance.namespace(share).unwrap();
    let file = lookup(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
    read_all(&namespace, file).await.unwrap()
}

/// Writes to `share` until the journal has several segments, and lets the shares that are served and led
/// commit until it is short again.
async fn write_until_the_journal_is_short(appliance: &Arc<Appliance>, share: &str, committing: &[&str]) {
    for number in 0..40 {
        put(appliance, share, &format!("filler {number}"), &noise(number, 1 << 20)).await;
    }
    assert!(appliance.journal_report().segments > SEGMENTS_MAX, "enough was written");
    let shortened = async {
        loop {
            for share in committing {
                appliance.commit(share).await.unwrap();
            }
            if appliance.journal_report().segments <= SEGMENTS_MAX {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), shortened).await.expect("nobody holds the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_withdrawn_is_published_and_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let content = noise(99, 3_000_000);
    {
        let appliance = start(&folder.path().join("data"), &store, &key).await;
        appliance.serve(config("stays")).await.unwrap();
        let leaving = appliance.serve(config("leaves")).await.unwrap();
        put(&appliance, "leaves", "last words", &content).await;
        appliance.withdraw(leaving).await;
        write_until_the_journal_is_short(&appliance, "stays", &["stays"]).await;
        appliance.close().await.unwrap();
    }
    let away = start(&folder.path().join("away"), &store, &key).await;
    away.attach("leaves", AttachPoint::Newest).await.unwrap();
    away.serve(config("leaves")).await.unwrap();
    assert!(get(&away, "leaves", "last words").await == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_not_served_after_a_start_holds_nothing_and_can_be_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let content = noise(98, 3_000_000);
    {
        let appliance = start(&folder.path().join("data"), &store, &key).await;
        appliance.serve(config("stays")).await.unwrap();
        appliance.serve(config("leaves")).await.unwrap();
        put(&appliance, "leaves", "last words", &content).await;
        appliance.close().await.unwrap();
    }
    let appliance = start(&folder.path().join("data"), &store, &key).await;
    appliance.serve(config("stays")).await.unwrap();
    appliance.retire_unserved().unwrap();
    write_until_the_journal_is_short(&appliance, "stays", &["stays"]).await;
    appliance.serve(config("leaves")).await.unwrap();
    assert!(get(&appliance, "leaves", "last words").await == content);
    put(&appliance, "leaves", "new words", &content).await;
    write_until_the_journal_is_short(&appliance, "leaves", &["stays", "leaves"]).await;
    assert!(get(&appliance, "leaves", "new words").await == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_not_served_and_whose_newest_head_is_damaged_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let memory = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    drop(init(store.clone(), &key).await);
    {
        let appliance = start(&folder.path().join("data"), &store, &key).await;
        appliance.serve(config("stays")).await.unwrap();
        let leaves = appliance.serve(config("leaves")).await.unwrap();
        let (head, _) = appliance.commit("leaves").await.unwrap();
        put(&appliance, "leaves", "last words", &noise(96, 3_000_000)).await;
        appliance.close().await.unwrap();
        memory.damage(&head.object(leaves), Bytes::from_static(b"no head"));
    }
    let appliance = start(&folder.path().join("data"), &store, &key).await;
    appliance.serve(config("stays")).await.unwrap();
    appliance.retire_unserved().unwrap();
    write_until_the_journal_is_short(&appliance, "stays", &["stays"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_was_taken_over_holds_nothing_and_keeps_what_was_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let content = noise(97, 3_000_000);
    let home = start(&folder.path().join("home"), &store, &key).await;
    home.serve(config("stays")).await.unwrap();
    home.serve(config("leaves")).await.unwrap();
    home.commit("leaves").await.unwrap();
    let away = start(&folder.path().join("away"), &store, &key).await;
    away.attach("leaves", AttachPoint::Newest).await.unwrap();

    put(&home, "leaves", "not published", &content).await;
    home.commit("leaves").await.unwrap_err();
    write_until_the_journal_is_short(&home, "stays", &["stays"]).await;
    assert!(get(&home, "leaves", "not published").await == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_served_differently_keeps_its_handles_and_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = start(&folder.path().join("data"), &store, &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    let before = served(&appliance, share);
    let file = create(&before.namespace, ROOT_INODE, b"file").await.unwrap();
    let content: Vec<u8> = (0..64).flat_map(|number| noise(number, 10_000)).collect();
    // Through the earlier way and through the new one at once, neighbours of one file.
    let writers = async {
        for (number, block) in content.chunks(10_000).enumerate() {
            let namespace = match number % 2 {
                0 => before.namespace.clone(),
                _ => appliance.namespace("docs").unwrap(),
            };
            write(&namespace, file, number as u64 * 10_000, block).await.unwrap();
        }
    };
    let changes = async {
        for seconds in 1..20 {
            let again = ShareConfig { rpo: Duration::from_secs(seconds * 3600), ..config("docs") };
            assert_eq!(appliance.serve(again).await.unwrap(), share);
            appliance.commit("docs").await.unwrap();
        }
    };
    tokio::join!(writers, changes);
    assert!(served(&appliance, share).handle_key == before.handle_key);
    assert!(read_all(&appliance.namespace("docs").unwrap(), file).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_was_withdrawn_is_not_shown_again_when_it_turns_out_to_be_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = start(&folder.path().join("home"), &store, &key).await;
    home.serve(config("stays")).await.unwrap();
    let leaving = home.serve(config("leaves")).await.unwrap();
    home.commit("leaves").await.unwrap();
    let away = start(&folder.path().join("away"), &store, &key).await;
    away.attach("leaves", AttachPoint::Newest).await.unwrap();

    put(&home, "leaves", "not published", &noise(96, 100_000)).await;
    home.withdraw(leaving).await;
    write_until_the_journal_is_short(&home, "stays", &["stays"]).await;
    // Retiring ends with the answer that somebody else leads; closing waits for that.
    home.close().await.unwrap();
    assert!(home.files().share(leaving).is_none());
}
