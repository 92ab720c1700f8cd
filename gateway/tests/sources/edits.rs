//! Random changes of a folder of this machine.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::support::noise;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Pseudo-random numbers (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn announced(test: &str) -> Self {
        let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
        println!("{test}: TIDEGATE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// All paths below a folder, folders apart.
pub(crate) fn paths(top: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut files, mut at) = (vec![top.to_path_buf()], Vec::new(), 0);
    while at < folders.len() {
        for entry in fs::read_dir(&folders[at]).unwrap().map(Result::unwrap) {
            let list = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
        at += 1;
    }
    (folders, files)
}

/// One change of a folder of this machine. What the system refuses is no change.
pub(crate) fn edit(top: &Path, chance: &mut Chance) {
    let (folders, files) = paths(top);
    let names: [&[u8]; 7] = [b"a", b"b", b"c.txt", b"\xff\xfe", b" -x", b"new\nline", b"long"];
    let mut name = chance.pick(&names).to_vec();
    if chance.below(2) == 0 {
        name.extend_from_slice(chance.below(20).to_string().as_bytes());
    }
    let path = chance.pick(&folders).join(std::ffi::OsStr::from_bytes(&name));
    // Whoever writes to a pipe waits for a reader.
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        fs::remove_file(&path).unwrap();
    }
    let some = if files.is_empty() { path.clone() } else { chance.pick(&files) };
    match chance.below(14) {
        0..4 => drop(fs::write(&path, noise(chance.next(), chance.pick(&[0, 10, 5_000, 400_000])))),
        4 | 5 => drop(fs::create_dir(&path)),
        6 => drop(fs::remove_file(&some)),
        7 => drop(if folders.len() > 3 { fs::remove_dir_all(&folders[2]) } else { Ok(()) }),
        8 => drop(fs::rename(&some, &path)),
        9 => drop(fs::rename(chance.pick(&folders[folders.len() / 2..]), &path)),
        10 => drop(fs::hard_link(&some, &path)),
        11 => drop(std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(b"/nowhere/\xff"), &path)),
        12 => special(&path, &some, chance),
        _ => {
            let mode = chance.pick(&[0o600, 0o644, 0o750]);
            if fs::symlink_metadata(&some).is_ok_and(|found| found.is_file()) {
                drop(fs::set_permissions(&some, fs::Permissions::from_mode(mode)));
            }
        }
    }
}

pub(crate) fn special(path: &Path, some: &Path, chance: &mut Chance) {
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
    match chance.below(4) {
        0 => {
            let _ = mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
        }
        1 if is_root() => {
            let device = makedev(1, 3 + chance.below(3) as u32);
            let _ = mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device);
        }
        2 if fs::symlink_metadata(some).is_ok_and(|found| found.is_file()) => {
            let _ = setxattr(some, "user.word", &noise(chance.next(), 50), XattrFlags::empty());
        }
        _ => {
            // A hole at each end, and data between.
            let Ok(file) = fs::File::create(path) else { return };
            std::os::unix::fs::FileExt::write_all_at(&file, &noise(1, 200_000), 5 << 20).unwrap();
            file.set_len(20 << 20).unwrap();
        }
    }
}
