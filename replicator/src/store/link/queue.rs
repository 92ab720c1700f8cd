//! Who is next: strict order of classes, with a floor. Pure.
//!
//! Whenever something of one class goes, each lower class that waits is owed its share of it ([`FLOOR_PERCENT`]). When
//! a class is owed as much as the first that waits in it costs, that goes next. So under any load of the higher classes
//! a lower one gets its share, and no more than that.
//!
//! Within a class: first come, first served.

use std::collections::VecDeque;

use super::Traffic;

/// What a class is owed of all that goes before it, in percent.
const FLOOR_PERCENT: [u64; Traffic::ALL.len()] = [0, 10, 5];

/// What waits, by class. Each entry has a cost, of which 0 counts as 1.
#[derive(Debug)]
pub(super) struct TrafficQueue<T> {
    waiting: [VecDeque<(u64, T)>; Traffic::ALL.len()],
    /// In hundredths of a cost.
    owed: [u64; Traffic::ALL.len()],
}

impl<T> Default for TrafficQueue<T> {
    fn default() -> Self {
        Self { waiting: [const { VecDeque::new() }; Traffic::ALL.len()], owed: [0; Traffic::ALL.len()] }
    }
}

impl<T> TrafficQueue<T> {
    pub(super) fn push(&mut self, traffic: Traffic, cost: u64, entry: T) {
        self.waiting[traffic as usize].push_back((cost.max(1), entry));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Whether somebody waits who goes before a newcomer of this class.
    pub(super) fn has_before(&self, traffic: Traffic) -> bool {
        self.waiting[..=traffic as usize].iter().any(|class| !class.is_empty())
    }

    /// Drops entries that nobody wants any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        for class in Traffic::ALL {
            self.waiting[class as usize].retain(|(_, entry)| wanted(entry));
        }
    }

    /// Takes whoever is next of the classes that `may` go now.
    pub(super) fn next(&mut self, may: impl Fn(Traffic) -> bool) -> Option<(Traffic, u64, T)> {
        let class = self.choose(may)?;
        let (cost, entry) = self.waiting[class as usize].pop_front()?;
        self.owed[class as usize] = self.owed[class as usize].saturating_sub(100 * cost);
        for lower in Traffic::ALL.into_iter().filter(|lower| *lower > class) {
            // Who does not wait is owed nothing; and what could not go although it was owed does not pile up.
            self.owed[lower as usize] = self.waiting[lower as usize].front().map_or(0, |(first, _)| {
                let owed = self.owed[lower as usize] + cost * FLOOR_PERCENT[lower as usize];
                owed.min(100 * (first + cost))
            });
        }
        Some((class, cost, entry))
    }

    fn choose(&self, may: impl Fn(Traffic) -> bool) -> Option<Traffic> {
        let waits = |class: &Traffic| !self.waiting[*class as usize].is_empty() && may(*class);
        let is_owed = |class: &Traffic| {
            let first = self.waiting[*class as usize].front();
            first.is_some_and(|(cost, _)| self.owed[*class as usize] >= 100 * cost)
        };
        let owed = Traffic::ALL.into_iter().rev().find(|class| waits(class) && is_owed(class));
        owed.or_else(|| Traffic::ALL.into_iter().find(waits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `total` of cost while every class in `loaded` always waits with entries of these costs.
    fn shares(loaded: &[(Traffic, u64)], total: u64) -> [u64; 3] {
        let mut queue = TrafficQueue::default();
        let mut served = [0; 3];
        for (traffic, cost) in loaded {
            queue.push(*traffic, *cost, ());
        }
        while served.iter().sum::<u64>() < total {
            let (traffic, cost, ()) = queue.next(|_| true).expect("somebody waits");
            served[traffic as usize] += cost;
            queue.push(traffic, cost, ());
        }
        served
    }

    #[test]
    fn a_lower_class_gets_its_floor_and_no_more_whatever_the_costs() {
        for costs in [[1, 1, 1], [64, 64, 64], [1, 500, 3], [700, 1, 90]] {
            let loaded: Vec<_> = Traffic::ALL.into_iter().zip(costs).collect();
            let [client, replication, housekeeping] = shares(&loaded, 1_000_000);
            let part = |bytes: u64| bytes as f64 / 10_000.0;
            assert!(part(client) > 84.0, "{costs:?}: client {client}");
            assert!((7.0..10.0).contains(&part(replication)), "{costs:?}: replication {replication}");
            assert!((3.5..6.0).contains(&part(housekeeping)), "{costs:?}: housekeeping {housekeeping}");
        }
    }

    #[test]
    fn who_is_alone_gets_everything() {
        let alone = shares(&[(Traffic::Housekeeping, 7)], 700);
        assert_eq!(alone, [0, 0, 700]);
    }

    #[test]
    fn nothing_is_owed_for_a_time_in_which_nobody_waited() {
        let mut queue = TrafficQueue::default();
        for _ in 0..1000 {
            queue.push(Traffic::Client, 1, ());
            queue.next(|_| true);
        }
        queue.push(Traffic::Client, 1, ());
        queue.push(Traffic::Housekeeping, 1, ());
        assert_eq!(queue.next(|_| true).map(|next| next.0), Some(Traffic::Client));
    }

    #[test]
    fn a_class_that_may_not_go_is_passed_over_and_piles_nothing_up() {
        let mut queue = TrafficQueue::default();
        queue.push(Traffic::Housekeeping, 1, ());
        for _ in 0..1000 {
            queue.push(Traffic::Client, 1, ());
            assert_eq!(queue.next(|class| class < Traffic::Housekeeping).expect("it may").0, Traffic::Client);
        }
        queue.push(Traffic::Housekeeping, 1, ());
        queue.push(Traffic::Housekeeping, 1, ());
        queue.push(Traffic::Client, 1, ());
        let order: Vec<_> = std::iter::from_fn(|| queue.next(|_| true)).map(|next| next.0).collect();
        assert_eq!(
            order[..2],
            [Traffic::Housekeeping, Traffic::Housekeeping],
            "one that was owed, one of it left"
        );
        assert_eq!(order[2], Traffic::Client);
    }
}
