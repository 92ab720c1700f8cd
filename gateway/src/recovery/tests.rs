//! The arithmetic: what bounds a time, and what is refused.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_replicator::repository::LineTotals;

use super::{
    Amount, Amounts, Asleep, Bound, Machine, Objectives, Prices, Thaw, Way, fetch, one_by_one, plan_share,
    refusal, whole_bytes,
};
use crate::control::RecoveryLink;

const NO_MACHINE: Machine =
    Machine { disk_bytes_per_s: None, open_bytes_per_s: 1e15, cores: 2, start: Duration::ZERO };

fn way(latency_ms: u64, bytes_per_s: f64, requests_max: usize) -> Way {
    Way { latency: Duration::from_millis(latency_ms), bytes_per_s, requests_max }
}

fn near(found: Duration, wanted: f64) -> bool {
    (found.as_secs_f64() - wanted).abs() <= wanted * 0.02 + 1e-9
}

#[test]
fn each_bound_is_found_where_it_holds() {
    let much = Amount { requests: 1_000, bytes: 4_000_000_000 };
    let (time, bound) = fetch(&way(20, 1e7, 16), &NO_MACHINE, much);
    assert!(near(time, 400.0) && bound == Bound::Link, "{time:?} {bound:?}");
    let little = Amount { requests: 16_000, bytes: 16_000 };
    let (time, bound) = fetch(&way(20, 1e9, 16), &NO_MACHINE, little);
    assert!(near(time, 20.0) && bound == Bound::Latency, "{time:?} {bound:?}");
    let slow_disk = Machine { disk_bytes_per_s: Some(1e6), ..NO_MACHINE };
    let (time, bound) = fetch(&way(20, 1e9, 16), &slow_disk, Amount { requests: 100, bytes: 100_000_000 });
    assert!(near(time, 100.0) && bound == Bound::Disk, "{time:?} {bound:?}");
    let (time, bound) =
        one_by_one(&way(100, 1e9, 16), &NO_MACHINE, Amount { requests: 30, bytes: 1_000 }, Duration::ZERO);
    assert!(near(time, 3.0) && bound == Bound::Latency);
    let (_, bound) = one_by_one(
        &way(1, 1e9, 16),
        &NO_MACHINE,
        Amount { requests: 3, bytes: 1_000 },
        Duration::from_secs(2),
    );
    assert_eq!(bound, Bound::Waiting);
    assert_eq!(fetch(&way(1, 1e9, 16), &NO_MACHINE, Amount::default()).0, Duration::ZERO);
}

#[test]
fn an_objective_that_cannot_be_kept_is_said_with_its_arithmetic() {
    let amounts = Amounts {
        first: Amount { requests: 25, bytes: 200_000 },
        hot: Amount { requests: 250, bytes: 1_000_000_000 },
        whole: Amount { requests: 25_000, bytes: 100_000_000_000 },
        asleep: Asleep::default(),
    };
    let hour = Duration::from_hours(1);
    let objectives = Objectives {
        first: Some(Duration::from_secs(30)),
        hot: Some(hour),
        whole: Some(hour),
        accept_risk: false,
    };
    let way = way(20, 12.5e6, 16);
    let prices = Prices { per_gb_out: 0.09, per_thousand_requests: 0.0004, currency: "USD".into() };
    let machine = (&NO_MACHINE, Duration::from_secs(2));
    let [first, hot, whole] =
        plan_share(&amounts, &objectives, Some(&way), machine, Some(&prices), &|_| None);
    assert_eq!([first.is_kept, hot.is_kept, whole.is_kept], [Some(true), Some(true), Some(false)]);
    assert_eq!(whole.price.as_deref(), Some("9.01 USD"));
    let link = RecoveryLink {
        target: "main".into(),
        latency_ms: 20.0,
        bytes_per_second: 12_500_000,
        requests_max: 16,
        disk_bytes_per_second: None,
        measured: None,
    };
    let missed = refusal([&first, &hot, &whole], Some(&link)).expect("it is missed");
    assert_eq!(
        missed,
        "rto_whole = 1 h 0 min cannot be kept: 93.1 GiB in 25025 requests, at 11.9 MiB/s with 20 ms an answer and 16 at \
         once, take 2 h 13 min, most of it link"
    );
    let calendar = |_: u64| Some(Duration::from_hours(50));
    let [_, _, slow] = plan_share(&amounts, &objectives, Some(&way), machine, None, &calendar);
    assert!(slow.seconds.expect("measured") > 50.0 * 3600.0, "the rates that will hold count");
    let [first, _, unknown] = plan_share(&amounts, &objectives, None, machine, None, &calendar);
    assert_eq!((first.seconds, unknown.is_kept), (None, None), "nothing measured, nothing said");
    assert_eq!(refusal([&first, &unknown, &unknown], None), None);
}

#[test]
fn what_sleeps_is_thawed_before_and_an_objective_that_forgets_it_is_missed() {
    let amount = Amount { requests: 10, bytes: 1_000_000 };
    let thaw = Thaw { bytes: 900_000, takes: Duration::from_hours(12) };
    let asleep = Asleep { whole: thaw, ..Asleep::default() };
    let amounts = Amounts { first: amount, hot: amount, whole: amount, asleep };
    let hour = Some(Duration::from_hours(1));
    let objectives = Objectives { first: hour, hot: hour, whole: hour, accept_risk: false };
    let machine = (&NO_MACHINE, Duration::from_secs(2));
    let way = way(20, 12.5e6, 16);
    let [first, hot, whole] = plan_share(&amounts, &objectives, Some(&way), machine, None, &|_| None);
    assert_eq!([first.is_kept, hot.is_kept, whole.is_kept], [Some(true), Some(true), Some(false)]);
    assert_eq!((whole.asleep_bytes, whole.thaw_seconds), (900_000, Some(43_200.0)));
    assert_eq!(whole.bound.as_deref(), Some("thawing"));
    assert!(whole.seconds.expect("a time") > 43_200.0, "{whole:?}");
    assert_eq!((first.asleep_bytes, first.thaw_seconds), (0, None));
    let link = RecoveryLink {
        target: "main".into(),
        latency_ms: 20.0,
        bytes_per_second: 12_500_000,
        requests_max: 16,
        disk_bytes_per_second: None,
        measured: None,
    };
    let missed = refusal([&first, &hot, &whole], Some(&link)).expect("it is missed");
    assert!(missed.ends_with("sleep, which the store thaws in 12 h 0 min at most"), "{missed}");
}

#[test]
fn what_a_whole_share_takes_follows_what_its_line_has_stored() {
    assert_eq!(whole_bytes(1_000, &LineTotals::default()), 1_000);
    assert_eq!(whole_bytes(1_000, &LineTotals { bytes_read: 4_000, bytes_stored: 1_000 }), 250);
}

proptest! {
    /// More bytes, more requests, a longer way and a slower link never take less time; and no time is below what the
    /// link and the answers alone take.
    #[test]
    fn times_grow_with_everything_that_slows(
        requests in 1..100_000_u64, bytes in 0..10_u64.pow(12), latency in 0..500_u64,
        rate in 1e4..1e10_f64, at_once in 1..64_usize,
    ) {
        let amount = Amount { requests, bytes };
        let time = fetch(&way(latency, rate, at_once), &NO_MACHINE, amount).0.as_secs_f64();
        let least = (bytes as f64 / rate).max((requests as f64 / at_once as f64).ceil().min(1.0) * latency as f64 / 1e3);
        prop_assert!(time >= least * 0.999, "{time} < {least}");
        let most = bytes as f64 / rate + requests as f64 * latency as f64 / 1e3;
        prop_assert!(time <= most * 1.001 + 1e-6, "{time} > {most}");
        let slower = [
            fetch(&way(latency, rate / 2.0, at_once), &NO_MACHINE, amount),
            fetch(&way(latency * 2, rate, at_once), &NO_MACHINE, amount),
            fetch(&way(latency, rate, at_once), &NO_MACHINE, Amount { bytes: bytes * 2, ..amount }),
            fetch(&way(latency, rate, at_once), &NO_MACHINE, Amount { requests: requests * 2, ..amount }),
        ];
        for (slower, _) in slower {
            prop_assert!(slower.as_secs_f64() >= time * 0.98, "{slower:?} < {time}");
        }
    }
}
