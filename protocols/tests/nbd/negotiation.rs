//! What is said before the first request.

use std::io;
use std::sync::Arc;

use tidegate_protocols::nbd::{NbdLimits, NbdServer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::client::Client;
use super::memory::{Memory, Shelf};
use super::serve;

const ERR_UNSUP: u32 = (1 << 31) | 1;
const ERR_POLICY: u32 = (1 << 31) | 2;
const ERR_INVALID: u32 = (1 << 31) | 3;
const ERR_UNKNOWN: u32 = (1 << 31) | 6;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

#[tokio::test]
async fn volumes_are_listed_and_described() {
    let (server, _, address) = serve(1 << 20, false, NbdLimits::default());
    let mut client = Client::greet(address).await.unwrap();
    let listed = client.option(3, &[]).await.unwrap();
    assert_eq!(listed, [(2, [text("disk"), b"a disk of tests".to_vec()].concat()), (1, Vec::new())]);
    let wanted = [text(""), vec![0, 2, 0, 1, 0, 2]].concat();
    let facts: Vec<Vec<u8>> =
        client.option(6, &wanted).await.unwrap().into_iter().map(|(_, data)| data).collect();
    assert!(facts.contains(&[&[0, 1][..], b"disk"].concat()), "the name behind the empty one");
    assert!(facts.contains(&[&[0, 2][..], b"a disk of tests"].concat()));
    let sizes =
        [&[0, 3][..], &1u32.to_be_bytes(), &4096u32.to_be_bytes(), &(32u32 << 20).to_be_bytes()].concat();
    assert!(facts.contains(&sizes));
    client.go("disk", true).await.unwrap();
    assert_eq!(client.size, 1 << 20);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_and_the_client_may_go_on() {
    let (server, _, address) = serve(1 << 20, false, NbdLimits::default());
    let mut client = Client::greet(address).await.unwrap();
    for (option, data, error) in [
        (4242, b"what".to_vec(), ERR_UNSUP),
        (11, Vec::new(), ERR_UNSUP),
        (5, Vec::new(), ERR_POLICY),
        (7, [text("none"), vec![0, 0]].concat(), ERR_UNKNOWN),
        (7, vec![0, 0, 0, 9], ERR_INVALID),
        (10, [text("disk"), vec![0; 4]].concat(), ERR_INVALID),
    ] {
        let replies = client.option(option, &data).await.unwrap();
        assert_eq!(replies.last().map(|(kind, _)| *kind), Some(error), "option {option}");
    }
    client.go("disk", false).await.unwrap();
    assert_eq!(client.read(0..4).await.unwrap(), [0; 4]);
    server.stop().await;
}

#[tokio::test]
async fn a_context_holds_for_the_volume_that_it_was_chosen_for() {
    let (server, _, address) = serve(1 << 20, false, NbdLimits::default());
    let mut client = Client::greet(address).await.unwrap();
    client.option(8, &[]).await.unwrap();
    let query = [text(""), 1u32.to_be_bytes().to_vec(), text("base:allocation")].concat();
    assert_eq!(client.option(10, &query).await.unwrap().len(), 2);
    let listed = client.option(9, &[text("disk"), vec![0; 4]].concat()).await.unwrap();
    assert_eq!(listed[0].1, [&0u32.to_be_bytes()[..], b"base:allocation"].concat());
    client.go("disk", false).await.unwrap();
    client.structured = true;
    let status = client.ask(super::client::BLOCK_STATUS, 0, 0, 4096, &[]).await.unwrap();
    assert_eq!(status.error, 22, "it was chosen for another name");
    server.stop().await;
}

#[tokio::test]
async fn the_old_way_to_choose_works_with_and_without_zeros() {
    let (server, _, address) = serve(1 << 20, false, NbdLimits::default());
    for (flags, zeros) in [(1u32, 124), (3, 0)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut hello = [0; 18];
        stream.read_exact(&mut hello).await.unwrap();
        let choose = [&flags.to_be_bytes()[..], b"IHAVEOPT", &1u32.to_be_bytes(), &text("disk")].concat();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &choose).await.unwrap();
        assert_eq!(stream.read_u64().await.unwrap(), 1 << 20);
        let flags = stream.read_u16().await.unwrap();
        assert_eq!(flags & (1 << 7), 0, "no DF without structured replies");
        assert_ne!(flags & (1 << 8), 0, "several connections");
        stream.read_exact(&mut vec![0; zeros]).await.unwrap();
        let mut client = Client::over(stream);
        assert_eq!(client.read(0..4).await.unwrap(), [0; 4]);
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_may_use_nothing_gets_no_byte() {
    let view = Arc::new(Shelf { disk: Memory::new(512, false), admits: false });
    let server = NbdServer::builder(view).address(([127, 0, 0, 1], 0).into()).start().unwrap();
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    let mut all = Vec::new();
    match stream.read_to_end(&mut all).await {
        Ok(_) => assert!(all.is_empty()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    server.stop().await;
}
