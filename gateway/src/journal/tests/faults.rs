//! What the journal does when the disk fails, fills up, or shows other bytes than were written.

use super::super::format::{self, HEAD_BYTES, RecordHead};
use super::*;

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
fn a_whole_record_with_the_number_of_another_is_damage() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let records = fill(&journal, 4).await;
        drop(journal);
        let start = (records[1].position.offset - 100 - 2 * 4) as usize - HEAD_BYTES;
        disk.damage(&format::file_name(records[1].position.segment), |bytes| {
            let place = &mut bytes[start..start + HEAD_BYTES];
            let mut head = RecordHead::decode((&*place).try_into().expect("a head")).expect("whole");
            head.sequence = Sequence(1);
            place.copy_from_slice(&head.encode());
        });
        let error = open(&disk).err().expect("refused");
        assert_eq!(damaged_at(&error), start as u64, "{error}");
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
