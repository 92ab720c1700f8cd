//! The list of what a source has, sorted by path on the local disk.

use std::path::Path;

use super::error::BackupError;
use super::found::Found;
use super::record::Parts;
use super::report::Report;
use super::sorter::{Sorted, Sorter};
use super::source::{Listed, Observer, Source, checkpoint};

/// Between so many names it is looked whether to stop.
const NAMES_BETWEEN_LOOKS: u64 = 256;

/// What the source has, folders before what is in them.
pub(super) struct Listing {
    sorted: Sorted,
    last: Vec<u8>,
    begun: bool,
}

impl Listing {
    /// Lists a source. What it cannot look at is noted in the report.
    pub(super) fn take(
        source: &mut dyn Source,
        (folder, memory_bytes_max): (&Path, usize),
        report: &mut Report,
        observer: &dyn Observer,
    ) -> Result<Self, BackupError> {
        observer.phase("list the source", None, false);
        let mut sorter = Sorter::new(folder.to_path_buf(), memory_bytes_max);
        source.list(&mut |listed| {
            match listed {
                Listed::Found(found) => {
                    report.names += 1;
                    if report.names.is_multiple_of(NAMES_BETWEEN_LOOKS) {
                        checkpoint(observer)?;
                        observer.advanced(NAMES_BETWEEN_LOOKS);
                    }
                    sorter.push(&Found::sort_key(&found.path), &found.encode()).map_err(failed())?;
                }
                Listed::Unreadable { path, why } => report.leave_out(&path, why),
            }
            Ok(())
        })?;
        checkpoint(observer)?;
        Ok(Self { sorted: sorter.finish().map_err(failed())?, last: Vec::new(), begun: false })
    }

    /// The next path; one that was told twice comes once.
    pub(super) fn next(&mut self) -> Result<Option<Found>, BackupError> {
        while let Some((key, record)) = self.sorted.next().map_err(failed())? {
            if self.begun && key == self.last {
                continue;
            }
            (self.last, self.begun) = (key, true);
            return Found::decode(&mut Parts(&record)).map(Some).map_err(failed());
        }
        Ok(None)
    }
}

fn failed() -> impl FnOnce(std::io::Error) -> BackupError {
    BackupError::local("sort the list of the source")
}
