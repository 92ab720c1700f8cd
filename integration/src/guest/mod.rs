//! A machine of its own for what one process cannot show: another kernel, and a switch that cuts its power.
//!
//! It is emulated wholly by QEMU, without help of the processor, so it runs wherever tests run, at about a
//! tenth of the speed. It starts in a few seconds from a kernel and an [`Initramfs`]; what its script
//! prints is read from the serial console, and what it reads is written there; ports of it are reached through
//! ports of this machine, and this machine is 10.0.2.2 for it. A [`Disk`] keeps what is to outlive it. A
//! [`LinuxClient`] is one that mounts a share and does what it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

mod disk;
mod disk_server;
mod initramfs;
mod linux_client;
mod parts;

pub use disk::{Disk, Forgotten};
pub use disk_server::DiskServer;
pub use initramfs::Initramfs;
pub use linux_client::{LinuxClient, Ran};
pub use parts::{Parts, built, program};

/// Lines of a console that wait to be read: a guest that prints more stands still.
const LINES_MAX: usize = 10_000;

/// What a guest is started with.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its memory, in MiB: the initramfs lies there too.
    pub memory_mib: u32,
    /// The archive, as it was written.
    pub initramfs: PathBuf,
    /// Words for the script, which finds them in `/proc/cmdline`.
    pub words: String,
    /// Addresses here and the ports of the guest that they lead to.
    pub forwards: Vec<(SocketAddr, u16)>,
}

/// A guest that runs. It is killed when it is dropped; where the test itself is killed, its disk fails, and
/// one that mounted it with `errors=panic` ends by that.
#[derive(Debug)]
pub struct Guest {
    process: Child,
    keyboard: ChildStdin,
    lines: Receiver<String>,
    console: String,
}

impl Machine {
    /// Turns it on, with a disk (`/dev/vda`) or without.
    pub fn start(&self, parts: &Parts, disk: Option<&DiskServer>) -> Guest {
        let forward = |(here, there): &(SocketAddr, u16)| {
            format!(",hostfwd=tcp:{}:{}-:{there}", here.ip(), here.port())
        };
        let forwards: String = self.forwards.iter().map(forward).collect();
        let mut command = Command::new(&parts.qemu);
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-no-reboot", "-nodefaults"]);
        command.args(["-display", "none", "-serial", "stdio", "-m", &format!("{}M", self.memory_mib)]);
        command.arg("-kernel").arg(parts.kernel()).arg("-initrd").arg(&self.initramfs);
        // Protection against other programs of the guest costs time, and there are none. On a busy machine the
        // timer can be so late that the kernel takes it for broken: so it does not check.
        let options =
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on no_timer_check nowatchdog";
        command.args(["-append", &format!("{options} {}", self.words)]);
        command.args([
            "-netdev",
            &format!("user,id=network{forwards}"),
            "-device",
            "virtio-net-pci,netdev=network,romfile=",
        ]);
        if let Some(disk) = disk {
            let path = disk.socket().display();
            let node = format!("driver=nbd,node-name=disk,server.type=unix,server.path={path}");
            command.args(["-blockdev", &node, "-device", "virtio-blk-pci,drive=disk,write-cache=on"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("QEMU runs");
        let keyboard = process.stdin.take().expect("its input is a pipe");
        let console = process.stdout.take().expect("its output is a pipe");
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || read_lines(console, &sender));
        Guest { process, keyboard, lines, console: String::new() }
    }
}

fn read_lines(console: ChildStdout, lines: &SyncSender<String>) {
    let mut console = BufReader::new(console);
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

impl Guest {
    /// Waits for a line on the console that contains `text`; without it, why there will be none.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> Result<String, String> {
        let end = Instant::now() + patience;
        loop {
            let line = self.line_before(end).map_err(|why| format!("no {text:?}: {why}"))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// The next line on the console; without it, why there will be none, and everything that was there.
    pub fn line_before(&mut self, end: Instant) -> Result<String, String> {
        let rest = end.saturating_duration_since(Instant::now());
        let why = match self.lines.recv_timeout(rest) {
            Ok(line) => {
                self.console += &line;
                self.console.push('\n');
                return Ok(line);
            }
            Err(RecvTimeoutError::Timeout) => "the time is over",
            Err(RecvTimeoutError::Disconnected) => "the guest ended",
        };
        Err(format!("{why}; the console:\n{}", self.console))
    }

    /// Types a line on its console.
    pub fn type_line(&mut self, line: &str) {
        let typed = self.keyboard.write_all(line.as_bytes()).and_then(|()| self.keyboard.write_all(b"\n"));
        typed.and_then(|()| self.keyboard.flush()).expect("the guest runs");
    }

    /// Everything that was on the console so far.
    pub fn console(&mut self) -> &str {
        while let Ok(line) = self.lines.try_recv() {
            self.console += &line;
            self.console.push('\n');
        }
        &self.console
    }

    /// Cuts its power: what it holds in memory is gone, and so it ends with everything half done.
    pub fn cut_power(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child ends");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut_power();
    }
}
