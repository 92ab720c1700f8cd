//! The disk of the journal: slow, hanging, filling, and gone.

use std::fs::File;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use tidegate_integration::disk::Disk;
use tidegate_integration::skip::skip;

use super::stage::{Client, Stage, can_be_made, folder};

/// How large the disk is.
const DISK_BYTES: u64 = 1 << 30;
/// How much somebody else writes to it between two looks.
const PIECE: usize = 4 << 20;
/// How long the process is stopped at a time, and runs between: most syncs that it begins then take longer than 0.1 s.
const STOPPED: Duration = Duration::from_millis(150);
const RUNS: Duration = Duration::from_millis(30);
/// How often that is done between two looks.
const STOPS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_is_slow_or_hangs_or_fills_or_fails_is_an_alert() {
    if !can_be_made("the disk of the journal") {
        return;
    }
    let folder = folder();
    let disk = match Disk::mount(&folder.path().join("data"), DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skip("the disk of the journal", &format!("no disk can be mounted: {why}")),
    };
    let stage = Stage::set(folder, "");
    assert_eq!(stage.gateway.data(), disk.path());
    let client = Client::that_syncs(stage.gateway.address());
    let prometheus = &stage.prometheus;
    stage.is_well();

    prometheus.until_fired(&["TidegateSyncsSlow"], || stop_and_go(&stage));
    prometheus.until_over(&["TidegateSyncsSlow"]);

    disk.freeze();
    prometheus.until_fired(&["TidegateJournalHangs"], || {});
    disk.thaw();
    prometheus.until_over(&["TidegateJournalHangs"]);

    let place = disk.path().join("of somebody else");
    let mut other = File::create(&place).expect("there is room");
    let piece = vec![0x5a; PIECE];
    prometheus.until_fired(&["TidegateDiskFilling"], || other.write_all(&piece).expect("there is room"));
    std::fs::remove_file(&place).expect("it is there");
    drop(other);
    prometheus.until_over(&["TidegateDiskFilling"]);

    // A gateway whose journal cannot be written ends, and cannot begin anew.
    client.stop().await;
    disk.fail();
    prometheus.until_fired(&["TidegateSilent"], || {});
    let mut gateway = stage.gateway;
    assert!(gateway.has_died(), "it goes on without a disk:\n{}", gateway.log());
}

fn stop_and_go(stage: &Stage) {
    for _ in 0..STOPS {
        stage.gateway.pause();
        sleep(STOPPED);
        stage.gateway.wake();
        sleep(RUNS);
    }
}
