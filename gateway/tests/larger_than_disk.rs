//! More data than the disk has, and a store that goes away until the disk is full.
//!
//! The local state lies on a small file system of its own: an ext4 image, mounted over a loop device,
//! which needs root. Where that cannot be had the test says why and passes. Through the file view, as
//! NFS does: once and a half the disk is written, one file larger than the disk among it, and read back.
//! Then the store is cut off: writers are slowed down and at last told to try later, while reads and
//! deletes go on; when the store is back everything drains.
//!
//! Part of the nightly profile: runs only where `TIDEGATE_DISK_MIB` is set. `TIDEGATE_WRITE_MIB` (default
//! one and a half times that) sets how much is written; the nightly run takes 2048 and 10240.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_gateway::appliance::{Appliance, Budgets, ShareConfig};
use tidegate_protocols::view::{
    Call, Caller, CreateHow, FileView, FsError, Handle, SetAttributes, Stability,
};
use tidegate_replicator::store::{DirectoryStore, FaultStore, Store};

use support::{config, init, open_within, slot_key};

const MIB: u64 = 1 << 20;
const SEED: u64 = 7;

/// A mounted image; unmounted when dropped.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    fn mount(folder: &Path, bytes: u64) -> Result<Self, String> {
        let (image, mount) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir(&mount).unwrap();
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))?;
        Ok(Self { mount })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(said)
}

fn mib(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number of MiB")) * MIB
}

/// An independent client of the file view.
struct Client {
    appliance: Arc<Appliance>,
    call: Call,
    root: Handle,
}

impl Client {
    async fn new(appliance: Arc<Appliance>) -> Self {
        let caller = Caller { uid: 0, gid: 0, gids: Vec::new(), address: "127.0.0.1:700".parse().unwrap() };
        let call = Call { caller, retry: None };
        let root = appliance.files().mount(&call, b"/docs").await.unwrap();
        Self { appliance, call, root }
    }

    async fn create(&self, name: &str) -> Handle {
        let set = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
        let how = CreateHow::Guarded(set);
        let made = self.appliance.files().create(&self.call, &self.root, name.as_bytes(), how).await;
        made.unwrap().object.unwrap().0
    }

    async fn try_write(&self, file: &Handle, offset: u64, data: Vec<u8>) -> Result<(), FsError> {
        let written =
            self.appliance.files().write(&self.call, file, offset, data.into(), Stability::Unstable).await;
        written.map(drop).map_err(|failure| failure.error)
    }

    /// As an NFS client does it: "try later" is tried again.
    async fn write_file(&self, name: &str, seed: u64, length: u64) -> Handle {
        let file = self.create(name).await;
        for block in 0..length / MIB {
            let begun = Instant::now();
            while let Err(error) = self.try_write(&file, block * MIB, content(seed, block)).await {
                assert_eq!(error, FsError::TryLater, "{name} at {block} MiB");
                assert!(begun.elapsed() < Duration::from_mins(5), "{name} is stuck at {block} MiB");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        file
    }

    async fn check_file(&self, file: &Handle, seed: u64, length: u64) {
        for block in 0..length / MIB {
            let read = self.read(file, block * MIB).await;
            assert!(read == content(seed, block), "block {block} of seed {seed} differs");
        }
    }

    async fn read(&self, file: &Handle, offset: u64) -> Vec<u8> {
        loop {
            match self.appliance.files().read(&self.call, file, offset, MIB as u32).await {
                Ok(data) => return data.pieces.concat(),
                Err(failure) => assert_eq!(failure.error, FsError::TryLater),
            }
        }
    }
}

/// One MiB that neither repeats nor compresses.
fn content(seed: u64, block: u64) -> Vec<u8> {
    support::noise(SEED + seed * 1_000_003 + block * 7919, MIB as usize)
}

/// Bytes of the disk and bytes to write; none outside of the nightly profile.
fn sizes() -> Option<(u64, u64)> {
    if std::env::var_os("TIDEGATE_DISK_MIB").is_none() {
        println!("part of the nightly profile: set TIDEGATE_DISK_MIB (such as 2048) to run it");
        return None;
    }
    let disk_bytes = mib("TIDEGATE_DISK_MIB", 256);
    Some((disk_bytes, mib("TIDEGATE_WRITE_MIB", disk_bytes / MIB * 3 / 2)))
}

fn under_pressure_only() -> ShareConfig {
    ShareConfig { rpo: Duration::from_secs(5), ..config("docs") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_than_the_disk_goes_through_it_and_an_outage_fills_it_without_harm() {
    let Some((disk_bytes, write_bytes)) = sizes() else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = match Disk::mount(folder.path(), disk_bytes) {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: a small file system cannot be mounted here: {why}");
            return;
        }
    };
    let key = slot_key(folder.path());
    let inner: Arc<dyn Store> = Arc::new(DirectoryStore::create(&folder.path().join("store")).unwrap());
    let faults = FaultStore::new(inner, SEED);
    let store: Arc<dyn Store> = Arc::new(faults.clone());
    drop(init(store.clone(), &key).await);
    let budgets = Budgets { memory_bytes: 128 << 20, ..Budgets::default() };
    let appliance = open_within(&disk.mount.join("data"), store, &key, budgets).await;
    assert!(appliance.dirty_bytes_max() < disk_bytes);
    appliance.serve(under_pressure_only()).await.unwrap();
    let client = Client::new(appliance.clone()).await;

    let large_bytes = disk_bytes * 5 / 4;
    let small_bytes = write_bytes.saturating_sub(large_bytes) / 4;
    let large = client.write_file("larger than the disk", 0, large_bytes).await;
    let mut small = Vec::new();
    for seed in 1..=4 {
        small.push((client.write_file(&format!("file {seed}"), seed, small_bytes).await, seed));
    }
    client.check_file(&large, 0, large_bytes).await;
    for (file, seed) in &small {
        client.check_file(file, *seed, small_bytes).await;
    }
    appliance.commit("docs").await.unwrap();

    faults.partition(true);
    let filler = client.create("filler").await;
    let (mut blocks, mut slowest_below_full) = (0, Duration::ZERO);
    loop {
        let (begun, used) = (Instant::now(), appliance.dirty_part());
        match client.try_write(&filler, blocks * MIB, content(99, blocks)).await {
            Ok(()) if used > 0.7 => slowest_below_full = slowest_below_full.max(begun.elapsed()),
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, FsError::TryLater);
                break;
            }
        }
        blocks += 1;
        assert!(blocks * MIB < disk_bytes, "nobody was stopped by a store that is away");
    }
    println!("{blocks} MiB were taken while the store was away; slowest write {slowest_below_full:?}");
    assert!(slowest_below_full >= Duration::from_millis(20), "writers were not slowed down");
    assert!(blocks * MIB > disk_bytes / 5, "only {blocks} MiB were taken");
    client.check_file(&filler, 99, blocks * MIB).await;
    appliance.files().remove(&client.call, &client.root, b"file 4").await.expect("deletes work");
    appliance.health().unwrap();

    faults.partition(false);
    let begun = Instant::now();
    while appliance.backlog().0 > 0 || appliance.dirty_part() > 0.7 {
        assert!(begun.elapsed() < Duration::from_mins(2), "it does not drain");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.try_write(&filler, blocks * MIB, content(99, blocks)).await.expect("writes go on");
    appliance.commit("docs").await.unwrap();
    client.check_file(&filler, 99, (blocks + 1) * MIB).await;
    client.check_file(&large, 0, large_bytes).await;
    appliance.close().await.unwrap();
}
