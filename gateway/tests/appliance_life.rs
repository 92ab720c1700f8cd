//! The life of an appliance: what is written survives restarts, reaches the repository and comes back
//! on an empty machine.
//!
//! Method: an appliance in this process over a store in memory or in a folder; the files are used through
//! the namespace, as the file server uses them.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_gateway::appliance::{ApplianceError, AttachPoint, ShareConfig};
use tidegate_protocols::view::{Call, Caller, FileView, FsError};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{Head, NewSnapshot};
use tidegate_replicator::store::{FaultStore, MemoryStore, Store};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_a_restart_without_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let content = noise(1, 300_000);
    {
        let appliance = open(&folder.path().join("data"), store.clone(), &key).await;
        let share = appliance.serve(config("docs")).await.unwrap();
        let namespace = served(&appliance, share).namespace.clone();
        let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
        write(&namespace, file, 0, &content).await.unwrap();
        appliance.close().await.unwrap();
    }
    let appliance = reopen(&folder.path().join("data"), store, &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    let file = lookup(&namespace, ROOT_INODE, b"file").await.unwrap();
    assert!(read_all(&namespace, file).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_serves_the_newest_head_from_repository_and_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = open(&folder.path().join("home"), store.clone(), &key).await;
    let share = home.serve(config("docs")).await.unwrap();
    let namespace = served(&home, share).namespace.clone();
    let mut files = Vec::new();
    for number in 0..200u64 {
        let name = format!("file-{number}");
        let content = noise(number, (number * number * 7) as usize);
        let file = create(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
        write(&namespace, file, 0, &content).await.unwrap();
        files.push((name, content));
    }
    let (_, head) = home.commit("docs").await.unwrap();
    assert_eq!(head.usage.inodes, 201);

    let away = open(&folder.path().join("away"), store, &key).await;
    let attached = away.attach("docs", AttachPoint::Newest).await.unwrap();
    assert_eq!(attached, share);
    away.serve(config("docs")).await.unwrap();
    let namespace = served(&away, share).namespace.clone();
    for (name, content) in &files {
        let file = lookup(&namespace, ROOT_INODE, name.as_bytes()).await.unwrap();
        assert!(read_all(&namespace, file).await.unwrap() == *content, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_taken_over_publishes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = open(&folder.path().join("home"), store.clone(), &key).await;
    let share = home.serve(config("docs")).await.unwrap();
    home.commit("docs").await.unwrap();
    let away = open(&folder.path().join("away"), store, &key).await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();

    let namespace = served(&home, share).namespace.clone();
    create(&namespace, ROOT_INODE, b"too late").await.unwrap();
    let refused = home.commit("docs").await.unwrap_err().to_string();
    assert!(refused.contains("another gateway leads"), "{refused}");
    assert!(served(&home, share).rules.read_only);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_what_was_there_and_keeps_what_was_before_as_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), store, &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, b"first").await.unwrap();
    let first = appliance.create_snapshot("docs", "first", BTreeMap::default()).await.unwrap();
    write(&namespace, file, 0, b"second").await.unwrap();
    create(&namespace, ROOT_INODE, b"newer").await.unwrap();

    let before = appliance.roll_back("docs", &first.snapshot.head).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    let file = lookup(&namespace, ROOT_INODE, b"file").await.unwrap();
    assert_eq!(read_all(&namespace, file).await.unwrap(), b"first");
    assert!(lookup(&namespace, ROOT_INODE, b"newer").await.is_err());
    appliance.commit("docs").await.unwrap();

    appliance.roll_back("docs", &before.snapshot.head).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    let file = lookup(&namespace, ROOT_INODE, b"file").await.unwrap();
    assert_eq!(read_all(&namespace, file).await.unwrap(), b"second");
    lookup(&namespace, ROOT_INODE, b"newer").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_before_are_stale_after_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), store, &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    create(&served(&appliance, share).namespace, ROOT_INODE, b"file").await.unwrap();
    let files = appliance.files();
    let address = ([127, 0, 0, 1], 700).into();
    let call = Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None };
    let root = files.mount(&call, b"/docs").await.unwrap();
    let file = files.lookup(&call, &root, b"file").await.unwrap().handle;
    files.attributes(&call, &file).await.unwrap();

    let kept = appliance.create_snapshot("docs", "kept", BTreeMap::default()).await.unwrap();
    appliance.roll_back("docs", &kept.snapshot.head).await.unwrap();
    for handle in [&root, &file] {
        assert_eq!(files.attributes(&call, handle).await, Err(FsError::Stale));
    }
    let root = files.mount(&call, b"/docs").await.unwrap();
    let file = files.lookup(&call, &root, b"file").await.unwrap().handle;
    files.attributes(&call, &file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_serves_what_another_gateway_publishes_and_refuses_changes() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let home = open(&folder.path().join("home"), store.clone(), &key).await;
    let share = home.serve(config("docs")).await.unwrap();
    let leader = served(&home, share).namespace.clone();
    create(&leader, ROOT_INODE, b"first").await.unwrap();
    home.commit("docs").await.unwrap();

    let away = open(&folder.path().join("away"), store, &key).await;
    let follow = ShareConfig { follow: true, rpo: Duration::from_millis(20), ..config("docs") };
    away.serve(follow).await.unwrap();
    let follower = served(&away, share);
    assert!(follower.rules.read_only);
    lookup(&follower.namespace, ROOT_INODE, b"first").await.unwrap();

    create(&leader, ROOT_INODE, b"second").await.unwrap();
    let (name, _) = home.commit("docs").await.unwrap();
    let followed = async {
        while away.report()[0].newest.as_ref().map(|(name, _)| *name) != Some(name) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), followed).await.expect("it follows");
    lookup(&follower.namespace, ROOT_INODE, b"second").await.unwrap();
    create(&leader, ROOT_INODE, b"third").await.unwrap();
    home.commit("docs").await.expect("following takes no lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_state_of_another_repository_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let one: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let other: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for store in [&one, &other] {
        drop(init(store.clone(), &key).await);
    }
    let data = folder.path().join("data");
    let appliance = open(&data, one, &key).await;
    appliance.close().await.unwrap();
    drop(appliance);
    let refused = try_open(&data, other, &key, budgets()).await.unwrap_err().to_string();
    assert!(refused.contains("belongs to repository"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_repository_already_is_not_stored_again_from_another_site() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let content = noise(7, 3_000_000);
    let home = open(&folder.path().join("home"), store.clone(), &key).await;
    let share = home.serve(config("docs")).await.unwrap();
    let file = create(&served(&home, share).namespace, ROOT_INODE, b"file").await.unwrap();
    write(&served(&home, share).namespace, file, 0, &content).await.unwrap();
    home.commit("docs").await.unwrap();

    let away = open(&folder.path().join("away"), store, &key).await;
    away.index_learned().await;
    let share = away.serve(config("other")).await.unwrap();
    let file = create(&served(&away, share).namespace, ROOT_INODE, b"copy").await.unwrap();
    write(&served(&away, share).namespace, file, 0, &content).await.unwrap();
    let (_, head) = away.commit("other").await.unwrap();
    assert_eq!(head.statistics.bytes_unique, 0, "{:?}", head.statistics);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_just_begun_knows_the_newest_head_once_the_store_answers() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let way = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    drop(init(way.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), way.clone(), &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    create(&served(&appliance, share).namespace, ROOT_INODE, b"file").await.unwrap();
    let (name, head) = appliance.commit("docs").await.unwrap();
    appliance.close().await.unwrap();
    drop(appliance);
    let appliance = open(&folder.path().join("data"), way.clone(), &key).await;
    way.partition(true);
    appliance.serve(config("docs")).await.unwrap();
    assert!(appliance.report()[0].newest.is_none(), "the store is away");
    way.partition(false);
    let newest = async {
        loop {
            if let Some(newest) = appliance.report().remove(0).newest {
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let newest = tokio::time::timeout(Duration::from_mins(1), newest).await.expect("it is read");
    assert_eq!((newest.0, newest.1.root, newest.1.frozen_at), (name, head.root, head.frozen_at));
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_that_are_frozen_together_show_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), store, &key).await;
    let names = ["orders".to_owned(), "bills".to_owned(), "letters".to_owned()];
    for name in &names {
        appliance.serve(config(name)).await.unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    // An order, then its bill, then its letter: in no state of the world are there more bills than orders.
    let writer = tokio::spawn({
        let (appliance, names, stop) = (appliance.clone(), names.clone(), stop.clone());
        async move {
            let mut number = 0_u64;
            while !stop.is_cancelled() {
                for name in &names {
                    let namespace = appliance.namespace(name).unwrap();
                    create(&namespace, ROOT_INODE, format!("{number}").as_bytes()).await.unwrap();
                }
                number += 1;
            }
            number
        }
    });
    let mut moved = 0;
    for _ in 0..12 {
        let taken = appliance.take_snapshots_together(&names, &NewSnapshot::default()).await;
        let heads: Vec<Head> = taken.into_iter().map(|entry| entry.unwrap().snapshot.head).collect();
        let counts: Vec<u64> = heads.iter().map(|head| head.usage.inodes).collect();
        assert!(counts.is_sorted_by(|earlier, later| earlier >= later), "{counts:?}");
        assert!(counts[0] - counts[2] <= 1, "{counts:?}");
        moved += u64::from(heads.iter().all(|head| head.journal_sequence == heads[0].journal_sequence));
    }
    stop.cancel();
    assert!(writer.await.unwrap() > 0);
    assert!(moved > 0, "no three heads were ever published of one sequence");
    // One that cannot be committed keeps nobody waiting, and says that the others are not together.
    let with_a_stranger = [names[0].clone(), "nobody".to_owned()];
    let taken = appliance.take_snapshots_together(&with_a_stranger, &NewSnapshot::default()).await;
    assert!(matches!(taken[0], Err(ApplianceError::NotTogether { .. })), "{:?}", taken[0]);
    assert!(matches!(taken[1], Err(ApplianceError::NoShare { .. })));
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_beside_commits_finds_every_byte_in_its_place() {
    const PIECE: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let key = slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key).await);
    let appliance = open(&folder.path().join("data"), store, &key).await;
    let share = appliance.serve(config("docs")).await.unwrap();
    let namespace = served(&appliance, share).namespace.clone();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    for round in 0..12 {
        // Many pieces of the journal, which the commit replaces by chunks with other borders.
        let content = Arc::new(noise(round, 200 * PIECE));
        for (number, piece) in content.chunks(PIECE).enumerate() {
            let offset = (number * PIECE) as u64;
            namespace
                .write(context().credentials, file, offset, Bytes::copy_from_slice(piece))
                .await
                .unwrap();
        }
        let is_committed = Arc::new(AtomicBool::new(false));
        let reads = || {
            let (namespace, content, is_committed) =
                (namespace.clone(), content.clone(), is_committed.clone());
            tokio::spawn(async move {
                while !is_committed.load(Ordering::Relaxed) {
                    let found = read_all(&namespace, file).await.unwrap();
                    let wrong = (0..content.len()).find(|at| found.get(*at) != content.get(*at));
                    assert_eq!((wrong, found.len()), (None, content.len()), "round {round}");
                    // Nothing that it does waits for anything, and others have to come to their turn.
                    tokio::task::yield_now().await;
                }
            })
        };
        let readers = [reads(), reads()];
        appliance.commit("docs").await.unwrap();
        is_committed.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
