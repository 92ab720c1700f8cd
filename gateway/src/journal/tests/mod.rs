//! The claims of the journal, on a disk that fails.
//!
//! This file holds what they share; the claims stand in the files beside it.

mod basics;
mod damage;
mod faults;
mod power;

use bytes::Bytes;
use tokio::runtime::Runtime;

use super::fault_disk::{FaultDisk, Random};
use super::*;

fn options() -> Options {
    Options { segment_bytes: 40_000, buffer_bytes: 30_000, unsynced_bytes: 20_000, ..Options::default() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn open(disk: &FaultDisk) -> Result<(Journal, Replay), JournalError> {
    Journal::open_on(Arc::new(disk.clone()), options())
}

fn bytes(length: usize, seed: u64) -> Bytes {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect::<Vec<u8>>().into()
}

/// What was appended, as the test remembers it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    batch: Bytes,
    payload: Bytes,
    position: Position,
}

fn known(number: u64, batch: usize, payload: usize, position: Position) -> Known {
    Known { batch: bytes(batch, number * 2), payload: bytes(payload, number * 2 + 1), position }
}

async fn try_append(
    journal: &Journal,
    batch: usize,
    payload: usize,
) -> Result<(Appended, Known), JournalError> {
    let permit = journal.reserve((batch + payload) as u64).await?;
    let number = journal.appended_sequence().next().0;
    let mut known = known(number, batch, payload, Position { segment: 0, offset: 0 });
    let parts = [known.payload.slice(..payload / 3), known.payload.slice(payload / 3..)];
    let appended = journal.append(permit, &known.batch, &parts)?;
    assert_eq!(appended.sequence.0, number);
    known.position = appended.position;
    Ok((appended, known))
}

async fn append(journal: &Journal, batch: usize, payload: usize) -> (Appended, Known) {
    try_append(journal, batch, payload).await.expect("appended")
}

/// Appends `count` records and waits for them.
async fn fill(journal: &Journal, count: usize) -> Vec<Known> {
    let mut records = Vec::new();
    for _ in 0..count {
        let (appended, record) = append(journal, 100, 5000).await;
        journal.durable(appended.sequence).await.expect("durable");
        records.push(record);
    }
    records
}

fn replayed(replay: &Replay) -> Vec<(Sequence, Bytes, Position, u32)> {
    replay
        .from(replay.oldest())
        .expect("replay")
        .map(|record| record.expect("a whole record"))
        .map(|record| (record.sequence, record.batch, record.position, record.payload_bytes))
        .collect()
}

/// The replay is `records` from number `first` on, and all their payload reads back.
fn assert_holds(journal: &Journal, replay: &Replay, records: &[Known], first: u64) {
    let found = replayed(replay);
    assert_eq!(found.len(), records.len());
    for (index, ((sequence, batch, position, length), record)) in found.into_iter().zip(records).enumerate() {
        assert_eq!(sequence.0, first + index as u64);
        assert_eq!(batch, record.batch);
        assert_eq!((position, length as usize), (record.position, record.payload.len()));
        assert_reads(journal, record);
    }
}

fn assert_reads(journal: &Journal, record: &Known) {
    let length = record.payload.len() as u64;
    let whole = journal.read_blocking(record.position, length).expect("read");
    assert_eq!(whole, record.payload);
    let (from, to) = (length / 3, length - length / 4);
    let part = journal.read_blocking(record.position.advance(from), to - from).expect("read a part");
    assert_eq!(part, record.payload.slice(from as usize..to as usize));
}

fn damaged_at(error: &JournalError) -> u64 {
    match error {
        JournalError::Damaged { offset, .. } => *offset,
        other => panic!("want damage, got {other}"),
    }
}
