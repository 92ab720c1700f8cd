//! Files of gathered frames: their layout, and what a crash leaves of them.
//!
//! ```text
//! <data>/cache/<number, 16 hex digits>.frames
//!
//! frame bytes, verbatim, one after the other
//! index: for each frame 44 bytes
//!     pack id [32], offset in the pack u32, length u32, position in this file u32
//! trailer, 24 bytes
//!     magic "TGFRAMES" (file data) or "TGNAMES\0" (tree nodes and large values), version u32 = 1, number of frames u32, CRC-32C of index u32,
//!     CRC-32C of the trailer so far u32
//! ```
//!
//! Integers are little-endian. The index comes last so that a file is written in one pass; a restart
//! reads it and nothing else. Nothing is synced: a file that lacks a sound trailer and index (the process
//! died while it was written, or the power went) is deleted at start. A sound index over spoilt frames
//! does no harm: frames are authenticated when they are read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidegate_chunker::PackId;
use tidegate_replicator::fetch::FrameAt;

use super::contents::Contents;

const EXTENSION: &str = ".frames";
const MAGIC_BYTES: usize = 8;
const VERSION: u32 = 1;
const ENTRY_BYTES: usize = 44;
const TRAILER_BYTES: usize = 24;
/// Positions have 32 bits.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 30;
const _: () = assert!(FILE_BYTES_MAX <= u32::MAX as u64);

/// A frame in a file: which, and where in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) frame: FrameAt,
    pub(super) position: u32,
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.frame.pack.as_bytes());
        for number in [self.frame.offset, self.frame.bytes, self.position] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (pack, numbers) = record.split_at_checked(PackId::LEN)?;
        let number = |place: usize| numbers.get(4 * place..4 * place + 4).and_then(read_u32);
        let frame = FrameAt { pack: PackId::from_slice(pack)?, offset: number(0)?, bytes: number(1)? };
        Some(Self { frame, position: number(2)? })
    }
}

fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The path of file `number`.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}{EXTENSION}"))
}

/// The number of a file by its name, if it is one of ours.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) number: u64,
    pub(super) contents: Contents,
    pub(super) entries: Vec<Entry>,
    file: File,
    end: u64,
}

impl Growing {
    pub(super) fn create(folder: &Path, number: u64, contents: Contents) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path(folder, number))?;
        Ok(Self { number, contents, entries: Vec::new(), file, end: 0 })
    }

    /// Bytes of frames so far.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Adds a frame. After an error the file must be given up.
    pub(super) fn append(&mut self, frame: FrameAt, bytes: &[u8]) -> io::Result<Entry> {
        let position = u32::try_from(self.end).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        let entry = Entry { frame, position };
        self.entries.push(entry);
        Ok(entry)
    }

    /// Writes index and trailer; gives the length of the whole.
    pub(super) fn seal(&self) -> io::Result<u64> {
        let mut tail = Vec::with_capacity(self.entries.len() * ENTRY_BYTES + TRAILER_BYTES);
        self.entries.iter().for_each(|entry| entry.encode(&mut tail));
        let index_checksum = crc32c::crc32c(&tail);
        let index_bytes = tail.len();
        tail.extend_from_slice(magic(self.contents));
        for number in [VERSION, self.entries.len() as u32, index_checksum] {
            tail.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&tail[index_bytes..]);
        tail.extend_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&tail, self.end)?;
        Ok(self.end + tail.len() as u64)
    }
}

/// A sealed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) contents: Contents,
    pub(super) entries: Vec<Entry>,
    /// Length of the whole.
    pub(super) bytes: u64,
}

fn magic(contents: Contents) -> &'static [u8; MAGIC_BYTES] {
    match contents {
        Contents::Data => b"TGFRAMES",
        Contents::Names => b"TGNAMES\0",
    }
}

/// What a sealed file holds. `None` when it is torn, damaged, or of another version.
pub(super) fn read_index(path: &Path) -> io::Result<Option<Sealed>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let Some(index_end) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, index_end)?;
    let Some((contents, count, checksum)) = decode_trailer(&trailer) else { return Ok(None) };
    let Some(index_start) = index_end.checked_sub(u64::from(count) * ENTRY_BYTES as u64) else {
        return Ok(None);
    };
    let mut index = vec![0; (index_end - index_start) as usize];
    file.read_exact_at(&mut index, index_start)?;
    if crc32c::crc32c(&index) != checksum {
        return Ok(None);
    }
    let entries: Option<Vec<_>> = index.chunks_exact(ENTRY_BYTES).map(Entry::decode).collect();
    let inside = |entry: &Entry| u64::from(entry.position) + u64::from(entry.frame.bytes) <= index_start;
    let entries = entries.filter(|entries| entries.iter().all(inside));
    Ok(entries.map(|entries| Sealed { contents, entries, bytes: length }))
}

/// Contents, number of frames, checksum of the index.
fn decode_trailer(trailer: &[u8; TRAILER_BYTES]) -> Option<(Contents, u32, u32)> {
    let (told, checksum) = trailer.split_at(TRAILER_BYTES - 4);
    let (found, numbers) = told.split_at(MAGIC_BYTES);
    let contents =
        [Contents::Data, Contents::Names].into_iter().find(|contents| found == magic(*contents))?;
    let sound = read_u32(checksum)? == crc32c::crc32c(told) && read_u32(numbers)? == VERSION;
    sound.then_some((contents, read_u32(&numbers[4..])?, read_u32(&numbers[8..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offset: u32, bytes: u32) -> FrameAt {
        FrameAt { pack: PackId::new([7; 32]), offset, bytes }
    }

    fn sealed(folder: &Path, contents: Contents) -> (PathBuf, Vec<Entry>) {
        let mut growing = Growing::create(folder, 3, contents).expect("a new file");
        for number in 0..5u32 {
            growing.append(frame(number * 100, 10 + number), &vec![1; 10 + number as usize]).expect("room");
        }
        growing.seal().expect("room");
        (path(folder, 3), growing.entries)
    }

    #[test]
    fn a_sealed_file_gives_its_index_back() {
        for contents in [Contents::Data, Contents::Names] {
            let folder = tempfile::tempdir().expect("a folder");
            let (path, entries) = sealed(folder.path(), contents);
            let bytes = path.metadata().expect("it is there").len();
            assert_eq!(read_index(&path).expect("readable"), Some(Sealed { contents, entries, bytes }));
        }
        assert_eq!(number_of("0000000000000003.frames"), Some(3));
        assert_eq!(number_of("3.frames"), None);
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_bit_of_its_tail_flipped_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = sealed(folder.path(), Contents::Names);
        let whole = std::fs::read(&path).expect("readable");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("writable");
            assert_eq!(read_index(&path).expect("readable"), None, "cut to {length}");
        }
        for place in 60..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 4;
            std::fs::write(&path, &flipped).expect("writable");
            assert_eq!(read_index(&path).expect("readable"), None, "flipped at {place}");
        }
    }
}
