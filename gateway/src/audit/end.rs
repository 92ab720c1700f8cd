//! The end of a log that a gateway finds when it starts: where it goes on, and what does not fit.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::files::{self, Newest};
use super::record::{Line, NO_DIGEST, RECENT_MAX, SEQUENCE_MAX, Seen};

/// Where a log goes on.
pub(super) struct End {
    /// The first record of the file that is written.
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) digest: blake3::Hash,
    pub(super) recent: VecDeque<Seen>,
    /// What does not fit.
    pub(super) trouble: Option<String>,
}

impl End {
    /// Reads the newest files; takes a line away that was never synced.
    pub(super) fn find(folder: &Path) -> io::Result<Self> {
        let no_digest = blake3::Hash::from_bytes(NO_DIGEST);
        let promised = Newest::read(folder).filter(|(number, _)| *number <= SEQUENCE_MAX);
        let files = files::list(folder)?;
        let Some((first, path)) = files.last() else {
            let next = promised.map_or(1, |(number, _)| number + 1);
            let trouble =
                promised.map(|(number, _)| format!("all files are gone; there were {number} records"));
            return Ok(Self { first: next, next, digest: no_digest, recent: VecDeque::new(), trouble });
        };
        // The one before too: the newest may have no record yet.
        let read = &files[files.len().saturating_sub(2)..];
        let mut end = Self {
            first: *first,
            next: read[0].0,
            digest: no_digest,
            recent: VecDeque::new(),
            trouble: None,
        };
        let mut kept = 0;
        for (_, path) in read {
            kept = end.read(path, promised)?;
        }
        if let Some((number, _)) = promised.filter(|(number, _)| *number >= end.next) {
            end.trouble.get_or_insert(format!("records {} to {number} are gone from the end", end.next));
            end.next = number + 1;
        }
        // Only what was never synced goes: where anything is wrong, what is left stays to be looked at.
        if kept < fs::metadata(path)?.len() && end.trouble.is_none() {
            let file = File::options().write(true).open(path)?;
            file.set_len(kept)?;
            file.sync_all()?;
        }
        if end.trouble.is_some() {
            // What is wrong stays as it is, for whoever looks: a file of that name is not written on.
            while files.iter().any(|(first, _)| *first == end.next) {
                end.next += 1;
            }
            end.first = end.next;
        }
        Ok(end)
    }

    /// Goes along a file; gives how many bytes of it are whole lines.
    fn read(&mut self, path: &Path, promised: Option<(u64, blake3::Hash)>) -> io::Result<u64> {
        let mut kept = 0;
        for line in files::lines(path)? {
            let (bytes, whole) = line?;
            if !whole {
                break;
            }
            let line = match Line::read(&bytes) {
                Ok(line) => line,
                Err(why) => {
                    self.trouble
                        .get_or_insert(format!("the line where record {} should stand {why}", self.next));
                    continue;
                }
            };
            let number = line.record.sequence;
            if number > SEQUENCE_MAX {
                self.trouble.get_or_insert(format!("a record has the number {number}, which none can have"));
                continue;
            }
            let fits = number == self.next && (self.recent.is_empty() || line.follows(&self.digest));
            let is_promised =
                promised.is_none_or(|(newest, digest)| newest != number || digest == line.digest);
            if !fits || !is_promised {
                self.trouble
                    .get_or_insert(format!("record {number} does not fit the one before or after it"));
            }
            (self.next, self.digest) = (number.max(self.next) + 1, line.digest);
            self.recent.push_back(line.seen());
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
            kept += bytes.len() as u64 + 1;
        }
        Ok(kept)
    }
}
