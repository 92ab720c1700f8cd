//! Claims about packets that make no sense.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_integration::chance::Chance;
use tidegate_integration::nfs::Nfs;

use super::Place;

/// How long a connection may stay without an answer to what can still become a record.
const SILENCE: Duration = Duration::from_millis(300);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

const NFS: u32 = 100_003;
const MOUNT: u32 = 100_005;

/// What a packet must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Closed,
    /// The server waits for the rest.
    Open,
}

/// A record with one fragment.
fn record(body: &[u8]) -> Vec<u8> {
    [&(0x8000_0000 | body.len() as u32).to_be_bytes(), body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A call without credentials, and bytes in the place of its arguments.
fn call(program: u32, version: u32, procedure: u32, arguments: &[u8]) -> Vec<u8> {
    let head = words(&[7, 0, 2, program, version, procedure, 0, 0, 0, 0]);
    record(&[&head, arguments].concat())
}

fn send(address: SocketAddr, packet: &[u8]) -> Outcome {
    let mut stream = TcpStream::connect(address).expect("the server lives");
    // It may close before all of it is sent.
    let _ = stream.write_all(packet);
    stream.set_read_timeout(Some(SILENCE)).expect("a socket");
    let mut head = [0; 4];
    match stream.read(&mut head) {
        Ok(0) => Outcome::Closed,
        Ok(_) => Outcome::Answered,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Outcome::Open,
        Err(_) => Outcome::Closed,
    }
}

/// Packets of which it is known what they must lead to.
fn packets() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    use Outcome::{Answered, Closed, Open};
    vec![
        ("half a record mark", vec![0x80, 0], Open),
        ("a record that does not come", 0x8000_0100_u32.to_be_bytes().to_vec(), Open),
        ("a record of 2 GiB", u32::MAX.to_be_bytes().to_vec(), Closed),
        ("an empty record", record(b""), Closed),
        ("a record that ends in the head", record(&words(&[7, 0, 2])), Closed),
        ("a reply", record(&words(&[7, 1, 0, 0, 0, 0])), Closed),
        ("another version of RPC", record(&words(&[7, 0, 3, NFS, 3, 0, 0, 0, 0, 0])), Answered),
        ("another program", call(4711, 1, 0, b""), Answered),
        ("another version of NFS", call(NFS, 4, 0, b""), Answered),
        ("a procedure that there is not", call(NFS, 3, 99, b""), Answered),
        ("a handle of 4 GiB", call(NFS, 3, 1, &u32::MAX.to_be_bytes()), Answered),
        ("a handle of nothing", call(NFS, 3, 1, &0_u32.to_be_bytes()), Answered),
        ("a path of 4 GiB", call(MOUNT, 3, 1, &u32::MAX.to_be_bytes()), Answered),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_without_sense_are_answered_or_end_their_connection_and_nothing_else() {
    let mut chance = Chance::announced("packets");
    let mut place = Place::used().await;
    place.gateway.start();
    let address = place.gateway.address();
    let mut nfs = Nfs::connect(address).await;
    for (what, packet, wanted) in packets() {
        let outcome = tokio::task::spawn_blocking(move || send(address, &packet));
        assert_eq!(outcome.await.expect("sending does not panic"), wanted, "{what}");
    }
    for procedure in 0..22 {
        let length = chance.below(300) as usize;
        let packet = call(NFS, 3, procedure, &chance.bytes(length));
        let outcome = tokio::task::spawn_blocking(move || send(address, &packet));
        assert_eq!(
            outcome.await.expect("sending does not panic"),
            Outcome::Answered,
            "procedure {procedure}"
        );
    }
    let file = nfs.find(b"file").await.expect("a connection that was open before goes on");
    assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), b"content");
    let again = tokio::time::timeout(ANSWER_MAX, Nfs::connect(address)).await.expect("an answer");
    assert_eq!(again.root(), nfs.root());
    assert!(place.gateway.stop().success(), "it stops well:\n{}", place.gateway.log());
    assert!(!place.gateway.log().contains("panicked"), "{}", place.gateway.log());
}
