//! A gateway as its operator sees it: settings, a process, commands.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::attempt::{Ended, attempt};

/// The one share of a gateway of the tests, and its export below `/`.
pub const SHARE: &str = "files";

/// The dirty budget: so small that the journal's segments are short, and end often.
const DIRTY: &str = "128MiB";

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(10);

/// The program under test: see the head of this crate.
pub fn program() -> PathBuf {
    std::env::var_os("TIDEGATE_PROGRAM").map_or_else(
        || {
            let test = std::env::current_exe().expect("a test has a path");
            let folder = test.parent().and_then(Path::parent).expect("tests lie below the target folder");
            folder.join("tidegate")
        },
        PathBuf::from,
    )
}

/// A gateway with its repository, all in one folder. Its process dies with it.
#[derive(Debug)]
pub struct Gateway {
    folder: PathBuf,
    address: SocketAddr,
    process: Option<Child>,
}

impl Gateway {
    /// Writes settings and makes the repository.
    pub fn create(folder: &Path) -> Self {
        let gateway = Self::configure(folder, &folder.join("repository"), &folder.join("repository.key"));
        gateway.run(&["init", "--no-recovery-key"]);
        gateway
    }

    /// As [`Gateway::create`], with more tables in the settings.
    pub fn create_with(folder: &Path, more: &str) -> Self {
        let gateway = Self::configure(folder, &folder.join("repository"), &folder.join("repository.key"));
        let settings = fs::read_to_string(gateway.settings()).expect("it was written");
        fs::write(gateway.settings(), settings + more).expect("the folder can be written");
        gateway.run(&["init", "--no-recovery-key"]);
        gateway
    }

    /// A machine with an empty disk that takes the share over from a repository and its key alone.
    pub fn attach(folder: &Path, repository: &Path, key: &Path) -> Self {
        let gateway = Self::configure(folder, repository, key);
        gateway.run(&["attach", SHARE]);
        gateway
    }

    /// Writes settings only, for a repository in a folder.
    pub fn configure(folder: &Path, repository: &Path, key: &Path) -> Self {
        Self::configure_on(folder, &format!("address = \"file://{}\"", repository.display()), key)
    }

    /// Writes settings only; `target` are the lines that say where the repository lies.
    pub fn configure_on(folder: &Path, target: &str, key: &Path) -> Self {
        let address = free_address();
        let (place, key) = (folder.display(), key.display());
        let settings = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"{key}\" }}\n\n\
             [[target]]\nname = \"local\"\n{target}\n\n\
             [cache]\ndirty = \"{DIRTY}\"\n\n\
             [nfs]\nlisten = [\"{address}\"]\n\n\
             [[share]]\nname = \"{SHARE}\"\nrpo = \"1s\"\nsquash = \"none\"\n"
        );
        fs::write(folder.join("tidegate.toml"), settings).expect("the folder can be written");
        Self { folder: folder.to_path_buf(), address, process: None }
    }

    /// One whose settings somebody else writes, to `tidegate.toml` in the folder: it serves NFS at `address`.
    pub fn found(folder: &Path, address: SocketAddr) -> Self {
        Self { folder: folder.to_path_buf(), address, process: None }
    }

    /// Its repository, if it made one.
    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// The key of its repository, if it made one.
    pub fn key(&self) -> PathBuf {
        self.folder.join("repository.key")
    }

    /// Publishes everything that was acknowledged.
    pub fn commit(&self) {
        self.run(&["commit", SHARE]);
    }

    /// Where it serves NFS.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its local state.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it wrote to its log, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Runs a command, which must succeed; what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().expect("the program runs");
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "tidegate {arguments:?} failed with {}: {error}", done.status);
        String::from_utf8(done.stdout).expect("output is text")
    }

    /// Runs a command that may fail.
    pub fn attempt(&self, arguments: &[&str]) -> Ended {
        attempt(&self.settings(), arguments)
    }

    /// Its settings file.
    pub fn settings(&self) -> PathBuf {
        self.folder.join("tidegate.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--settings").arg(self.settings()).arg("--json").args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it serves.
    pub fn start(&mut self) {
        self.spawn(None);
        assert!(self.wait_until_serving(), "the gateway died at its start:\n{}", self.log());
    }

    /// Starts it so that it dies at a crash point, `name` or `name:nth`; does not wait.
    pub fn start_to_crash(&mut self, at: &str) {
        self.spawn(Some(at));
    }

    fn spawn(&mut self, crash_at: Option<&str>) {
        assert!(self.process.is_none(), "one process at a time");
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(log);
        if let Some(at) = crash_at {
            command.env("TIDEGATE_CRASH_AT", at);
        }
        self.process = Some(command.spawn().expect("the program runs"));
    }

    /// Waits until it answers; false when it died before.
    pub fn wait_until_serving(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            if self.has_died() {
                return false;
            }
            std::thread::sleep(POLL);
        }
        panic!("the gateway does not serve:\n{}", self.log());
    }

    /// Whether its process ended by itself, or was killed.
    pub fn has_died(&mut self) -> bool {
        let Some(process) = &mut self.process else { return true };
        let ended = process.try_wait().expect("a child can be asked").is_some();
        if ended {
            self.process = None;
        }
        ended
    }

    /// Waits until it has died; false when it still lives after `patience`.
    pub fn wait_for_death(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while !self.has_died() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child ends");
        }
    }

    /// Has it load its settings again, as a service manager does, and waits until they are in force.
    pub fn reload(&self) {
        let applied = |log: &str| log.matches("settings applied").count();
        let (before, end) = (applied(&self.log()), Instant::now() + PATIENCE);
        let process = self.process.as_ref().expect("it runs");
        let id = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).expect("a child can be told");
        while applied(&self.log()) == before {
            assert!(Instant::now() < end, "the settings are not applied:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Stops its process in the middle of whatever it does (`SIGSTOP`), as a machine does that is suspended.
    pub fn pause(&self) {
        tell(self.process.as_ref().expect("it runs"), rustix::process::Signal::STOP);
    }

    /// Wakes a process that was paused; it does not know for how long.
    pub fn wake(&self) {
        tell(self.process.as_ref().expect("it runs"), rustix::process::Signal::CONT);
    }

    /// From its next start on it serves where another one did: the address has moved.
    pub fn take_address_of(&mut self, other: &Self) {
        let settings = fs::read_to_string(self.settings()).expect("it was written");
        let (mine, theirs) = (self.address.to_string(), other.address.to_string());
        fs::write(self.settings(), settings.replace(&mine, &theirs)).expect("the folder can be written");
        self.address = other.address;
    }

    /// Writes `to` in the place of `from` in its settings, which must be there.
    pub fn change_settings(&self, from: &str, to: &str) {
        let settings = fs::read_to_string(self.settings()).expect("it was written");
        assert!(settings.contains(from), "the settings have no {from:?}");
        fs::write(self.settings(), settings.replace(from, to)).expect("the folder can be written");
    }

    /// Asks it to stop, as a service manager does.
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        tell(&process, rustix::process::Signal::TERM);
        process.wait().expect("a child ends")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tell(process: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(process), signal)
        .expect("a child can be told");
}

/// A port of this machine that nobody listens at.
pub fn free_address() -> SocketAddr {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    probe.local_addr().expect("a bound socket has an address")
}
