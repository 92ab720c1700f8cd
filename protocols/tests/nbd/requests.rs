//! What volumes do, over the wire.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tidegate_protocols::nbd::NbdLimits;
use tokio::io::AsyncReadExt;

use super::client::{BLOCK_STATUS, CACHE, Client, DF, FLUSH, FUA, NO_HOLE, READ, TRIM, WRITE, WRITE_ZEROES};
use super::serve;

const SIZE: usize = 256 << 10;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>, bool),
    Zero(u64, u64, bool),
    Trim(u64, u64),
    Read(u64, u64, bool),
    Status(u64, u64),
    Other,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..SIZE as u64, 1u64..40_000);
    prop_oneof![
        (0..SIZE as u64, proptest::collection::vec(any::<u8>(), 1..20_000), any::<bool>())
            .prop_map(|(at, data, fua)| Step::Write(at, data, fua)),
        (place(), any::<bool>()).prop_map(|((at, length), keep)| Step::Zero(at, length, keep)),
        place().prop_map(|(at, length)| Step::Trim(at, length)),
        (place(), any::<bool>()).prop_map(|((at, length), whole)| Step::Read(at, length, whole)),
        place().prop_map(|(at, length)| Step::Status(at, length)),
        Just(Step::Other),
    ]
}

async fn run(steps: Vec<Step>, structured: bool) {
    let (server, disk, address) = serve(SIZE, false, NbdLimits::default());
    let mut client = Client::open(address, "disk", structured).await.unwrap();
    let mut other = Client::open(address, "disk", !structured).await.unwrap();
    let mut model = vec![0u8; SIZE];
    let within = |at: u64, length: u64| at..(at + length).min(SIZE as u64);
    for step in steps {
        match step {
            Step::Write(at, mut data, fua) => {
                data.truncate(SIZE - at as usize);
                let before = disk.durable.load(Ordering::Relaxed);
                let flags = if fua { FUA } else { 0 };
                client.done(WRITE, flags, at, data.len() as u32, &data).await.unwrap();
                assert_eq!(disk.durable.load(Ordering::Relaxed) - before, u64::from(fua));
                model[at as usize..at as usize + data.len()].copy_from_slice(&data);
            }
            Step::Zero(at, length, keep) => {
                let range = within(at, length);
                let flags = if keep { NO_HOLE } else { 0 };
                let length = (range.end - range.start) as u32;
                client.done(WRITE_ZEROES, flags, range.start, length, &[]).await.unwrap();
                model[range.start as usize..range.end as usize].fill(0);
            }
            Step::Trim(at, length) => {
                let range = within(at, length);
                client.done(TRIM, 0, range.start, (range.end - range.start) as u32, &[]).await.unwrap();
                model[range.start as usize..range.end as usize].fill(0);
            }
            Step::Read(at, length, whole) => {
                let range = within(at, length);
                let expected = &model[range.start as usize..range.end as usize];
                assert_eq!(client.read(range.clone()).await.unwrap(), expected);
                assert_eq!(other.read(range.clone()).await.unwrap(), expected, "another connection");
                if structured && whole {
                    let reply = client.ask(READ, DF, range.start, expected.len() as u32, &[]).await.unwrap();
                    assert_eq!(reply.data.len() + reply.holes.len(), 1);
                }
            }
            Step::Status(at, length) if structured => {
                let range = within(at, length);
                let length = (range.end - range.start) as u32;
                let reply = client.ask(BLOCK_STATUS, 0, range.start, length, &[]).await.unwrap();
                assert_eq!(reply.stretches.iter().map(|(length, _)| length).sum::<u32>(), length);
                let mut at = range.start as usize;
                for (length, state) in reply.stretches {
                    let hole = model[at..at + length as usize].iter().all(|byte| *byte == 0);
                    assert!(state == 0 || (state == 3 && hole));
                    at += length as usize;
                }
            }
            Step::Status(..) | Step::Other => {
                client.done(FLUSH, 0, 0, 0, &[]).await.unwrap();
                client.done(CACHE, 0, 0, 4096, &[]).await.unwrap();
            }
        }
    }
    server.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_volume_is_what_was_written_whichever_way_it_is_asked(
        steps in proptest::collection::vec(step(), 1..40),
        structured in any::<bool>(),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(steps, structured));
    }
}

#[tokio::test]
async fn errors_have_the_numbers_of_the_specification_and_end_nothing() {
    let (server, _, address) = serve(SIZE, false, NbdLimits::default());
    let (size, mut client) = (SIZE as u64, Client::open(address, "disk", true).await.unwrap());
    assert_eq!(client.ask(READ, 0, size, 1, &[]).await.unwrap().error, 22);
    assert_eq!(client.ask(WRITE, 0, size - 1, 2, &[1, 2]).await.unwrap().error, 28);
    assert_eq!(client.ask(READ, 0x4000, 0, 1, &[]).await.unwrap().error, 22);
    assert_eq!(client.ask(77, 0, 0, 1, &[]).await.unwrap().error, 22);
    assert_eq!(client.ask(READ, 0, 0, 33 << 20, &[]).await.unwrap().error, 22);
    assert_eq!(client.read(0..3).await.unwrap(), [0; 3]);
    server.stop().await;
    let (server, _, address) = serve(SIZE, true, NbdLimits::default());
    let mut client = Client::open(address, "disk", false).await.unwrap();
    assert_ne!(client.flags & 2, 0, "read-only");
    assert_eq!(client.ask(WRITE, 0, 0, 2, &[1, 2]).await.unwrap().error, 1, "and the data was passed over");
    assert_eq!(client.ask(TRIM, 0, 0, 2, &[]).await.unwrap().error, 1);
    assert_eq!(client.read(0..3).await.unwrap(), [0; 3]);
    server.stop().await;
}

#[tokio::test]
async fn what_waits_for_something_far_away_delays_no_other_request() {
    let limits = NbdLimits { requests_max: 4, waiting_max: 8, ..NbdLimits::default() };
    let (server, disk, address) = serve(SIZE, false, limits);
    let mut client = Client::open(address, "disk", false).await.unwrap();
    client.write(0, b"near").await.unwrap();
    disk.far.store(true, Ordering::Relaxed);
    let mut far = Vec::new();
    for _ in 0..6 {
        far.push(client.send(READ, 0, 0, 4, &[]).await.unwrap());
    }
    let flush = client.send(FLUSH, 0, 0, 0, &[]).await.unwrap();
    assert_eq!(client.reply(flush, 0).await.unwrap().error, 0, "though more wait than may be in flight");
    disk.gate.add_permits(6);
    let mut answered = Vec::new();
    for _ in 0..6 {
        let mut reply = [0; 20];
        client.stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply[16..], b"near");
        answered.push(u64::from_be_bytes(reply[8..16].try_into().unwrap()));
    }
    answered.sort_unstable();
    assert_eq!(answered, far);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let (server, disk, address) = serve(SIZE, false, NbdLimits::default());
    let mut client = Client::open(address, "disk", false).await.unwrap();
    disk.far.store(true, Ordering::Relaxed);
    let read = client.send(READ, 0, 0, 4, &[]).await.unwrap();
    let flush = client.send(FLUSH, 0, 0, 0, &[]).await.unwrap();
    client.reply(flush, 0).await.unwrap();
    let stopping = tokio::spawn(server.stop());
    disk.gate.add_permits(1);
    assert_eq!(client.reply(read, 4).await.unwrap().data[0].1, [0; 4]);
    stopping.await.unwrap();
    assert!(client.flush().await.is_err(), "closed");
}

#[tokio::test]
async fn a_large_request_goes_both_ways() {
    let (server, disk, address) = serve(40 << 20, false, NbdLimits::default());
    let mut client = Client::open(address, "disk", false).await.unwrap();
    let data: Vec<u8> = (0..32u32 << 20).map(|at| (at % 251) as u8).collect();
    client.write(5, &data).await.unwrap();
    assert_eq!(disk.bytes.lock().0[5..5 + data.len()], data);
    assert_eq!(client.read(5..5 + data.len() as u64).await.unwrap(), data);
    server.stop().await;
}
