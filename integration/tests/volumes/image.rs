//! A disk that a machine boots from: a boot sector, a FAT partition with a boot loader, Debian's kernel and a small
//! initramfs, and an ext4 partition with the root file system.
//!
//! It is made without mounting anything, by the tools of the file systems. Most of the root file system is ballast: what a
//! server has on its disk and does not read while it boots.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tidegate_integration::chance::Chance;
use tidegate_integration::guest::{Initramfs, Parts};

use crate::output;

const MIB: u64 = 1 << 20;
const BOOT_START: u64 = MIB;
const BOOT_MIB: u64 = 48;
const ROOT_START: u64 = BOOT_START + BOOT_MIB * MIB;
const ROOT_MIB: u64 = 700;
/// Files of ballast, 32 MiB each.
const BALLAST_FILES: u64 = 16;
/// How large the disk is.
pub const DISK_BYTES: u64 = ROOT_START + ROOT_MIB * MIB;
/// The last line of the console of a machine that has booted.
pub const LOGIN: &str = "web login:";
/// What its web page says.
pub const PAGE: &str = "served by the machine";

/// Programs that an image is made with.
pub const TOOLS: [&str; 5] = ["mkfs.vfat", "mcopy", "syslinux", "mke2fs", "qemu-img"];
/// The boot sector of a disk, of the package syslinux-common.
const BOOT_SECTOR: &str = "/usr/lib/syslinux/mbr/mbr.bin";

const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_net", "ext4"];

/// Goes from the initramfs to the root file system.
const SCRIPT: &str = "mkdir -p /mnt
mount -t ext4 -o ro /dev/vda2 /mnt || exit 1
for folder in dev proc sys; do mount --move /$folder /mnt/$folder; done
exec chroot /mnt /sbin/start
";

/// What a machine does once it has its root file system: reads what programs and settings a server reads, serves a page,
/// asks for a name.
const START: &str = "#!/bin/busybox sh
/bin/busybox mount -o remount,rw /
/bin/busybox cat /etc/* /usr/lib/program-* > /dev/null
/bin/busybox httpd -p 80 -h /www
/bin/busybox cat /etc/issue
echo \"web login:\"
while true; do /bin/busybox sleep 3600; done
";

const LOADER: &str = "SERIAL 0 115200
DEFAULT linux
PROMPT 0
TIMEOUT 1
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on no_timer_check nowatchdog
";

/// Makes the disk; gives its file. None, with the reason said, where the boot sector is missing.
pub fn make(parts: &Parts, folder: &Path) -> Option<PathBuf> {
    let Ok(boot_sector) = fs::read(BOOT_SECTOR) else {
        println!("boot: skipped: there is no {BOOT_SECTOR}: packaging/setup.sh installs it");
        return None;
    };
    let disk = folder.join("disk.img");
    let file = fs::File::create(&disk).expect("a writable folder");
    file.set_len(DISK_BYTES).expect("a writable folder");
    file.write_all_at(&boot_sector, 0).expect("a writable folder");
    file.write_all_at(&partitions(), 446).expect("a writable folder");
    for (start, partition) in [(BOOT_START, boot(parts, folder)), (ROOT_START, root(parts, folder))] {
        copy(&partition, &file, start);
        fs::remove_file(partition).expect("it was made");
    }
    Some(disk)
}

/// The table of partitions and the mark at the end of the sector.
fn partitions() -> Vec<u8> {
    let entry = |active: u8, kind: u8, start: u64, length: u64| {
        let (start, length) = ((start / 512) as u32, (length / 512) as u32);
        // Cylinders are of no meaning: all bits set says so.
        let head = [active, 0xfe, 0xff, 0xff, kind, 0xfe, 0xff, 0xff];
        [&head[..], &start.to_le_bytes(), &length.to_le_bytes()].concat()
    };
    let boot = entry(0x80, 0x0e, BOOT_START, BOOT_MIB * MIB);
    [boot, entry(0, 0x83, ROOT_START, ROOT_MIB * MIB), vec![0; 32], vec![0x55, 0xaa]].concat()
}

fn copy(from: &Path, to: &fs::File, start: u64) {
    let from = fs::File::open(from).expect("it was made");
    let (length, mut at) = (from.metadata().expect("it is there").len(), 0);
    let mut piece = vec![0; MIB as usize];
    while at < length {
        let count = from.read_at(&mut piece, at).expect("it can be read");
        // Holes stay holes.
        if piece[..count].iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece[..count], start + at).expect("a writable folder");
        }
        at += count as u64;
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("folders of tests are UTF-8")
}

fn boot(parts: &Parts, folder: &Path) -> PathBuf {
    let (image, initrd, loader) = (folder.join("boot"), folder.join("initrd"), folder.join("syslinux.cfg"));
    Initramfs::new(parts, &MODULES, SCRIPT).write(&initrd).expect("a writable folder");
    fs::write(&loader, LOADER).expect("a writable folder");
    let (blocks, hidden) = ((BOOT_MIB * 1024).to_string(), (BOOT_START / 512).to_string());
    output("mkfs.vfat", &["-F", "16", "-h", &hidden, "-C", text(&image), &blocks]);
    let kernel = parts.kernel();
    for (from, name) in [(&kernel, "vmlinuz"), (&initrd, "initrd"), (&loader, "syslinux.cfg")] {
        output("mcopy", &["-i", text(&image), text(from), &format!("::{name}")]);
    }
    output("syslinux", &["--install", text(&image)]);
    image
}

fn root(parts: &Parts, folder: &Path) -> PathBuf {
    let (image, tree) = (folder.join("root"), folder.join("tree"));
    for name in ["bin", "sbin", "etc", "usr/lib", "www", "srv", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(tree.join(name)).expect("a writable folder");
    }
    fs::copy(&parts.busybox, tree.join("bin/busybox")).expect("a readable program");
    fs::write(tree.join("etc/issue"), "the machine of the tests\n").expect("a writable folder");
    fs::write(tree.join("www/index.html"), PAGE).expect("a writable folder");
    fs::write(tree.join("sbin/start"), START).expect("a writable folder");
    fs::set_permissions(tree.join("sbin/start"), fs::Permissions::from_mode(0o755)).expect("its owner may");
    let mut chance = Chance::new(25);
    for number in 0..4 {
        fs::write(tree.join(format!("usr/lib/program-{number}")), chance.bytes(MIB as usize)).expect("room");
    }
    for number in 0..BALLAST_FILES {
        fs::write(tree.join(format!("srv/ballast-{number}")), chance.bytes(32 << 20)).expect("room");
    }
    fs::File::create(&image).and_then(|file| file.set_len(ROOT_MIB * MIB)).expect("a writable folder");
    output("mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-d", text(&tree), text(&image)]);
    fs::remove_dir_all(tree).expect("it was made");
    image
}
