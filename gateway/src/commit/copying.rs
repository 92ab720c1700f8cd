//! Heads that are being copied to other targets: they stay on the line meanwhile.
//!
//! Without that, a copy behind a slow link would find the head gone that it began with, time and again.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidegate_chunker::ShareId;
use tidegate_replicator::repository::HeadName;

/// The heads that each copy, by its name, is being brought.
#[derive(Debug, Default)]
pub(crate) struct CopyingHeads(Mutex<HashMap<String, Vec<(ShareId, HeadName)>>>);

impl CopyingHeads {
    /// A copy is being brought these, and no others.
    pub(crate) fn set(&self, copy: &str, heads: &[(ShareId, HeadName)]) {
        if heads.is_empty() {
            self.0.lock().remove(copy);
        } else {
            self.0.lock().insert(copy.to_owned(), heads.to_vec());
        }
    }

    /// Whether some copy is being brought this head.
    pub(super) fn contains(&self, share: ShareId, head: &HeadName) -> bool {
        self.0.lock().values().flatten().any(|(of, name)| *of == share && name == head)
    }
}
