//! A disk that forgets: what was written and not flushed before the power went may be there or not.
//!
//! The content is a sparse file. A write goes there at once, and what it replaced is remembered until a
//! flush says that all of it is durable. A cut of the power takes everything since then back, and lets
//! chance decide for every 4 KiB of every write whether the disk got around to it. So writes are lost,
//! kept, torn and out of order, as between the flushes of a real disk; flushed ones are always there.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::chance::Chance;

/// What is written wholly or not at all, in bytes, if it lies at a multiple of this.
const PIECE_BYTES: usize = 4096;
/// Most that the disk holds unflushed, in bytes: of more, the oldest is written out.
const UNFLUSHED_BYTES_MAX: usize = 64 << 20;

/// One write that was not flushed.
#[derive(Debug)]
struct Write {
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    content: File,
    bytes: u64,
    unflushed: VecDeque<Write>,
    unflushed_bytes: usize,
    flushes: u64,
}

/// What a cut of the power did to a disk, in pieces of 4 KiB that were not flushed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgotten {
    /// Those that are there all the same.
    pub kept: u64,
    /// Those that are gone.
    pub lost: u64,
}

impl Disk {
    /// A disk over a file, which is as long as the disk is to be.
    pub fn open(path: &Path) -> io::Result<Self> {
        let content = File::options().read(true).write(true).open(path)?;
        let bytes = content.metadata()?.len();
        Ok(Self { content, bytes, unflushed: VecDeque::new(), unflushed_bytes: 0, flushes: 0 })
    }

    /// How much it holds.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Flushes so far.
    pub const fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Fills `data` from `offset` on.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.content.read_exact_at(data, offset)
    }

    /// Takes `data`, and promises nothing.
    pub fn write(&mut self, offset: u64, data: Vec<u8>) -> io::Result<()> {
        let mut before = vec![0; data.len()];
        self.read(offset, &mut before)?;
        self.content.write_all_at(&data, offset)?;
        self.unflushed_bytes += data.len();
        self.unflushed.push_back(Write { offset, before, after: data });
        while self.unflushed_bytes > UNFLUSHED_BYTES_MAX {
            let Some(oldest) = self.unflushed.pop_front() else { break };
            self.unflushed_bytes -= oldest.after.len();
        }
        Ok(())
    }

    /// Makes everything durable that was written so far.
    pub fn flush(&mut self) {
        self.unflushed.clear();
        self.unflushed_bytes = 0;
        self.flushes += 1;
    }

    /// Cuts the power: forgets by chance what was not flushed.
    pub fn forget(&mut self, chance: &mut Chance) -> io::Result<Forgotten> {
        for write in self.unflushed.iter().rev() {
            self.content.write_all_at(&write.before, write.offset)?;
        }
        // Some disks keep nearly all, some nearly nothing.
        let kept_of_16 = chance.below(17);
        let mut forgotten = Forgotten::default();
        for write in &self.unflushed {
            let mut offset = write.offset;
            let mut rest = &write.after[..];
            while !rest.is_empty() {
                let to_boundary = PIECE_BYTES - offset as usize % PIECE_BYTES;
                let (piece, behind) = rest.split_at(to_boundary.min(rest.len()));
                if chance.below(16) < kept_of_16 {
                    self.content.write_all_at(piece, offset)?;
                    forgotten.kept += 1;
                } else {
                    forgotten.lost += 1;
                }
                offset += piece.len() as u64;
                rest = behind;
            }
        }
        self.unflushed.clear();
        self.unflushed_bytes = 0;
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(bytes: u64) -> (tempfile::NamedTempFile, Disk) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(bytes).expect("room");
        let disk = Disk::open(file.path()).expect("a disk");
        (file, disk)
    }

    fn content(disk: &Disk) -> Vec<u8> {
        let mut content = vec![0; disk.bytes() as usize];
        disk.read(0, &mut content).expect("it reads");
        content
    }

    #[test]
    fn a_cut_keeps_what_was_flushed_and_makes_each_later_piece_old_or_new() {
        let mut chance = Chance::announced("disk");
        let (mut kept, mut lost) = (0, 0);
        for _ in 0..200 {
            let (_file, mut disk) = disk(16 * PIECE_BYTES as u64);
            disk.write(0, vec![1; 8 * PIECE_BYTES]).expect("it writes");
            disk.flush();
            disk.write(4 * PIECE_BYTES as u64, vec![2; 8 * PIECE_BYTES]).expect("it writes");
            disk.write(6 * PIECE_BYTES as u64, vec![3; PIECE_BYTES]).expect("it writes");
            let forgotten = disk.forget(&mut chance).expect("it forgets");
            assert_eq!(forgotten.kept + forgotten.lost, 9);
            kept += forgotten.kept;
            lost += forgotten.lost;
            for (index, piece) in content(&disk).chunks(PIECE_BYTES).enumerate() {
                assert!(piece.iter().all(|byte| *byte == piece[0]), "piece {index} is torn");
                let possible: &[u8] = match index {
                    0..4 => &[1],
                    6 => &[1, 2, 3],
                    4..8 => &[1, 2],
                    8..12 => &[0, 2],
                    _ => &[0],
                };
                assert!(possible.contains(&piece[0]), "piece {index} holds {}", piece[0]);
            }
        }
        assert!(kept > 0 && lost > 0, "{kept} kept, {lost} lost");
    }

    #[test]
    fn what_a_full_cache_pushed_out_stays_after_a_cut() {
        let mut chance = Chance::announced("full cache");
        let (_file, mut disk) = disk(4 * UNFLUSHED_BYTES_MAX as u64);
        let half = UNFLUSHED_BYTES_MAX / 2;
        for index in 0..4u8 {
            let offset = u64::from(index) * half as u64;
            disk.write(offset, vec![index + 1; half]).expect("it writes");
        }
        disk.forget(&mut chance).expect("it forgets");
        let content = content(&disk);
        assert!(content[..half].iter().all(|byte| *byte == 1), "the oldest write is there");
        assert!(content[half..2 * half].iter().all(|byte| *byte == 2), "the second is there");
    }
}
