//! Everyday programs: a tree is unpacked, git clones, a compiler builds, a database loses its writer. The gateway is
//! killed and started again in the middle of each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::guest::{Disk, DiskServer, Initramfs, LinuxClient, program};
use tidegate_integration::skip::is_nightly;

use super::{compiler, output, source};

/// Headers of the kernel: some hundred files that every machine with a C compiler has.
const TREE: &str = "/usr/include/linux";
/// So many files are unpacked and compared in a second, at least, on a busy machine.
const FILES_PER_SECOND: usize = 10;

/// How often the gateway is killed while one program runs.
const KILLS: u64 = 1;
/// The same in a nightly run.
const KILLS_NIGHTLY: u64 = 5;
/// Longer than a script takes on a busy machine.
const SCRIPT_PATIENCE: Duration = Duration::from_mins(15);

/// Says of everything below a folder what unpacking keeps. (Not of directories when they were changed.)
const DESCRIBE: &str = "
busybox find . -type f -print0 | busybox sort -z | busybox xargs -0r busybox sha256sum
busybox find . -type f -print0 | busybox sort -z | busybox xargs -0r busybox stat -c '%A %s %Y %n'
busybox find . -type l -print0 | busybox sort -z | busybox xargs -0r busybox stat -c '%N'
busybox find . -type d -print0 | busybox sort -z | busybox xargs -0r busybox stat -c '%A %n'
";

/// A tree, packed as the disk of a guest.
struct Packed {
    folder: TempDir,
    name: String,
    description: String,
}

impl Packed {
    fn make() -> Self {
        let tree = std::env::var_os("TIDEGATE_TREE").map_or_else(|| PathBuf::from(TREE), PathBuf::from);
        let folder = tempfile::tempdir().expect("a folder");
        output(Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(folder.path().join("disk")).arg("."));
        let busybox = program("busybox").unwrap_or_else(|reason| panic!("{reason}"));
        let description = output(Command::new(busybox).args(["sh", "-c", DESCRIBE]).current_dir(&tree));
        assert!(description.lines().count() > 1000, "a tree worth unpacking: {}", tree.display());
        let name = tree.file_name().unwrap_or_default().display().to_string();
        Self { folder, name, description }
    }

    fn serve(&self) -> DiskServer {
        let disk = Disk::open(&self.folder.path().join("disk")).expect("the disk is there");
        DiskServer::start(disk, &self.folder.path().join("disk.sock")).expect("a socket")
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(5)
            + Duration::from_secs((self.description.lines().count() / FILES_PER_SECOND) as u64)
    }
}

/// A script beside this file, and where it lies in the guest.
fn add_script(initramfs: &mut Initramfs, name: &str) {
    initramfs.add_file(&format!("/{name}"), &fs::read(source(name)).expect("the script is there"));
}

/// A gateway that is killed, and started again, while programs run on its share: they only pause.
struct Mortal {
    gateway: Gateway,
    chance: Chance,
}

impl Mortal {
    fn new(test: &str, gateway: Gateway) -> Self {
        Self { gateway, chance: Chance::announced(test) }
    }

    /// Runs a command, which must succeed within `patience`, and kills the gateway meanwhile: each time after up to
    /// `steps_max` lines with `step` in them. What it printed after the last kill.
    fn run(&mut self, client: &mut LinuxClient, program: &Program<'_>) -> String {
        client.begin(program.line);
        for kill in 0..if is_nightly() { KILLS_NIGHTLY } else { KILLS } {
            let mut reached = String::new();
            for _ in 0..=self.chance.below(program.steps_max) {
                reached = client.wait_for(program.step);
            }
            self.gateway.kill();
            println!("kill {kill} after {reached}");
            self.gateway.start();
        }
        let ran = client.finish(program.patience);
        assert_eq!(ran.status, 0, "{}\nthe gateway:\n{}", ran.output, self.gateway.log());
        ran.output
    }

    /// Runs a script in a new folder of the share; it says at its end that it is content.
    fn run_script(&mut self, client: &mut LinuxClient, name: &str, steps_max: u64) {
        let folder = format!("/share/{name}.d");
        let line = &format!("mkdir {folder} && sh -x /{name} {folder} 2>&1");
        let printed = self.run(client, &Program { line, step: "+ ", steps_max, patience: SCRIPT_PATIENCE });
        let last = printed.lines().last().unwrap_or_default();
        println!("{name}: {last}");
        assert!(last.ends_with("is content"), "it came to its end:\n{printed}");
    }
}

/// What is run while the gateway is killed.
struct Program<'a> {
    line: &'a str,
    /// What is in every line that it prints as it goes on.
    step: &'a str,
    /// The most steps between two kills; in all kills of a nightly run less than it has.
    steps_max: u64,
    patience: Duration,
}

#[test]
fn a_tree_that_is_unpacked_is_what_was_packed_and_git_clones_are_whole() {
    let Some(parts) = super::parts("a tree") else { return };
    let (_folder, gateway) = super::gateway();
    let mut mortal = Mortal::new("a tree", gateway);
    let packed = Packed::make();
    let disk = packed.serve();
    let mut client = LinuxClient::boot(&parts, Some(&disk), |initramfs| {
        initramfs.add_file("/description", packed.description.as_bytes());
        initramfs.add_file("/describe.sh", DESCRIBE.as_bytes());
        initramfs.add_installed("git");
        add_script(initramfs, "git.sh");
    });
    client.mount(mortal.gateway.address(), "");
    let unpack = Program {
        line: "mkdir /share/tree && tar -xvf /dev/vda -C /share/tree",
        step: ".h",
        steps_max: 100,
        patience: packed.patience(),
    };
    mortal.run(&mut client, &unpack);
    // As the client remembers it, and as the gateway has it.
    let describe = "cd /share/tree && sh /describe.sh >/tmp/found; cd /; diff /description /tmp/found";
    client.run_within(packed.patience(), describe);
    client.unmount();
    mortal.gateway.kill();
    mortal.gateway.start();
    client.mount(mortal.gateway.address(), "");
    client.run_within(packed.patience(), describe);
    let lines = packed.description.lines().count();
    println!("a tree: {lines} lines of the description of {} are right", packed.name);
    client.run_within(packed.patience(), "rm -r /share/tree && test -z \"$(ls -A /share)\"");

    client.run("ln -s git /usr/bin/git-upload-pack");
    mortal.run_script(&mut client, "git.sh", 40);
    client.unmount();
    super::stop(mortal.gateway);
}

#[test]
fn programs_are_built_and_run_there_and_a_database_outlives_its_writer() {
    let Some(parts) = super::parts("programs") else { return };
    let (_folder, gateway) = super::gateway();
    let mut mortal = Mortal::new("programs", gateway);
    let mut client = LinuxClient::boot(&parts, None, |initramfs| {
        compiler::add(initramfs, &source("random_io.c"));
        initramfs.add_file("/source/random_io.c", &fs::read(source("random_io.c")).expect("a source"));
        add_script(initramfs, "build.sh");
        initramfs.add_installed("sqlite3");
        add_script(initramfs, "database.sh");
    });
    client.mount(mortal.gateway.address(), "");
    mortal.run_script(&mut client, "build.sh", 8);
    mortal.run_script(&mut client, "database.sh", 40);
    client.unmount();
    super::stop(mortal.gateway);
}
