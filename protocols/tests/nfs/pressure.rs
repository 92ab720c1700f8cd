//! Goal: whatever clients send or leave unread, memory and time stay bounded, and nobody gets an
//! error for being fast.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Opaque;
use tidegate_protocols::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::Tree;
use crate::harness::{
    NFS, PATIENCE, at, call, create, handle, mark, packed, root, serve, serve_with, until, word, words,
    write, write_call,
};

fn getattr(xid: u32) -> Vec<u8> {
    call(xid, NFS, 3, 1, &packed(&GETATTR3args { object: root() }))
}

fn read(xid: u32, file: nfs_fh3, count: u32) -> Vec<u8> {
    call(xid, NFS, 3, 6, &packed(&READ3args { file, offset: 0, count }))
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_unread_and_are_all_answered() {
    let limits = Limits { connection_calls_max: 16, connection_waiting_max: 0, ..Limits::default() };
    let served = serve_with(limits).await;
    let gate = served.view.hold("GETATTR");
    let mut raw = served.raw().await;
    for xid in 0..200 {
        raw.send(&getattr(xid)).await;
    }
    until(|| served.view.count("GETATTR") == 16).await;
    assert!(raw.is_quiet().await);
    assert_eq!(served.view.count("GETATTR"), 16);
    gate.add_permits(200);
    let mut xids: Vec<u32> = Vec::new();
    for _ in 0..200 {
        let reply = raw.receive().await;
        assert_eq!((word(&reply, 5), word(&reply, 6)), (0, 0));
        xids.push(word(&reply, 0));
    }
    xids.sort_unstable();
    assert!(xids.into_iter().eq(0..200));
    assert_eq!(served.view.inside_most.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn bytes_in_flight_bound_large_writes() {
    let limits = Limits { connection_bytes_max: 4 << 20, connection_waiting_max: 0, ..Limits::default() };
    let served = serve_with(limits).await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    let gate = served.view.hold("WRITE");
    let mut raw = served.raw().await;
    let data = vec![1; 1 << 20];
    let count = data.len() as u32;
    let stable = stable_how::UNSTABLE;
    let sender = tokio::spawn(async move {
        for xid in 0..10 {
            let (file, data) = (file.clone(), Opaque::borrowed(&data));
            let arguments = WRITE3args { file, offset: 0, count, stable, data };
            raw.send(&call(xid, NFS, 3, 7, &packed(&arguments))).await;
        }
        raw
    });
    until(|| served.view.count("WRITE") >= 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(served.view.count("WRITE") <= 3, "{} writes inside 4 MiB", served.view.count("WRITE"));
    gate.add_permits(10);
    let mut raw = timeout(PATIENCE, sender).await.unwrap().unwrap();
    for _ in 0..10 {
        assert_eq!(word(&raw.receive().await, 6), 0);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_replies_is_not_served_more_of_them() {
    let limits = Limits { connection_bytes_max: 4 << 20, connection_waiting_max: 0, ..Limits::default() };
    let served = serve_with(limits).await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    write(&mut client, &file, 0, &vec![1; 1 << 20], stable_how::UNSTABLE).await;
    let mut raw = served.raw().await;
    for xid in 0..100 {
        raw.send(&read(xid, file.clone(), 1 << 20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = served.view.count("READ");
    assert!(begun < 40, "{begun} reads begun for a client that reads nothing");
    for _ in 0..100 {
        assert_eq!(raw.receive().await.len(), 24 + 4 + 88 + 12 + (1 << 20));
    }
}

#[tokio::test]
async fn a_client_that_takes_no_reply_at_all_is_let_go() {
    let limits = Limits { write_stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let served = serve_with(limits).await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    write(&mut client, &file, 0, &vec![1; 1 << 20], stable_how::UNSTABLE).await;
    let mut raw = served.raw().await;
    let flood = async {
        for xid in 0.. {
            let mut record = read(xid, file.clone(), 1 << 20);
            let mut bytes = mark(record.len()).to_be_bytes().to_vec();
            bytes.append(&mut record);
            if raw.stream.write_all(&bytes).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, flood).await.expect("the connection is never closed");
}

#[tokio::test]
async fn replies_leave_in_the_order_in_which_they_are_ready() {
    let served = serve().await;
    let gate = served.view.hold("READ");
    let mut raw = served.raw().await;
    raw.send(&read(1, handle(1), 10)).await;
    raw.send(&getattr(2)).await;
    assert_eq!(word(&raw.receive().await, 0), 2);
    gate.add_permits(1);
    assert_eq!(word(&raw.receive().await, 0), 1);
}

#[tokio::test]
async fn calls_that_wait_for_something_far_away_do_not_delay_others() {
    let limits = Limits { connection_calls_max: 4, connection_waiting_max: 12, ..Limits::default() };
    let served = serve_with(limits).await;
    let gate = served.view.hold("READ");
    let mut raw = served.raw().await;
    for xid in 0..12 {
        raw.send(&read(xid, root(), 1 << 20)).await;
    }
    raw.send(&getattr(99)).await;
    assert_eq!(word(&raw.receive().await, 0), 99);
    assert_eq!(served.view.count("READ"), 12);
    gate.add_permits(12);
    for _ in 0..12 {
        assert!(word(&raw.receive().await, 0) < 12);
    }
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed_and_working_ones_kept() {
    let short = Duration::from_millis(300);
    let limits = Limits { first_call_timeout: short, record_timeout: short, ..Limits::default() };
    let served = serve_with(limits).await;
    let (mut silent, mut slow, mut slow_large) = (served.raw().await, served.raw().await, served.raw().await);
    let mut working = served.raw().await;
    slow.send_bytes(&words(&[mark(100)])).await;
    slow_large.send_part(&write_call(1, &root(), 1 << 20), 20_000).await;
    working.exchange(&getattr(1)).await;
    assert!(silent.is_closed().await && slow.is_closed().await && slow_large.is_closed().await);
    assert_eq!(word(&working.exchange(&getattr(2)).await, 6), 0);
}

#[tokio::test]
async fn the_time_that_a_record_may_take_stands_still_while_it_waits_for_room() {
    // Room for one record on its way.
    let record_bytes_max = (1 << 20) + (4 << 10);
    let limits = Limits {
        connection_bytes_max: 2 * record_bytes_max,
        total_bytes_max: 4 * record_bytes_max,
        record_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let served = serve_with(limits).await;
    let (file, _) = create(&mut served.client().await, &root(), b"a").await;
    let (mut stalled, mut waiting, mut later) = (served.raw().await, served.raw().await, served.raw().await);
    let mut working = served.raw().await;
    let record = write_call(2, &file, 1 << 20);
    stalled.send_part(&write_call(1, &file, 1 << 20), 20_000).await;
    // By its answer the server has seen what came before it.
    working.exchange(&getattr(1)).await;
    waiting.send_part(&record, 20_000).await;
    working.exchange(&getattr(2)).await;
    later.send_part(&getattr(3), 10).await;
    assert!(later.is_closed().await && stalled.is_closed().await, "more than a second is over");
    waiting.send_bytes(&record[20_000..]).await;
    let reply = waiting.receive().await;
    assert_eq!((word(&reply, 0), word(&reply, 6)), (2, 0));
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed_after_its_time() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
    let served = serve_with(limits).await;
    let mut raw = served.raw().await;
    raw.exchange(&getattr(1)).await;
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_until_others_end() {
    let served = serve_with(Limits { connections_max: 2, ..Limits::default() }).await;
    let (mut first, mut second) = (served.raw().await, served.raw().await);
    first.exchange(&getattr(1)).await;
    second.exchange(&getattr(1)).await;
    assert!(served.raw().await.is_closed().await);
    drop(first);
    let again = async {
        loop {
            let mut raw = served.raw().await;
            raw.send_bytes(&[words(&[mark(40)]), call(3, NFS, 3, 0, &[])].concat()).await;
            if !raw.is_closed().await {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("the place is never given back");
}

#[tokio::test]
async fn one_client_takes_a_quarter_of_the_connections() {
    let served = serve_with(Limits { connections_max: 80, ..Limits::default() }).await;
    let mut open = Vec::new();
    for xid in 0..20 {
        let mut raw = served.raw().await;
        raw.exchange(&getattr(xid)).await;
        open.push(raw);
    }
    assert!(served.raw().await.is_closed().await);
    let mut other = served.raw_from_elsewhere().await;
    assert_eq!(word(&other.exchange(&getattr(20)).await, 6), 0);
}

#[tokio::test]
async fn a_stop_waits_for_calls_in_flight_and_takes_no_more() {
    let served = serve().await;
    let address = served.address();
    let gate = served.view.hold("MKDIR");
    let mut raw = served.raw().await;
    let mut idle = served.raw().await;
    idle.exchange(&getattr(1)).await;
    let mkdir = MKDIR3args { where_: at(&root(), b"d"), attributes: sattr3::default() };
    raw.send(&call(9, NFS, 3, 9, &packed(&mkdir))).await;
    until(|| served.view.count("MKDIR") == 1).await;
    let view = served.view.clone();
    let stopping = tokio::spawn(served.server.stop());
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopping.is_finished());
    gate.add_permits(1);
    assert_eq!(word(&raw.receive().await, 6), 0);
    timeout(PATIENCE, stopping).await.expect("the stop ends").unwrap();
    assert!(view.tree.lock().child(1, b"d").is_ok());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let served = serve_with(Limits { drain_timeout: Duration::from_millis(200), ..Limits::default() }).await;
    let _gate = served.view.hold("GETATTR");
    let mut raw = served.raw().await;
    raw.send(&getattr(1)).await;
    until(|| served.view.count("GETATTR") == 1).await;
    timeout(PATIENCE, served.server.stop()).await.expect("the stop ends");
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn a_panic_in_a_view_costs_one_system_error() {
    let served = serve().await;
    let mut raw = served.raw().await;
    served.view.tree.lock().inodes.remove(&1);
    let lookup = LOOKUP3args { what: at(&handle(2), b"a") };
    served.view.panics.store(true, Ordering::SeqCst);
    let reply = raw.exchange(&call(1, NFS, 3, 3, &packed(&lookup))).await;
    assert_eq!(word(&reply, 5), 5);
    served.view.panics.store(false, Ordering::SeqCst);
    *served.view.tree.lock() = Tree::new();
    assert_eq!(word(&raw.exchange(&getattr(2)).await, 6), 0);
}
