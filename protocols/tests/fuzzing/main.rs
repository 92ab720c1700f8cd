//! Goal: no bytes make the server panic, hang, allocate beyond its limits, or answer something that is
//! no reply.
//!
//! Method: the functions that are fuzzed (`targets/`, shared with `fuzz/`) are fed with calls of every
//! procedure that were damaged by a generator with a seed, and so is a real server on a socket. An
//! allocator that counts by thread measures what each call takes. A seed is printed, and accepted in the
//! environment variable TIDEGATE_SEED. The fuzz targets go on where this ends.

#![allow(clippy::unwrap_used)]

mod generator;
#[allow(unreachable_pub)]
mod targets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_protocols::NfsServer;
use tidegate_protocols::rpc::GRANT_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::generator::Chance;
use self::targets::{DumbView, RECORD_BYTES_MAX, Server, check_reply};

/// What has a bound of time does not wait for its neighbours' work.
static ALONE: Mutex<()> = Mutex::const_new(());

const CALLS: usize = 400_000;
/// So many calls go to one server, so that what it remembers stays small beside what is measured.
const CALLS_PER_SERVER: usize = 64;
const STREAMS: usize = 40_000;
const CONNECTIONS: usize = 300;
/// What a call may take beside its announced reply: its handlers, and the memory of answers.
const CALL_BYTES_MAX: usize = 32 << 10;
/// What record marking may take beside a record, whose buffer may become twice as long when it grows and is
/// counted beside the new one while it is copied.
const MARKING_BYTES_MAX: usize = 3 * RECORD_BYTES_MAX + 4 * GRANT_BYTES;
/// No call takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the memory of this thread grew while `work` ran on it, at the most.
fn most_bytes_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let mut result = None;
    let memory = allocation_counter::measure(|| result = Some(work()));
    (result.expect("it ran"), usize::try_from(memory.bytes_max).expect("memory has an address"))
}

#[test]
fn the_measure_of_memory_sees_what_is_given_back() {
    let _alone = ALONE.blocking_lock();
    let ((), bytes) = most_bytes_of(|| drop(std::hint::black_box(vec![1_u8; 1 << 20])));
    assert!((1 << 20..2 << 20).contains(&bytes), "{bytes} bytes seen");
}

#[test]
fn damaged_calls_get_a_reply_or_nothing_within_their_time_and_memory() {
    let _alone = ALONE.blocking_lock();
    let mut chance = Chance::announced("calls");
    let (mut server, mut answered, mut most_bytes) = (Server::default(), 0, 0);
    for number in 0..CALLS {
        if number % CALLS_PER_SERVER == 0 {
            server = Server::default();
        }
        let bytes = chance.record();
        let record = Bytes::from(bytes.clone());
        let started = Instant::now();
        let (reply, taken) = most_bytes_of(|| server.receive(record));
        assert!(started.elapsed() < PATIENCE, "{:?} for {bytes:02x?}", started.elapsed());
        let announced = reply.as_ref().map_or(0, |(_, most)| *most);
        assert!(taken <= announced + CALL_BYTES_MAX, "{taken} bytes taken for {bytes:02x?}");
        most_bytes = most_bytes.max(taken);
        if let Some((reply, most)) = reply {
            check_reply(&bytes, reply, most);
            answered += 1;
        }
    }
    println!("{answered} of {CALLS} calls were answered; the largest took {most_bytes} bytes");
    assert!(answered > CALLS / 2, "most of the calls get to where they are decoded");
}

#[test]
fn headers_and_arguments_of_noise_do_no_harm() {
    let _alone = ALONE.blocking_lock();
    let mut chance = Chance::announced("noise");
    let server = Server::default();
    for number in 0..CALLS / 4 {
        let length = chance.below(200);
        let bytes = chance.bytes(length);
        targets::header(&bytes);
        server.arguments(number, &bytes);
    }
}

#[test]
fn damaged_streams_are_cut_into_records_within_the_limit() {
    let _alone = ALONE.blocking_lock();
    let mut chance = Chance::announced("streams");
    let mut most_bytes = 0;
    for _ in 0..STREAMS {
        let stream = chance.stream();
        let cuts: Vec<u16> = (0..chance.below(20)).map(|_| chance.below(20_000) as u16).collect();
        let ((), taken) = most_bytes_of(|| targets::records(&stream, &cuts));
        assert!(taken <= MARKING_BYTES_MAX, "{taken} bytes for a stream of {}", stream.len());
        most_bytes = most_bytes.max(taken);
    }
    println!("the largest stream took {most_bytes} bytes");
}

#[tokio::test]
async fn a_server_is_healthy_after_damaged_streams() {
    let _alone = ALONE.lock().await;
    let mut chance = Chance::announced("connections");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = NfsServer::builder(Arc::new(DumbView)).nfs_address(any).start().await.unwrap();
    let address = server.addresses().nfs[0];
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may have closed it in the middle.
        let _ = stream.write_all(&chance.stream()).await;
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let null: Vec<u8> = [0x8000_0028, 5, 0, 2, 100_003, 3, 0, 0, 0, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_be_bytes())
        .collect();
    stream.write_all(&null).await.unwrap();
    let mut reply = [0; 28];
    timeout(PATIENCE, stream.read_exact(&mut reply)).await.expect("an answer").unwrap();
    assert_eq!(reply[4..8], [0, 0, 0, 5], "the xid of the call");
    assert_eq!(reply[24..], [0; 4], "it succeeded");
    timeout(PATIENCE, server.stop()).await.expect("the stop ends");
}
