//! Goal: clients that mean harm, or do not know what they are talking to, cost others nothing and the
//! server little. Method: each does its worst on a real connection while an honest client is served.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nfs3_types::nfs3::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_protocols::Limits;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::harness::{
    MOUNT, NFS, PATIENCE, Raw, Served, call, create, mark, packed, root, serve, serve_with, until, word,
    words, write, write_call,
};

const MIB: usize = 1 << 20;

fn getattr(xid: u32) -> Vec<u8> {
    call(xid, NFS, 3, 1, &packed(&GETATTR3args { object: root() }))
}

/// An honest client asks so often and gets its answers.
async fn is_served(served: &Served, calls: u32) {
    let mut honest = served.raw().await;
    for xid in 0..calls {
        assert_eq!(word(&honest.exchange(&getattr(xid)).await, 6), 0);
    }
}

#[tokio::test]
async fn greetings_of_other_protocols_end_their_connection() {
    let served = serve().await;
    let tls = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 506]].concat();
    let greetings: [(&str, &[u8]); 6] = [
        ("TLS", &tls),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: files\r\n\r\n"),
        ("HTTP version 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("SMB", b"\x00\x00\x00\x2f\xffSMB\x72\x00\x00\x00\x00\x18\x01\x28 and so on for a while until it is long enough"),
        ("noise", b"\x81\x5a\xd7\x33\x01\x02\x03"),
    ];
    for (what, greeting) in greetings {
        let mut raw = served.raw().await;
        raw.send_bytes(greeting).await;
        assert!(raw.is_closed().await, "{what}");
    }
    is_served(&served, 1).await;
}

#[tokio::test]
async fn a_record_that_comes_byte_by_byte_has_no_longer_than_one_that_does_not() {
    let limits = Limits { record_timeout: Duration::from_millis(300), ..Limits::default() };
    let served = serve_with(limits).await;
    let mut raw = served.raw().await;
    let started = Instant::now();
    let trickle = async {
        raw.send_bytes(&words(&[mark(MIB)])).await;
        while raw.stream.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("it may go on for ever");
    assert!(started.elapsed() >= Duration::from_millis(300));
    is_served(&served, 1).await;
}

#[tokio::test]
async fn halves_of_large_records_keep_nobody_from_being_served() {
    // Room for four records, of which records on their way may take half, and those of one client half of that.
    let record_bytes_max = MIB + (4 << 10);
    let limits = Limits {
        connection_bytes_max: 2 * record_bytes_max,
        total_bytes_max: 8 * record_bytes_max,
        record_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let served = serve_with(limits).await;
    let mut halves = Vec::new();
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    for xid in 0..10 {
        let mut raw = served.raw().await;
        raw.send_part(&write_call(xid, &file, MIB), MIB / 2).await;
        halves.push(raw);
    }
    is_served(&served, 50).await;
    // A large record of an honest client waits for its turn behind the halves, and gets it.
    let data = vec![1; MIB];
    let large = write(&mut client, &file, 0, &data, stable_how::UNSTABLE);
    assert_eq!(timeout(PATIENCE, large).await.expect("its turn comes").count, MIB as u32);
    for half in &mut halves {
        assert!(half.is_closed().await, "half a record is not waited for");
    }
}

#[tokio::test]
async fn one_client_that_leaves_its_records_unfinished_keeps_no_other_from_writing() {
    // Room for 21 records on their way. Nobody here waits for as long as one may take.
    let record_bytes_max = MIB + (4 << 10);
    let limits = Limits {
        connection_bytes_max: 2 * record_bytes_max,
        total_bytes_max: 84 * record_bytes_max,
        ..Limits::default()
    };
    let served = serve_with(limits).await;
    let (file, _) = create(&mut served.client().await, &root(), b"a").await;
    let mut stalled = Vec::new();
    for xid in 0..25 {
        let mut raw = served.raw().await;
        raw.send_part(&write_call(xid, &file, MIB), 20_000).await;
        stalled.push(raw);
    }
    is_served(&served, 50).await;
    let mut other = served.raw_from_elsewhere().await;
    let reply = other.exchange(&write_call(99, &file, MIB)).await;
    assert_eq!((word(&reply, 0), word(&reply, 6)), (99, 0));
}

#[tokio::test]
async fn a_long_record_that_is_no_write_is_not_waited_for() {
    let served = serve().await;
    let of = |program, version, procedure| call(1, program, version, procedure, &vec![0; MIB]);
    let records = [
        ("noise", vec![0xaa; MIB]),
        ("zeros", vec![0; MIB]),
        ("another version of RPC", [words(&[1, 0, 3, NFS, 3, 7]), vec![0; MIB]].concat()),
        (
            "a credential that is longer than may be",
            [words(&[1, 0, 2, NFS, 3, 7, 1, 4000]), vec![0; MIB]].concat(),
        ),
        ("GETATTR", of(NFS, 3, 1)),
        ("READ", of(NFS, 3, 6)),
        ("a procedure that there is not", of(NFS, 3, 99)),
        ("WRITE of version 2", of(NFS, 2, 8)),
        ("MNT", of(MOUNT, 3, 1)),
        ("a program that is not served", of(7, 3, 7)),
    ];
    for (what, record) in records {
        let mut raw = served.raw().await;
        raw.send_part(&record, 20_000).await;
        assert!(raw.is_closed().await, "{what}");
    }
    is_served(&served, 1).await;
}

#[tokio::test]
async fn clients_that_read_no_reply_slow_nobody_and_are_not_served_on() {
    let limits = Limits { connection_bytes_max: 8 * MIB, connection_waiting_max: 0, ..Limits::default() };
    let served = serve_with(limits).await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    write(&mut client, &file, 0, &vec![1; MIB], stable_how::UNSTABLE).await;
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut raw = served.raw().await;
        for xid in 0..200 {
            let arguments = READ3args { file: file.clone(), offset: 0, count: MIB as u32 };
            raw.send(&call(xid, NFS, 3, 6, &packed(&arguments))).await;
        }
        deaf.push(raw);
    }
    let mut begun = 0;
    until(|| std::mem::replace(&mut begun, served.view.count("READ")) == begun && begun > 0).await;
    is_served(&served, 500).await;
    let after = served.view.count("READ");
    // Eight in flight each, and what the sockets of both sides hold.
    assert!(after < 4 * 40, "{after} reads begun for clients that read nothing");
    for raw in &mut deaf {
        assert_eq!(raw.receive().await.len(), 24 + 4 + 88 + 12 + MIB, "whoever reads at last is answered");
    }
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Lets this process open so many files, or as many as it may; answers how many.
fn open_files_max(wanted: u64) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let most = maximum.map(|most| most.max(wanted));
        // Only the superuser may raise the maximum.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: most }).is_err() {
            let soft = maximum.map_or(wanted, |most| most.min(wanted));
            setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum }).unwrap();
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted) as usize
}

const CONNECTIONS: usize = 10_000;
/// Where [`clients_in_another_process`] connects to. A process of their own, so that each opens half of the files.
const CLIENTS_OF: &str = "TIDEGATE_TEST_CLIENTS_OF";

/// Not a claim: the clients of the next one, until their standard input ends.
#[test]
fn clients_in_another_process() {
    let Ok(address) = std::env::var(CLIENTS_OF) else { return };
    let count = CONNECTIONS.min(open_files_max(CONNECTIONS as u64 + 500) - 500);
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        match number % 3 {
            // Some say nothing, some announce a large record, some send a part of a small one.
            0 => {}
            1 => stream.write_all(&words(&[mark(MIB)])).unwrap(),
            _ => stream.write_all(&words(&[mark(40), 1, 0])).unwrap(),
        }
        connections.push(stream);
    }
    println!("\nconnected {count}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Has them connect; answers them, how many connections they have, and what is to be kept for as long as they live: they say
/// more when they end.
fn clients_of(address: SocketAddr) -> (Child, usize, BufReader<ChildStdout>) {
    let mut clients = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::clients_in_another_process", "--nocapture"])
        .env(CLIENTS_OF, address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(clients.stdout.take().unwrap());
    let count = |line: std::io::Result<String>| line.unwrap().strip_prefix("connected ")?.parse().ok();
    let count = said.by_ref().lines().find_map(count).expect("they connect");
    (clients, count, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_cost_little_memory_and_others_are_served() {
    const BYTES_PER_CONNECTION_MAX: usize = 16 << 10;
    // A client has a quarter of the places.
    let served = serve_with(Limits { connections_max: 5 * CONNECTIONS, ..Limits::default() }).await;
    let _ = open_files_max(CONNECTIONS as u64 + 500);
    let before = resident_bytes();
    let address = served.address();
    let connecting = tokio::task::spawn_blocking(move || clients_of(address));
    let (mut clients, count, _said) = timeout(PATIENCE, connecting).await.expect("in time").unwrap();
    if count < CONNECTIONS {
        let why = format!("{count} connections instead of {CONNECTIONS}: too few files may be open");
        assert!(std::env::var_os("TIDEGATE_NIGHTLY").is_none(), "a nightly run leaves nothing out: {why}");
        println!("silent connections: {why}");
    }
    timeout(PATIENCE, is_served(&served, 100)).await.expect("others are served");
    let grown = resident_bytes().saturating_sub(before);
    println!("{count} silent connections, {} bytes each", grown / count);
    assert!(grown / count < BYTES_PER_CONNECTION_MAX, "{} bytes each", grown / count);
    drop(clients.stdin.take());
    assert!(clients.wait().unwrap().success());
    timeout(PATIENCE, served.server.stop()).await.expect("the stop ends");
}

#[tokio::test]
async fn credentials_as_long_as_they_may_be_cost_no_more_than_they_say() {
    let served = serve().await;
    let mut raw = Raw::connect(served.address()).await;
    let groups: Vec<u32> = (0..16).collect();
    let body = [words(&[0, 255]), vec![b'm'; 256], words(&[1000, 100, 16]), words(&groups)].concat();
    let header = words(&[9, 0, 2, NFS, 3, 0, 1, body.len() as u32]);
    let reply = raw.exchange(&[header, body, words(&[0, 0])].concat()).await;
    assert_eq!((word(&reply, 0), word(&reply, 5)), (9, 0));
}
