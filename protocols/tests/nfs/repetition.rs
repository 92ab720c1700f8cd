//! Goal: a call that a client repeats because it saw no reply is carried out once, and answered with
//! the same bytes, also over a new connection and after a restart.

use std::sync::atomic::Ordering;

use nfs3_types::nfs3::*;
use tidegate_protocols::retransmission::{Client, retry_key};
use tidegate_protocols::rpc::{Credential, Request, Transport};
use tidegate_protocols::view::{Changed, FsError, Wcc};

use crate::common::Tree;
use crate::harness::{NFS, at, call, packed, root, serve, until, word};

fn mkdir(xid: u32, name: &[u8]) -> Vec<u8> {
    let arguments = MKDIR3args { where_: at(&root(), name), attributes: sattr3::default() };
    call(xid, NFS, 3, 9, &packed(&arguments))
}

#[tokio::test]
async fn a_repetition_over_a_new_connection_gets_the_same_reply_and_is_not_executed() {
    let served = serve().await;
    let first = served.raw().await.exchange(&mkdir(7, b"d")).await;
    let second = served.raw().await.exchange(&mkdir(7, b"d")).await;
    assert_eq!(word(&first, 6), 0);
    assert_eq!(first, second);
    assert_eq!(served.view.count("MKDIR"), 1);
}

#[tokio::test]
async fn every_call_that_changes_something_is_remembered_and_no_other() {
    let served = serve().await;
    let mut raw = served.raw().await;
    *served.view.failure.lock() = Some(FsError::Io);
    let arguments = crate::errors::procedures();
    for (procedure, arguments, _) in &arguments {
        served.view.entered.lock().clear();
        let record = call(1000 + procedure, NFS, 3, *procedure, arguments);
        assert_eq!(raw.exchange(&record).await, raw.exchange(&record).await);
        let executed: usize = served.view.entered.lock().values().sum();
        let changes = matches!(procedure, 2 | 7..=15);
        assert_eq!(executed, if changes { 1 } else { 2 }, "procedure {procedure}");
    }
}

#[tokio::test]
async fn a_different_call_with_the_same_xid_is_carried_out() {
    let served = serve().await;
    let mut raw = served.raw().await;
    raw.exchange(&mkdir(7, b"a")).await;
    let other = raw.exchange(&mkdir(7, b"b")).await;
    assert_eq!((word(&other, 6), served.view.count("MKDIR")), (0, 2));
}

#[tokio::test]
async fn a_repetition_while_the_call_is_under_way_waits_for_its_reply() {
    let served = serve().await;
    let gate = served.view.hold("MKDIR");
    let (mut first, mut second) = (served.raw().await, served.raw().await);
    first.send(&mkdir(7, b"d")).await;
    until(|| served.view.count("MKDIR") == 1).await;
    second.send(&mkdir(7, b"d")).await;
    assert!(second.is_quiet().await);
    gate.add_permits(1);
    assert_eq!(first.receive().await, second.receive().await);
    assert_eq!(served.view.count("MKDIR"), 1);
}

#[tokio::test]
async fn a_call_goes_on_when_its_connection_ends_and_its_reply_waits_for_the_repetition() {
    let served = serve().await;
    let gate = served.view.hold("MKDIR");
    let mut first = served.raw().await;
    first.send(&mkdir(7, b"d")).await;
    until(|| served.view.count("MKDIR") == 1).await;
    drop(first);
    gate.add_permits(1);
    until(|| served.view.inside.load(Ordering::SeqCst) == 0).await;
    let reply = served.raw().await.exchange(&mkdir(7, b"d")).await;
    assert_eq!((word(&reply, 6), served.view.count("MKDIR")), (0, 1));
}

#[tokio::test]
async fn try_later_is_not_remembered() {
    let served = serve().await;
    let mut raw = served.raw().await;
    *served.view.failure.lock() = Some(FsError::TryLater);
    assert_eq!(word(&raw.exchange(&mkdir(7, b"d")).await, 6), 10_008);
    *served.view.failure.lock() = None;
    assert_eq!(word(&raw.exchange(&mkdir(7, b"d")).await, 6), 0);
}

/// A MKDIR that is held until its repetition waits for it, and then fails; both replies.
async fn both_replies(served: &crate::harness::Served, fail: impl FnOnce()) -> [Vec<u8>; 2] {
    let gate = served.view.hold("MKDIR");
    let (mut first, mut second) = (served.raw().await, served.raw().await);
    first.send(&mkdir(7, b"d")).await;
    until(|| served.view.count("MKDIR") == 1).await;
    second.send(&mkdir(7, b"d")).await;
    assert!(second.is_quiet().await);
    fail();
    gate.add_permits(1);
    [first.receive().await, second.receive().await]
}

#[tokio::test]
async fn a_repetition_that_waits_is_told_to_try_later_too() {
    let served = serve().await;
    let [first, second] =
        both_replies(&served, || *served.view.failure.lock() = Some(FsError::TryLater)).await;
    assert_eq!((word(&first, 6), first), (10_008, second));
    assert_eq!(served.view.count("MKDIR"), 1);
}

#[tokio::test]
async fn a_repetition_that_waits_hears_of_a_defect_too() {
    let served = serve().await;
    let [first, second] = both_replies(&served, || served.view.panics.store(true, Ordering::SeqCst)).await;
    assert_eq!((word(&first, 5), first), (5, second));
}

#[tokio::test]
async fn after_a_restart_the_view_answers_for_what_was_carried_out_before() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let record = mkdir(7, b"d");
    let directory = Tree::handle(1);
    let attributes = served.view.tree.lock().attributes(&directory).unwrap();
    let first = Wcc { before: None, after: Some(attributes) };
    let changed = Changed { object: Some((directory, attributes)), first, second: Wcc::default() };
    let peer = raw.stream.local_addr().unwrap();
    let request = Request {
        peer,
        transport: Transport::Tcp,
        version: 3,
        procedure: 9,
        credential: Credential::None,
        arguments: bytes::Bytes::from(record[40..].to_vec()),
        retry: None,
    };
    let key = retry_key(Client::new(peer), 7, NFS, &request);
    served.view.replays.lock().insert(key.0, changed);

    let reply = raw.exchange(&record).await;
    assert_eq!(word(&reply, 6), 0);
    assert_eq!(served.view.count("MKDIR"), 0, "the change is not carried out again");
    let other = raw.exchange(&mkdir(8, b"e")).await;
    assert_eq!((word(&other, 6), served.view.count("MKDIR")), (0, 1));
}

#[tokio::test]
async fn the_view_gets_a_key_for_changes_and_none_for_reads_and_writes() {
    // What is kept in a journal beside a change must be worth its place: a repeated write writes the
    // same bytes.
    let served = serve().await;
    let mut raw = served.raw().await;
    for (procedure, arguments, _) in crate::errors::procedures() {
        raw.exchange(&call(2000 + procedure, NFS, 3, procedure, &arguments)).await;
    }
    let keyed = served.view.keyed.lock().clone();
    let changes = ["CREATE", "LINK", "MKDIR", "MKNOD", "REMOVE", "RENAME", "RMDIR", "SETATTR", "SYMLINK"];
    assert!(keyed.iter().copied().eq(changes), "{keyed:?}");
}
