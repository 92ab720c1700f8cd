//! Goal: salvage keeps every record that is whole, invents none, and says what is lost.
//!
//! Method: a journal of known records is damaged at random places in random ways, salvaged, and opened.

use proptest::prelude::*;

use super::super::format::{self, HEAD_BYTES};
use super::super::salvage::salvage_disks;
use super::*;

#[derive(Clone, Debug)]
enum Damage {
    /// Other bytes in place of some.
    Flip { file: usize, place: f64, bytes: usize },
    /// The end of a file is missing.
    Shorten { file: usize, place: f64 },
    /// A file is missing.
    Lose { file: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = prop_oneof![Just(1), 1..2000_usize, 1..20_000_usize];
    prop_oneof![
        4 => (0..9_usize, 0.0..1.0, bytes).prop_map(|(file, place, bytes)| Damage::Flip { file, place, bytes }),
        1 => (0..9_usize, 0.0..1.0).prop_map(|(file, place)| Damage::Shorten { file, place }),
        1 => (0..9_usize).prop_map(|file| Damage::Lose { file }),
    ]
}

/// Bytes of a file that are not what they were.
type Hurt = Vec<(u64, std::ops::Range<u64>)>;

fn hurt(disk: &FaultDisk, damage: &Damage, hurt: &mut Hurt) {
    let names = disk.segments();
    let (Damage::Flip { file, .. } | Damage::Shorten { file, .. } | Damage::Lose { file }) = damage;
    let name = &names[file % names.len()];
    let id = format::segment_of(name).expect("a segment");
    match damage {
        Damage::Flip { place, bytes, .. } => disk.damage(name, |content| {
            let start = (content.len() as f64 * place) as usize;
            let end = content.len().min(start + bytes);
            content[start..end].iter_mut().for_each(|byte| *byte ^= 0x55);
            hurt.push((id, start as u64..end as u64));
        }),
        Damage::Shorten { place, .. } => disk.damage(name, |content| {
            content.truncate((content.len() as f64 * place) as usize);
            // A record whose padding is cut short ends behind the end of its file.
            let cut = content.len() as u64;
            hurt.push((id, cut - cut % format::ALIGNMENT..u64::MAX));
        }),
        Damage::Lose { .. } if names.len() > 1 => {
            disk.lose(name);
            hurt.push((id, 0..u64::MAX));
        }
        Damage::Lose { .. } => {}
    }
}

/// The bytes of the record in its file, without the padding behind it.
fn range(record: &Known) -> std::ops::Range<u64> {
    let payload = record.payload.len() as u64;
    let before = HEAD_BYTES as u64 + record.batch.len() as u64 + payload.div_ceil(4096) * 4;
    record.position.offset - before..record.position.offset + payload
}

fn is_whole(record: &Known, hurt: &Hurt) -> bool {
    let place = range(record);
    !hurt.iter().any(|(id, bytes)| {
        *id == record.position.segment && bytes.start < place.end && place.start < bytes.end
    })
}

async fn known_journal(records: usize) -> (FaultDisk, Vec<Known>) {
    let disk = FaultDisk::default();
    let (journal, _) = open(&disk).expect("open");
    let records = fill(&journal, records).await;
    drop(journal);
    (disk, records)
}

#[test]
fn a_whole_journal_salvages_to_itself() {
    runtime().block_on(async {
        let (disk, records) = known_journal(30).await;
        let out = FaultDisk::default();
        let report = salvage_disks(&disk, &out).expect("salvaged");
        assert_eq!((report.records, report.lost), (30, vec![]));
        let (journal, replay) = open(&out).expect("open");
        assert_holds(&journal, &replay, &records, 1);
    });
}

#[test]
fn a_read_while_the_journal_is_open_never_returns_damaged_bytes() {
    runtime().block_on(async {
        let disk = FaultDisk::default();
        let (journal, _) = open(&disk).expect("open");
        let (appended, record) = append(&journal, 10, 9000).await;
        journal.durable(appended.sequence).await.expect("durable");
        disk.damage(&format::file_name(record.position.segment), |bytes| {
            bytes[record.position.offset as usize + 5000] ^= 1;
        });
        let error = journal.read(record.position.advance(4096), 100).await.expect_err("damaged");
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        let whole = journal.read(record.position, 4096).await.expect("the piece before it is whole");
        assert_eq!(whole, record.payload.slice(..4096));
    });
}

#[test]
fn salvage_covers_one_damaged_record_and_keeps_all_positions() {
    runtime().block_on(async {
        let (disk, records) = known_journal(30).await;
        let hurt = &records[9];
        disk.damage(&format::file_name(hurt.position.segment), |bytes| {
            bytes[hurt.position.offset as usize] ^= 1;
        });
        let out = FaultDisk::default();
        let report = salvage_disks(&disk, &out).expect("salvaged");
        assert_eq!(report.lost.len(), 1, "{report}");
        assert_eq!(report.lost[0].records, Some((Sequence(10), Sequence(10))));
        let (journal, replay) = open(&out).expect("open");
        let found = replayed(&replay);
        assert_eq!(found.len(), 30);
        assert_eq!((found[9].0, found[9].1.len(), found[9].3), (Sequence(10), 0, 0));
        let error = journal.read_blocking(hurt.position, 10).expect_err("lost");
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        assert_reads(&journal, &records[8]);
        assert_reads(&journal, &records[10]);
    });
}

#[test]
fn salvage_never_writes_over_a_journal() {
    runtime().block_on(async {
        let (disk, _) = known_journal(1).await;
        let (other, _) = known_journal(1).await;
        assert!(salvage_disks(&disk, &other).is_err());
        assert!(salvage_disks(&FaultDisk::default(), &FaultDisk::default()).is_err());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn salvage_keeps_what_is_whole_and_invents_nothing(damages in prop::collection::vec(damage(), 1..6)) {
        runtime().block_on(async {
            let (disk, records) = known_journal(40).await;
            let mut places = Hurt::new();
            for damage in &damages {
                hurt(&disk, damage, &mut places);
            }
            let out = FaultDisk::default();
            let report = salvage_disks(&disk, &out).expect("salvaged");
            let (journal, replay) = open(&out).expect("what was salvaged opens");
            let found = replayed(&replay);
            for (sequence, batch, position, bytes) in &found {
                let record = &records[sequence.0 as usize - 1];
                if *bytes > 0 {
                    assert_eq!((batch, position), (&record.batch, &record.position));
                }
            }
            for (index, record) in records.iter().enumerate().filter(|(_, record)| is_whole(record, &places)) {
                let sequence = Sequence(index as u64 + 1);
                let kept = found.iter().any(|(at, batch, ..)| *at == sequence && *batch == record.batch);
                assert!(kept, "record {sequence} is whole, but: {report}");
                assert_reads(&journal, record);
            }
        });
    }
}
