//! The claims of the journal, on a disk that fails.
//!
//! The property test runs random operations against a plain list of what was appended, and takes the
//! power away in the middle. A failing case is printed as its list of operations, seeds included.

use bytes::Bytes;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::fault_disk::{FaultDisk, Random};
use super::format::HEAD_BYTES;
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

#[test]
fn a_new_journal_is_empty_and_begins_with_record_one() {
    let (journal, replay) = open(&FaultDisk::default()).expect("open");
    assert_eq!(replayed(&replay), []);
    assert_eq!((replay.oldest(), replay.newest()), (Sequence(1), Sequence(0)));
    assert_eq!(journal.appended_sequence(), Sequence(0));
}

#[test]
fn what_is_appended_reads_back_before_and_after_it_is_written() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        let (appended, record) = append(&journal, 10, 9000).await;
        assert_reads(&journal, &record);
        journal.durable(appended.sequence).await.expect("durable");
        assert_reads(&journal, &record);
        assert_eq!(journal.read(record.position, 9000).await.expect("read"), record.payload);
    });
}

#[test]
fn a_read_beyond_the_payload_is_refused_in_memory_and_on_disk() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        let (appended, record) = append(&journal, 10, 100).await;
        let start = record.position;
        let wrong =
            [(start, 101), (start.advance(100), 1), (Position { offset: start.offset - 1, ..start }, 2)];
        for (position, length) in wrong {
            let error = journal.read_blocking(position, length).expect_err("refused");
            assert!(matches!(error, JournalError::NoSuchPayload { .. }), "{error}");
        }
        journal.durable(appended.sequence).await.expect("durable");
        for (position, length) in wrong {
            let error = journal.read_blocking(position, length).expect_err("refused");
            assert!(matches!(error, JournalError::NoSuchPayload { .. }), "{error}");
        }
    });
}

#[test]
fn a_closed_journal_opens_with_all_that_was_appended_in_a_new_segment() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let verifier = journal.verifier();
        let mut records = Vec::new();
        for size in 0..40 {
            records.push(append(&journal, size * 7, size * 400).await.1);
        }
        drop(journal);
        let (journal, replay) = open(&disk).expect("open");
        assert_holds(&journal, &replay, &records, 1);
        assert_ne!(journal.verifier(), verifier);
        let used = records.iter().map(|record| record.position.segment).max().expect("there are records");
        assert!(append(&journal, 1, 1).await.0.position.segment > used);
    });
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_bytes_that_still_show_are_made_durable_at_open() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let mut records = fill(&journal, 2).await;
        disk.fail_one_sync_after(0);
        let (appended, record) = append(&journal, 50, 300).await;
        let error = journal.durable(appended.sequence).await.expect_err("refused");
        assert!(matches!(error, JournalError::Stopped { .. }), "{error}");
        assert!(journal.reserve(1).await.is_err() && journal.health().is_err());
        journal.durable(Sequence(2)).await.expect("what is durable stays so");
        assert_reads(&journal, &record);
        drop(journal);

        records.push(record);
        let (journal, replay) = open(&disk).expect("open");
        assert_holds(&journal, &replay, &records, 1);
        let (journal_after_cut, replay) = open(&disk.cut_power(7)).expect("open");
        assert_holds(&journal_after_cut, &replay, &records, 1);
        drop(journal);
    });
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_the_log_stays_readable() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 3).await;
        disk.fail_writes_after(0);
        let (appended, _) = append(&journal, 50, 3000).await;
        assert!(journal.durable(appended.sequence).await.is_err());
        drop(journal);
        let (journal, replay) = open(&disk.cut_power(3)).expect("open");
        assert_holds(&journal, &replay, &records, 1);
    });
}

#[test]
fn a_full_disk_is_told_before_anything_is_appended_and_ends_when_segments_are_removed() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        fill(&journal, 1).await;
        disk.set_full(true);
        let mut taken = Vec::new();
        let error = loop {
            match try_append(&journal, 100, 5000).await {
                Ok((_, record)) => taken.push(record),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::NoSpace { .. }), "{error}");
        let last = journal.appended_sequence();
        journal.durable(last).await.expect("what was taken is durable");
        for record in &taken {
            assert_reads(&journal, record);
        }

        disk.set_full(false);
        journal.remove_through(last).expect("removed");
        while try_append(&journal, 100, 5000).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn damage_to_an_acknowledged_record_is_refused_with_its_place() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 4).await;
        drop(journal);
        let hurt = records[1].position;
        let name = format::file_name(hurt.segment);
        let start = hurt.offset - 100 - 2 * 4 - HEAD_BYTES as u64;
        for place in [hurt.offset - start, HEAD_BYTES as u64, 3, hurt.offset - start - 1] {
            disk.damage(&name, |bytes| bytes[(start + place) as usize] ^= 1);
            let error = open(&disk).err().expect("refused");
            assert_eq!(damaged_at(&error), start, "{error}");
            disk.damage(&name, |bytes| bytes[(start + place) as usize] ^= 1);
        }
        open(&disk).expect("healed");
    });
}

#[test]
fn a_missing_segment_is_refused_by_name() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        fill(&journal, 30).await;
        drop(journal);
        let lost = disk.segments()[1].clone();
        disk.lose(&lost);
        let error = open(&disk).err().expect("refused").to_string();
        assert!(error.contains(&lost) && error.contains("missing"), "{error}");
    });
}

#[test]
fn damage_in_a_sealed_segment_ends_replay_and_is_never_read() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 30).await;
        drop(journal);
        let hurt = records[2].position;
        disk.damage(&format::file_name(hurt.segment), |bytes| bytes[hurt.offset as usize + 4500] ^= 1);
        let (journal, replay) = open(&disk).expect("open");
        let outcome: Vec<_> = replay.from(Sequence(1)).expect("replay").collect();
        assert_eq!(outcome.len(), 3);
        assert!(outcome[..2].iter().all(Result::is_ok));
        damaged_at(outcome[2].as_ref().expect_err("damaged"));
        damaged_at(&journal.read_blocking(hurt, 5000).expect_err("damaged"));
        let whole = journal.read_blocking(hurt, 4096).expect("the first piece is whole");
        assert_eq!(whole, records[2].payload.slice(..4096));
    });
}

#[test]
fn removed_segments_are_gone_and_the_rest_stays() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 30).await;
        let segments = journal.segments();
        assert!(journal.remove_through(Sequence(segments[1].last.0 + 1)).expect("removed") > 0);
        assert_eq!(journal.segments()[0].id, segments[2].id);
        let kept = segments[1].last.0 as usize;
        for record in &records[..kept] {
            let error = journal.read_blocking(record.position, 1).expect_err("gone");
            assert!(matches!(error, JournalError::Gone { .. }), "{error}");
        }
        drop(journal);
        let (journal, replay) = open(&disk.cut_power(1)).expect("open");
        assert_holds(&journal, &replay, &records[kept..], kept as u64 + 1);
        assert!(matches!(replay.from(Sequence(1)), Err(JournalError::Missing { .. })));
        assert!(matches!(replay.from(Sequence(32)), Err(JournalError::Behind { .. })));
        assert_eq!(replay.from(Sequence(31)).expect("nothing to replay").count(), 0);
    });
}

#[test]
fn ids_and_sequences_go_on_after_everything_was_removed() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 10).await;
        let used = records[9].position.segment;
        drop(journal);
        let (journal, _) = open(&disk).expect("open");
        journal.remove_through(Sequence(10)).expect("removed");
        assert_eq!(journal.segments().len(), 1);
        drop(journal);
        let (journal, _) = open(&disk.cut_power(5)).expect("open");
        let (appended, record) = append(&journal, 1, 1).await;
        assert_eq!(appended.sequence, Sequence(11));
        assert!(record.position.segment > used);
    });
}

#[test]
fn replay_begins_where_it_is_told() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        fill(&journal, 20).await;
        drop(journal);
        let (_journal, replay) = open(&disk).expect("open");
        for first in 1..=21 {
            let found: Vec<u64> = replay
                .from(Sequence(first))
                .expect("replay")
                .map(|record| record.expect("whole").sequence.0)
                .collect();
            assert_eq!(found, (first..=20).collect::<Vec<_>>());
        }
    });
}

#[test]
fn bounds_are_kept_and_told() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        let error = journal.reserve(30_000).await.err().expect("refused");
        assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
        let permit = journal.reserve(10).await.expect("permit");
        let error = journal.append(permit, &[0; 200], &[]).expect_err("refused");
        assert!(matches!(error, JournalError::PermitTooSmall { .. }), "{error}");
        let error = journal.durable(Sequence(1)).await.expect_err("refused");
        assert!(matches!(error, JournalError::NotAppended { .. }), "{error}");
        let held = journal.reserve(20_000).await.expect("permit");
        let waiting =
            tokio::time::timeout(std::time::Duration::from_millis(20), journal.reserve(20_000)).await;
        assert!(waiting.is_err(), "the buffer is full");
        drop(held);
        journal.reserve(20_000).await.expect("permit");
    });
}

#[test]
fn without_anybody_waiting_records_become_durable_within_the_interval() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        let mut news = journal.subscribe();
        append(&journal, 1, 1).await;
        let wait = news.wait_for(|durable| *durable == Sequence(1));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), wait).await;
        assert!(waited.is_ok_and(|news| news.is_ok()));
    });
}

#[derive(Clone, Debug)]
enum Operation {
    Append { batch: usize, payload: usize },
    Durable,
    ReadAny(u64),
    RemoveThrough(u64),
    Close,
    Kill,
    CutPower(u64),
    FailSync { after: u64, seed: u64 },
    FailWrite { after: u64, seed: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let small = || prop_oneof![0..300_usize, 0..9000_usize];
    prop_oneof![
        20 => (small(), small()).prop_map(|(batch, payload)| Operation::Append { batch, payload }),
        4 => Just(Operation::Durable),
        4 => any::<u64>().prop_map(Operation::ReadAny),
        1 => any::<u64>().prop_map(Operation::RemoveThrough),
        1 => Just(Operation::Close),
        1 => Just(Operation::Kill),
        3 => any::<u64>().prop_map(Operation::CutPower),
        1 => (0..3_u64, any::<u64>()).prop_map(|(after, seed)| Operation::FailSync { after, seed }),
        1 => (0..3_u64, any::<u64>()).prop_map(|(after, seed)| Operation::FailWrite { after, seed }),
    ]
}

/// A journal beside the plain list of what it should hold.
struct Model {
    disk: FaultDisk,
    journal: Option<Journal>,
    /// Number of the first record in `records`.
    first: u64,
    records: Vec<Known>,
    acknowledged: u64,
}

impl Model {
    fn new() -> Self {
        let disk = FaultDisk::default();
        let journal = Some(open(&disk).expect("open").0);
        Self { disk, journal, first: 1, records: Vec::new(), acknowledged: 0 }
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("it is open between operations")
    }

    async fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Append { batch, payload } => {
                if let Ok((_, record)) = try_append(self.journal(), batch, payload).await {
                    self.records.push(record);
                }
            }
            Operation::Durable => self.wait().await,
            Operation::ReadAny(choice) => {
                if let Some(record) = self.records.get(choice as usize % self.records.len().max(1)) {
                    assert_reads(self.journal(), record);
                }
            }
            Operation::RemoveThrough(choice) => {
                let through = choice % (self.acknowledged + 1);
                self.journal().remove_through(Sequence(through)).expect("removed");
                self.forget_removed();
            }
            Operation::Close => {
                self.journal = None;
                self.acknowledged = self.first + self.records.len() as u64 - 1;
                self.reopen(self.disk.clone());
            }
            Operation::Kill => self.reopen(self.disk.kill()),
            Operation::CutPower(seed) => self.reopen(self.disk.cut_power(seed)),
            Operation::FailSync { after, seed } => {
                self.disk.fail_one_sync_after(after);
                self.fail(seed).await;
            }
            Operation::FailWrite { after, seed } => {
                self.disk.fail_writes_after(after);
                self.fail(seed).await;
            }
        }
    }

    async fn wait(&mut self) {
        let last = self.journal().appended_sequence();
        if self.journal().durable(last).await.is_ok() {
            self.acknowledged = self.acknowledged.max(last.0);
        }
    }

    /// Works on until the armed fault strikes, then dies; by the seed also of a power cut.
    async fn fail(&mut self, seed: u64) {
        while self.journal().health().is_ok() {
            match try_append(self.journal(), 60, 700).await {
                Ok((_, record)) => self.records.push(record),
                Err(JournalError::Stopped { .. } | JournalError::NoSpace { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            self.wait().await;
        }
        let disk = if seed & 1 == 0 { self.disk.kill() } else { self.disk.cut_power(seed) };
        self.reopen(disk);
    }

    fn forget_removed(&mut self) {
        let oldest = self.journal().segments()[0].first.0;
        let gone = (oldest - self.first).min(self.records.len() as u64);
        self.records.drain(..gone as usize);
        self.first += gone;
    }

    /// The claim: all that was acknowledged is there, and what is there is a prefix of what was appended.
    fn reopen(&mut self, disk: FaultDisk) {
        self.journal = None;
        self.disk = disk;
        let (journal, replay) = open(&self.disk).expect("open");
        let newest = replay.newest().0;
        assert!(newest >= self.acknowledged, "{newest} is there, {} was acknowledged", self.acknowledged);
        self.journal = Some(journal);
        self.records.truncate((newest + 1 - self.first) as usize);
        assert_eq!(replay.oldest().0.max(self.first), replay.oldest().0);
        self.forget_removed();
        assert_holds(self.journal(), &replay, &self.records, self.first);
        self.acknowledged = newest;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_acknowledged_is_there_in_order_and_nothing_torn_is_served(
        operations in prop::collection::vec(operation(), 1..60)
    ) {
        runtime().block_on(async {
            let mut model = Model::new();
            for operation in operations {
                model.run(operation).await;
            }
            model.reopen(model.disk.cut_power(1));
        });
    }
}
