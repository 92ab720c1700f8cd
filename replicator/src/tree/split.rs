//! Where nodes end.
//!
//! Owns the one rule that makes trees independent of their history. A node ends after an entry if
//!
//! * the entry's key is a *landmark*: the first seven bits of
//!   [`boundary_hash`](super::TreeKeys::boundary_hash) of level and key are zero, which one in 128 is;
//!   above the leaves only if the node has two entries or more, so that every level is at most half
//!   as long as the one below; or
//! * the node has [`ENTRIES_MAX`] entries, or they weigh [`WEIGHT_MAX`] or more; or
//! * it is the last entry of the level.
//!
//! So the end of a node is a function of the entries since the end before, and an edit moves ends
//! only up to the next landmark. Weights count keys without prefix compression, so that they bound
//! memory too. The hash is keyed: nobody who chooses names can choose where nodes end.

use super::TreeKeys;
use super::node::Entry;

/// The most entries of a node.
pub(super) const ENTRIES_MAX: usize = 1024;

/// Entries that weigh this much fill a node (see [`Entry::weight`]).
pub(super) const WEIGHT_MAX: usize = 48 * 1024;

/// A landmark has this many leading zero bits: 2^7 = 128 entries a node on average.
const LANDMARK_BITS: u32 = 7;

/// Collects the entries of a level, in order, into nodes.
pub(super) struct Splitter<'a> {
    keys: &'a dyn TreeKeys,
    level: u8,
    entries: Vec<Entry>,
    weight: usize,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(keys: &'a dyn TreeKeys, level: u8) -> Self {
        Self { keys, level, entries: Vec::new(), weight: 0 }
    }

    /// Whether a node has just ended, or none has begun.
    pub(super) fn at_end(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the next entry; gives the entries of the node that ends with it.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Vec<Entry>> {
        let hash = self.keys.boundary_hash(self.level, &entry.key);
        self.weight += entry.weight();
        self.entries.push(entry);
        let wide = self.level == 0 || self.entries.len() >= 2;
        let landmark = wide && hash.leading_zeros() >= LANDMARK_BITS;
        let full = self.entries.len() == ENTRIES_MAX || self.weight >= WEIGHT_MAX;
        if landmark || full { self.finish() } else { None }
    }

    /// Ends the level; gives the entries of the last node, unless it has ended already.
    pub(super) fn finish(&mut self) -> Option<Vec<Entry>> {
        self.weight = 0;
        let entries = std::mem::take(&mut self.entries);
        (!entries.is_empty()).then_some(entries)
    }
}
