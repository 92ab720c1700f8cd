//! NFS servers to load: a Tidegate of this build, and nfs-ganesha if it is installed.
//!
//! Each keeps all that it has below one folder, listens on this machine only, and dies with its value.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long a server may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);

/// A running server.
pub struct Server {
    /// What to call it.
    pub name: &'static str,
    /// Where it serves NFS.
    pub nfs: SocketAddr,
    /// Where it serves MOUNT.
    pub mount: SocketAddr,
    /// What to mount.
    pub export: String,
    log: PathBuf,
    process: Child,
}

impl Server {
    /// A gateway with a store in the same folder: `TIDEGATE_PROGRAM`, or the program beside this one.
    /// `None` when it has not been built.
    pub fn tidegate(folder: &Path) -> Outcome<Option<Self>> {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("tidegate"));
        let program = std::env::var_os("TIDEGATE_PROGRAM").map(PathBuf::from).or_else(beside);
        let Some(program) = program.filter(|program| program.exists()) else { return Ok(None) };
        let (address, place) = (free_address()?, folder.display());
        let settings = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"{place}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\naddress = \"file://{place}/repository\"\n\n\
             [nfs]\nlisten = [\"{address}\"]\n\n\
             [[share]]\nname = \"bench\"\nrpo = \"1h\"\nsquash = \"none\"\n"
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("tidegate.toml"), settings)?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("--settings").arg(folder.join("tidegate.toml"));
            command
        };
        let made = command().arg("init").stdin(Stdio::null()).output()?;
        if !made.status.success() {
            return Err(format!("tidegate init: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let mut serve = command();
        serve.arg("serve");
        Self::start("Tidegate", (address, address), "/bench", folder, &mut serve).map(Some)
    }

    /// nfs-ganesha over a folder of the local file system; `None` when it is not installed.
    pub fn ganesha(folder: &Path) -> Outcome<Option<Self>> {
        const PROGRAM: &str = "/usr/bin/ganesha.nfsd";
        if !Path::new(PROGRAM).exists() {
            return Ok(None);
        }
        let (nfs, mount, place) = (free_address()?, free_address()?, folder.join("export"));
        fs::create_dir_all(&place)?;
        let place = place.display().to_string();
        let settings = format!(
            "NFS_CORE_PARAM {{ Protocols = 3; Bind_addr = 127.0.0.1; NFS_Port = {}; MNT_Port = {}; \
             Enable_NLM = false; Enable_RQUOTA = false; }}\n\
             EXPORT {{ Export_Id = 1; Path = {place}; Pseudo = /bench; Access_Type = RW; \
             Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP; \
             FSAL {{ Name = VFS; }} }}\n\
             LOG {{ Default_Log_Level = EVENT; }}\n",
            nfs.port(),
            mount.port()
        );
        fs::write(folder.join("ganesha.conf"), settings)?;
        let mut serve = Command::new(PROGRAM);
        serve.args(["-F", "-L", "STDERR", "-f"]).arg(folder.join("ganesha.conf"));
        serve.arg("-p").arg(folder.join("ganesha.pid"));
        Self::start("nfs-ganesha", (nfs, mount), &place, folder, &mut serve).map(Some)
    }

    fn start(
        name: &'static str,
        (nfs, mount): (SocketAddr, SocketAddr),
        export: &str,
        folder: &Path,
        command: &mut Command,
    ) -> Outcome<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn()?;
        let mut server = Self { name, nfs, mount, export: export.to_owned(), log, process };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(nfs).is_err() || TcpStream::connect(mount).is_err() {
            if server.process.try_wait()?.is_some() || Instant::now() > end {
                return Err(format!("{name} does not serve: {}", fs::read_to_string(&server.log)?).into());
            }
            std::thread::sleep(POLL);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
