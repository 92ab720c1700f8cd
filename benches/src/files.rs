//! Trees of files to measure with.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Chance, Outcome};

/// Words that text is made of.
const WORDS: u64 = 4096;
/// Shares of a seeded tree, in percent; text is the rest.
const NOISE_PERCENT: u64 = 25;
const SMALL_PERCENT: u64 = 5;
const EDITED_PERCENT: u64 = 10;

/// All files below these folders, in order of name.
pub fn files_below(folders: &[impl AsRef<Path>]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders {
        walk(folder.as_ref(), &mut files)?;
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Fills a folder with so many bytes of files, always the same ones: text in files of 4 to 512 KiB that
/// compresses to about a third, edited copies of some of it, noise in files of 4 MiB, and small files.
pub fn seeded_tree(folder: &Path, bytes: u64) -> Outcome<()> {
    let mut chance = Chance::new(7);
    let words: Vec<String> = (0..WORDS).map(|_| word(&mut chance)).collect();
    let part = |percent: u64| bytes * percent / 100;
    fill(&folder.join("noise"), part(NOISE_PERCENT), || chance.bytes(4 << 20))?;
    fill(&folder.join("small"), part(SMALL_PERCENT), || {
        let length = 64 + chance.below(8 << 10);
        text(&mut chance, &words, length as usize)
    })?;
    let mut originals = Vec::new();
    fill(&folder.join("text"), part(100 - NOISE_PERCENT - SMALL_PERCENT - EDITED_PERCENT), || {
        let length = (4 << 10) << chance.below(8);
        let text = text(&mut chance, &words, length as usize);
        if originals.len() < 256 {
            originals.push(text.clone());
        }
        text
    })?;
    let mut copies = originals.iter().cycle();
    fill(&folder.join("text-edited"), part(EDITED_PERCENT), || {
        let mut copy = copies.next().cloned().unwrap_or_default();
        let at = chance.below(copy.len() as u64) as usize;
        copy[at] ^= 1;
        copy
    })
}

/// Files of this content, up to so many bytes.
fn fill(folder: &Path, bytes: u64, mut content: impl FnMut() -> Vec<u8>) -> Outcome<()> {
    let (mut filled, mut number) = (0, 0);
    while filled < bytes {
        let below = folder.join(format!("{:04}", number / 256));
        fs::create_dir_all(&below)?;
        let content = content();
        fs::write(below.join(format!("{number:06}")), &content)?;
        (filled, number) = (filled + content.len() as u64, number + 1);
    }
    Ok(())
}

fn word(chance: &mut Chance) -> String {
    (0..2 + chance.below(9)).map(|_| char::from(b'a' + chance.below(26) as u8)).collect()
}

/// Lines of words, some much more frequent than others, and here and there a number.
fn text(chance: &mut Chance, words: &[String], length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 64);
    let mut line = 0;
    while text.len() < length {
        if chance.below(12) == 0 {
            text.extend_from_slice(chance.below(100_000).to_string().as_bytes());
        } else {
            // Twice below: the frequent words are some dozens of all.
            let bound = 1 + chance.below(WORDS);
            let bound = 1 + chance.below(bound);
            text.extend_from_slice(words[chance.below(bound) as usize].as_bytes());
        }
        line += 1;
        text.push(if line % 9 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(length);
    text
}
