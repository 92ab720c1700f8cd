//! A small disk of its own: an ext4 image, mounted over a loop device, which needs root. It can be made to hang, and to fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `FS_IOC_SHUTDOWN` of Linux (`include/uapi/linux/fs.h`, since 6.11 there; before that `EXT4_IOC_SHUTDOWN` of the same number),
/// with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more is read or written. By Python, since unsafe code is forbidden here.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// See the head of this module. Unmounted when dropped, thawed before.
#[derive(Debug)]
pub struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Mounts a new one of so many bytes at `mount`, which does not exist yet; its image lies beside it. Or says why that
    /// cannot be had here.
    pub fn mount(mount: &Path, bytes: u64) -> Result<Self, String> {
        let image = mount.with_extension("img");
        fs::create_dir(mount).expect("a folder");
        fs::File::create(&image).and_then(|file| file.set_len(bytes)).expect("a sparse file");
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mount))?;
        Ok(Self { mount: mount.to_path_buf() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Whoever writes to it waits, until it is thawed.
    pub fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(&self.mount)).expect("a disk can be frozen");
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.mount)).expect("a frozen disk can be thawed");
    }

    /// Everything fails from now on, as after a disk was pulled.
    pub fn fail(&self) {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.mount))
            .expect("a disk can be shut down");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A frozen disk would keep everybody who writes to it. One that is not frozen refuses this.
        let _ = run(Command::new("fsfreeze").arg("-u").arg(&self.mount));
        // Lazily: a test that failed may still have files open.
        let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(said)
}
