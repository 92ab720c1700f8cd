//! Which files got data of other files that may lie in the journal, while a commit is under way.
//!
//! A commit replaces pieces of the journal, as of the moment that it froze, by chunks: in the files that it saw
//! then. An extent that is shared with a new file after that moment would be left behind, pointing at a journal
//! that is about to be shortened. So whoever shares an extent notes the file that gets it, under the locks of
//! both files, before the change is submitted; and the commit looks into every file that was noted since just
//! before it froze, until there is none.
//!
//! Only files that are made for this get extents of others: what was noted has no data in the frozen map.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tidegate_replicator::map::InodeNumber;

/// See the head of this module.
#[derive(Debug, Default)]
pub struct MovedData {
    /// None while no commit is under way.
    noted: Mutex<Option<BTreeSet<InodeNumber>>>,
}

impl MovedData {
    /// A commit is about to freeze. What an earlier one left is forgotten: its journal was not shortened.
    pub(crate) fn begin(&self) {
        *self.noted.lock() = Some(BTreeSet::new());
    }

    /// This file gets data of another one. Call it under the locks of both, before the change is submitted and
    /// after.
    pub fn note(&self, file: InodeNumber) {
        if let Some(noted) = &mut *self.noted.lock() {
            noted.insert(file);
        }
    }

    /// The files noted since the last call; when there are none the commit has seen them all.
    pub(crate) fn take(&self) -> BTreeSet<InodeNumber> {
        let mut noted = self.noted.lock();
        match &mut *noted {
            Some(files) if !files.is_empty() => std::mem::take(files),
            Some(_) | None => {
                *noted = None;
                BTreeSet::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_noted_from_before_the_freeze_until_a_look_finds_none() {
        let (moved, file) = (MovedData::default(), InodeNumber(7));
        moved.note(file);
        assert!(moved.take().is_empty());
        moved.begin();
        moved.note(file);
        moved.note(file);
        assert_eq!(moved.take(), BTreeSet::from([file]));
        moved.note(InodeNumber(8));
        assert_eq!(moved.take(), BTreeSet::from([InodeNumber(8)]));
        assert!(moved.take().is_empty());
        moved.note(file);
        assert!(moved.take().is_empty());
    }
}
