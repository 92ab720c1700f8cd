//! A guest that is an NFS client: Debian's kernel, which mounts a share, and a shell that does what it is
//! told over the console.
//!
//! One command at a time, each a line of busybox' shell; `cd` and variables last. What a command prints
//! comes back with its exit status. A mount is hard, without locks, NFS version 3 over TCP: as an application would
//! have it. The guest turns itself off after some hours, should nobody be left who kills it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{DiskServer, Guest, Initramfs, Machine, Parts};
use crate::gateway::SHARE;

/// Where the share is mounted.
const MOUNT_POINT: &str = "/share";

/// Memory of the guest, in MiB: compilers, and the page cache that the tests are about.
const MEMORY_MIB: u32 = 768;
/// Longer than a boot, and than a command that is given no time, takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(15);

/// What makes a machine an NFS client.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "virtio_net", "nfsv3"];

/// What the script prints when it listens.
const LISTENING: &str = "guest: listening";
/// What it prints after a command, before the exit status.
const ENDED: &str = "guest: ended with ";

/// Reads commands from the console. Nothing is echoed, so whatever is read there a program printed.
const SCRIPT: &str = r#"
mkdir -p /share
export HOME=/tmp NO_COLOR=1
stty -echo
(sleep 14400; poweroff -f) </dev/null &
echo "guest: listening"
while read -r line; do
    eval "$line" </dev/null
    status=$?
    echo
    echo "guest: ended with $status"
done
"#;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i32,
    /// What it printed, to standard output and standard error.
    pub output: String,
}

/// A client.
#[derive(Debug)]
pub struct LinuxClient {
    guest: Guest,
    _folder: TempDir,
}

impl LinuxClient {
    /// Boots one, once `furnish` has added to its file system what it needs. What `disk` holds is `/dev/vda`.
    pub fn boot(parts: &Parts, disk: Option<&DiskServer>, furnish: impl FnOnce(&mut Initramfs)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("initramfs");
        let mut initramfs = Initramfs::new(parts, MODULES, SCRIPT);
        furnish(&mut initramfs);
        initramfs.write(&archive).expect("a file");
        let machine = Machine {
            memory_mib: MEMORY_MIB,
            initramfs: archive,
            words: String::new(),
            forwards: Vec::new(),
        };
        let since = Instant::now();
        let mut guest = machine.start(parts, disk);
        guest.wait_for(LISTENING, PATIENCE).expect("it boots");
        println!("a client boots in {:.1} s", since.elapsed().as_secs_f32());
        Self { guest, _folder: folder }
    }

    /// Mounts the share of a gateway of this machine; `options` are added to those of every mount.
    pub fn mount(&mut self, gateway: SocketAddr, options: &str) {
        let port = gateway.port();
        let host = "10.0.2.2";
        let transport = format!("addr={host},mountaddr={host},port={port},mountport={port}");
        let fixed = "vers=3,proto=tcp,mountproto=tcp,nolock,hard";
        let options = [fixed, &transport, options].join(",");
        let options = options.trim_end_matches(',');
        self.run(&format!("mount -t nfs -o {options} {host}:/{SHARE} {MOUNT_POINT}"));
    }

    /// Ends the mount, and with it whatever the client remembers.
    pub fn unmount(&mut self) {
        self.run(&format!("cd / && umount {MOUNT_POINT}"));
    }

    /// Runs a command, which must succeed within some minutes; what it printed.
    pub fn run(&mut self, command: &str) -> String {
        self.run_within(PATIENCE, command)
    }

    /// The same with a patience of its own.
    pub fn run_within(&mut self, patience: Duration, command: &str) -> String {
        self.begin(command);
        let ran = self.finish(patience);
        assert_eq!(ran.status, 0, "{command} failed in the guest:\n{}", ran.output);
        ran.output
    }

    /// Runs a command that may fail.
    pub fn attempt(&mut self, command: &str) -> Ran {
        self.begin(command);
        self.finish(PATIENCE)
    }

    /// Begins a command, which [`finish`](Self::finish) waits for.
    pub fn begin(&mut self, command: &str) {
        assert!(!command.contains('\n'), "a command is one line: {command}");
        self.guest.type_line(command);
    }

    /// Waits until a command that runs prints a line that contains `text`; the line.
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.guest.line_before(end).unwrap_or_else(|why| panic!("no {text:?}: {why}"));
            assert!(!line.contains(ENDED), "it ended before it printed {text:?}:\n{}", self.guest.console());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until the command ends that runs; what it printed that nobody waited for.
    pub fn finish(&mut self, patience: Duration) -> Ran {
        let end = Instant::now() + patience;
        let mut output = String::new();
        loop {
            let line =
                self.guest.line_before(end).unwrap_or_else(|why| panic!("the command does not end: {why}"));
            if let Some((before, status)) = line.split_once(ENDED) {
                output += before;
                let status = status.trim().parse().expect("a status is a number");
                return Ran { status, output: output.trim_end().to_owned() };
            }
            output += &line;
            output.push('\n');
        }
    }
}
