//! Whatever a client sends, the server neither panics nor hangs, and others are served.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_protocols::nbd::NbdLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Client;
use super::serve;

fn limits() -> NbdLimits {
    NbdLimits {
        handshake_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(2),
        ..NbdLimits::default()
    }
}

/// Bytes that are nearly what the protocol says: known beginnings, then chance.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let chance = proptest::collection::vec(any::<u8>(), 0..80);
    let option = (0u32..13, any::<Option<u8>>(), chance.clone()).prop_map(|(number, length, data)| {
        let length = length.map_or(data.len() as u32, u32::from);
        [&b"IHAVEOPT"[..], &number.to_be_bytes(), &length.to_be_bytes(), &data].concat()
    });
    let go = Just(
        [&b"IHAVEOPT"[..], &7u32.to_be_bytes(), &10u32.to_be_bytes(), &4u32.to_be_bytes(), b"disk", &[0; 2]]
            .concat(),
    );
    let request = (any::<[u8; 24]>(), chance.clone()).prop_map(|(mut head, data)| {
        let likely = [0, head[1] & 31, 0, head[3] & 7];
        head[..4].copy_from_slice(&likely);
        [&0x2560_9513u32.to_be_bytes()[..], &head, &data].concat()
    });
    prop_oneof![3 => option, 2 => go, 3 => request, 1 => chance]
}

async fn send(pieces: Vec<Vec<u8>>) {
    let (server, _, address) = serve(64 << 10, false, limits());
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may end it at any point.
    let _ = stream.write_all(&[&3u32.to_be_bytes()[..], &pieces.concat()].concat()).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection hangs");
    let mut client = Client::open(address, "disk", true).await.expect("others are served");
    client.read(0..4).await.unwrap();
    server.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn no_bytes_do_harm(pieces in proptest::collection::vec(nearly(), 0..8)) {
        tokio::runtime::Runtime::new().unwrap().block_on(send(pieces));
    }
}

#[tokio::test]
async fn promises_of_data_end_connections_and_take_no_memory() {
    let (server, _, address) = serve(64 << 10, false, limits());
    // An option that says it is longer than any may be.
    let mut client = Client::greet(address).await.unwrap();
    client
        .stream
        .write_all(&[&b"IHAVEOPT"[..], &[0, 0, 0, 3], &u32::MAX.to_be_bytes()].concat())
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    // A write that says it is longer than any may be.
    let mut client = Client::open(address, "disk", false).await.unwrap();
    client.send(1, 0, 0, u32::MAX, &[]).await.unwrap();
    let _ = client.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    // Many that promise much and send nothing leave room for others.
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut client = Client::open(address, "disk", false).await.unwrap();
        client.send(1, 0, 0, 32 << 20, &[1]).await.unwrap();
        silent.push(client);
    }
    let mut client = Client::open(address, "disk", false).await.unwrap();
    assert_eq!(client.read(0..4).await.unwrap(), [0; 4]);
    client.write(0, b"small").await.unwrap();
    // And they are ended.
    let _ = silent[0].stream.read_to_end(&mut rest).await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_does_not_choose_in_time_is_let_go() {
    let limits = NbdLimits { handshake_timeout: Duration::from_millis(50), ..limits() };
    let (server, _, address) = serve(64 << 10, false, limits);
    let mut client = Client::greet(address).await.unwrap();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    server.stop().await;
}
