//! The journal on real files: its lock, its folder, its names.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use tidegate_gateway::journal::{Journal, JournalError, Options, Sequence, salvage};

fn options() -> Options {
    Options { segment_bytes: 1 << 20, buffer_bytes: 512 << 10, ..Options::default() }
}

async fn append(journal: &Journal, number: u8) -> Sequence {
    let permit = journal.reserve(100_100).await.expect("room");
    let payload = Bytes::from(vec![number; 100_000]);
    journal.append(permit, &[number; 100], &[payload]).expect("appended").sequence
}

fn segment_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "log"));
    names.sort();
    names
}

#[tokio::test]
async fn one_folder_serves_one_gateway_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, replay) = Journal::open(folder.path(), options()).expect("open");
    let error = Journal::open(folder.path(), options()).err().expect("refused");
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    drop((journal, replay));
    Journal::open(folder.path(), options()).expect("free again");
}

#[tokio::test]
async fn segments_are_files_named_by_id_and_sealed_ones_have_no_spare_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path(), options()).expect("open");
    let mut last = Sequence(0);
    for number in 0..25 {
        last = append(&journal, number).await;
    }
    journal.durable(last).await.expect("durable");
    assert_eq!(
        segment_files(folder.path()),
        ["0000000000000001.log", "0000000000000002.log", "0000000000000003.log"]
    );
    for segment in journal.segments() {
        let length =
            fs::metadata(folder.path().join(format!("{:016x}.log", segment.id))).expect("there").len();
        assert_eq!(segment.sealed, length == segment.bytes, "{segment:?}, {length} bytes");
    }
    let freed = journal.remove_through(last).expect("removed");
    assert!(freed > 1 << 20);
    assert_eq!(segment_files(folder.path()), ["0000000000000003.log"]);
}

#[tokio::test]
async fn bytes_that_changed_on_disk_after_they_were_written_are_not_returned() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path(), options()).expect("open");
    let data = Bytes::from(vec![7; 9000]);
    let permit = journal.reserve(9100).await.expect("room");
    let appended = journal.append(permit, b"batch", &[data]).expect("appended");
    journal.durable(appended.sequence).await.expect("durable");
    let place = appended.position;
    assert_eq!(journal.read(place, 9000).await.expect("read"), vec![7; 9000]);

    let path = folder.path().join(segment_files(folder.path()).pop().expect("a segment"));
    let file = fs::OpenOptions::new().write(true).open(path).expect("open the segment");
    std::os::unix::fs::FileExt::write_all_at(&file, &[8], place.offset + 5000).expect("changed");
    let error = journal.read(place.advance(4096), 2000).await.expect_err("damaged");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert_eq!(journal.read(place, 4096).await.expect("the piece before it"), vec![7; 4096]);
}

#[tokio::test]
async fn a_reader_that_has_the_file_open_reads_on_after_removal_and_later_ones_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path(), options()).expect("open");
    let permit = journal.reserve(5000).await.expect("room");
    let first = journal.append(permit, b"batch", &[Bytes::from(vec![7; 4000])]).expect("appended");
    for number in 0..15 {
        append(&journal, number).await;
    }
    journal.durable(journal.appended_sequence()).await.expect("durable");
    assert_eq!(journal.read(first.position, 4000).await.expect("read"), vec![7; 4000]);
    journal.remove_through(first.sequence.next()).expect("nothing is below");
    journal.remove_through(journal.appended_sequence()).expect("removed");
    let error = journal.read(first.position, 4000).await.expect_err("gone");
    assert!(matches!(error, JournalError::Gone { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_folder_names_file_and_place_and_can_be_salvaged_into_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path(), options()).expect("open");
    for number in 0..5 {
        let last = append(&journal, number).await;
        journal.durable(last).await.expect("durable");
    }
    drop(journal);
    let file = folder.path().join("0000000000000001.log");
    let mut bytes = fs::read(&file).expect("read");
    bytes[150_000] ^= 1;
    fs::write(&file, bytes).expect("damaged");

    let error = Journal::open(folder.path(), options()).err().expect("refused").to_string();
    assert!(error.contains("0000000000000001.log") && error.contains("salvage"), "{error}");

    let out = tempfile::tempdir().expect("a folder");
    let report = salvage(folder.path(), out.path()).expect("salvaged");
    assert_eq!((report.records, report.lost.len()), (4, 1), "{report}");
    let (_journal, replay) = Journal::open(out.path(), options()).expect("open");
    let records = replay.from(Sequence(1)).expect("replay").map(|record| record.expect("whole").sequence.0);
    assert_eq!(records.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_journal_of_format_version_one_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = "0000000000000003.log";
    // As it is now: the program may have been built in another checkout that shares the target folder.
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it");
    let fixture = Path::new(&member).join("tests/fixtures/journal-v1").join(name);
    fs::copy(fixture, folder.path().join(name)).expect("copied");
    let (journal, replay) = Journal::open(folder.path(), options()).expect("open");
    let records: Vec<_> =
        replay.from(Sequence(10)).expect("replay").map(|record| record.expect("whole")).collect();
    let batches: Vec<&[u8]> = records.iter().map(|record| &record.batch[..]).collect();
    assert_eq!(batches, [&b"the first batch"[..], b"", b"the last batch"]);
    let data = journal.read(records[1].position, 5000).await.expect("read");
    assert!((0..5000_usize).all(|at| data[at] == (at * 7) as u8));
    assert_eq!(journal.read(records[2].position, 7).await.expect("read"), b"payload"[..]);
    assert_eq!(journal.segments().last().map(|segment| (segment.id, segment.first)), Some((4, Sequence(13))));
}
