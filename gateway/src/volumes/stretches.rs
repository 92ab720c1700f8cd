//! Which parts of a scratch volume are its own: ranges that do not meet, by where they begin.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Bytes in the file of the scratch volume.
    Bytes,
    /// A hole over whatever is below.
    Hole,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub(super) struct OwnParts {
    parts: BTreeMap<u64, (u64, Own)>,
    bytes: u64,
}

impl OwnParts {
    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// How many bytes are in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes more are in the file if this range is.
    pub(super) fn growth(&self, range: &Range<u64>) -> u64 {
        let own = |(part, own): &(Range<u64>, Option<Own>)| match own {
            Some(Own::Bytes) => 0,
            Some(Own::Hole) | None => part.end - part.start,
        };
        self.pieces(range).iter().map(own).sum()
    }

    /// From now on the range is this.
    pub(super) fn set(&mut self, range: Range<u64>, own: Own) {
        self.clear(&range);
        if own == Own::Bytes {
            self.bytes += range.end - range.start;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Joins neighbours of its kind.
        if let Some((&before, &(until, kind))) = self.parts.range(..start).next_back()
            && (until, kind) == (start, own)
        {
            self.parts.remove(&before);
            start = before;
        }
        if let Some(&(until, kind)) = self.parts.get(&end)
            && kind == own
        {
            self.parts.remove(&end);
            end = until;
        }
        self.parts.insert(start, (end, own));
    }

    /// The range in pieces, in order: what is its own, and what is below.
    pub(super) fn pieces(&self, range: &Range<u64>) -> Vec<(Range<u64>, Option<Own>)> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let first = self.parts.range(..=range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let from = first.map_or(range.start, |(start, _)| *start);
        for (&start, &(end, own)) in self.parts.range(from..range.end) {
            let (start, end) = (start.max(range.start), end.min(range.end));
            if start > at {
                pieces.push((at..start, None));
            }
            if end > start {
                pieces.push((start..end, Some(own)));
                at = end;
            }
        }
        if at < range.end {
            pieces.push((at..range.end, None));
        }
        pieces
    }

    fn clear(&mut self, range: &Range<u64>) {
        let before = self.parts.range(..range.start).next_back();
        let first = before.filter(|(_, (end, _))| *end > range.start).map(|(start, _)| *start);
        let inside = self.parts.range(range.start..range.end).map(|(start, _)| *start);
        let meeting: Vec<u64> = first.into_iter().chain(inside).collect();
        for start in meeting {
            let Some((end, own)) = self.parts.remove(&start) else { continue };
            if own == Own::Bytes {
                self.bytes -= end.min(range.end) - start.max(range.start);
            }
            if start < range.start {
                self.parts.insert(start, (range.start, own));
            }
            if end > range.end {
                self.parts.insert(range.end, (end, own));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_are_those_of_a_plain_list(
            changes in proptest::collection::vec((0u64..200, 1u64..60, any::<bool>()), 0..60),
            asked in (0u64..200, 1u64..100),
        ) {
            let (mut parts, mut model) = (OwnParts::default(), vec![None; 300]);
            for (start, length, bytes) in changes {
                let own = if bytes { Own::Bytes } else { Own::Hole };
                let range = start..start + length;
                let missing = (start..start + length).filter(|at| model[*at as usize] != Some(Own::Bytes));
                prop_assert_eq!(parts.growth(&range), missing.count() as u64);
                parts.set(range, own);
                model[start as usize..(start + length) as usize].fill(Some(own));
            }
            let bytes = model.iter().filter(|own| **own == Some(Own::Bytes)).count();
            prop_assert_eq!(parts.bytes(), bytes as u64);
            let runs = model.chunk_by(|one, other| one == other).filter(|run| run[0].is_some()).count();
            prop_assert_eq!(parts.len(), runs);
            let range = asked.0..asked.0 + asked.1;
            let mut at = range.start;
            for (piece, own) in parts.pieces(&range) {
                prop_assert_eq!(piece.start, at);
                prop_assert!(model[piece.start as usize..piece.end as usize].iter().all(|is| *is == own));
                at = piece.end;
            }
            prop_assert_eq!(at, range.end);
        }
    }
}
