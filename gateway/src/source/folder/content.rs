//! The data of a file of this machine, without its holes.
//!
//! A file that gives less data than it says is torn, whether its times tell or not: some file systems state wrong sizes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Advice, SeekFrom, Statx, fadvise, seek};
use rustix::io::Errno;
use tidegate_replicator::backup::{Content, Ended, Found};
use tidegate_replicator::map::Timestamp;

use super::{distrust_if_young, entry};

/// Disk blocks are counted in these many bytes.
const BLOCK_BYTES: u64 = 512;

/// An open file that is read to the length that it had when it was opened, so that one that grows ends.
pub(super) struct FileContent {
    file: File,
    stat: Statx,
    now: Timestamp,
    /// Where the next piece of data is looked for.
    at: u64,
    /// What is left of the piece at hand.
    left: u64,
    /// The beginning of the file, if it was read ahead.
    ahead: Vec<u8>,
    ahead_read: usize,
    /// Whether a piece ended before its end.
    short: bool,
}

impl FileContent {
    pub(super) fn new(file: OwnedFd, stat: Statx, now: Timestamp) -> Self {
        let file = File::from(file);
        Self { file, stat, now, at: 0, left: 0, ahead: Vec::new(), ahead_read: 0, short: false }
    }

    fn has_holes(&self) -> bool {
        self.stat.stx_blocks.saturating_mul(BLOCK_BYTES) < self.stat.stx_size
    }

    /// Reads the beginning now; what is longer is asked of the disk.
    pub(super) fn read_ahead(&mut self, bytes_max: usize) -> io::Result<()> {
        if self.has_holes() {
            return Ok(());
        }
        let wanted = self.stat.stx_size.min(bytes_max as u64);
        let mut ahead = Vec::with_capacity(wanted as usize);
        (&self.file).take(wanted).read_to_end(&mut ahead)?;
        self.ahead = ahead;
        if wanted < self.stat.stx_size {
            // Advice that is not taken only costs time.
            let _ = fadvise(&self.file, 0, None, Advice::Sequential);
        }
        Ok(())
    }

    /// The next piece of data from an offset on, up to the end that the file had.
    fn piece(&self, from: u64) -> io::Result<Option<(u64, u64)>> {
        let size = self.stat.stx_size;
        if from >= size {
            return Ok(None);
        }
        if !self.has_holes() {
            return Ok(Some((from, size)));
        }
        let start = match seek(&self.file, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => from,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        Ok((start < end).then_some((start, end)))
    }
}

impl Read for FileContent {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = (out.len() as u64).min(self.left) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let ahead = &self.ahead[self.ahead_read..];
        let count = if ahead.is_empty() {
            self.file.read(&mut out[..wanted])?
        } else {
            let count = wanted.min(ahead.len());
            out[..count].copy_from_slice(&ahead[..count]);
            self.ahead_read += count;
            count
        };
        self.short |= count == 0;
        self.left = if count == 0 { 0 } else { self.left - count as u64 };
        Ok(count)
    }
}

impl Content for FileContent {
    fn next_data(&mut self) -> io::Result<Option<u64>> {
        let Some((start, end)) = self.piece(self.at)? else { return Ok(None) };
        if self.has_holes() || (start > 0 && self.ahead.is_empty()) {
            seek(&self.file, SeekFrom::Start(start))?;
        }
        (self.at, self.left) = (end, end - start);
        Ok(Some(start))
    }

    fn end(&mut self) -> io::Result<Ended> {
        let now = entry::look(&self.file)?;
        let facts = |stat: &Statx| {
            let (modified, changed) = (stat.stx_mtime, stat.stx_ctime);
            (stat.stx_size, modified.tv_sec, modified.tv_nsec, changed.tv_sec, changed.tv_nsec)
        };
        Ok(Ended { size: self.stat.stx_size, torn: self.short || facts(&now) != facts(&self.stat) })
    }

    fn again(&mut self) -> io::Result<Option<Found>> {
        self.stat = entry::look(&self.file)?;
        seek(&self.file, SeekFrom::Start(0))?;
        (self.at, self.left, self.ahead_read) = (0, 0, 0);
        (self.ahead, self.short) = (Vec::new(), false);
        let found = entry::found(Vec::new(), &self.stat);
        Ok(found.map(|mut found| {
            distrust_if_young(&mut found, self.now);
            found
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &mut FileContent) -> Vec<u8> {
        let mut data = Vec::new();
        while content.next_data().expect("a piece").is_some() {
            content.read_to_end(&mut data).expect("readable");
        }
        data
    }

    #[test]
    fn a_file_with_less_data_than_it_says_is_torn_though_its_times_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [7_u8; 10_000]).expect("written");
        for (ahead, more, torn) in [(0, 0, false), (0, 5_000, true), (4_000, 5_000, true), (1 << 20, 1, true)]
        {
            let file = File::open(&path).expect("open");
            let stat = entry::look(&file).expect("it is there");
            let mut content = FileContent::new(file.into(), stat, Timestamp::default());
            // As by a file system that says more than there is, then and at the end.
            content.stat.stx_size += more;
            content.stat.stx_blocks = content.stat.stx_size;
            content.read_ahead(ahead).expect("readable");
            assert_eq!(read(&mut content).len(), 10_000);
            content.stat.stx_size -= more;
            assert_eq!(content.end().expect("it is there").torn, torn, "{ahead} {more}");
            content.again().expect("it is there");
            assert_eq!(read(&mut content), [7; 10_000]);
            assert!(!content.end().expect("it is there").torn, "read again, it is whole");
        }
    }
}
