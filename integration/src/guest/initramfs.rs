//! The first, and only, root file system of a guest: an archive (cpio, "newc") that the kernel unpacks
//! into memory.
//!
//! It holds busybox, the modules asked for, programs of this machine with the libraries that they load,
//! and a script. The guest has a network (this machine is 10.0.2.2) and `/dev` when the script runs, and
//! turns itself off when the script ends.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::parts::Parts;

/// Where the script lies.
const SCRIPT: &str = "/script";

/// The first process: everything up to the script.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod $module || echo \"guest: no $module\"; done
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
sh /script
echo \"guest: the script ended with $?\"
poweroff -f
";

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that grows.
#[derive(Debug)]
pub struct Initramfs {
    archive: Vec<u8>,
    entries: u32,
    paths: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// One that runs `script` in busybox' shell, with these modules loaded.
    pub fn new(parts: &Parts, modules: &[&str], script: &str) -> Self {
        let mut new = Self { archive: Vec::new(), entries: 0, paths: BTreeSet::new() };
        for folder in ["/", "/bin", "/dev", "/proc", "/sys", "/tmp", "/run", "/etc", "/modules"] {
            new.add(Path::new(folder), DIRECTORY, (0, 0), &[]);
        }
        // Without it the first process has nowhere to print to.
        new.add(Path::new("/dev/console"), CHARACTER_DEVICE, (5, 1), &[]);
        new.add_program(&parts.busybox, "/bin/busybox");
        new.add_file("/init", INIT.as_bytes());
        new.add_file(SCRIPT, script.as_bytes());
        let mut ordered: Vec<PathBuf> = Vec::new();
        for path in modules.iter().flat_map(|name| parts.modules(name)) {
            if !ordered.contains(&path) {
                ordered.push(path);
            }
        }
        for (index, path) in ordered.iter().enumerate() {
            let name = path.file_name().expect("modules have names").to_string_lossy();
            let content = fs::read(path).expect("a readable module");
            new.add_file(&format!("/modules/{index:02}-{name}"), &content);
        }
        new
    }

    /// Adds a file that may be executed, and the folders above it.
    pub fn add_file(&mut self, path: &str, content: &[u8]) {
        self.add(Path::new(path), EXECUTABLE, (0, 0), content);
    }

    /// Adds a program, and the libraries that it loads, each where it lies here.
    pub fn add_program(&mut self, program: &Path, path: &str) {
        self.add_file(path, &fs::read(program).expect("a readable program"));
        let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
        // It fails for a program that loads none.
        let listed = if listed.status.success() { listed.stdout } else { Vec::new() };
        for line in String::from_utf8_lossy(&listed).lines() {
            let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
            self.add_file(library, &fs::read(library).expect("a readable library"));
        }
    }

    /// Adds a program that a package of this machine installed: what stands before it in `PATH` may be a
    /// wrapper, which does not work elsewhere.
    ///
    /// Panics with what to do where it is missing.
    pub fn add_installed(&mut self, name: &str) {
        let path = Path::new("/usr/bin").join(name);
        assert!(path.is_file(), "there is no {}: packaging/setup.sh installs it", path.display());
        self.add_program(&path, &path.to_string_lossy());
    }

    /// Writes the archive.
    pub fn write(mut self, path: &Path) -> io::Result<()> {
        self.append("TRAILER!!!", 0, (0, 0), &[]);
        fs::write(path, self.archive)
    }

    fn add(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) {
        if !self.paths.insert(path.to_path_buf()) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.add(parent, DIRECTORY, (0, 0), &[]);
        }
        let name = path.strip_prefix("/").expect("paths in a guest are absolute");
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        self.append(&name.to_string_lossy(), mode, device, content);
    }

    /// One entry: a head of 13 numbers, the name, the content; the latter two end at multiples of 4 bytes.
    fn append(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        use std::io::Write;

        self.entries += 1;
        let (inode, links, length, name_length) =
            (self.entries, 1, content.len() as u32, name.len() as u32 + 1);
        let head = [inode, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_length, 0];
        self.archive.extend_from_slice(b"070701");
        for number in head {
            write!(self.archive, "{number:08x}").expect("memory takes everything");
        }
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.push(0);
        self.align();
        self.archive.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }
}
