//! When what waits will have left: by the speed that was measured, and the rates that the calendar will allow. Pure.
//!
//! Where a rate bounded what was measured, nothing is known of what the link could do beyond it: then later rates
//! count as they stand, and without one no more than was measured. What is added meanwhile is not counted.

use std::time::Duration;

use jiff::Timestamp;

/// From this part of the rate on it is the rate that bounds.
const BOUND_PART: f64 = 0.8;
/// Changes of the rate that are looked at.
const CHANGES_MAX: usize = 1_000;

/// How long `bytes` take from `time` on when `measured` bytes per second leave now. `rate` tells which rate holds at
/// a moment and when that ends. `None` when nothing leaves, or the end is not in sight.
pub(super) fn time_for(
    bytes: u64,
    measured: u64,
    time: Timestamp,
    rate: impl Fn(Timestamp) -> (Option<u64>, Option<Timestamp>),
) -> Option<Duration> {
    if bytes == 0 {
        return Some(Duration::ZERO);
    }
    let measured = Some(measured as f64).filter(|measured| *measured >= 1.0)?;
    let is_bound = rate(time).0.is_some_and(|rate| measured >= BOUND_PART * rate as f64);
    let (mut left, mut at) = (bytes as f64, time);
    for _ in 0..CHANGES_MAX {
        let (limit, change) = rate(at);
        let speed = match limit.map(|limit| limit as f64) {
            Some(limit) if is_bound => limit,
            Some(limit) => limit.min(measured),
            None => measured,
        };
        let span = change.map(|change| change.duration_since(at).as_secs_f64());
        match span {
            Some(span) if left > speed * span => {
                left -= speed * span;
                at = change?;
            }
            Some(_) | None => {
                let before = at.duration_since(time).as_secs_f64();
                return Duration::try_from_secs_f64(before + left / speed).ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At most 10 bytes per second, but 40 after each full 100 seconds for 50 seconds.
    fn rates(at: Timestamp) -> (Option<u64>, Option<Timestamp>) {
        let second = at.as_second();
        let (start, into) = (second - second % 150, second % 150);
        let end = |after: i64| Timestamp::from_second(start + after).ok();
        if into < 100 { (Some(10), end(100)) } else { (Some(40), end(150)) }
    }

    fn seconds(bytes: u64, measured: u64) -> Option<u64> {
        time_for(bytes, measured, Timestamp::UNIX_EPOCH, rates).map(|time| time.as_secs())
    }

    #[test]
    fn the_calendar_counts_as_far_as_the_link_can_use_it() {
        assert_eq!(seconds(500, 10), Some(50));
        assert_eq!(seconds(1_000 + 400, 10), Some(110), "four times as fast after 100 s");
        assert_eq!(seconds(3_000 + 100, 10), Some(160));
        assert_eq!(seconds(1_000, 5), Some(200), "the link itself is slower than any rate");
    }

    #[test]
    fn what_does_not_move_has_no_end_and_nothing_has_ended() {
        assert_eq!(seconds(1, 0), None);
        assert_eq!(seconds(0, 0), Some(0));
        assert_eq!(time_for(u64::MAX, 1, Timestamp::UNIX_EPOCH, rates), None);
    }

    #[test]
    fn without_a_rate_it_is_what_was_measured() {
        let time = time_for(1_000, 20, Timestamp::UNIX_EPOCH, |_| (None, None));
        assert_eq!(time, Some(Duration::from_secs(50)));
    }
}
