//! Which files of a share somebody has open.
//!
//! A file that is open outlives its last name. Asked and changed under the lock of the inode
//! ([`super::InodeLocks`]), so that "is it open" stays true until the change that hangs on it is submitted.
//! Nothing here survives a restart: nobody has a file open then.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidegate_replicator::map::InodeNumber;

/// How many times each file is open.
#[derive(Debug, Default)]
pub struct OpenFiles {
    counts: Mutex<HashMap<InodeNumber, u32>>,
}

impl OpenFiles {
    /// Counts one more.
    pub fn open(&self, file: InodeNumber) {
        *self.counts.lock().entry(file).or_insert(0) += 1;
    }

    /// Counts one less; whether that was the last. A file that is not open stays so.
    pub fn close(&self, file: InodeNumber) -> bool {
        let mut counts = self.counts.lock();
        let Some(count) = counts.get_mut(&file) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            counts.remove(&file);
        }
        last
    }

    /// Whether anybody has it open.
    pub fn is_open(&self, file: InodeNumber) -> bool {
        self.counts.lock().contains_key(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_until_it_was_closed_as_often_as_it_was_opened() {
        let (files, file) = (OpenFiles::default(), InodeNumber(7));
        assert!(!files.close(file));
        files.open(file);
        files.open(file);
        assert!(!files.close(file));
        assert!(files.is_open(file));
        assert!(files.close(file));
        assert!(!files.is_open(file));
    }
}
