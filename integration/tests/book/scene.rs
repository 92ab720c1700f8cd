//! What a chapter plays in: stores of others, machines with nothing but their folder, and a runtime for clients.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidegate_integration::gate::Gate;
use tokio::runtime::Runtime;

use crate::machine::Machine;
use crate::server::Server;

/// The buckets of the book, in both regions; the server brings `bucket`.
const BUCKETS: [&str; 2] = ["my-bucket", "other-bucket"];

/// An S3 service of one region, which can be cut off.
pub(crate) struct Region {
    server: Server,
    pub(crate) gate: Gate,
}

impl Region {
    async fn open() -> Self {
        let server = Server::start().await;
        let gate = Gate::before(server.address).await;
        let region = Self { server, gate };
        for bucket in BUCKETS {
            fs::create_dir(region.folder().join(bucket)).expect("a bucket");
        }
        region
    }

    fn folder(&self) -> PathBuf {
        self.server.bucket().parent().expect("buckets lie in a folder").to_owned()
    }

    /// Where the objects of a bucket lie.
    pub(crate) fn bucket(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// How it is reached.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.gate.address())
    }
}

/// See the head of this file.
pub(crate) struct Scene {
    // Machines end before what they lie in; the runtime goes last.
    folder: TempDir,
    /// `eu-central-1`.
    pub(crate) home: Region,
    /// `eu-west-1`.
    pub(crate) away: Region,
    runtime: Arc<Runtime>,
}

impl Scene {
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = Arc::new(runtime.expect("threads"));
        let (home, away) = runtime.block_on(async { (Region::open().await, Region::open().await) });
        Self { folder, home, away, runtime }
    }

    /// A machine on which the program is installed, with the credentials of the stores and nothing else.
    pub(crate) fn machine(&self, name: &str) -> Machine {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        Machine::new(folder, self.home.endpoint(), &self.away.endpoint(), Arc::clone(&self.runtime))
    }

    /// A machine with a repository in `s3://my-bucket/tidegate`, and a gateway that serves the share `files` from there.
    pub(crate) fn gateway(&self, name: &str) -> Machine {
        self.gateway_with(name, "")
    }

    /// The same with more in its settings.
    pub(crate) fn gateway_with(&self, name: &str, more: &str) -> Machine {
        let mut machine = self.machine(name);
        machine.settle(more);
        machine.tidegate("init --no-recovery-key");
        machine.serve();
        machine
    }
}

impl Drop for Scene {
    /// Ends gateways that commands have started, as a failover does.
    fn drop(&mut self) {
        let place = self.folder.path().display().to_string();
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let Some(id) =
                process.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw)
            else {
                continue;
            };
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&place) {
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }
}
