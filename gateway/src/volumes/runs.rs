//! Sets of blocks, as runs of them: what has changed of a disk is often millions of blocks in a few pieces.

use std::ops::Range;

/// Blocks by number, in rising runs that neither meet nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<Range<u64>>);

impl Runs {
    /// Adds those that a range of bytes meets. Ranges come in the order of their ends.
    pub(super) fn add_bytes(&mut self, bytes: &Range<u64>, block_bytes: u64) {
        if !bytes.is_empty() {
            self.add(bytes.start / block_bytes..bytes.end.div_ceil(block_bytes));
        }
    }

    /// Adds a run that ends nowhere before those that are there.
    pub(super) fn add(&mut self, mut run: Range<u64>) {
        while let Some(last) = self.0.pop_if(|last| last.end >= run.start) {
            run = last.start.min(run.start)..last.end.max(run.end);
        }
        self.0.push(run);
    }

    /// Those of both.
    pub(super) fn joined(self, other: Self) -> Self {
        let mut all: Vec<Range<u64>> = self.0.into_iter().chain(other.0).collect();
        all.sort_by_key(|run| run.end);
        let mut joined = Self::default();
        all.into_iter().for_each(|run| joined.add(run));
        joined
    }

    /// All blocks, rising.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> {
        self.0.iter().cloned().flatten()
    }

    pub(super) fn into_ranges(self) -> Vec<Range<u64>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_what_was_added_and_nothing_else(
            mut one in prop::collection::vec((0u64..400, 0u64..60), 0..20),
            mut other in prop::collection::vec((0u64..400, 0u64..60), 0..20),
        ) {
            let (mut expected, mut joined) = (BTreeSet::new(), Runs::default());
            for ranges in [&mut one, &mut other] {
                ranges.sort_by_key(|(start, length)| start + length);
                let mut runs = Runs::default();
                for (start, length) in ranges {
                    runs.add_bytes(&(*start..*start + *length), 8);
                    expected.extend((*start..*start + *length).map(|byte| byte / 8));
                }
                joined = joined.joined(runs);
            }
            prop_assert_eq!(joined.blocks().collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            prop_assert!(joined.0.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
