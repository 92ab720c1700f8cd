//! Claims about the chain: what is removed, changed, put in or cut off is found, and what a crash leaves is not.

use std::fs;

use super::*;
use crate::audit::verify;

fn entry(text: &str) -> Entry {
    Entry { who: "token:ops".to_owned(), call: text.to_owned(), ..Entry::default() }
}

/// A log of some records, closed again.
fn written(count: usize, bytes_max: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open_with(folder.path(), 1_000, bytes_max, None).expect("opened");
    for number in 0..count {
        log.append(Event::Call, entry(&format!("POST /shares/{number}/commit"))).expect("written");
    }
    folder
}

fn only_file(folder: &Path) -> PathBuf {
    files::list(folder).expect("readable").pop().expect("one").1
}

fn problems(folder: &Path) -> Vec<String> {
    verify(folder, None).expect("readable").problems
}

#[test]
fn a_whole_log_verifies_over_all_its_files_and_starts() {
    let folder = written(40, 2_000);
    let reopened = AuditLog::open_with(folder.path(), 1_000, 2_000, None).expect("opened");
    reopened.append(Event::Denied, entry("GET /status")).expect("written");
    assert!(files::list(folder.path()).expect("readable").len() > 3);
    let found = verify(folder.path(), None).expect("readable");
    assert_eq!((found.records, found.first, found.last, found.problems), (43, 1, 43, Vec::new()));
}

#[test]
fn a_line_that_was_removed_changed_or_put_in_is_found_wherever_it_is() {
    let lines = 12;
    for at in 0..lines {
        for damage in ["remove", "change", "double"] {
            let folder = written(lines - 1, FILE_BYTES);
            let path = only_file(folder.path());
            let text = fs::read_to_string(&path).expect("readable");
            let mut kept: Vec<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(kept.len(), lines);
            match damage {
                "remove" => drop(kept.remove(at)),
                "change" => kept[at] = kept[at].replace("\"version\":1", "\"version\": 1"),
                _ => kept.insert(at, kept[at].clone()),
            }
            fs::write(&path, kept.join("\n") + "\n").expect("written");
            assert!(!problems(folder.path()).is_empty(), "{damage} line {at}");
            drop(AuditLog::open(folder.path(), 10, None).expect("it goes on"));
            let after = verify(folder.path(), None).expect("readable");
            assert!(!after.problems.is_empty(), "{damage} line {at}: still found after a start");
        }
    }
}

#[test]
fn a_start_says_in_the_log_what_it_found_and_leaves_the_damage_to_be_seen() {
    let folder = written(5, FILE_BYTES);
    let path = only_file(folder.path());
    let text = fs::read_to_string(&path).expect("readable");
    let cut = text.lines().take(4).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(&path, &cut).expect("written");
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    let newest = log.page(None, 1).expect("readable").records.remove(0).record;
    assert_eq!((newest.event, newest.sequence), (Event::Broken, 7));
    assert_eq!(newest.entry.outcome, "records 5 to 6 are gone from the end");
    assert_eq!(fs::read_to_string(&path).expect("readable"), cut);
}

#[test]
fn all_files_gone_is_found() {
    let folder = written(5, FILE_BYTES);
    fs::remove_file(only_file(folder.path())).expect("removed");
    assert_eq!(problems(folder.path()).len(), 1);
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    assert_eq!(log.page(None, 1).expect("readable").records[0].record.event, Event::Broken);
}

#[test]
fn what_a_crash_cuts_off_was_never_begun_and_is_no_damage() {
    let folder = written(5, FILE_BYTES);
    let path = only_file(folder.path());
    let text = fs::read_to_string(&path).expect("readable");
    fs::write(&path, format!("{text}{{\"version\":1,\"seq")).expect("written");
    let found = verify(folder.path(), None).expect("readable");
    assert!(found.cut_off && found.problems.is_empty(), "{found:?}");
    drop(AuditLog::open(folder.path(), 10, None).expect("opened"));
    let found = verify(folder.path(), None).expect("readable");
    assert_eq!((found.records, found.cut_off, found.problems), (7, false, Vec::new()));
}

#[test]
fn a_digest_that_was_kept_elsewhere_finds_a_chain_that_was_written_anew() {
    let folder = written(5, FILE_BYTES);
    let kept = verify(folder.path(), None).expect("readable");
    let kept = (kept.last, blake3::Hash::from_hex(&kept.digest).expect("a digest"));
    let other = written(5, FILE_BYTES);
    assert!(problems(other.path()).is_empty(), "in itself it is whole");
    assert_eq!(verify(other.path(), Some(kept)).expect("readable").problems.len(), 1);
    assert!(verify(folder.path(), Some(kept)).expect("readable").problems.is_empty());
}

#[test]
fn old_files_go_when_there_are_too_many_and_a_record_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open_with(folder.path(), 3, 1_000, None).expect("opened");
    for number in 0..60 {
        log.append(Event::Call, entry(&format!("POST /{number}"))).expect("written");
    }
    assert_eq!(files::list(folder.path()).expect("readable").len(), 3);
    let found = verify(folder.path(), None).expect("readable");
    assert!(found.problems.is_empty() && found.first > 1, "{found:?}");
    let page = log.page(None, 100).expect("readable");
    assert!(page.records.iter().any(|seen| seen.record.event == Event::Forgotten));
}

#[test]
fn pages_go_from_memory_on_to_the_disk() {
    let folder = written(RECENT_MAX + 50, FILE_BYTES);
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = log.page(before, 97).expect("readable");
        seen.extend(page.records.iter().map(|seen| seen.record.sequence));
        before = page.before;
        if before.is_none() {
            break;
        }
    }
    let wanted: Vec<u64> = (1..=RECENT_MAX as u64 + 52).rev().collect();
    assert_eq!(seen, wanted);
}

#[test]
fn one_process_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let _log = AuditLog::open(folder.path(), 10, None).expect("opened");
    assert!(matches!(AuditLog::open(folder.path(), 10, None), Err(AuditError::Busy { .. })));
}
