//! How often somebody may call: a bucket of tokens each, that fills steadily (RFC 2697 calls it a meter).
//!
//! Bounds: [`BUCKETS_MAX`] buckets. When all are in use, strangers share one: whoever floods from many addresses slows
//! strangers down, and nobody who was known before.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The most buckets of one limit.
const BUCKETS_MAX: usize = 4_096;
const MINUTE: Duration = Duration::from_secs(60);

/// A limit of calls a minute, for each of many.
pub(in crate::admin) struct Limit<K>(Mutex<Buckets<K>>);

struct Buckets<K> {
    each: HashMap<K, Bucket>,
    others: Bucket,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// How much has been taken out of it, and has not come back.
    taken: f64,
    at: Option<Instant>,
    /// Whether it was found empty, and has not been used since.
    found_empty: bool,
}

/// What a bucket without room says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Empty {
    /// When there is room again, in seconds.
    pub(in crate::admin) again: u64,
    /// Whether it is found empty for the first time since there was room.
    pub(in crate::admin) first: bool,
}

impl<K> Default for Limit<K> {
    fn default() -> Self {
        Self(Mutex::new(Buckets { each: HashMap::new(), others: Bucket::default() }))
    }
}

impl<K: Eq + Hash> Limit<K> {
    /// Takes one out of somebody's bucket of `each_minute`.
    pub(in crate::admin) fn take(&self, key: K, each_minute: u32, now: Instant) -> Result<(), Empty> {
        let mut buckets = self.0.lock();
        let bucket = buckets.of(key, each_minute, now);
        bucket.room(each_minute, now)?;
        bucket.taken += 1.0;
        Ok(())
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn of(&mut self, key: K, each_minute: u32, now: Instant) -> &mut Bucket {
        if self.each.len() >= BUCKETS_MAX && !self.each.contains_key(&key) {
            self.each.retain(|_, bucket| {
                bucket.refill(each_minute, now);
                bucket.taken > 0.0
            });
            if self.each.len() >= BUCKETS_MAX {
                return &mut self.others;
            }
        }
        self.each.entry(key).or_default()
    }
}

impl Bucket {
    fn refill(&mut self, each_minute: u32, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let back = passed.as_secs_f64() / MINUTE.as_secs_f64() * f64::from(each_minute);
        self.taken = (self.taken - back).max(0.0);
        self.at = Some(now);
    }

    fn room(&mut self, each_minute: u32, now: Instant) -> Result<(), Empty> {
        self.refill(each_minute, now);
        let most = f64::from(each_minute);
        if self.taken + 1.0 <= most {
            self.found_empty = false;
            return Ok(());
        }
        let lacks = self.taken + 1.0 - most;
        let again = (lacks / most * MINUTE.as_secs_f64()).ceil().max(1.0) as u64;
        let first = !std::mem::replace(&mut self.found_empty, true);
        Err(Empty { again, first })
    }
}

/// What counts as one address: with IPv6 the network of 64 bits, of which one machine has all.
pub(in crate::admin) fn peer_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_then_at_a_steady_rate_each_for_themselves() {
        let (limit, start) = (Limit::default(), Instant::now());
        for _ in 0..10 {
            limit.take("a", 10, start).expect("room");
        }
        assert_eq!(limit.take("a", 10, start), Err(Empty { again: 6, first: true }));
        assert_eq!(limit.take("a", 10, start), Err(Empty { again: 6, first: false }));
        limit.take("b", 10, start).expect("another has room");
        let later = start + Duration::from_secs(6);
        limit.take("a", 10, later).expect("room again");
        assert_eq!(limit.take("a", 10, later), Err(Empty { again: 6, first: true }));
        let much_later = later + Duration::from_secs(3_600);
        for _ in 0..10 {
            limit.take("a", 10, much_later).expect("no more than full");
        }
        assert!(limit.take("a", 10, much_later).is_err());
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_who_was_known_keeps_theirs() {
        let (limit, now) = (Limit::default(), Instant::now());
        for key in 0..BUCKETS_MAX {
            limit.take(key, 2, now).expect("room");
        }
        limit.take(BUCKETS_MAX, 2, now).expect("that of the others");
        limit.take(BUCKETS_MAX + 1, 2, now).expect("that of the others");
        assert!(limit.take(BUCKETS_MAX + 2, 2, now).is_err());
        limit.take(0, 2, now).expect("known before");
        assert_eq!(limit.0.lock().each.len(), BUCKETS_MAX);
        limit.take(BUCKETS_MAX + 3, 2, now + MINUTE).expect("those that are full again made room");
    }

    #[test]
    fn all_addresses_of_one_machine_count_as_one() {
        let key = |text: &str| peer_key(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
