//! The ladder of kept heads: points in time to go back to, close together lately and far apart long ago.
//!
//! A ladder has rungs, "a head every ten minutes for an hour, every hour for a day". Time is divided into
//! periods as long as the rung's spacing; of the heads in one period the oldest is kept, for as many later
//! periods as the rung reaches. What is kept is what any rung keeps, and the parent of the newest head. A head that no
//! rung keeps once is kept by none later on, so that thinning the heads one by one, as they are published,
//! and all at once comes to the same.
//!
//! Pure: ages are told by the times in the heads, against that of the head which is about to be published.
//! A clock that jumped ahead and back again leaves heads of the future, which are kept until their time
//! has passed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::{RepositoryError, Result};
use super::head::{KEPT_HEADS_MAX, KeptHead};
use super::time::UtcNanos;

/// One rung of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// How far apart kept heads are: at least a second.
    pub every: Duration,
    /// How old they become at least; at most `every` more.
    pub reach: Duration,
}

/// Which heads of a line are kept beside the newest. See the head of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Rung>);

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl Default for Ladder {
    /// Every ten minutes for an hour, every hour for a day, every day for thirty days.
    fn default() -> Self {
        Self(vec![
            Rung { every: 10 * MINUTE, reach: HOUR },
            Rung { every: HOUR, reach: DAY },
            Rung { every: DAY, reach: 30 * DAY },
        ])
    }
}

impl Ladder {
    /// Takes the rungs, in any order; with none, only the parent of the newest head is kept. Refuses a
    /// spacing below a second, and rungs that together keep more heads than a head can name.
    pub fn new(rungs: Vec<Rung>) -> Result<Self> {
        if rungs.iter().any(|rung| rung.every < Duration::from_secs(1)) {
            return Err(RepositoryError::invalid("heads can be kept a second apart or more"));
        }
        // One more for the period that has begun and one for that which is about to be left.
        let kept = |rung: &Rung| rung.reach.as_secs() / rung.every.as_secs() + 2;
        let total = rungs.iter().fold(1_u64, |sum, rung| sum.saturating_add(kept(rung)));
        if total > KEPT_HEADS_MAX as u64 {
            return Err(RepositoryError::invalid(format!(
                "these rungs keep up to {total} heads; at most {KEPT_HEADS_MAX} can be kept"
            )));
        }
        Ok(Self(rungs))
    }

    /// Which heads of a line are kept when the next one, frozen at `now`, is published. `line` are those
    /// that were kept so far, newest first, the parent of the next one at its front.
    pub fn keep(&self, line: &[KeptHead], now: UtcNanos) -> Vec<KeptHead> {
        let mut kept: BTreeSet<usize> = (0..line.len().min(1)).collect();
        for rung in &self.0 {
            let (every, reach) = (nanos(rung.every), nanos(rung.reach));
            let mut periods = BTreeSet::new();
            // Oldest first: the first of a period is its head.
            for (place, head) in line.iter().enumerate().rev() {
                let frozen = head.frozen_at.as_nanos();
                if periods.insert(frozen / every) && now.as_nanos() / every - frozen / every <= reach / every
                {
                    kept.insert(place);
                }
            }
        }
        let mut kept: Vec<KeptHead> = kept.into_iter().map(|place| line[place]).collect();
        // Heads of a clock that ran ahead could be more than there is room for: the oldest go.
        kept.truncate(KEPT_HEADS_MAX);
        kept
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repository::names::HeadName;

    fn head(second: u64) -> KeptHead {
        let name = HeadName { epoch: 1, sequence: second, suffix: 0 };
        KeptHead { name, frozen_at: UtcNanos::new(second as i64 * 1_000_000_000) }
    }

    /// Publishes heads at these seconds, thinning at each; gives what is kept beside the last.
    fn published_one_by_one(ladder: &Ladder, seconds: &[u64]) -> Vec<KeptHead> {
        let mut line: Vec<KeptHead> = Vec::new();
        let mut kept = Vec::new();
        for second in seconds {
            let next = head(*second);
            kept = ladder.keep(&line, next.frozen_at);
            line = std::iter::once(next).chain(kept.iter().copied()).collect();
        }
        kept
    }

    /// The rule, said once more without any cleverness.
    fn naive(rungs: &[Rung], seconds: &[u64]) -> Vec<u64> {
        let (now, earlier) = seconds.split_last().expect("at least one");
        let keeps = |second: u64| {
            Some(&second) == earlier.last()
                || rungs.iter().any(|rung| {
                    let period = |second: u64| second / rung.every.as_secs();
                    let is_first =
                        earlier.iter().find(|other| period(**other) == period(second)) == Some(&second);
                    is_first && period(*now) - period(second) <= rung.reach.as_secs() / rung.every.as_secs()
                })
        };
        earlier.iter().rev().copied().filter(|second| keeps(*second)).collect()
    }

    proptest! {
        #[test]
        fn thinning_one_by_one_keeps_what_the_rule_says(
            gaps in prop::collection::vec(1_u64..4000, 1..200),
            rungs in prop::collection::vec((1_u64..5000, 1_u64..100_000), 0..4),
        ) {
            let rungs: Vec<Rung> = rungs
                .into_iter()
                .map(|(every, reach)| Rung {
                    every: Duration::from_secs(every),
                    reach: Duration::from_secs(reach.min(every * 200)),
                })
                .collect();
            let seconds: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let kept = published_one_by_one(&Ladder::new(rungs.clone()).expect("few heads"), &seconds);
            let kept: Vec<u64> = kept.iter().map(|head| head.name.sequence).collect();
            prop_assert_eq!(kept, naive(&rungs, &seconds));
        }
    }

    #[test]
    fn the_default_keeps_points_at_all_ages_and_few_of_them() {
        let seconds: Vec<u64> = (0..40 * 86_400 / 30).map(|number| 1_000_000 + number * 30).collect();
        let kept = published_one_by_one(&Ladder::default(), &seconds);
        let now = *seconds.last().expect("many");
        let ages: Vec<u64> = kept.iter().map(|head| now - head.name.sequence).collect();
        assert!((55..=65).contains(&kept.len()), "{} heads", kept.len());
        let widest_gap = |from: u64, to: u64| {
            let within: Vec<u64> = ages.iter().copied().filter(|age| (from..=to).contains(age)).collect();
            within.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several")
        };
        assert!(widest_gap(0, 3600) <= 600);
        assert!(widest_gap(3600, 86_400) <= 3600);
        assert!(widest_gap(86_400, 30 * 86_400) <= 86_400);
        assert!(ages.last().is_some_and(|oldest| *oldest > 29 * 86_400 && *oldest <= 31 * 86_400));
    }

    #[test]
    fn without_rungs_the_parent_stays_and_what_cannot_be_kept_is_refused() {
        let none = Ladder::new(Vec::new()).expect("allowed");
        assert_eq!(none.keep(&[head(9), head(8)], UtcNanos::new(0)), [head(9)]);
        assert_eq!(none.keep(&[], UtcNanos::new(0)), []);
        let rung = |every, reach| Rung { every: Duration::from_millis(every), reach };
        assert!(Ladder::new(vec![rung(999, HOUR)]).is_err());
        assert!(Ladder::new(vec![rung(1000, HOUR)]).is_err());
        assert!(Ladder::new(vec![rung(10_000, HOUR)]).is_ok());
    }

    #[test]
    fn heads_of_a_clock_that_ran_ahead_stay_until_their_time_has_passed() {
        let ladder = Ladder::default();
        let line = [head(100), head(9_000_000), head(50)];
        assert!(ladder.keep(&line, UtcNanos::new(101_000_000_000)).contains(&head(9_000_000)));
    }
}
