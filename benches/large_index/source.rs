//! What is saved: small files, each of a content that no other has.

use std::fs;
use std::path::Path;

use tidegate_benches::{Chance, Outcome};

/// Files of each directory.
const FILES_OF_A_DIRECTORY: u64 = 1000;
/// What does not compress in each file has at least so many bytes, and less than so many more.
const NOISE_BYTES_MIN: u64 = 200;
const NOISE_BYTES_MORE: u64 = 600;

/// See the head of this module.
pub(crate) struct Source {
    /// How many files there are.
    pub(crate) files: u64,
    /// Their lengths together.
    pub(crate) bytes: u64,
}

impl Source {
    /// Fills a folder with so many files.
    pub(crate) fn make(folder: &Path, files: u64) -> Outcome<Self> {
        let (mut chance, mut below, mut bytes) = (Chance::new(31), folder.to_owned(), 0);
        for number in 0..files {
            if number.is_multiple_of(FILES_OF_A_DIRECTORY) {
                below = folder.join(format!("directory-{:06}", number / FILES_OF_A_DIRECTORY));
                fs::create_dir_all(&below)?;
            }
            let length = NOISE_BYTES_MIN + chance.below(NOISE_BYTES_MORE);
            let mut content = format!("{number}\n").into_bytes();
            content.extend_from_slice(&chance.bytes(length as usize));
            fs::write(below.join(format!("file-{number:08}")), &content)?;
            bytes += content.len() as u64;
        }
        Ok(Self { files, bytes })
    }
}
