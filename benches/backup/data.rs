//! What is saved: two versions of a folder, which take turns under one name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_benches::process::run;
use tidegate_benches::{Chance, Outcome, files_below, seeded_tree};

/// Of this many blocks of an image, or files, one differs in the second version.
const CHANGED_ONE_IN: u64 = 20;
const BLOCK_BYTES: u64 = 4096;
/// An image changes in runs of this many blocks.
const RUN_BLOCKS: u64 = 64;

/// One of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    Second,
}

/// Two versions of a folder.
pub(crate) struct Data {
    /// In a sentence.
    pub(crate) what: String,
    folder: PathBuf,
}

impl Data {
    /// Copies of two folders.
    pub(crate) fn copied(first: &Path, second: &Path, folder: &Path) -> Outcome<Self> {
        let data = Self { what: String::new(), folder: folder.join("data") };
        fs::create_dir_all(&data.folder)?;
        for (version, of) in [(Version::First, first), (Version::Second, second)] {
            run(Command::new("cp").arg("-a").arg(of).arg(data.hidden(version)))?;
        }
        data.described(&format!("{}, then {}", first.display(), second.display()))
    }

    /// Made ones.
    pub(crate) fn made(kind: &str, mib: u64, folder: &Path) -> Outcome<Self> {
        let data = Self { what: String::new(), folder: folder.join("data") };
        let (first, bytes) = (data.hidden(Version::First), mib << 20);
        fs::create_dir_all(&first)?;
        match kind {
            "tree" => seeded_tree(&first, bytes)?,
            "image" => image(&first.join("image"), bytes)?,
            "packed" => packed(&first, bytes)?,
            _ => return Err(format!("--made={kind}: tree, image or packed").into()),
        }
        run(Command::new("cp").arg("-a").arg(&first).arg(data.hidden(Version::Second)))?;
        match kind {
            "image" => change_image(&data.hidden(Version::Second).join("image"))?,
            _ => change_files(&data.hidden(Version::Second))?,
        }
        data.described(&format!("made, {kind}, {mib} MiB, one in {CHANGED_ONE_IN} changed"))
    }

    fn described(mut self, what: &str) -> Outcome<Self> {
        let files = files_below(&[self.hidden(Version::First)])?;
        self.what = format!("{what}: {} files in the first version", files.len());
        Ok(self)
    }

    /// Where the version that is shown lies.
    pub(crate) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    fn hidden(&self, version: Version) -> PathBuf {
        self.folder.join(match version {
            Version::First => "first",
            Version::Second => "second",
        })
    }

    /// Shows a version, and reads it, so that every program finds it in the system's cache.
    pub(crate) fn show(&self, version: Version) -> Outcome<()> {
        for other in [Version::First, Version::Second] {
            if other != version && !self.hidden(other).exists() {
                fs::rename(self.source(), self.hidden(other))?;
            }
        }
        if self.hidden(version).exists() {
            fs::rename(self.hidden(version), self.source())?;
        }
        run(Command::new("tar").arg("-cf").arg("-").arg(self.source()))?;
        Ok(())
    }
}

/// An image of a disk: blocks of text, of noise, and such as were never written.
fn image(file: &Path, bytes: u64) -> Outcome<()> {
    let (file, mut chance) = (File::create(file)?, Chance::new(11));
    file.set_len(bytes)?;
    let line = b"a line of a log on the disk of a machine, with a number: ";
    for run in 0..bytes / (BLOCK_BYTES * RUN_BLOCKS) {
        let length = (BLOCK_BYTES * RUN_BLOCKS) as usize;
        let content = match chance.below(4) {
            0 => continue,
            1 => chance.bytes(length),
            _ => {
                let mut text = Vec::with_capacity(length + line.len());
                while text.len() < length {
                    text.extend_from_slice(line);
                    text.extend_from_slice(format!("{:x}\n", chance.next()).as_bytes());
                }
                text.truncate(length);
                text
            }
        };
        file.write_all_at(&content, run * BLOCK_BYTES * RUN_BLOCKS)?;
    }
    Ok(())
}

fn change_image(file: &Path) -> Outcome<()> {
    let (file, mut chance) = (File::options().write(true).open(file)?, Chance::new(12));
    let runs = file.metadata()?.len() / (BLOCK_BYTES * RUN_BLOCKS);
    for run in (0..runs).filter(|run| run % CHANGED_ONE_IN == 0) {
        let block = chance.below(RUN_BLOCKS);
        let content = chance.bytes(BLOCK_BYTES as usize);
        file.write_all_at(&content, (run * RUN_BLOCKS + block) * BLOCK_BYTES)?;
    }
    Ok(())
}

/// Files that do not compress, as pictures and archives are.
fn packed(folder: &Path, bytes: u64) -> Outcome<()> {
    let (mut chance, mut made, mut number) = (Chance::new(13), 0, 0);
    while made < bytes {
        let length = (1 << 18) + chance.below(8 << 20);
        fs::write(folder.join(format!("{number:05}.jpg")), chance.bytes(length as usize))?;
        (made, number) = (made + length, number + 1);
    }
    Ok(())
}

/// Puts something into the middle of every so manieth file.
fn change_files(folder: &Path) -> Outcome<()> {
    let mut chance = Chance::new(14);
    for file in files_below(&[folder])?.into_iter().step_by(CHANGED_ONE_IN as usize) {
        let mut content = fs::read(&file)?;
        let middle = content.len() / 2;
        let noise = chance.bytes(100);
        content.splice(middle..middle, noise);
        fs::write(&file, content)?;
    }
    Ok(())
}
