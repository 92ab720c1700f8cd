//! Claims about the chain: what is removed, changed, put in or cut off is found, and what a crash leaves is not.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};

use super::*;
use crate::audit::record::RECENT_MAX;
use crate::audit::verify;
use crate::audit::writer::RESERVE_BYTES;

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

#[test]
fn a_write_that_fails_is_taken_back_and_the_next_one_goes_on() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let folder = written(3, FILE_BYTES);
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    let full = File::from(memfd_create("full", MemfdFlags::ALLOW_SEALING).expect("made"));
    let real = {
        let mut state = log.state.lock();
        let writer = state.writer.as_mut().expect("open");
        full.set_len(writer.bytes + 1).expect("so long");
        (&full).seek(SeekFrom::Start(writer.bytes)).expect("there");
        fcntl_add_seals(&full, SealFlags::GROW).expect("sealed");
        std::mem::replace(&mut writer.file, full.try_clone().expect("another"))
    };
    assert!(matches!(log.append(Event::Call, entry("DELETE /x")), Err(AuditError::Disk { .. })));
    assert!(log.trouble().is_some_and(|trouble| trouble.why.contains("write")), "{:?}", log.trouble());
    let bytes = {
        let mut state = log.state.lock();
        let writer = state.writer.as_mut().expect("still open");
        writer.file = real;
        writer.bytes
    };
    assert_eq!(full.metadata().expect("there").len(), bytes, "what was begun is taken back");
    assert_eq!(log.append(Event::Call, entry("DELETE /y")).expect("room again"), 6);
    assert_eq!(log.trouble(), None);
    assert!(problems(folder.path()).is_empty());
}

#[test]
fn after_a_write_that_cannot_be_taken_back_nothing_is_written_any_more() {
    let folder = written(3, FILE_BYTES);
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    let before = fs::read(only_file(folder.path())).expect("readable");
    let read_only = File::open(only_file(folder.path())).expect("opened");
    log.state.lock().writer.as_mut().expect("open").file = read_only;
    assert!(matches!(log.append(Event::Call, entry("DELETE /x")), Err(AuditError::Disk { .. })));
    log.state.lock().tried = None;
    let again = log.append(Event::Call, entry("DELETE /x"));
    assert!(matches!(&again, Err(AuditError::Stopped { why }) if why.contains("restart")), "{again:?}");
    assert_eq!(fs::read(only_file(folder.path())).expect("readable"), before);
}

#[test]
fn a_log_that_cannot_be_opened_refuses_says_why_and_opens_when_it_can() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("audit");
    fs::write(&folder, "in the way").expect("written");
    let log = AuditLog::open_or_stopped(&folder, 10, None);
    let refused = log.append(Event::Call, entry("DELETE /x"));
    assert!(matches!(refused, Err(AuditError::Stopped { .. })), "{refused:?}");
    assert!(log.trouble().is_some_and(|trouble| trouble.why.contains("open")), "{:?}", log.trouble());
    fs::remove_file(&folder).expect("removed");
    assert!(log.append(Event::Call, entry("DELETE /x")).is_err(), "it is not tried with every call");
    log.state.lock().tried = None;
    assert_eq!(log.append(Event::Call, entry("DELETE /x")).expect("opened"), 2);
    assert_eq!(log.trouble(), None);
}

#[test]
fn when_another_file_cannot_be_begun_the_one_there_is_written_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open_with(folder.path(), 10, 100, None).expect("opened");
    let in_the_way = folder.path().join(format!("audit-{:020}.log", 2));
    fs::create_dir(&in_the_way).expect("made");
    assert_eq!(log.append(Event::Call, entry("POST /x")).expect("written"), 2);
    assert!(log.trouble().is_some_and(|trouble| trouble.why.contains("another file")), "{:?}", log.trouble());
    fs::remove_dir(&in_the_way).expect("removed");
    assert_eq!(log.append(Event::Call, entry("POST /x")).expect("written"), 3);
    assert_eq!((log.trouble(), files::list(folder.path()).expect("readable").len()), (None, 2));
    assert!(problems(folder.path()).is_empty());
}

#[test]
fn room_is_reserved_ahead_of_what_is_written() {
    use std::os::unix::fs::MetadataExt;
    let folder = written(1, FILE_BYTES);
    let file = fs::metadata(only_file(folder.path())).expect("there");
    assert!(file.len() < 2_000 && file.blocks() * 512 >= RESERVE_BYTES, "{file:?}");
}

#[test]
fn what_a_caller_makes_long_is_cut_and_never_too_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open(folder.path(), 10, None).expect("opened");
    let long = "\u{1}".repeat(60_000);
    let entry = Entry {
        who: long.clone(),
        from: long.clone(),
        outcome: long.clone(),
        subject: vec![long.clone(); 50],
        ..entry(&long)
    };
    log.append(Event::Denied, entry).expect("recorded");
    let seen = log.page(None, 1).expect("readable").records.remove(0).record.entry;
    let digest = blake3::hash(long.as_bytes()).to_hex().to_string();
    assert!(
        seen.subject[0].len() < 400 && seen.subject[0].contains(digest.as_str()),
        "{:?}",
        seen.subject[0]
    );
    assert!(fs::metadata(only_file(folder.path())).expect("there").len() < LINE_BYTES_MAX as u64);
}

#[test]
fn a_file_that_is_gone_without_a_record_of_it_is_found_and_a_digest_of_before_shows_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::open_with(folder.path(), 4, 1_000, None).expect("opened");
    let append = |number| log.append(Event::Call, entry(&format!("POST /{number}"))).expect("written");
    append(1);
    let kept = verify(folder.path(), None).expect("readable");
    let kept = Some((kept.last, blake3::Hash::from_hex(&kept.digest).expect("a digest")));
    for number in 2..60 {
        append(number);
    }
    assert!(problems(folder.path()).is_empty());
    let found = verify(folder.path(), kept).expect("readable").problems;
    assert!(found.len() == 1 && found[0].contains("record 2"), "{found:?}");
    let (_, oldest) = files::list(folder.path()).expect("readable").remove(0);
    fs::remove_file(oldest).expect("removed");
    let found = problems(folder.path());
    assert!(found.len() == 1 && found[0].contains("no record says"), "{found:?}");
}

#[test]
fn damage_before_a_file_that_has_no_whole_line_is_told_in_a_line_that_can_be_read() {
    let folder = written(6, 1_000);
    let files = files::list(folder.path()).expect("readable");
    let [(_, before), (_, newest)] = &files[files.len() - 2..] else { panic!("two files: {files:?}") };
    let text = fs::read_to_string(before).expect("readable");
    fs::write(before, text.replacen("\"version\":1", "\"version\":9", 1)).expect("written");
    fs::write(newest, "{\"version\":1,\"seq").expect("written");
    fs::remove_file(folder.path().join("newest")).expect("removed");
    let log = AuditLog::open_with(folder.path(), 1_000, 1_000, None).expect("opened");
    let told = newest_of(folder.path());
    assert_eq!(
        (told.event, log.page(None, 1).expect("readable").records[0].record.clone()),
        (Event::Broken, told)
    );
}

fn newest_of(folder: &Path) -> Record {
    super::newest(folder, 1).expect("readable").remove(0).record
}
