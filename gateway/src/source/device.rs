//! A block device or an image file, as one large file.
//!
//! It is cut into aligned pieces, for it is overwritten in place; a piece of zeros is a hole. It is always read whole:
//! nothing but its content tells whether it changed. What is written meanwhile makes it torn: freeze it, or take a
//! snapshot of it, in the hook `before`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use tidegate_replicator::backup::{
    BackupError, Content, Cut, Ended, Found, Listed, Opened, Source, SourceError, Take, Told, Trust,
    WantedFiles,
};
use tidegate_replicator::map::{Kind, Timestamp};

use super::plain;

/// Length of a piece in bytes.
const PIECE_BYTES: u32 = 128 << 10;

/// See the head of this module.
#[derive(Debug)]
pub struct DeviceSource {
    path: PathBuf,
    file: File,
    found: Found,
}

impl DeviceSource {
    /// Opens it; `now` is the time of the run.
    pub fn open(path: PathBuf, now: Timestamp) -> Result<Self, SourceError> {
        let failed = |error| SourceError::because(format!("{} cannot be opened", path.display()), error);
        let mut file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(SourceError::new(format!(
                "{} is neither a block device nor a file: use folder for a folder",
                path.display()
            )));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let modified = Timestamp { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() as u32 };
        let mut found = plain(&name, Kind::Regular, if kind.is_file() { modified } else { now });
        found.size = size;
        found.mode = (metadata.mode() & 0o666) as u16;
        (found.uid, found.gid) = (metadata.uid(), metadata.gid());
        Ok(Self { path, file, found })
    }
}

impl Source for DeviceSource {
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError> {
        told(Listed::Found(Found {
            trust: Trust::Attributes,
            ..plain(b"", Kind::Directory, Timestamp::default())
        }))?;
        told(Listed::Found(self.found.clone()))
    }

    fn read(&mut self, wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError> {
        for wanted in wanted {
            let wanted = wanted?;
            if wanted.found.kind == Kind::Directory {
                let found = wanted.found.clone();
                take(wanted, Ok(Opened { found, extended: Vec::new(), cut: Cut::Content, content: None }))?;
                continue;
            }
            let file = self.file.try_clone().map_err(|error| {
                SourceError::because(format!("{} cannot be read", self.path.display()), error)
            })?;
            let content = Pieces::new(file, self.found.size).map_err(|error| {
                SourceError::because(format!("{} cannot be read", self.path.display()), error)
            })?;
            let found = self.found.clone();
            let content: Box<dyn Content> = Box::new(content);
            take(
                wanted,
                Ok(Opened {
                    found,
                    extended: Vec::new(),
                    cut: Cut::Fixed(PIECE_BYTES),
                    content: Some(content),
                }),
            )?;
        }
        Ok(())
    }
}

/// The pieces that are not zeros.
struct Pieces {
    file: File,
    size: u64,
    /// Past the piece at hand.
    at: u64,
    piece: Vec<u8>,
    read: usize,
    modified: (i64, i64),
}

impl Pieces {
    fn new(mut file: File, size: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let modified = modified(&file)?;
        Ok(Self { file, size, at: 0, piece: Vec::new(), read: 0, modified })
    }
}

fn modified(file: &File) -> io::Result<(i64, i64)> {
    let metadata = file.metadata()?;
    Ok((metadata.mtime(), metadata.mtime_nsec()))
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.piece[self.read..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Content for Pieces {
    fn next_data(&mut self) -> io::Result<Option<u64>> {
        while self.at < self.size {
            let wanted = (self.size - self.at).min(u64::from(PIECE_BYTES));
            self.piece.clear();
            let read = (&self.file).take(wanted).read_to_end(&mut self.piece)?;
            if read as u64 != wanted {
                return Err(io::Error::other("it ends before its end"));
            }
            (self.at, self.read) = (self.at + wanted, 0);
            if self.piece.iter().any(|byte| *byte != 0) {
                return Ok(Some(self.at - wanted));
            }
        }
        Ok(None)
    }

    fn end(&mut self) -> io::Result<Ended> {
        // The time of a device node says nothing of what is on the device.
        let is_file = self.file.metadata()?.is_file();
        Ok(Ended { size: self.size, torn: is_file && modified(&self.file)? != self.modified })
    }

    fn again(&mut self) -> io::Result<Option<Found>> {
        // What is written all the time is not read several times.
        Ok(None)
    }
}
