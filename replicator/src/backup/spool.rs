//! A queue on the local disk: records are written one after the other, then read in the same order.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What is read or written at once, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// See the head of this module.
pub(super) struct Spool {
    file: BufWriter<File>,
}

impl Spool {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile_in(folder)?) })
    }

    pub(super) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.file.write_all(&(record.len() as u32).to_le_bytes())?;
        self.file.write_all(record)
    }

    /// What was written, from the front.
    pub(super) fn read(self) -> io::Result<SpoolReader> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(SpoolReader { file: BufReader::with_capacity(BUFFER_BYTES, file) })
    }
}

/// Gives the records of a spool.
pub(super) struct SpoolReader {
    file: BufReader<File>,
}

impl SpoolReader {
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut record = vec![0; u32::from_le_bytes(length) as usize];
        self.file.read_exact(&mut record)?;
        Ok(Some(record))
    }
}
