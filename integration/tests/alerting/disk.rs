//! The disk of the journal: slow, hanging, filling, and gone.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tidegate_integration::disk::Disk;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::Nfs;
use tidegate_integration::skip::skip;

use super::stage::{Client, Stage, can_be_made, folder};

/// How large the disk is.
const DISK_BYTES: u64 = 1 << 30;
/// How much somebody else writes to it between two looks.
const PIECE: usize = 4 << 20;
/// How long the process is stopped at a time, longer than a sync may take; and how long it runs between, not much longer than
/// one takes.
const STOPPED: Duration = Duration::from_millis(150);
const RUNS: Duration = Duration::from_millis(15);

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

    stop_and_go(&stage.gateway, || prometheus.until_fired(&["TidegateSyncsSlow"], || {}));
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

    // A gateway whose journal cannot be written ends, and cannot begin anew. The client that tries it is told so, or loses its
    // connection.
    client.stop().await;
    let mut nfs = Nfs::connect(stage.gateway.address()).await;
    disk.fail();
    let told = tokio::spawn(async move {
        let root = nfs.root();
        nfs.create(&root, b"in vain").await.is_err()
    });
    prometheus.until_fired(&["TidegateSilent"], || {});
    assert!(told.await.unwrap_or(true), "a change was acknowledged that no disk has");
    let mut gateway = stage.gateway;
    assert!(gateway.has_died(), "it goes on without a disk:\n{}", gateway.log());
}

/// Stops the process again and again, and lets it run for a moment, while `work` goes on.
fn stop_and_go(gateway: &Gateway, work: impl FnOnce()) {
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        // Also when the work panics.
        let _ends = Ends(&goes_on);
        scope.spawn(|| {
            while goes_on.load(Ordering::Relaxed) {
                gateway.pause();
                sleep(STOPPED);
                gateway.wake();
                sleep(RUNS);
            }
        });
        work();
    });
}

/// Says that nothing goes on any more, when dropped.
struct Ends<'e>(&'e AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
