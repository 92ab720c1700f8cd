//! Outcomes of calls, kept so that a call that is repeated after a restart is answered as it was the first time.
//!
//! Owns the column family `outcomes`. Relations:
//! * the family holds the outcomes of the newest [`OUTCOMES_MAX`] records that had one, however many records without one
//!   came between;
//! * what is known of it in memory ([`Kept`]) is the sequences of those records, oldest first. Whoever carries a record out
//!   removes what has become too old in the same write batch, so both change together.
//!
//! A database that an earlier version left may hold more: those go when it is opened.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{IteratorMode, WriteBatch};

use super::LiveError;
use super::db::{Database, OUTCOMES};
use crate::journal::Sequence;

/// How many outcomes of calls are kept for replay.
const OUTCOMES_MAX: usize = 4096;

const UNDECODABLE: LiveError = LiveError::Undecodable("an outcome of a call");

/// The records of which outcomes are kept, oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<VecDeque<Sequence>>);

impl Database {
    /// The outcomes kept for replay, oldest first.
    pub(crate) fn outcomes(&self) -> Result<Vec<([u8; 16], Bytes)>, LiveError> {
        self.iterate(&self.snapshot(), OUTCOMES, &(Vec::new()..vec![0xff; 9]))
            .map(|item| {
                let (_, value) = item?;
                let (retry, outcome) = value.split_first_chunk().ok_or(UNDECODABLE)?;
                Ok((*retry, Bytes::copy_from_slice(outcome)))
            })
            .collect()
    }

    /// Learns which outcomes there are; of those, all but the newest go.
    pub(super) fn learn_outcomes(&self) -> Result<(), LiveError> {
        let snapshot = self.snapshot();
        let mut found = VecDeque::new();
        for item in snapshot.iterator_cf(self.family(OUTCOMES), IteratorMode::End).take(OUTCOMES_MAX) {
            let (key, _) = item?;
            let sequence = key.first_chunk().ok_or(UNDECODABLE)?;
            found.push_front(Sequence(u64::from_be_bytes(*sequence)));
        }
        if found.len() == OUTCOMES_MAX
            && let Some(oldest) = found.front()
        {
            let mut writes = WriteBatch::default();
            writes.delete_range_cf(self.family(OUTCOMES), 0u64.to_be_bytes(), oldest.0.to_be_bytes());
            self.write(writes)?;
        }
        *self.kept.0.lock() = found;
        Ok(())
    }

    /// Puts an outcome into a batch, and what removes those that are too old by then.
    pub(super) fn keep_outcome(
        &self,
        sequence: Sequence,
        retry: &[u8; 16],
        outcome: &[u8],
        writes: &mut WriteBatch,
    ) {
        let family = self.family(OUTCOMES);
        writes.put_cf(family, sequence.0.to_be_bytes(), [retry, outcome].concat());
        let mut kept = self.kept.0.lock();
        if kept.back() != Some(&sequence) {
            kept.push_back(sequence);
        }
        while kept.len() > OUTCOMES_MAX
            && let Some(oldest) = kept.pop_front()
        {
            writes.delete_cf(family, oldest.0.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::change::{Batch, Change};
    use super::*;

    /// How many records the tests carry out.
    const RECORDS: u64 = 20_000;

    fn open(folder: &Path) -> Database {
        Database::open(folder, 1 << 20, 1 << 20).expect("opens")
    }

    fn retry(sequence: u64) -> [u8; 16] {
        u128::from(sequence).to_be_bytes()
    }

    /// Whether a record has an outcome: about every second has one, without an order.
    fn has_outcome(sequence: u64) -> bool {
        sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1
    }

    fn kept(database: &Database) -> Vec<[u8; 16]> {
        database.outcomes().expect("reads").into_iter().map(|(retry, _)| retry).collect()
    }

    #[test]
    fn the_newest_outcomes_are_kept_whatever_comes_between_them_and_no_others() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = open(folder.path());
        let with: Vec<_> = (1..=RECORDS).filter(|&sequence| has_outcome(sequence)).collect();
        let newest: Vec<_> = with[with.len() - OUTCOMES_MAX..].iter().map(|&at| retry(at)).collect();
        for sequence in 1..=RECORDS {
            let outcome = Change::Outcome { retry: retry(sequence), outcome: Bytes::from_static(b"done") };
            let batch = Batch { changes: has_outcome(sequence).then_some(outcome).into_iter().collect() };
            database.apply(&[(Sequence(sequence), &batch)]).expect("applies");
        }
        assert_eq!(kept(&database), newest);
        database.flush().expect("flushes");
        drop(database);
        assert_eq!(kept(&open(folder.path())), newest);
    }

    #[test]
    fn what_an_earlier_version_left_too_many_of_goes_when_it_is_opened() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = open(folder.path());
        let mut writes = WriteBatch::default();
        for sequence in 1..=RECORDS {
            let value = [&retry(sequence)[..], b"done"].concat();
            writes.put_cf(database.family(OUTCOMES), sequence.to_be_bytes(), value);
        }
        database.write(writes).expect("writes");
        assert_eq!(kept(&database).len() as u64, RECORDS);
        database.flush().expect("flushes");
        drop(database);
        let database = open(folder.path());
        let first = RECORDS - OUTCOMES_MAX as u64 + 1;
        assert_eq!(kept(&database), (first..=RECORDS).map(retry).collect::<Vec<_>>());
        let outcome = Change::Outcome { retry: retry(RECORDS + 1), outcome: Bytes::new() };
        let batch = Batch { changes: vec![outcome] };
        database.apply(&[(Sequence(RECORDS + 1), &batch)]).expect("applies");
        assert_eq!(kept(&database), (first + 1..=RECORDS + 1).map(retry).collect::<Vec<_>>());
    }
}
