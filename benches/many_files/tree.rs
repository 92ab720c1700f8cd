//! The directories, and the rule that says which files are in which, and what their names are.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use nfs3_types::nfs3::nfs_fh3;
use tidegate_benches::{Connection, Outcome, Server, calls};

/// Files of each directory but the large one.
const FILES_OF_A_DIRECTORY: u64 = 1000;
/// What stands before the number of a file in its name.
const NAME: &str = "a-file-of-some-length-";

/// See the head of this module.
pub(crate) struct Tree {
    files: u64,
    large_files: u64,
    /// The large directory, then the others.
    directories: Vec<nfs_fh3>,
    /// Calls that were told to come later.
    for_later: AtomicU64,
}

impl Tree {
    /// Makes the directories.
    pub(crate) fn make(server: &Server, files: u64, large_files: u64) -> Outcome<Self> {
        let root = Connection::open(server.mount)?.mount(&server.export)?;
        let mut connection = Connection::open(server.nfs)?;
        let others = (files - large_files).div_ceil(FILES_OF_A_DIRECTORY);
        let directories = (0..=others)
            .map(|number| calls::make_directory(&mut connection, &root, &format!("directory-{number:06}")))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Self { files, large_files, directories, for_later: AtomicU64::new(0) })
    }

    /// Counts a call that was told to come later, and is repeated.
    pub(crate) fn note_for_later(&self) {
        self.for_later.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    pub(crate) fn for_later(&self) -> u64 {
        self.for_later.load(Ordering::Relaxed)
    }

    /// The number of the large directory; the others follow it.
    pub(crate) const LARGE: usize = 0;

    /// The numbers of the directories of a thousand.
    pub(crate) fn others(&self) -> Range<usize> {
        1..self.directories.len()
    }

    /// The handle of a directory.
    pub(crate) fn handle(&self, directory: usize) -> Outcome<&nfs_fh3> {
        self.directories.get(directory).ok_or_else(|| "a file of no directory".into())
    }

    /// The numbers of all files.
    pub(crate) fn files(&self) -> Range<u64> {
        0..self.files
    }

    /// The numbers of the files in a directory.
    pub(crate) fn files_in(&self, directory: usize) -> Range<u64> {
        let Some(other) = directory.checked_sub(1) else { return 0..self.large_files };
        let first = self.large_files + other as u64 * FILES_OF_A_DIRECTORY;
        first..(first + FILES_OF_A_DIRECTORY).min(self.files)
    }

    /// The number of the directory that a file is in.
    pub(crate) fn directory_of(&self, file: u64) -> usize {
        file.checked_sub(self.large_files)
            .map_or(Self::LARGE, |rest| 1 + (rest / FILES_OF_A_DIRECTORY) as usize)
    }
}

/// The name of a file.
pub(crate) fn name(file: u64) -> String {
    format!("{NAME}{file:08}")
}

/// The number of the file that has this name.
fn number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix(NAME)?.parse().ok()
}

/// Which of some files have been shown: a bit for each.
pub(crate) struct Seen {
    files: Range<u64>,
    bits: Vec<u64>,
    count: u64,
    wrong: Option<String>,
}

impl Seen {
    /// None of these yet.
    pub(crate) fn none_of(files: Range<u64>) -> Self {
        let words = (files.end - files.start).div_ceil(64) as usize;
        Self { files, bits: vec![0; words], count: 0, wrong: None }
    }

    /// Takes a name in; "." and ".." are no files.
    pub(crate) fn see(&mut self, name: &[u8]) {
        if matches!(name, b"." | b"..") {
            return;
        }
        let Some(place) = number(name).filter(|file| self.files.contains(file)) else {
            return self.complain("shows a name that is not there", name);
        };
        let place = place - self.files.start;
        let (word, bit) = (&mut self.bits[(place / 64) as usize], 1 << (place % 64));
        if *word & bit != 0 {
            return self.complain("shows a name twice", name);
        }
        *word |= bit;
        self.count += 1;
    }

    /// How many were shown, which must be so many.
    pub(crate) fn finish(&self, expected: u64) -> Outcome<u64> {
        match &self.wrong {
            Some(wrong) => Err(wrong.clone().into()),
            None if self.count == expected => Ok(self.count),
            None => Err(format!("a listing shows {} names where there are {expected}", self.count).into()),
        }
    }

    fn complain(&mut self, what: &str, name: &[u8]) {
        self.wrong.get_or_insert_with(|| format!("a listing {what}: {}", String::from_utf8_lossy(name)));
    }
}
