//! Chance that follows from a seed: of this thread, for as long as a [`Seeded`] lives.

use std::cell::RefCell;

thread_local! {
    static SOURCE: RefCell<Option<Numbers>> = const { RefCell::new(None) };
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// While it lives, random bytes of this thread follow from its seed.
pub(super) struct Seeded(());

impl Seeded {
    pub(super) fn begin(seed: u64) -> Self {
        // Another stream than that of whoever draws the events.
        SOURCE.set(Some(Numbers::seeded(!seed)));
        Self(())
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        SOURCE.set(None);
    }
}

pub(super) fn is_seeded() -> bool {
    SOURCE.with_borrow(Option::is_some)
}

/// Fills `bytes`, unless the system is to be asked.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    SOURCE.with_borrow_mut(|source| {
        let Some(numbers) = source else { return false };
        bytes.fill_with(|| (numbers.next() >> 56) as u8);
        true
    })
}
