//! Clients that are slow, silent, many, cut off or not speaking HTTP; and a stop in the middle.

use std::time::{Duration, Instant};

use tidegate_protocols::s3::S3Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Harness;
use crate::raw::{Request, UNSIGNED, read_answer, sha256};

fn impatient() -> S3Limits {
    S3Limits { body_silence_timeout: Duration::from_millis(300), ..S3Limits::default() }
}

#[tokio::test]
async fn a_body_that_is_cut_short_leaves_nothing() {
    let harness = Harness::start().await;
    harness.put("key", "before").await;
    for payload in [UNSIGNED, &sha256(b"hello world")] {
        let put = Request::new("PUT", "/bucket/key", "").body("hello world").sign(payload).cut(4);
        let mut stream = TcpStream::connect(harness.address).await.unwrap();
        let sent = [put.head(), b"hello w".to_vec()].concat();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(harness.get("key").await, b"before");
    }
    let chunked = Request::new("PUT", "/bucket/key", "")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("x-amz-decoded-content-length", "9")
        .body("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n")
        .sign("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    assert_eq!(chunked.send(harness.address).await.error(), (400, "IncompleteBody"));
    assert_eq!(harness.get("key").await, b"before");
}

#[tokio::test]
async fn a_silent_sender_is_told_so() {
    let harness = Harness::start_with(impatient()).await;
    let document = Request::new("POST", "/bucket", "delete=").body("<Delete>");
    for request in [Request::new("PUT", "/bucket/key", "").body("hello"), document] {
        let mut stream = TcpStream::connect(harness.address).await.unwrap();
        let request = request.sign(UNSIGNED);
        stream.write_all(&request.head()).await.unwrap();
        stream.write_all(b"<D").await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert_eq!(answer.error(), (400, "RequestTimeout"));
    }
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn a_slow_sender_arrives_and_delays_nobody() {
    let harness = Harness::start_with(impatient()).await;
    let body = vec![b'x'; 20];
    let put = Request::new("PUT", "/bucket/slow", "").body(body.clone()).sign(UNSIGNED);
    let mut slow = TcpStream::connect(harness.address).await.unwrap();
    slow.write_all(&put.header("connection", "close").head()).await.unwrap();
    for piece in body.chunks(1) {
        slow.write_all(piece).await.unwrap();
        let started = Instant::now();
        harness.put("fast", "x").await;
        assert!(started.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(read_answer(&mut slow).await.status, 200);
    assert_eq!(harness.get("slow").await, body);
}

#[tokio::test]
async fn two_thousand_idle_connections_are_no_burden() {
    const CONNECTIONS: usize = 2000;
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if open_files.current.is_some_and(|most| most < 2 * CONNECTIONS as u64 + 200) {
        eprintln!("passed over: {open_files:?} open files are too few");
        return;
    }
    let harness = Harness::start().await;
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(harness.address).await.unwrap();
        // Some have asked before, some have begun a head, most are silent.
        if number % 100 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        } else if number % 100 == 1 {
            stream.write_all(b"GET / HT").await.unwrap();
        }
        idle.push(stream);
    }
    let started = Instant::now();
    harness.put("key", vec![1; 100_000]).await;
    assert_eq!(harness.get("key").await.len(), 100_000);
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(idle);
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_closed() {
    let harness = Harness::start_with(S3Limits { connections_max: 2, ..S3Limits::default() }).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(harness.address).await.unwrap());
    }
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(5), streams[2].read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
    drop(streams);
    tokio::time::sleep(Duration::from_millis(100)).await;
    harness.put("key", "there is room again").await;
}

#[tokio::test]
async fn idle_connections_end_after_their_time() {
    let limits = S3Limits { idle_timeout: Duration::from_millis(200), ..S3Limits::default() };
    let harness = Harness::start_with(limits).await;
    for sent in [&b""[..], b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(harness.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        read_answer(&mut stream).await;
    }
}

#[tokio::test]
async fn a_connection_carries_one_request_after_another() {
    let harness = Harness::start().await;
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    let put = Request::new("PUT", "/bucket/key", "").body("hello").sign(UNSIGNED);
    let get = Request::new("GET", "/bucket/key", "").sign(UNSIGNED);
    let missing = Request::new("GET", "/bucket/absent", "").sign(UNSIGNED).header("connection", "close");
    let all = [put.head(), b"hello".to_vec(), get.head(), missing.head()].concat();
    stream.write_all(&all).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let statuses: Vec<&str> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404"]);
}

#[tokio::test]
async fn heads_have_a_bound() {
    let harness = Harness::start_with(S3Limits { header_bytes_max: 8192, ..S3Limits::default() }).await;
    let get = Request::new("GET", "/bucket/key", "").header("x-long", &"l".repeat(10_000)).sign(UNSIGNED);
    assert_eq!(get.send(harness.address).await.status, 431);
    let many = "<Object><Key>k</Key></Object>".repeat(400_000);
    let document = Request::new("POST", "/bucket", "delete=").body(format!("<Delete>{many}</Delete>"));
    let answer = document.sign(UNSIGNED).send(harness.address).await;
    assert_eq!(answer.error(), (400, "MaxMessageLengthExceeded"));
    let malformed = Request::new("POST", "/bucket", "delete=").body("<Delete><Obj").sign(UNSIGNED);
    assert_eq!(malformed.send(harness.address).await.error(), (400, "MalformedXML"));
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "").body("hello").sign(UNSIGNED);
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    let mut idle = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(&put.head()).await.unwrap();
    stream.write_all(b"he").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let address = harness.address;
    let stop = tokio::spawn(harness.server.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stop.is_finished());
    assert!(TcpStream::connect(address).await.is_err());
    stream.write_all(b"llo").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    tokio::time::timeout(Duration::from_secs(5), stop).await.unwrap().unwrap();
    assert!(matches!(idle.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(harness.memory.objects(), 1);
}
