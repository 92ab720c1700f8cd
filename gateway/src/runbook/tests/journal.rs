//! Claims about the journal on disk: what was appended is read, a torn end goes, other damage is refused.

use std::fs;

use jiff::Timestamp;

use crate::runbook::{Entry, FileJournal, Journal, JournalError, Record};

fn entry(step: &str) -> Entry {
    let record = Record::StepDone { step: step.to_owned(), note: "ä\n\"".to_owned(), first_byte: true };
    Entry { at: Timestamp::UNIX_EPOCH, record }
}

#[tokio::test]
async fn what_was_appended_is_read_and_an_end_that_was_cut_short_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = FileJournal::create(&path).expect("made");
    for step in ["a", "b"] {
        journal.append(&entry(step)).await.expect("written");
    }
    drop(journal);
    let whole = fs::read(&path).expect("readable");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).expect("written");
        let (journal, entries) = FileJournal::open(&path).expect("a torn end is no damage");
        let expected = usize::from(length >= first) + usize::from(length == whole.len());
        assert_eq!(entries.len(), expected, "cut at {length}");
        journal.append(&entry("c")).await.expect("written");
        drop(journal);
        let (entries, _) = FileJournal::read(&path).expect("readable");
        assert_eq!(entries.last(), Some(&entry("c")), "cut at {length}");
        assert_eq!(entries.len(), expected + 1);
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_last_line_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = FileJournal::create(&path).expect("made");
    for step in ["a", "b"] {
        journal.append(&entry(step)).await.expect("written");
    }
    drop(journal);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[20] ^= 1;
    fs::write(&path, bytes).expect("written");
    assert!(matches!(FileJournal::open(&path), Err(JournalError::Damaged { line: 1, .. })));
}

#[tokio::test]
async fn one_process_goes_on_with_a_run_and_others_may_look() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = FileJournal::create(&path).expect("made");
    assert!(matches!(FileJournal::open(&path), Err(JournalError::Busy { .. })));
    assert!(FileJournal::read(&path).expect("readable").1, "somebody goes on with it");
    drop(journal);
    assert!(!FileJournal::read(&path).expect("readable").1);
    FileJournal::open(&path).expect("nobody holds it");
}
