//! Stores to load, each of processes of its own: here what they have in common, and Tidegate. The others:
//! [`crate::peers`] and [`crate::rgw`].
//!
//! Each keeps all that it has below one folder, listens on this machine only, and dies with its value.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_benches::process::processor_seconds_of;
use tidegate_benches::{Outcome, free_address, tidegate_program};

use crate::sign::{ACCESS_KEY, SECRET_KEY};

/// The buckets: of what is put and got, and of what is listed.
pub(crate) const LOADED: &str = "bench";
/// See [`LOADED`].
pub(crate) const LISTED: &str = "listed";

/// How long a store may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);
/// How much of a log a message quotes.
const QUOTED_CHARACTERS: usize = 200;

const MEMORY: &str = "4GiB";
const DIRTY: &str = "32GiB";
const RPO: &str = "1h";

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tidegate,
    S3sFs,
    Garage,
    Rgw,
}

impl Kind {
    /// All of them: first the one this is about.
    pub(crate) const ALL: [Self; 4] = [Self::Tidegate, Self::S3sFs, Self::Garage, Self::Rgw];

    /// What to call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::S3sFs => "s3s-fs",
            Self::Garage => "Garage",
            Self::Rgw => "Ceph RGW",
        }
    }

    /// Its name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::S3sFs => "s3s-fs",
            Self::Garage => "garage",
            Self::Rgw => "rgw",
        }
    }
}

/// A running store.
pub(crate) struct Store {
    pub(crate) kind: Kind,
    /// How it is set up, in a sentence.
    pub(crate) setup: String,
    /// Where it serves S3.
    pub(crate) address: SocketAddr,
    processes: Vec<Process>,
}

impl Store {
    /// Starts one in a folder that is made.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(folder)?;
        match kind {
            Kind::Tidegate => Self::tidegate(folder),
            Kind::S3sFs => Self::s3s_fs(folder),
            Kind::Garage => Self::garage(folder),
            Kind::Rgw => Self::rgw(folder),
        }
    }

    /// One that serves; its processes die in this order.
    pub(crate) fn new(kind: Kind, address: SocketAddr, setup: String, processes: Vec<Process>) -> Self {
        Self { kind, setup, address, processes }
    }

    /// Processor time that all its processes have taken so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> Outcome<f64> {
        self.processes.iter().map(|process| processor_seconds_of(process.child.id())).sum()
    }

    /// The program that the bench of NFS measures too, with buckets of objects.
    fn tidegate(folder: &Path) -> Outcome<Self> {
        let program = tidegate_program()?;
        let (address, nfs, place) = (free_address()?, free_address()?, folder.display());
        let secret = folder.join("secret");
        fs::write(&secret, SECRET_KEY)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let settings = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\nmemory = \"{MEMORY}\"\n\n\
             [repository]\nkey = {{ file = \"{place}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\naddress = \"file://{place}/repository\"\n\n\
             [cache]\ndirty = \"{DIRTY}\"\n\n\
             [nfs]\nlisten = [\"{nfs}\"]\n\n\
             [s3]\nlisten = [\"{address}\"]\n\n\
             [[bucket]]\nname = \"{LOADED}\"\nrpo = \"{RPO}\"\n\n\
             [[bucket]]\nname = \"{LISTED}\"\nrpo = \"{RPO}\"\n\n\
             [[access_key]]\nid = \"{ACCESS_KEY}\"\nsecret = {{ file = \"{place}/secret\" }}\n"
        );
        let file = folder.join("tidegate.toml");
        fs::write(&file, settings)?;
        let command = |word: &str| {
            let mut command = Command::new(&program);
            command.arg("--settings").arg(&file).arg(word);
            command
        };
        done(&mut command("init"))?;
        let mut process = Process::start(&mut command("serve"), &folder.join("log"))?;
        process.wait_for(address)?;
        let setup = format!(
            "buckets of objects; journal, map and a directory as its repository on the bench's disk; \
             gateway.memory {MEMORY}, cache.dirty {DIRTY}, rpo {RPO}"
        );
        Ok(Self::new(Kind::Tidegate, address, setup, vec![process]))
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts one that writes what it says to a log.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Outcome<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self { child: command.spawn()?, log: log.to_owned() })
    }

    /// Waits until somebody listens.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> Outcome<()> {
        self.wait_until(|| TcpStream::connect(address).is_ok())
    }

    /// Waits until something holds.
    pub(crate) fn wait_until(&mut self, holds: impl Fn() -> bool) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if self.child.try_wait()?.is_some() || Instant::now() > end {
                return Err(
                    format!("it does not serve: {}", last_line(&fs::read_to_string(&self.log)?)).into()
                );
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have died by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command, which must succeed; what it printed.
pub(crate) fn done(command: &mut Command) -> Outcome<String> {
    let ended = command.stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    Err(format!("{command:?} failed: {}", last_line(&said)).into())
}

/// The last thing that a log says, shortened.
fn last_line(log: &str) -> String {
    let last = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    last.chars().take(QUOTED_CHARACTERS).collect()
}
