//! The files of the log: their names, their lines, and `newest`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::record::{LINE_BYTES_MAX, SEQUENCE_MAX};

/// Rights of all of them.
const MODE: u32 = 0o600;
/// The form of `newest`: number, space, digest, line end. It has one length, so that it is rewritten in place.
const NEWEST_BYTES: usize = 20 + 1 + 64 + 1;

/// Makes the folder, for nobody else.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The files of a folder, by the number of their first record, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|name| name.strip_suffix(".log"));
        let number = number.and_then(|number| number.parse().ok()).filter(|number| *number <= SEQUENCE_MAX);
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// Opens the file that begins with that record, to append to it; makes it when it is missing.
pub(super) fn append_to(folder: &Path, first: u64) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path_of(folder, first))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Removes a file that was begun and has no record.
pub(super) fn remove_empty(folder: &Path, first: u64) -> io::Result<()> {
    let path = path_of(folder, first);
    if fs::metadata(&path)?.len() == 0 { remove(folder, &path) } else { Ok(()) }
}

/// Removes a file for good.
pub(super) fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    File::open(folder)?.sync_all()
}

/// Reserves room from somewhere on, without making the file longer. Where the file system cannot do that, nothing is reserved.
pub(super) fn reserve(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("audit-{first:020}.log"))
}

/// Opens the file that only one process has at a time.
pub(super) fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(false).mode(MODE).open(folder.join("lock"))
}

/// The lines of a file, each with whether it is whole; one that is too long is cut and not whole.
pub(super) fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<(Vec<u8>, bool)>>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut ended = false;
    Ok(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut line = Vec::new();
        let most = LINE_BYTES_MAX as u64 + 1;
        match reader.by_ref().take(most).read_until(b'\n', &mut line) {
            Err(error) => {
                ended = true;
                Some(Err(error))
            }
            Ok(0) => None,
            Ok(_) => {
                let whole = line.pop_if(|last| *last == b'\n').is_some();
                ended = !whole;
                Some(Ok((line, whole)))
            }
        }
    }))
}

/// Number and digest of the newest record.
#[derive(Debug)]
pub(super) struct Newest(File);

impl Newest {
    /// Opens it; makes it when it is missing.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("newest");
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(MODE).open(path)?;
        Ok(Self(file))
    }

    /// What it says; none if nothing readable.
    pub(super) fn read(folder: &Path) -> Option<(u64, blake3::Hash)> {
        let mut text = String::new();
        let file = File::open(folder.join("newest")).ok()?;
        file.take(NEWEST_BYTES as u64).read_to_string(&mut text).ok()?;
        let (number, digest) = text.trim_end().split_once(' ')?;
        Some((number.parse().ok()?, blake3::Hash::from_hex(digest).ok()?))
    }

    /// Says another one.
    pub(super) fn write(&self, number: u64, digest: &blake3::Hash) -> io::Result<()> {
        let mut text = Vec::with_capacity(NEWEST_BYTES);
        writeln!(text, "{number:020} {}", digest.to_hex())?;
        self.0.write_all_at(&text, 0)
    }
}
