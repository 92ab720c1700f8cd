//! What the journal does when nothing goes wrong.

use futures::FutureExt;

use super::*;

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
fn a_short_read_of_what_memory_has_is_answered_without_waiting() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        let (_, small) = append(&journal, 10, 300).await;
        let (appended, record) = append(&journal, 10, 9000).await;
        journal.durable(appended.sequence).await.expect("durable");
        for (record, skip, length) in [
            (&record, 0, 9000),
            (&record, 4096, 4096),
            (&record, 4095, 2),
            (&record, 8999, 1),
            (&small, 7, 200),
        ] {
            let place = record.position.advance(skip);
            let read = journal.read(place, length).now_or_never().expect("there is nothing to wait for");
            let expected = record.payload.slice(skip as usize..(skip + length) as usize);
            assert_eq!(read.expect("read"), expected, "{skip}+{length}");
        }
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
fn an_empty_payload_reads_as_nothing_also_where_the_next_record_begins() {
    runtime().block_on(async {
        let (journal, _) = open(&FaultDisk::default()).expect("open");
        // A batch of 64 bytes needs no padding: the place of its payload is the head of the record behind.
        let (_, empty) = append(&journal, 64, 0).await;
        let (appended, behind) = append(&journal, 64, 100).await;
        assert_eq!(behind.position.offset - empty.position.offset, 64 + 64 + 4, "the records touch");
        assert_reads(&journal, &empty);
        journal.durable(appended.sequence).await.expect("durable");
        assert_reads(&journal, &empty);
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
