//! Single flight: who wants what somebody else is already getting waits for that.
//!
//! A flight is a task of its own: it lands even when everybody who waited for it has gone, so that a
//! caller who gives up after its time and comes again finds the answer, and nobody's cancellation
//! fails anybody else. How many flights are in the air is bounded by whoever starts them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use crate::store::Traffic;

/// An answer that several wait for. `None` when the task that was to bring it has died.
pub(super) type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The flights in the air, by what they bring.
pub(super) struct Flights<K, V: Clone>(Arc<Mutex<HashMap<K, Flight<V>>>>);

impl<K, V: Clone> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// The flight for this key, if one is in the air.
    pub(super) fn find(&self, key: &K) -> Option<Flight<V>> {
        self.0.lock().get(key).cloned()
    }

    /// A flight for every key, in order. Keys for which none is in the air are given to `start` once,
    /// together, under the lock; it answers a flight for each that needs one.
    pub(super) fn join(
        &self,
        keys: &[K],
        start: impl FnOnce(Vec<K>) -> Vec<(K, Flight<V>)>,
    ) -> Vec<Option<Flight<V>>> {
        let mut flying = self.0.lock();
        let mut absent: Vec<K> = keys.iter().filter(|key| !flying.contains_key(key)).copied().collect();
        if !absent.is_empty() {
            let mut seen = HashSet::with_capacity(absent.len());
            absent.retain(|key| seen.insert(*key));
            flying.extend(start(absent));
        }
        keys.iter().map(|key| flying.get(key).cloned()).collect()
    }

    /// A guard that takes these keys out of the air when it is dropped; the task holds it.
    pub(super) fn landing(&self, keys: Vec<K>) -> Landing<K, V> {
        Landing { flights: self.clone(), keys }
    }

    /// Runs `work` as a task of its own, for whom it was first wanted, and makes its answer a flight.
    pub(super) fn spawn(work: impl Future<Output = V> + Send + 'static) -> Flight<V> {
        tokio::spawn(Traffic::carry(work)).map(Result::ok).boxed().shared()
    }
}

/// See [`Flights::landing`].
pub(super) struct Landing<K: Copy + Eq + Hash, V: Clone> {
    flights: Flights<K, V>,
    keys: Vec<K>,
}

impl<K: Copy + Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut flying = self.flights.0.lock();
        for key in &self.keys {
            flying.remove(key);
        }
    }
}
