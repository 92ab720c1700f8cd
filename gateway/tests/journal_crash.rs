//! Goal: wherever the process dies, what it said is durable is there.
//!
//! Method: this test runs itself as a child process that appends, waits, and writes down what was
//! acknowledged, and dies at a crash point. All points of the journal are swept, at several visits. The
//! parent opens what is left, checks it, and lets the next child go on in the same folder.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use tidegate_gateway::crash;
use tidegate_gateway::journal::{Journal, Options, Sequence};

/// Names the folder that a child works in.
const FOLDER: &str = "TIDEGATE_TEST_JOURNAL";
/// Records that a child appends unless it dies before.
const RECORDS: usize = 60;
/// Length of each payload.
const PAYLOAD_BYTES: usize = 5000;

fn options() -> Options {
    Options { segment_bytes: 64 << 10, buffer_bytes: 32 << 10, ..Options::default() }
}

fn payload(sequence: Sequence) -> Vec<u8> {
    (0..PAYLOAD_BYTES as u64).map(|at| (at * 31 + sequence.0 * 7) as u8).collect()
}

/// The work of a child. Without the variable it is a test that does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (journal, _) = Journal::open(&folder.join("journal"), options()).expect("open");
    let mut acknowledged = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("acknowledged"))
        .expect("a file for what is acknowledged");
    for round in 0..RECORDS {
        let permit = journal.reserve(PAYLOAD_BYTES as u64 + 8).await.expect("room");
        let sequence = journal.appended_sequence().next();
        let data = Bytes::from(payload(sequence));
        journal.append(permit, &sequence.0.to_le_bytes(), &[data]).expect("appended");
        if round % 3 == 0 {
            journal.durable(sequence).await.expect("durable");
            writeln!(acknowledged, "{sequence}").expect("written down");
        }
        if round % 20 == 19 {
            let keep = journal.durable_sequence().0.saturating_sub(15);
            journal.remove_through(Sequence(keep)).expect("removed");
        }
    }
}

fn check(folder: &Path, point: &str) {
    let acknowledged = fs::read_to_string(folder.join("acknowledged")).unwrap_or_default();
    let acknowledged: u64 = acknowledged.lines().last().map_or(0, |line| line.parse().expect("a number"));
    let (journal, replay) = Journal::open(&folder.join("journal"), options()).expect(point);
    assert!(replay.newest().0 >= acknowledged, "{point}: {acknowledged} was acknowledged");
    let mut expected = replay.oldest();
    for record in replay.from(expected).expect(point) {
        let record = record.expect(point);
        assert_eq!(record.sequence, expected, "{point}");
        assert_eq!(record.batch, record.sequence.0.to_le_bytes()[..], "{point}");
        let data = journal.read_blocking(record.position, u64::from(record.payload_bytes)).expect(point);
        assert_eq!(data, payload(record.sequence), "{point}");
        expected = expected.next();
    }
}

/// Runs a child that dies at `at`, if it gets there; says whether it did.
fn run_child(folder: &Path, at: &str) -> bool {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(crash::VARIABLE, at)
        .output()
        .expect("a child");
    let died = String::from_utf8_lossy(&output.stderr).contains("abort: crash point");
    assert!(died || output.status.success(), "{at}: {output:?}");
    died
}

#[test]
fn whatever_was_acknowledged_survives_a_death_at_every_point() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(!run_child(folder.path(), "journal.open.cut"), "a new journal has nothing to cut");
    for point in crash::POINTS.iter().filter(|point| point.starts_with("journal.")) {
        for visit in [1, 2, 5] {
            let at = format!("{point}:{visit}");
            let died = run_child(folder.path(), &at);
            assert!(died || visit > 1, "{at} is never reached");
            check(folder.path(), &at);
        }
    }
}
