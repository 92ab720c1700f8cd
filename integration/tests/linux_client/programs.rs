//! Everyday programs: a tree is unpacked, git clones, a compiler builds, a database loses its writer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_integration::guest::{Disk, DiskServer, Initramfs, LinuxClient, program};

use super::{compiler, output, source};

/// Headers of the kernel: some hundred files that every machine with a C compiler has.
const TREE: &str = "/usr/include/linux";
/// So many files are unpacked and compared in a second, at least, on a busy machine.
const FILES_PER_SECOND: usize = 10;

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
        Self { folder, description }
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

/// Runs a script in a new folder of the share; the last line that it prints.
fn run_script(client: &mut LinuxClient, name: &str) {
    let folder = format!("/share/{name}.d");
    let printed = client.run(&format!(
        "mkdir {folder} && sh -x /{name} {folder} 2>/tmp/trace || {{ tail -n 20 /tmp/trace; false; }}"
    ));
    let last = printed.lines().last().unwrap_or_default();
    println!("{name}: {last}");
    assert!(last.ends_with("is content"), "it came to its end:\n{printed}");
}

#[test]
fn a_tree_that_is_unpacked_is_what_was_packed_and_git_clones_are_whole() {
    let Some(parts) = super::parts("a tree") else { return };
    let (_folder, mut gateway) = super::gateway();
    let packed = Packed::make();
    let disk = packed.serve();
    let mut client = LinuxClient::boot(&parts, Some(&disk), |initramfs| {
        initramfs.add_file("/description", packed.description.as_bytes());
        initramfs.add_file("/describe.sh", DESCRIBE.as_bytes());
        initramfs.add_installed("git");
        add_script(initramfs, "git.sh");
    });
    client.mount(gateway.address(), "");
    client.run_within(packed.patience(), "mkdir /share/tree && tar -xf /dev/vda -C /share/tree");
    // As the client remembers it, and as the gateway has it.
    let describe = "cd /share/tree && sh /describe.sh >/tmp/found; cd /; diff /description /tmp/found";
    client.run_within(packed.patience(), describe);
    client.unmount();
    gateway.kill();
    gateway.start();
    client.mount(gateway.address(), "");
    client.run_within(packed.patience(), describe);
    println!("a tree: {} lines of its description are right", packed.description.lines().count());
    client.run_within(packed.patience(), "rm -r /share/tree && test -z \"$(ls -A /share)\"");

    client.run("ln -s git /usr/bin/git-upload-pack");
    run_script(&mut client, "git.sh");
    client.unmount();
    super::stop(gateway);
}

#[test]
fn programs_are_built_and_run_there_and_a_database_outlives_its_writer() {
    let Some(parts) = super::parts("programs") else { return };
    let (_folder, gateway) = super::gateway();
    let mut client = LinuxClient::boot(&parts, None, |initramfs| {
        compiler::add(initramfs, &source("random_io.c"));
        initramfs.add_file("/source/random_io.c", &fs::read(source("random_io.c")).expect("a source"));
        add_script(initramfs, "build.sh");
        initramfs.add_installed("sqlite3");
        add_script(initramfs, "database.sh");
    });
    client.mount(gateway.address(), "");
    run_script(&mut client, "build.sh");
    run_script(&mut client, "database.sh");
    client.unmount();
    super::stop(gateway);
}
