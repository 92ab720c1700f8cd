//! What to evict: whole units, scan-resistant. Pure bookkeeping, no I/O.
//!
//! S3-FIFO ("FIFO queues are all you need for cache eviction", SOSP 2023) over units. A unit enters the
//! small queue; when it is at the front there and was used meanwhile, it moves to the main queue, else it
//! goes, and the packs whose frames it held are remembered by name: the *ghosts*. A frame that is
//! fetched again and whose pack is a ghost is gathered into a unit that enters the main queue at once.
//! In the main queue a used unit goes round again, at most [`USES_MAX`] times. So a scan passes through
//! the small queue, one in [`SMALL_PART`] of the bytes of data, and leaves the others alone.
//!
//! **Names stay.** Tree nodes and large values are small beside data, and without them no name is found. They have a queue
//! of their own, in which a used unit goes round like in the main one. While they are at most one in [`NAMES_PART`] of what
//! the cache may hold, all data leaves before them: a gateway through which any amount of data goes still lists, creates
//! and removes while its store is away. Beyond that they give way before the main queue, the oldest first; nodes that
//! no tree has any more are not told from the others.
//!
//! **What is a use.** A unit holds many frames, and a scan reads each once. Reading a frame of a pack for
//! the first time is therefore no use; reading it again is (told apart by place, in steps of
//! `1 << STEP_BITS` bytes). Frames of a gathered unit were wanted once already, so each read of them is; and so is each
//! read of a node, because memory answers the others.
//!
//! Bounds: the units are those on disk; a unit costs one bit a step besides its entry; at most
//! [`GHOSTS_MAX`] ghosts.

use std::collections::{HashMap, HashSet, VecDeque};

use tidegate_chunker::PackId;

use super::contents::Contents;

/// Uses are counted up to this: two bits.
const USES_MAX: u8 = 3;
/// The small queue's part of the bytes of data: one in this many.
const SMALL_PART: u64 = 10;
/// What tree nodes and large values have for themselves: one in this many bytes of the bound of the cache.
const NAMES_PART: u64 = 4;
/// Packs remembered of what left the small queue.
const GHOSTS_MAX: usize = 8192;
/// Reads within this many bytes, as a power of two, count as reads of the same frame.
const STEP_BITS: u32 = 14;

/// What is evicted as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unit {
    /// A pack that was made here.
    Pack(PackId),
    /// A file of gathered frames, by its number.
    Gathered(u64),
}

/// Which queue a unit enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Newcomers.
    Small,
    /// Data that has come back, or was here before a restart.
    Main,
    /// Tree nodes and large values.
    Names,
}

impl Place {
    /// This place for data; that of names for names.
    pub(super) fn of(self, contents: Contents) -> Self {
        match contents {
            Contents::Data => self,
            Contents::Names => Self::Names,
        }
    }
}

#[derive(Debug)]
struct Kept {
    bytes: u64,
    uses: u8,
    is_of_names: bool,
    /// One bit for each step that was read.
    read: Vec<u64>,
}

/// See the head of this module. Invariant: each key of `units` is in exactly one queue.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    units: HashMap<Unit, Kept>,
    small: VecDeque<Unit>,
    small_bytes: u64,
    main: VecDeque<Unit>,
    main_bytes: u64,
    names: VecDeque<Unit>,
    names_bytes: u64,
    /// What names have for themselves.
    names_bytes_max: u64,
    ghosts: HashSet<PackId>,
    ghost_order: VecDeque<PackId>,
}

impl Policy {
    /// Of a cache that may hold so many bytes.
    pub(crate) fn new(cache_bytes: u64) -> Self {
        Self { names_bytes_max: cache_bytes / NAMES_PART, ..Self::default() }
    }

    /// Takes in a unit; does nothing when it is there.
    pub(crate) fn admit(&mut self, unit: Unit, bytes: u64, place: Place) {
        if self.units.contains_key(&unit) {
            return;
        }
        let is_of_names = place == Place::Names;
        self.units.insert(unit, Kept { bytes, uses: 0, is_of_names, read: Vec::new() });
        self.enqueue(unit, bytes, place);
    }

    /// A frame at `offset` of the unit was read.
    pub(crate) fn touch(&mut self, unit: Unit, offset: u64) {
        let Some(kept) = self.units.get_mut(&unit) else { return };
        let again = match unit {
            Unit::Gathered(_) => true,
            Unit::Pack(_) => kept.is_of_names || !kept.mark(offset),
        };
        if again {
            kept.uses = (kept.uses + 1).min(USES_MAX);
        }
    }

    /// Bytes of all units.
    pub(crate) fn bytes(&self) -> u64 {
        self.small_bytes + self.main_bytes + self.names_bytes
    }

    /// Bytes of what gives way to what clients write: all but the names within their part.
    pub(crate) fn yielding_bytes(&self) -> u64 {
        self.bytes() - self.names_bytes.min(self.names_bytes_max)
    }

    /// Takes out the unit that is worth least.
    pub(crate) fn victim(&mut self) -> Option<Unit> {
        // Each round takes a unit out, moves it from the small queue to the main one, or takes a use off it.
        while !self.units.is_empty() {
            let place = self.place_of_next();
            let unit = self.dequeue(place)?;
            let kept = self.units.get_mut(&unit)?;
            if kept.uses == 0 {
                if place == Place::Small
                    && let Unit::Pack(pack) = unit
                {
                    self.remember([pack]);
                }
                self.units.remove(&unit);
                return Some(unit);
            }
            kept.uses = if place == Place::Small { 0 } else { kept.uses - 1 };
            let bytes = kept.bytes;
            self.enqueue(unit, bytes, if place == Place::Names { place } else { Place::Main });
        }
        None
    }

    /// Takes out a gathered unit, the oldest of the least worthy queue that has one.
    pub(crate) fn gathered_victim(&mut self) -> Option<Unit> {
        let is_gathered = |unit: &Unit| matches!(unit, Unit::Gathered(_));
        for place in [Place::Small, Place::Main, Place::Names] {
            let queue = self.queue(place).0;
            let Some(unit) = queue.iter().position(is_gathered).and_then(|at| queue.remove(at)) else {
                continue;
            };
            let bytes = self.units.remove(&unit).map_or(0, |kept| kept.bytes);
            *self.queue(place).1 -= bytes;
            return Some(unit);
        }
        None
    }

    /// A unit of data turned out to be of names; does nothing when it is not there.
    pub(crate) fn now_of_names(&mut self, unit: Unit) {
        for place in [Place::Small, Place::Main] {
            let queue = self.queue(place).0;
            let Some(at) = queue.iter().position(|queued| *queued == unit) else { continue };
            queue.remove(at);
            let Some(kept) = self.units.get_mut(&unit) else { return };
            kept.is_of_names = true;
            let bytes = kept.bytes;
            *self.queue(place).1 -= bytes;
            self.enqueue(unit, bytes, Place::Names);
            return;
        }
    }

    /// The queue whose front is looked at next; not an empty one unless all are.
    fn place_of_next(&self) -> Place {
        let data_bytes = self.small_bytes + self.main_bytes;
        let small_is_over = self.small_bytes > data_bytes / SMALL_PART || self.main.is_empty();
        if small_is_over && !self.small.is_empty() {
            return Place::Small;
        }
        let names_are_over = self.names_bytes > self.names_bytes_max && !self.names.is_empty();
        if names_are_over || self.main.is_empty() { Place::Names } else { Place::Main }
    }

    /// Remembers packs whose frames went.
    pub(crate) fn remember(&mut self, packs: impl IntoIterator<Item = PackId>) {
        for pack in packs {
            if self.ghosts.insert(pack) {
                self.ghost_order.push_back(pack);
            }
            if self.ghost_order.len() > GHOSTS_MAX
                && let Some(oldest) = self.ghost_order.pop_front()
            {
                self.ghosts.remove(&oldest);
            }
        }
    }

    /// The queue for a frame of this pack that was fetched now.
    pub(crate) fn place_for(&self, pack: &PackId) -> Place {
        if self.ghosts.contains(pack) { Place::Main } else { Place::Small }
    }

    fn enqueue(&mut self, unit: Unit, bytes: u64, place: Place) {
        let (queue, total) = self.queue(place);
        queue.push_back(unit);
        *total += bytes;
    }

    fn dequeue(&mut self, place: Place) -> Option<Unit> {
        let unit = self.queue(place).0.pop_front()?;
        let bytes = self.units.get(&unit)?.bytes;
        *self.queue(place).1 -= bytes;
        Some(unit)
    }

    fn queue(&mut self, place: Place) -> (&mut VecDeque<Unit>, &mut u64) {
        match place {
            Place::Small => (&mut self.small, &mut self.small_bytes),
            Place::Main => (&mut self.main, &mut self.main_bytes),
            Place::Names => (&mut self.names, &mut self.names_bytes),
        }
    }
}

impl Kept {
    /// Notes that the step of `offset` was read; whether that was the first time.
    fn mark(&mut self, offset: u64) -> bool {
        let steps = (self.bytes >> STEP_BITS) + 1;
        let step = (offset >> STEP_BITS).min(steps - 1);
        self.read.resize(steps.div_ceil(64) as usize, 0);
        let (word, bit) = (&mut self.read[(step / 64) as usize], 1 << (step % 64));
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACK_BYTES: u64 = 1 << 20;

    fn pack(number: u32) -> PackId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        PackId::new(id)
    }

    fn admit(policy: &mut Policy, number: u32) {
        policy.admit(Unit::Pack(pack(number)), PACK_BYTES, Place::Small);
    }

    /// Reads every frame of a pack once.
    fn scan(policy: &mut Policy, number: u32) {
        for offset in (0..PACK_BYTES).step_by(1 << STEP_BITS) {
            policy.touch(Unit::Pack(pack(number)), offset);
        }
    }

    #[test]
    fn a_scan_of_cold_packs_does_not_evict_a_hot_set() {
        let mut policy = Policy::default();
        for number in 0..20 {
            admit(&mut policy, number);
            scan(&mut policy, number);
            scan(&mut policy, number);
        }
        for number in 1000..3000 {
            admit(&mut policy, number);
            scan(&mut policy, number);
            while policy.bytes() > 30 * PACK_BYTES {
                policy.victim().expect("there is something");
            }
        }
        let kept = (0..20).filter(|number| policy.units.contains_key(&Unit::Pack(pack(*number)))).count();
        assert_eq!(kept, 20);
    }

    #[test]
    fn what_comes_back_soon_after_it_left_enters_the_main_queue() {
        let mut policy = Policy::default();
        admit(&mut policy, 1);
        assert_eq!(policy.place_for(&pack(1)), Place::Small);
        assert_eq!(policy.victim(), Some(Unit::Pack(pack(1))));
        assert_eq!(policy.place_for(&pack(1)), Place::Main);
    }

    #[test]
    fn names_outlive_any_amount_of_data_and_give_way_beyond_their_part() {
        let mut policy = Policy::new(40 * PACK_BYTES);
        let held = |policy: &Policy, numbers: std::ops::Range<u32>| {
            numbers.filter(|number| policy.units.contains_key(&Unit::Pack(pack(*number)))).count()
        };
        let shrink = |policy: &mut Policy| {
            while policy.bytes() > 40 * PACK_BYTES {
                policy.victim().expect("there is something");
            }
        };
        for number in 0..8 {
            policy.admit(Unit::Pack(pack(number)), PACK_BYTES, Place::Names);
        }
        for number in 1000..2000 {
            admit(&mut policy, number);
            scan(&mut policy, number);
            scan(&mut policy, number);
            shrink(&mut policy);
        }
        assert_eq!(held(&policy, 0..8), 8, "data drove names out");
        for number in 8..100 {
            policy.touch(Unit::Pack(pack(3)), 0);
            policy.admit(Unit::Pack(pack(number)), PACK_BYTES, Place::Names);
            shrink(&mut policy);
        }
        assert_eq!(held(&policy, 0..100), 10, "names have a quarter");
        assert_eq!(policy.yielding_bytes(), policy.bytes() - 10 * PACK_BYTES);
        assert!(policy.units.contains_key(&Unit::Pack(pack(3))), "the one that is used stays");
        assert!(held(&policy, 1000..2000) >= 30, "the rest is data's");
        // A disk that fills otherwise takes data first, all of it.
        while held(&policy, 1000..2000) > 0 {
            policy.victim().expect("there is something");
        }
        assert_eq!(held(&policy, 0..100), 10, "names went before data");
    }

    #[test]
    fn names_beyond_their_part_are_as_safe_from_a_scan_as_the_main_queue() {
        let mut policy = Policy::new(40 * PACK_BYTES);
        for number in 0..20 {
            policy.admit(Unit::Pack(pack(number)), PACK_BYTES, Place::Names);
            admit(&mut policy, 100 + number);
            scan(&mut policy, 100 + number);
            scan(&mut policy, 100 + number);
        }
        while policy.small.len() > 2 {
            // What is used leaves the small queue for the main one.
            let unit = policy.dequeue(Place::Small).expect("it is not empty");
            policy.enqueue(unit, PACK_BYTES, Place::Main);
        }
        for number in 1000..3000 {
            admit(&mut policy, number);
            scan(&mut policy, number);
            while policy.bytes() > 42 * PACK_BYTES {
                policy.victim().expect("there is something");
            }
        }
        assert_eq!((policy.names.len(), policy.main.len() >= 18), (20, true));
    }

    #[test]
    fn packs_and_gathered_units_change_places_as_asked() {
        let mut policy = Policy::new(100 * PACK_BYTES);
        for number in 0..4 {
            admit(&mut policy, number);
            policy.admit(Unit::Gathered(number.into()), PACK_BYTES, Place::Main);
        }
        policy.now_of_names(Unit::Pack(pack(2)));
        policy.now_of_names(Unit::Pack(pack(9)));
        assert_eq!(policy.names, [Unit::Pack(pack(2))]);
        let gathered: Vec<_> = std::iter::from_fn(|| policy.gathered_victim()).collect();
        assert_eq!(gathered, [0, 1, 2, 3].map(Unit::Gathered));
        let left: Vec<_> = std::iter::from_fn(|| policy.victim()).collect();
        assert_eq!(left, [0, 1, 3, 2].map(|number| Unit::Pack(pack(number))));
        assert_eq!(policy.bytes(), 0);
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_units_and_every_unit_can_be_evicted(
            operations in prop::collection::vec((0..40u32, 0..7u8), 0..400),
        ) {
            let mut policy = Policy::new(100);
            for (number, what) in operations {
                match what {
                    0 => policy.admit(Unit::Pack(pack(number)), u64::from(number) + 1, Place::Small),
                    1 => policy.admit(Unit::Gathered(number.into()), u64::from(number) + 1, Place::Main),
                    2 => policy.touch(Unit::Pack(pack(number)), 0),
                    3 => policy.admit(Unit::Pack(pack(number)), u64::from(number) + 1, Place::Names),
                    4 => policy.now_of_names(Unit::Pack(pack(number))),
                    5 => drop(policy.gathered_victim()),
                    _ => drop(policy.victim()),
                }
                for place in [Place::Small, Place::Main, Place::Names] {
                    let (queue, told) = policy.queue(place);
                    let (queue, told) = (queue.clone(), *told);
                    let kept: Vec<_> = queue.iter().map(|unit| &policy.units[unit]).collect();
                    prop_assert_eq!(kept.iter().map(|kept| kept.bytes).sum::<u64>(), told);
                    prop_assert!(kept.iter().all(|kept| kept.is_of_names == (place == Place::Names)));
                }
                let queued = policy.small.len() + policy.main.len() + policy.names.len();
                prop_assert_eq!(queued, policy.units.len());
            }
            let left = policy.units.len();
            prop_assert_eq!(std::iter::from_fn(|| policy.victim()).count(), left);
            prop_assert_eq!(policy.bytes(), 0);
        }
    }
}
