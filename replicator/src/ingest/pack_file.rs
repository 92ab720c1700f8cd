//! Files of local packs.
//!
//! Order of writes, and what a crash leaves: a pack grows as a draft (see
//! [`durable_file`](crate::store::durable_file)), is synced, and only then gets its name, and the
//! folder is synced. So a file with the name of a pack is a whole pack, and everything that a killed
//! run leaves besides is a draft, which [`remove_leftovers`] removes. The id of a pack that was given
//! up is never used again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tidegate_chunker::PackId;

use crate::store::durable_file::{Draft, is_leftover};

const EXTENSION: &str = ".pack";

/// The name of a pack's file in the folder of local packs.
pub fn pack_file_name(pack: &PackId) -> String {
    format!("{pack}{EXTENSION}")
}

/// The pack that a file of this name holds; `None` for other names.
pub fn pack_of_file_name(name: &str) -> Option<PackId> {
    PackId::from_hex(name.strip_suffix(EXTENSION)?)
}

/// Removes what killed runs have left in a folder of local packs, and answers how many files that
/// were. No ingest may be running in the folder.
pub fn remove_leftovers(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_leftover) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A pack being written.
pub(super) struct PackFile {
    draft: Draft,
    path: PathBuf,
}

impl PackFile {
    pub(super) fn create(folder: &Path, pack: &PackId) -> io::Result<Self> {
        let path = folder.join(pack_file_name(pack));
        Ok(Self { draft: Draft::create(&path)?, path })
    }

    /// Syncs the file and gives it its name.
    pub(super) fn publish(self) -> io::Result<PathBuf> {
        self.draft.publish_over()?;
        Ok(self.path)
    }
}

impl Write for PackFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.draft.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_packs_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let packs = [PackId::new([1; 32]), PackId::new([2; 32])];
        let mut finished = PackFile::create(folder.path(), &packs[0]).expect("created");
        finished.write_all(b"whole").expect("written");
        let path = finished.publish().expect("published");
        let killed = PackFile::create(folder.path(), &packs[1]).expect("created");
        std::mem::forget(killed);
        assert_eq!(remove_leftovers(folder.path()).expect("removed"), 1);
        assert_eq!(remove_leftovers(folder.path()).expect("nothing left"), 0);
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert_eq!(pack_of_file_name(name), Some(packs[0]));
        assert!(path.exists());
    }
}
