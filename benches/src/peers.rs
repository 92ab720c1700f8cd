//! The servers that Tidegate is measured beside: nfs-ganesha, ZeroFS, and a folder behind `nfsserve`.
//!
//! Each is a program, started for the time of a bench; none of them is needed to build or to run this.
//! ZeroFS is used as a program only: nothing here is taken from its sources.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::server::{Kind, Place, Server, free_address};

/// The argument with which a bench of this crate becomes the server over `nfsserve`.
pub const MIRROR_ARGUMENT: &str = "mirror";
/// Where port mappers listen.
const PORT_MAPPER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 111);
/// How long a port mapper may take to listen, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A port mapper (Debian: `rpcbind`) that was started because none was there. nfs-ganesha does not
/// serve version 3 without one.
pub(crate) struct PortMapper(Child);

impl PortMapper {
    /// Starts one; none when one is there.
    fn start_if_missing() -> Outcome<Option<Self>> {
        if TcpStream::connect(PORT_MAPPER).is_ok() {
            return Ok(None);
        }
        let program =
            find_program("rpcbind").ok_or("it needs rpcbind, which is not installed (Debian: rpcbind)")?;
        let mut command = Command::new(program);
        // It adds 127.0.0.1 by itself, and aborts when it is told that one as well.
        command.args(["-f", "-h", "127.0.0.2"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut mapper = Self(child);
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(PORT_MAPPER).is_err() {
            if mapper.0.try_wait()?.is_some() || Instant::now() > end {
                return Err("it needs rpcbind, which does not start (is this root?)".into());
            }
            std::thread::sleep(POLL);
        }
        Ok(Some(mapper))
    }
}

impl Drop for PortMapper {
    fn drop(&mut self) {
        // Asked, so that it takes its socket away.
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

impl Server {
    /// nfs-ganesha over a folder of the local file system.
    pub fn ganesha(folder: &Path) -> Outcome<Self> {
        let program =
            find_program("ganesha.nfsd").ok_or("not installed (Debian: nfs-ganesha nfs-ganesha-vfs)")?;
        let port_mapper = PortMapper::start_if_missing()?;
        let (nfs, mount, export) = (free_address()?, free_address()?, folder.join("export"));
        fs::create_dir_all(&export)?;
        let export = export.display().to_string();
        let settings = format!(
            "NFS_CORE_PARAM {{ Protocols = 3; Bind_addr = 127.0.0.1; NFS_Port = {}; MNT_Port = {}; \
             Enable_NLM = false; Enable_RQUOTA = false; }}\n\
             EXPORT {{ Export_Id = 1; Path = {export}; Pseudo = /bench; Access_Type = RW; \
             Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP; \
             FSAL {{ Name = VFS; }} }}\n\
             LOG {{ Default_Log_Level = EVENT; }}\n",
            nfs.port(),
            mount.port()
        );
        fs::write(folder.join("ganesha.conf"), settings)?;
        let mut serve = Command::new(program);
        serve.args(["-F", "-L", "STDERR", "-f"]).arg(folder.join("ganesha.conf"));
        serve.arg("-p").arg(folder.join("ganesha.pid"));
        let setup = "Debian's, FSAL VFS over a folder of the same disk, no root squash, else its defaults";
        let place = Place { nfs, mount, export, setup: setup.to_owned() };
        let mut server = Self::start(Kind::Ganesha, place, folder, &mut serve)?;
        server.port_mapper = port_mapper;
        Ok(server)
    }

    /// A folder behind the crate `nfsserve`, in a process of this very program, which has to become that
    /// server when it is given `--mirror=FOLDER --address=ADDRESS`.
    pub fn nfsserve(folder: &Path) -> Outcome<Self> {
        let (address, export) = (free_address()?, folder.join("export"));
        fs::create_dir_all(&export)?;
        let mut serve = Command::new(std::env::current_exe()?);
        serve.arg(format!("--{MIRROR_ARGUMENT}={}", export.display())).arg(format!("--address={address}"));
        let setup = "the crate, 0.11, over a folder of the same disk (benches/nfs/mirror.rs), which syncs each \
                     WRITE, since the crate answers each as FILE_SYNC and knows no COMMIT";
        let place = Place { nfs: address, mount: address, export: "/".to_owned(), setup: setup.to_owned() };
        Self::start(Kind::Nfsserve, place, folder, &mut serve)
    }

    /// ZeroFS over a local directory: `ZEROFS_PROGRAM`, or `zerofs` on the path.
    pub fn zerofs(folder: &Path) -> Outcome<Self> {
        let program =
            std::env::var_os("ZEROFS_PROGRAM").map(PathBuf::from).or_else(|| find_program("zerofs"));
        let program = program.filter(|program| program.exists());
        let program = program.ok_or("not found (`cargo install zerofs`, then ZEROFS_PROGRAM or the path)")?;
        let (address, place) = (free_address()?, folder.display());
        for name in ["cache", "store"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let settings = format!(
            "[cache]\ndir = \"{place}/cache\"\ndisk_size_gb = 10.0\nmemory_size_gb = 1.0\n\n\
             [storage]\nurl = \"file://{place}/store\"\nencryption_password = \"only for this bench\"\n\n\
             [servers.nfs]\naddresses = [\"{address}\"]\n"
        );
        fs::write(folder.join("zerofs.toml"), settings)?;
        let mut serve = Command::new(program);
        serve.args(["run", "-c"]).arg(folder.join("zerofs.toml"));
        let setup = "the program, its store a directory of the same disk, cache of 10 GB on disk and 1 GB in \
                     memory, else its defaults";
        let export = "/".to_owned();
        let place = Place { nfs: address, mount: address, export, setup: setup.to_owned() };
        Self::start(Kind::Zerofs, place, folder, &mut serve)
    }
}

/// A program by name, on the path or where the system keeps servers.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    places.map(|place| place.join(OsStr::new(name))).find(|program| program.is_file())
}
