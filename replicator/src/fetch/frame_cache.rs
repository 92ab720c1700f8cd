//! Opened frames in memory: bounded by bytes, sharded, and not swept out by a scan.
//!
//! Each shard is an S3-FIFO: newcomers go through a small queue, and only what is asked for again
//! before it leaves there gets into the main queue; what left the small queue unasked is remembered
//! by name only, and gets into the main queue at once if it comes back. A scan therefore passes
//! through a tenth of the room. ("FIFO queues are all you need for cache eviction", SOSP 2023.)
//!
//! Bounds: the weights of a shard's values are at most its part of the room; at most
//! [`GHOSTS_MAX`] names are remembered a shard. A value heavier than a shard's room is not kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;

/// Shards at most.
const SHARDS_MAX: u64 = 16;
/// Least room of a shard in bytes, unless there is only one: some of the largest frames.
const SHARD_BYTES_MIN: u64 = 32 << 20;
/// The small queue's part of a shard's room: one in this many bytes.
const SMALL_PART: u64 = 10;
/// Names remembered of what left the small queue of a shard.
const GHOSTS_MAX: usize = 4096;
/// Uses are counted up to this.
const USES_MAX: u8 = 3;

/// A bounded map from `K` to `V`. See the head of this module.
pub(super) struct FrameCache<K, V> {
    shards: Vec<Mutex<Shard<K, V>>>,
    hasher: RandomState,
}

impl<K: Copy + Eq + Hash, V: Clone> FrameCache<K, V> {
    /// An empty cache with room for `bytes_max` bytes in all.
    pub(super) fn new(bytes_max: u64) -> Self {
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shard = || Mutex::new(Shard::new(bytes_max / shards));
        Self { shards: (0..shards).map(|_| shard()).collect(), hasher: RandomState::new() }
    }

    /// The value, if it is here; counts as a use.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.shard(key).lock().get(key)
    }

    /// Whether it is here; does not count as a use.
    pub(super) fn contains(&self, key: &K) -> bool {
        self.shard(key).lock().kept.contains_key(key)
    }

    /// Keeps a value that weighs so many bytes, and lets go of others for it.
    pub(super) fn insert(&self, key: K, value: V, weight: u64) {
        self.shard(&key).lock().insert(key, value, weight);
    }

    /// The sum of the weights of all values.
    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K, V>> {
        &self.shards[self.hasher.hash_one(key) as usize % self.shards.len()]
    }
}

struct Kept<V> {
    value: V,
    weight: u64,
    uses: u8,
}

/// Invariant: `small` and `main` together name each key of `kept` exactly once.
struct Shard<K, V> {
    bytes_max: u64,
    kept: HashMap<K, Kept<V>>,
    small: VecDeque<K>,
    small_bytes: u64,
    main: VecDeque<K>,
    main_bytes: u64,
    ghosts: VecDeque<K>,
    ghost_names: HashSet<K>,
}

impl<K: Copy + Eq + Hash, V: Clone> Shard<K, V> {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            kept: HashMap::new(),
            small: VecDeque::new(),
            small_bytes: 0,
            main: VecDeque::new(),
            main_bytes: 0,
            ghosts: VecDeque::new(),
            ghost_names: HashSet::new(),
        }
    }

    fn bytes(&self) -> u64 {
        self.small_bytes + self.main_bytes
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let kept = self.kept.get_mut(key)?;
        kept.uses = (kept.uses + 1).min(USES_MAX);
        Some(kept.value.clone())
    }

    fn insert(&mut self, key: K, value: V, weight: u64) {
        if weight > self.bytes_max || self.kept.contains_key(&key) {
            return;
        }
        while self.bytes() + weight > self.bytes_max {
            self.evict_one();
        }
        if self.ghost_names.contains(&key) {
            self.main.push_back(key);
            self.main_bytes += weight;
        } else {
            self.small.push_back(key);
            self.small_bytes += weight;
        }
        self.kept.insert(key, Kept { value, weight, uses: 0 });
    }

    /// Lets one value go, or moves one on its way: called again until there is room.
    fn evict_one(&mut self) {
        if self.small_bytes > self.bytes_max / SMALL_PART || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        let Some(key) = self.small.pop_front() else { return };
        let Some(kept) = self.kept.get_mut(&key) else { return };
        self.small_bytes -= kept.weight;
        if kept.uses > 0 {
            kept.uses = 0;
            self.main_bytes += kept.weight;
            self.main.push_back(key);
        } else {
            self.kept.remove(&key);
            self.remember(key);
        }
    }

    /// A value that was used goes round again with one use less, so this ends after at most
    /// [`USES_MAX`] rounds.
    fn evict_main(&mut self) {
        let Some(key) = self.main.pop_front() else { return };
        let Some(kept) = self.kept.get_mut(&key) else { return };
        if kept.uses > 0 {
            kept.uses -= 1;
            self.main.push_back(key);
        } else {
            self.main_bytes -= kept.weight;
            self.kept.remove(&key);
        }
    }

    fn remember(&mut self, key: K) {
        if self.ghosts.len() == GHOSTS_MAX
            && let Some(oldest) = self.ghosts.pop_front()
        {
            self.ghost_names.remove(&oldest);
        }
        if self.ghost_names.insert(key) {
            self.ghosts.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_used_survives_a_scan() {
        let cache = FrameCache::new(100);
        for key in 0..20u32 {
            cache.insert(key, key, 1);
            cache.get(&key);
        }
        for key in 1000..5000u32 {
            cache.insert(key, key, 1);
        }
        let survivors = (0..20u32).filter(|key| cache.contains(key)).count();
        assert_eq!(survivors, 20);
        assert!(cache.bytes() <= 100);
    }

    #[test]
    fn a_value_heavier_than_all_the_room_is_not_kept() {
        let cache = FrameCache::new(100);
        cache.insert(1, 'a', 50);
        cache.insert(2, 'b', 101);
        assert_eq!((cache.get(&1), cache.get(&2)), (Some('a'), None));
    }

    #[test]
    fn what_comes_back_soon_after_it_left_is_kept_longer() {
        let cache = FrameCache::new(100);
        for key in 0..150u32 {
            cache.insert(key, key, 1);
        }
        assert!(!cache.contains(&0));
        cache.insert(0, 0, 1);
        for key in 1000..1200u32 {
            cache.insert(key, key, 1);
        }
        assert!(cache.contains(&0));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_values_are_never_mixed_up(
            operations in prop::collection::vec((0..60u32, 1..40u64, any::<bool>()), 0..500),
        ) {
            let cache = FrameCache::new(200);
            for (key, weight, insert) in operations {
                if insert {
                    cache.insert(key, key, weight);
                } else {
                    prop_assert!(cache.get(&key).is_none_or(|value| value == key));
                }
                prop_assert!(cache.bytes() <= 200);
                let shard = cache.shards[0].lock();
                prop_assert_eq!(shard.small.len() + shard.main.len(), shard.kept.len());
                prop_assert!(shard.ghosts.len() == shard.ghost_names.len());
            }
        }
    }
}
