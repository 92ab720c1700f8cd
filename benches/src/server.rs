//! NFS servers to load, each a process of its own: here what they have in common, and the Tidegate of
//! this build. The others: [`crate::peers`].
//!
//! Each keeps all that it has below one folder, listens on this machine only, and dies with its value.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::peers::PortMapper;
use crate::process::{peak_memory_of, processor_seconds_of};

/// How long a server may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
/// How much of a log a message quotes.
const QUOTED_CHARACTERS: usize = 200;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one this is about.
    Tidegate,
    /// Another build of it.
    Earlier,
    /// nfs-ganesha with its VFS backend.
    Ganesha,
    /// A folder behind the crate `nfsserve`.
    Nfsserve,
    /// ZeroFS.
    Zerofs,
}

impl Kind {
    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::Earlier => "earlier Tidegate",
            Self::Ganesha => "nfs-ganesha",
            Self::Nfsserve => "nfsserve",
            Self::Zerofs => "zerofs",
        }
    }
}

/// A running server.
pub struct Server {
    /// Which it is.
    pub kind: Kind,
    /// How it was set up, in a sentence.
    pub setup: String,
    /// Where it serves NFS.
    pub nfs: SocketAddr,
    /// Where it serves MOUNT.
    pub mount: SocketAddr,
    /// What to mount.
    pub export: String,
    process: Child,
    /// How to ask it how it stands, of a Tidegate.
    ask: Option<(PathBuf, PathBuf)>,
    /// Ends after the server.
    pub(crate) port_mapper: Option<PortMapper>,
}

/// How a gateway is set up.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// `gateway.memory`, in MiB.
    pub memory_mib: u64,
    /// `cache.dirty`, in GiB.
    pub dirty_gib: u64,
    /// `share.rpo`.
    pub rpo: &'static str,
}

impl Default for GatewaySettings {
    /// So that no commit begins before a bench is over.
    fn default() -> Self {
        Self { memory_mib: 4096, dirty_gib: 32, rpo: "1h" }
    }
}

impl Server {
    /// A gateway with a store in the same folder: `TIDEGATE_PROGRAM`, or the program beside this one.
    pub fn tidegate(folder: &Path, settings: &GatewaySettings) -> Outcome<Self> {
        Self::gateway(Kind::Tidegate, &tidegate_program()?, folder, settings)
    }

    /// As [`Server::tidegate`], of another build: to see what a change of ours has brought.
    pub fn earlier(program: &Path, folder: &Path) -> Outcome<Self> {
        Self::gateway(Kind::Earlier, program, folder, &GatewaySettings::default())
    }

    fn gateway(kind: Kind, program: &Path, folder: &Path, settings: &GatewaySettings) -> Outcome<Self> {
        let (address, place) = (free_address()?, folder.display());
        let GatewaySettings { memory_mib, dirty_gib, rpo } = settings;
        let text = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\nmemory = \"{memory_mib}MiB\"\n\n\
             [repository]\nkey = {{ file = \"{place}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\naddress = \"file://{place}/repository\"\n\n\
             [cache]\ndirty = \"{dirty_gib}GiB\"\n\n\
             [nfs]\nlisten = [\"{address}\"]\n\n\
             [[share]]\nname = \"bench\"\nrpo = \"{rpo}\"\nsquash = \"none\"\n"
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("tidegate.toml"), text)?;
        let command = || {
            let mut command = Command::new(program);
            command.arg("--settings").arg(folder.join("tidegate.toml"));
            command
        };
        let made = command().arg("init").stdin(Stdio::null()).output()?;
        if !made.status.success() {
            return Err(
                format!("tidegate init: {}", last_line(&String::from_utf8_lossy(&made.stderr))).into()
            );
        }
        let setup = format!(
            "journal, map and a directory as its store on the bench's disk; gateway.memory \
             {memory_mib} MiB, cache.dirty {dirty_gib} GiB, rpo {rpo}, squash none"
        );
        let mut serve = command();
        serve.arg("serve");
        let place = Place { nfs: address, mount: address, export: "/bench".to_owned(), setup };
        let mut server = Self::start(kind, place, folder, &mut serve)?;
        server.ask = Some((program.to_owned(), folder.join("tidegate.toml")));
        Ok(server)
    }

    pub(crate) fn start(kind: Kind, place: Place, folder: &Path, command: &mut Command) -> Outcome<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        let (said, complained) = (output.try_clone()?, output);
        let process = command.stdin(Stdio::null()).stdout(said).stderr(complained).spawn()?;
        let Place { nfs, mount, export, setup } = place;
        let mut server = Self { kind, setup, nfs, mount, export, process, ask: None, port_mapper: None };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(nfs).is_err() || TcpStream::connect(mount).is_err() {
            if server.process.try_wait()?.is_some() || Instant::now() > end {
                return Err(format!("it does not serve: {}", last_line(&fs::read_to_string(log)?)).into());
            }
            std::thread::sleep(POLL);
        }
        Ok(server)
    }

    /// Processor time that it has taken so far, in seconds.
    pub fn processor_seconds(&self) -> Outcome<f64> {
        processor_seconds_of(self.process.id())
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory_bytes(&self) -> Outcome<u64> {
        peak_memory_of(self.process.id())
    }
}

/// How the share of a Tidegate stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Heads that were published.
    pub heads: u64,
    /// The age of the oldest acknowledged change that no head has, in seconds.
    pub behind_seconds: u64,
    /// Memory of the process that is resident now, in bytes.
    pub resident_bytes: u64,
}

impl Server {
    /// Asks a Tidegate how it stands.
    pub fn standing(&self) -> Outcome<Standing> {
        let (program, settings) = self.ask.as_ref().ok_or("only a Tidegate can be asked")?;
        let asked =
            Command::new(program).arg("--settings").arg(settings).args(["--json", "status"]).output()?;
        let status: serde_json::Value = serde_json::from_slice(&asked.stdout)?;
        let number = |path: &str| status.pointer(path).and_then(serde_json::Value::as_u64);
        Ok(Standing {
            heads: number("/shares/0/head/sequence").unwrap_or_default(),
            behind_seconds: number("/shares/0/rpo_now_seconds").ok_or("a status without objective")?,
            resident_bytes: number("/memory/resident_bytes").ok_or("a status without memory")?,
        })
    }
}

/// Where a server serves, and how it was set up.
pub(crate) struct Place {
    pub(crate) nfs: SocketAddr,
    pub(crate) mount: SocketAddr,
    pub(crate) export: String,
    pub(crate) setup: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of this build: `TIDEGATE_PROGRAM`, or what lies beside this one.
pub fn tidegate_program() -> Outcome<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("tidegate"));
    let program = std::env::var_os("TIDEGATE_PROGRAM").map(PathBuf::from).or_else(beside);
    let program = program.filter(|program| program.exists());
    Ok(program.ok_or("not built: `cargo build --release --workspace` makes it")?)
}

/// A port of this machine that nobody listens at.
pub fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// The last thing that a log says, shortened.
fn last_line(log: &str) -> String {
    let last = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    last.chars().take(QUOTED_CHARACTERS).collect()
}
