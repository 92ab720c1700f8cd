//! The folder of the local state: whether it can be written, has room, and syncs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{statfs, statvfs};

use super::{Finding, why};
use crate::amounts::bytes;
use crate::settings::Settings;

/// How many syncs are timed.
const SYNCS: usize = 15;
/// A sync that takes longer makes every acknowledged write of one client wait as long.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// One that is faster than any disk was not made.
const SYNC_TOO_FAST: Duration = Duration::from_micros(5);
/// What is written for it.
const PROBE_FILE: &str = ".doctor";
/// File systems that are no disk of this machine, by the magic numbers of `statfs(2)`.
const NOT_DISKS: [(u64, &str); 4] =
    [(0x0102_1994, "tmpfs, which is memory"), (0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0x6573_5546, "FUSE")];

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let folder = settings.gateway.data.as_path();
    if !folder.exists() {
        return vec![not_there(folder)];
    }
    vec![kind(folder), room(folder, settings), syncs(folder)]
}

fn not_there(folder: &Path) -> Finding {
    let found = format!("{} does not exist", folder.display());
    let parent = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    match File::create(parent.join(PROBE_FILE)).and_then(|_| fs::remove_file(parent.join(PROBE_FILE))) {
        Ok(()) => Finding::good("data folder", format!("{found} yet; it can be made")),
        Err(error) => Finding::wrong("data folder", format!("{found}, and cannot be made ({error})"))
            .todo("make it, owned by the gateway's user"),
    }
}

fn kind(folder: &Path) -> Finding {
    let check = "data folder";
    match statfs(folder) {
        Err(error) => Finding::wrong(check, format!("{} cannot be looked at ({error})", folder.display())),
        Ok(found) => match NOT_DISKS.iter().find(|(magic, _)| *magic == found.f_type as u64 & 0xffff_ffff) {
            Some((_, name)) => Finding::wrong(check, format!("{} lies on {name}", folder.display()))
                .todo("gateway.data has to be on a disk of this machine: what is acknowledged lies there"),
            None => Finding::good(check, folder.display().to_string()),
        },
    }
}

fn room(folder: &Path, settings: &Settings) -> Finding {
    let check = "room";
    let found = match statvfs(folder) {
        Err(error) => return Finding::warning(check, format!("it cannot be found out ({error})")),
        Ok(found) => found,
    };
    let free = found.f_bavail * found.f_frsize;
    let used = found.f_blocks.saturating_sub(found.f_bfree) * found.f_frsize;
    let wanted = settings.cache.disk.bytes() + settings.cache.dirty.bytes();
    let said = format!(
        "{} free, {} used; cache and dirty data may take {}",
        bytes(free),
        bytes(used),
        bytes(wanted)
    );
    if found.f_favail == 0 && found.f_files > 0 {
        return Finding::wrong(check, "no inode is free on its file system").todo("remove files there");
    }
    if free + used < wanted {
        return Finding::warning(check, said)
            .todo("lower cache.disk or cache.dirty, or give it a larger disk");
    }
    Finding::good(check, said)
}

/// Times what every acknowledged write waits for.
fn syncs(folder: &Path) -> Finding {
    let check = "syncs";
    match time_of_syncs(&folder.join(PROBE_FILE)) {
        Err(error) => {
            Finding::wrong(check, format!("nothing can be written to {} ({})", folder.display(), why(&error)))
                .todo("the folder has to belong to the gateway's user, on a disk that can be written")
        }
        Ok(time) if time > SYNC_SLOW => Finding::warning(check, format!("one takes {time:.1?}"))
            .todo("every stable write of a client waits for one: a disk with power-loss protection makes them short"),
        Ok(time) if time < SYNC_TOO_FAST => Finding::warning(check, format!("one takes {time:.1?}"))
            .todo("no disk is that fast: what lies below seems to ignore syncs, and a power cut then loses what was acknowledged"),
        Ok(time) => Finding::good(check, format!("one takes {time:.1?}")),
    }
}

/// The median of some.
fn time_of_syncs(path: &Path) -> io::Result<Duration> {
    let timed = || -> io::Result<Duration> {
        let mut file = File::create(path)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            file.write_all(&[0x5a; 4096])?;
            let start = Instant::now();
            file.sync_data()?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[SYNCS / 2])
    };
    let time = timed();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => time.and(Err(error)),
        Ok(()) | Err(_) => time,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_folder_on_a_disk_is_timed_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_ne!(syncs(folder.path()).verdict, Verdict::Wrong);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn memory_is_no_disk_and_a_missing_folder_is_named() {
        if Path::new("/dev/shm").exists() {
            let found = kind(Path::new("/dev/shm"));
            assert_eq!(found.verdict, Verdict::Wrong, "{found:?}");
        }
        let found = not_there(Path::new("/proc/nowhere/tidegate"));
        assert_eq!(found.verdict, Verdict::Wrong);
        assert!(found.found.contains("/proc/nowhere/tidegate"), "{found:?}");
    }
}
