//! Backlogs that shrink and backlogs that do not.

use super::*;
use crate::alarm::Trend;

const PERIOD: Duration = Duration::from_hours(1);
const MIB: u64 = 1 << 20;

/// What is said at the end of so many minutes of this backlog.
fn after(minutes: i64, backlog: impl Fn(i64) -> u64) -> Vec<Option<bool>> {
    let mut trend = Trend::new(backlog(0), second(0));
    (1..=minutes).map(|minute| trend.look(backlog(minute), second(minute * 60), PERIOD)).collect()
}

#[test]
fn a_gateway_that_keeps_up_is_never_said_to_fall_behind() {
    // However much goes through: it comes back to little after each upload.
    let busy = |minute: i64| (minute as u64 % 20) * 500 * MIB;
    assert!(after(600, busy).iter().all(|said| *said != Some(true)));
    let idle = |_| 10 * MIB;
    assert!(after(600, idle).iter().all(|said| *said == Some(false)));
}

#[test]
fn a_backlog_that_stands_for_a_whole_period_is_said_and_then_that_it_shrinks() {
    let stuck = |minute: i64| if minute < 200 { 1000 * MIB } else { 990 * MIB };
    let said = after(260, stuck);
    assert!(said[..59].iter().all(|said| *said != Some(true)), "not before a period has passed");
    assert!(said[60..199].iter().all(|said| *said == Some(true)));
    assert_eq!(said[200], Some(false));
}

#[test]
fn a_backlog_that_comes_back_to_ever_more_is_said_although_it_falls_now_and_then() {
    let slow = |minute: i64| minute as u64 * 20 * MIB + (minute as u64 % 5) * 100 * MIB;
    let said = after(300, slow);
    assert_eq!(said[70], Some(true));
}
