//! Byte-range locks of one file.
//!
//! Kept twice, in step: by owner, where each owner's ranges are apart or of another kind (so what is held is
//! named whole, and released without a search), and by place, as *segments*: stretches that the same owners
//! hold in the same way. Whatever is asked about a range costs a look-up in an ordered map and the segments in
//! that range, however many locks the file has elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::Owner;

/// The length that means "to the end of the file, however long it gets".
const TO_THE_END: u64 = u64::MAX;

/// Bytes of a file: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// `length` bytes from `offset` on; all ones mean to the end. None for no bytes, and for what would end
    /// beyond the largest offset (RFC 8881 section 18.10.3).
    pub fn new(offset: u64, length: u64) -> Option<Self> {
        let last = match length {
            0 => return None,
            TO_THE_END => u64::MAX,
            _ => offset.checked_add(length)? - 1,
        };
        Some(Self { first: offset, last })
    }

    /// Where it starts.
    pub fn offset(self) -> u64 {
        self.first
    }

    /// How long it is; all ones when it goes to the end. All but the last of all bytes, which nobody can
    /// ask for but which can be left, is shown as if it did.
    pub fn length(self) -> u64 {
        if self.last == u64::MAX { TO_THE_END } else { self.last - self.first + 1 }
    }

    /// The range and the bytes next to it, whose locks may become one with it.
    fn widened(self) -> Self {
        Self { first: self.first.saturating_sub(1), last: self.last.saturating_add(1) }
    }

    fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// How a range is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Others may have read locks.
    Read,
    /// Nobody else has any.
    Write,
}

/// The lock that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockDenied {
    /// Whose.
    pub owner: Owner,
    /// Of which kind.
    pub kind: LockKind,
    /// All of it.
    pub range: ByteRange,
}

/// A stretch that is held in one way throughout.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    last: u64,
    holders: Holders,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Holders {
    /// At least one.
    Readers(BTreeSet<Owner>),
    Writer(Owner),
}

impl Holders {
    /// A holder that keeps `owner` from such a lock.
    fn against(&self, owner: &Owner, kind: LockKind) -> Option<&Owner> {
        match (self, kind) {
            (Self::Writer(holder), _) => Some(holder).filter(|holder| *holder != owner),
            (Self::Readers(_), LockKind::Read) => None,
            (Self::Readers(holders), LockKind::Write) => holders.iter().find(|holder| *holder != owner),
        }
    }

    /// Who remains without an owner.
    fn without(self, owner: &Owner) -> Option<Self> {
        match self {
            Self::Writer(holder) => (holder != *owner).then_some(Self::Writer(holder)),
            Self::Readers(mut holders) => {
                holders.remove(owner);
                (!holders.is_empty()).then_some(Self::Readers(holders))
            }
        }
    }
}

/// Where a range of an owner ends, by where it starts.
type Held = BTreeMap<u64, (u64, LockKind)>;

/// The locks of one file.
#[derive(Debug, Default)]
pub(super) struct FileRanges {
    segments: BTreeMap<u64, Segment>,
    owners: HashMap<Owner, Held>,
}

impl FileRanges {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many ranges an owner holds.
    pub(super) fn count(&self, owner: &Owner) -> usize {
        self.owners.get(owner).map_or(0, BTreeMap::len)
    }

    /// The first lock in the way of such a lock.
    pub(super) fn denied(&self, owner: &Owner, kind: LockKind, range: ByteRange) -> Option<LockDenied> {
        let (first, holder) = meeting(&self.segments, range, |segment| segment.last)
            .find_map(|(first, segment)| Some((*first, segment.holders.against(owner, kind)?)))?;
        // What the holder has there, whole: its last range that starts at or before the segment.
        let (start, (last, kind)) = self.owners.get(holder)?.range(..=first).next_back()?;
        let range = ByteRange { first: *start, last: *last };
        Some(LockDenied { owner: holder.clone(), kind: *kind, range })
    }

    /// How many ranges more (or fewer) the owner holds after [`FileRanges::set`].
    pub(super) fn growth(&self, owner: &Owner, kind: Option<LockKind>, range: ByteRange) -> isize {
        let change = |(of_kind, old): (LockKind, ByteRange)| {
            if kind == Some(of_kind) {
                -1
            } else if old.meets(range) {
                isize::from(old.first < range.first) + isize::from(old.last > range.last) - 1
            } else {
                0
            }
        };
        let near = self.of(owner, range.widened());
        isize::from(kind.is_some()) + near.into_iter().map(change).sum::<isize>()
    }

    /// The ranges of an owner that meet a range, whole.
    fn of(&self, owner: &Owner, range: ByteRange) -> Vec<(LockKind, ByteRange)> {
        let Some(held) = self.owners.get(owner) else { return Vec::new() };
        let whole = |(first, (last, kind)): (&u64, &(u64, LockKind))| {
            (*kind, ByteRange { first: *first, last: *last })
        };
        meeting(held, range, |held| held.0).map(whole).collect()
    }

    /// Sets what an owner holds of a range; nobody else may be in the way.
    pub(super) fn set(&mut self, owner: &Owner, kind: Option<LockKind>, range: ByteRange) {
        self.set_held(owner, kind, range);
        self.split(range);
        let within: Vec<_> = self.segments.range(range.first..=range.last).map(|(first, _)| *first).collect();
        for first in &within {
            let Some(segment) = self.segments.remove(first) else { continue };
            if let Some(holders) = segment.holders.without(owner) {
                self.segments.insert(*first, Segment { last: segment.last, holders });
            }
        }
        match kind {
            None => {}
            Some(LockKind::Write) => {
                let segment = Segment { last: range.last, holders: Holders::Writer(owner.clone()) };
                self.segments.insert(range.first, segment);
            }
            Some(LockKind::Read) => self.add_reader(owner, range),
        }
        self.join(range.widened());
    }

    /// Gives back all that an owner holds.
    pub(super) fn release(&mut self, owner: &Owner) {
        for (first, (last, _)) in self.owners.get(owner).cloned().unwrap_or_default() {
            self.set(owner, None, ByteRange { first, last });
        }
    }

    /// The owner's own list: what it had of the range goes, the new range comes, equal neighbours become one.
    fn set_held(&mut self, owner: &Owner, kind: Option<LockKind>, range: ByteRange) {
        let near = self.of(owner, range.widened());
        let held = self.owners.entry(owner.clone()).or_default();
        let mut whole = range;
        for (of_kind, old) in near {
            let is_joined = kind == Some(of_kind);
            if is_joined {
                whole = ByteRange { first: whole.first.min(old.first), last: whole.last.max(old.last) };
                held.remove(&old.first);
            } else if old.meets(range) {
                held.remove(&old.first);
                if old.first < range.first {
                    held.insert(old.first, (range.first - 1, of_kind));
                }
                if old.last > range.last {
                    held.insert(range.last + 1, (old.last, of_kind));
                }
            }
        }
        if let Some(kind) = kind {
            held.insert(whole.first, (whole.last, kind));
        }
        if held.is_empty() {
            self.owners.remove(owner);
        }
    }

    /// Sees to it that segments begin and end where the range does.
    fn split(&mut self, range: ByteRange) {
        let ends = [Some(range.first), range.last.checked_add(1)];
        for at in ends.into_iter().flatten() {
            let Some((_, segment)) = self.segments.range_mut(..at).next_back() else { continue };
            if segment.last >= at {
                let rest = Segment { last: segment.last, holders: segment.holders.clone() };
                segment.last = at - 1;
                self.segments.insert(at, rest);
            }
        }
    }

    /// Adds a reader to a range in which segments begin and end, and in which there are none but readers.
    fn add_reader(&mut self, owner: &Owner, range: ByteRange) {
        let mut gap = Some(range.first);
        let mut gaps = Vec::new();
        for (first, segment) in self.segments.range_mut(range.first..=range.last) {
            if let Some(start) = gap.filter(|start| start < first) {
                gaps.push((start, first - 1));
            }
            if let Holders::Readers(holders) = &mut segment.holders {
                holders.insert(owner.clone());
            }
            gap = segment.last.checked_add(1);
        }
        gaps.extend(gap.filter(|start| *start <= range.last).map(|start| (start, range.last)));
        for (first, last) in gaps {
            let holders = Holders::Readers(BTreeSet::from([owner.clone()]));
            self.segments.insert(first, Segment { last, holders });
        }
    }

    /// Makes one of neighbours that are held alike.
    fn join(&mut self, range: ByteRange) {
        let near: Vec<_> = meeting(&self.segments, range, |segment| segment.last)
            .map(|(first, segment)| (*first, segment.last))
            .collect();
        for (left, right) in near.iter().zip(near.iter().skip(1)).rev() {
            let touch = left.1.checked_add(1) == Some(right.0);
            if touch && self.segments[&left.0].holders == self.segments[&right.0].holders {
                let Some(joined) = self.segments.remove(&right.0) else { continue };
                self.segments.entry(left.0).and_modify(|segment| segment.last = joined.last);
            }
        }
    }
}

/// Entries that meet a range, of a map from where each starts to where each ends.
fn meeting<T>(
    map: &BTreeMap<u64, T>,
    range: ByteRange,
    last: impl Fn(&T) -> u64,
) -> impl Iterator<Item = (&u64, &T)> {
    let before = map.range(..range.first).next_back().filter(|(_, entry)| last(entry) >= range.first);
    before.into_iter().chain(map.range((Bound::Included(range.first), Bound::Included(range.last))))
}

#[cfg(test)]
impl FileRanges {
    /// That segments are apart and agree with what the owners hold; how many there are.
    pub(super) fn check(&self) -> usize {
        let mut after = None;
        for (first, segment) in &self.segments {
            assert!(after.is_none_or(|after| after < *first) && *first <= segment.last, "segments overlap");
            after = Some(segment.last);
            let holders: Vec<_> = match &segment.holders {
                Holders::Writer(owner) => vec![(owner, LockKind::Write)],
                Holders::Readers(owners) => owners.iter().map(|owner| (owner, LockKind::Read)).collect(),
            };
            assert!(!holders.is_empty(), "a segment that nobody holds");
            for (owner, kind) in holders {
                let held = self.owners[owner].range(..=*first).next_back();
                let fits = held.is_some_and(|(_, (last, held))| *last >= segment.last && *held == kind);
                assert!(fits, "{owner:?} does not hold the segment at {first}");
            }
        }
        self.segments.len()
    }
}
