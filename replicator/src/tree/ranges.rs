//! Ranges of keys to delete.

use std::ops::Range;

use bytes::Bytes;

use super::TreeError;

/// Sorted, disjoint, none of them empty, neighbours joined.
pub(super) struct Ranges(Vec<Range<Bytes>>);

impl Ranges {
    /// Checks and takes ranges that are sorted, disjoint and not empty.
    pub(super) fn new(ranges: &[Range<Bytes>]) -> Result<Self, TreeError> {
        let mut joined: Vec<Range<Bytes>> = Vec::with_capacity(ranges.len());
        for (position, range) in ranges.iter().enumerate() {
            let refused = |what| Err(TreeError::BadEdit { position: position as u64, what });
            if range.start >= range.end {
                return refused("a range must end after its start");
            }
            match joined.last_mut() {
                Some(last) if last.end > range.start => {
                    return refused("ranges must be sorted and must not overlap");
                }
                Some(last) if last.end == range.start => last.end = range.end.clone(),
                _ => joined.push(range.clone()),
            }
        }
        Ok(Self(joined))
    }

    /// Whether the key is deleted.
    pub(super) fn contain(&self, key: &[u8]) -> bool {
        self.ending_after(key).is_some_and(|range| range.start <= key)
    }

    /// Whether everything is deleted that is greater than `above` and not greater than `last`.
    pub(super) fn cover(&self, above: Option<&[u8]>, last: &[u8]) -> bool {
        self.ending_after(last)
            .is_some_and(|range| range.start.is_empty() || above.is_some_and(|above| range.start <= above))
    }

    /// The first range that ends after this key.
    pub(super) fn ending_after(&self, key: &[u8]) -> Option<&Range<Bytes>> {
        self.0.get(self.0.partition_point(|range| range.end <= key))
    }

    /// The first range.
    pub(super) fn first(&self) -> Option<&Range<Bytes>> {
        self.0.first()
    }
}
