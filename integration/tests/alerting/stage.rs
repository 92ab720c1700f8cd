//! A gateway with a Prometheus over it, and what its clients do meanwhile.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, free_address};
use tidegate_integration::nfs::Nfs;
use tidegate_integration::skip::{is_nightly, skip};
use tidegate_integration::tools::tool;
use tokio::task::JoinHandle;

use super::prometheus::{PATIENCE, POLL, Prometheus, get};

/// How long a gateway that is well is watched before anything is broken.
const WELL: Duration = Duration::from_secs(8);
/// A client's pause between two files.
const PAUSE: Duration = Duration::from_millis(30);
/// Its pause between two small writes: without one it alone would use the dirty budget up.
const BREATH: Duration = Duration::from_millis(2);
/// A large write.
const BLOCK: usize = 1 << 20;
/// The gateway's own alarms, as soon as they may be.
const ALARMS: &str = "\n[alarms]\nraise_after = \"1s\"\nstore_away_after = \"10s\"\nclear_after = \"1s\"\n";

/// See the head of this module.
pub(super) struct Stage {
    pub(super) gateway: Gateway,
    pub(super) prometheus: Prometheus,
    metrics: SocketAddr,
    folder: TempDir,
}

/// Where memory is a disk, on Linux.
const MEMORY: &str = "/dev/shm";
/// Room that a test needs.
const ROOM_BYTES: u64 = 4 << 30;

/// A folder for a test: in memory, if there is room. A disk that others keep busy is slow, and that is an alert.
pub(super) fn folder() -> TempDir {
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |found| found.f_bavail * found.f_frsize);
    let made = if free > ROOM_BYTES { tempfile::tempdir_in(MEMORY) } else { tempfile::tempdir() };
    made.expect("a folder")
}

/// Whether a test can be made here; says why it cannot. All together take minutes, and a machine that is busy otherwise
/// raises alarms of its own: they belong to the nightly tests.
pub(super) fn can_be_made(test: &str) -> bool {
    if !is_nightly() {
        skip(test, "it takes minutes: the nightly tests do it (TIDEGATE_NIGHTLY)");
        return false;
    }
    let is_there = tool("prometheus").is_some();
    if !is_there {
        skip(test, "there is no prometheus (Debian: prometheus; packaging/setup.sh unpacks it)");
    }
    is_there
}

/// Settings of a gateway that is watched, over those that all tests have.
fn watched(gateway: &Gateway, metrics: SocketAddr) {
    let settings = std::fs::read_to_string(gateway.settings()).expect("it was written");
    std::fs::write(gateway.settings(), settings + ALARMS).expect("the folder can be written");
    gateway.change_settings("[gateway]\n", &format!("[gateway]\nmetrics = \"{metrics}\"\n"));
    gateway.change_settings("dirty = \"128MiB\"", "dirty = \"64MiB\"");
    // A machine that is busy with other tests keeps this one.
    gateway.change_settings("rpo = \"1s\"", "rpo = \"5s\"");
}

impl Stage {
    /// A gateway with a repository in a folder, and with more in its settings.
    pub(super) fn set(folder: TempDir, more: &str) -> Self {
        Self::set_with(folder, more, |_| {})
    }

    /// The same, with what `change` does to its settings.
    pub(super) fn set_with(folder: TempDir, more: &str, change: impl FnOnce(&Gateway)) -> Self {
        let gateway = Gateway::create_with(folder.path(), more);
        change(&gateway);
        Self::watch(folder, gateway)
    }

    /// A gateway that has not started yet.
    pub(super) fn watch(folder: TempDir, mut gateway: Gateway) -> Self {
        let metrics = free_address();
        watched(&gateway, metrics);
        gateway.start();
        let place = folder.path().join("watch");
        std::fs::create_dir(&place).expect("a folder");
        let prometheus = Prometheus::start(&place, metrics).expect("there is one");
        Self { gateway, prometheus, metrics, folder }
    }

    /// A path in the folder of the test.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the gateway shows now.
    pub(super) fn metrics(&self) -> String {
        get(self.metrics, "/metrics").expect("the gateway shows its metrics")
    }

    /// The value of a metric, by its name and all of its labels.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    /// Waits until a metric is as it should be.
    pub(super) fn until_metric(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !self.metric(name).is_some_and(&is_so) {
            assert!(Instant::now() < end, "{name} is {:?}:\n{}", self.metric(name), self.gateway.log());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a gateway that took a share over has published for the first time, which takes longer than the next times.
    pub(super) fn leads(&self) {
        self.gateway.commit();
        self.prometheus.until_over(&["TidegateObjectiveMissed"]);
    }

    /// The gateway is well, with a client at work.
    pub(super) fn is_well(&self) {
        self.prometheus.stays_silent(WELL);
    }
}

/// A client that goes on until it is stopped.
pub(super) struct Client {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Client {
    fn start<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Arc<AtomicBool>) -> F) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { task: tokio::spawn(work(stop.clone())), stop }
    }

    /// One that makes small files of text, and reads them.
    pub(super) fn at_work(address: SocketAddr) -> Self {
        Self::start(async move |stop| {
            let mut nfs = Nfs::connect(address).await;
            let (root, mut number) = (nfs.root(), 0);
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
                number += 1;
                let text = format!("file {number} says what others say too\n").repeat(1_000).into_bytes();
                // A share that was taken away is read-only.
                let Ok(file) = nfs.create(&root, format!("text-{number}").as_bytes()).await else { continue };
                if nfs.write(&file, 0, &text).await.is_ok() {
                    assert!(nfs.read(&file, 0, text.len() as u64).await.is_ok_and(|read| read == text));
                }
            }
        })
    }

    /// One that writes what does not compress, as fast as it may; "try later" is tried again.
    pub(super) fn that_fills(address: SocketAddr, name: &str) -> Self {
        let name = name.to_owned();
        Self::start(async move |stop| {
            let mut nfs = Nfs::connect(address).await;
            let root = nfs.root();
            let file = nfs.create(&root, name.as_bytes()).await.expect("made");
            let mut block = 0;
            while !stop.load(Ordering::Relaxed) {
                let content = noise(block);
                block += u64::from(nfs.try_write(&file, block * BLOCK as u64, &content).await.is_ok());
            }
        })
    }

    /// One that waits for each small write to be durable, and writes the next.
    pub(super) fn that_syncs(address: SocketAddr) -> Self {
        Self::start(async move |stop| {
            let mut nfs = Nfs::connect(address).await;
            let root = nfs.root();
            let file = nfs.create(&root, b"synced").await.expect("made");
            let page = b"one line more\n".repeat(1_200);
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                nfs.write(&file, number % 100 * page.len() as u64, &page).await.expect("written");
                tokio::time::sleep(BREATH).await;
            }
        })
    }

    /// Stops it, once what it waits for is answered.
    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a client ends well");
    }
}

/// One MiB that neither repeats nor compresses.
pub(super) fn noise(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    (0..BLOCK / 8).flat_map(|_| chance.next().to_le_bytes()).collect()
}
