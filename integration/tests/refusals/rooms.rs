//! Claims about disks without room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, assert_untouched};

/// A file system in memory of a given size, below a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where it cannot be mounted.
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(done) if done.status.success() => Some(Self(at.to_path_buf())),
            Ok(done) => {
                println!("skipped, no disk can be mounted: {}", String::from_utf8_lossy(&done.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped, no disk can be mounted: {error}");
                None
            }
        }
    }

    /// Fills all but `left` bytes of it.
    fn fill(&self, left: u64) -> PathBuf {
        let found = rustix::fs::statvfs(&self.0).expect("it is mounted");
        let free = found.f_bavail * found.f_frsize;
        let path = self.0.join("ballast");
        fs::write(&path, vec![0xff; (free.saturating_sub(left)) as usize]).expect("there is so much room");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that fails must not fail twice.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_gateway_does_not_start_on_a_full_disk_and_starts_when_there_is_room() {
    let mut place = Place::new();
    let Some(disk) = SmallDisk::mount(&place.gateway.data(), 400 << 20) else { return };
    let ballast = disk.fill(0);
    let data = place.gateway.data().display().to_string();
    place.gateway.attempt(&["serve"]).assert_refused(8, &[&data, "room"], &place.secrets());
    fs::remove_file(ballast).expect("it is there");
    place.gateway.start();
    assert!(place.gateway.stop().success(), "it stops well:\n{}", place.gateway.log());
}

#[test]
fn a_repository_is_not_made_by_halves_on_a_full_disk() {
    let place = Place::new();
    let full = place.path("full");
    let Some(disk) = SmallDisk::mount(&full, 1 << 20) else { return };
    let ballast = disk.fill(0);
    place.edit(|text| text.replace("/repository\"", "/full/repository\""));
    let says = ["/full/repository", "No space left", "make room"];
    let before = place.picture();
    place.gateway.attempt(&["init"]).assert_refused(8, &says, &place.secrets());
    let mut after = place.picture();
    // Folders may be made: they need no room.
    after.retain(|path, digest| !path.starts_with(full.join("repository")) || !digest.is_empty());
    assert_untouched(&before, &after);
    fs::remove_file(ballast).expect("it is there");
    place.gateway.run(&["init"]);
}
