//! Goal: all that was acknowledged is there after any crash, and nothing torn is served.
//!
//! Method: random operations run against a plain list of what was appended, and the power goes in the
//! middle. A failing case is printed as its list of operations, with all seeds in it.

use proptest::prelude::*;

use super::*;

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
