//! Goal: a schedule runs when a person with the clock of the wall would run it, and never not at all.
//!
//! Method: random calendars, in zones whose clocks change, against a model that looks at every minute.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::*;

/// A calendar of few forms, that the model can read too.
struct Fields {
    minute: Vec<i8>,
    hour: Vec<i8>,
    passing: bool,
    text: String,
}

fn random_fields(chance: &mut Chance) -> Fields {
    let minute = match chance.below(3) {
        0 => vec![chance.below(60) as i8],
        1 => vec![0, 15, 30, 45],
        _ => vec![5, 35],
    };
    let written = |values: &[i8]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (hour, hours, passing) = match chance.below(4) {
        0 => ((0..24).collect(), "*".to_owned(), true),
        1 => ((0..24).step_by(2).collect(), "*/2".to_owned(), true),
        2 => (vec![2], "2".to_owned(), false),
        _ => {
            let hours: Vec<i8> = [0, 1, 2, 3, 23].into_iter().filter(|_| chance.below(2) == 0).collect();
            let hours = if hours.is_empty() { vec![1] } else { hours };
            (hours.clone(), written(&hours), false)
        }
    };
    let text = format!("{} {hours} * * *", written(&minute));
    Fields { minute, hour, passing, text }
}

impl Fields {
    fn say(&self, shown: DateTime) -> bool {
        self.minute.contains(&shown.minute()) && self.hour.contains(&shown.hour())
    }

    /// Whether a run is due in the minute that begins now.
    fn are_due(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let shown = |at: Timestamp| zone.to_datetime(at);
        if self.passing {
            return self.say(shown(now));
        }
        let first_time = || (1..=24 * 60).all(|minutes| shown(later(now, -60 * minutes)) != shown(now));
        let mut left_out = shown(later(now, -60));
        let left_out = std::iter::from_fn(|| {
            left_out = left_out.checked_add(SignedDuration::from_mins(1)).ok()?;
            (left_out < shown(now)).then_some(left_out)
        });
        (self.say(shown(now)) && first_time()) || left_out.into_iter().any(|shown| self.say(shown))
    }
}

#[test]
fn random_calendars_come_when_the_model_says() {
    let mut around_changes = 0;
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        for _ in 0..60 {
            let fields = random_fields(&mut chance);
            let name = *chance.one_of(&ZONES);
            let zone = TimeZone::get(name).expect("it is in the program");
            let keys = format!("schedule = \"{}\"\ntime_zone = \"{name}\"\nkeep_last = 1", fields.text);
            let schedule = plan(&keys).schedule;
            let year = Timestamp::from_second((38 + chance.below(20) as i64) * 31_556_952).expect("a time");
            let change = zone.following(year).next().map(|change| change.timestamp());
            around_changes += u32::from(change.is_some());
            let middle = change.unwrap_or(year).as_second() / 60 * 60;
            let begin = Timestamp::from_second(middle - 30 * 3_600).expect("a time");
            let minutes = (1..60 * 60).map(|minute| later(begin, 60 * minute));
            let expected: Vec<Timestamp> = minutes.filter(|now| fields.are_due(*now, &zone)).collect();
            let end = later(begin, 60 * 60 * 60);
            let next = |time: &Timestamp| schedule.due_after(*time);
            let found: Vec<Timestamp> =
                std::iter::successors(next(&begin), next).take_while(|due| *due < end).collect();
            assert_eq!(found, expected, "{} in {name} around {:?}", fields.text, change);
        }
    }
    assert!(around_changes > 60, "clocks changed in {around_changes} of the cases");
}

#[test]
fn what_falls_into_an_hour_that_is_left_out_runs_when_it_ends() {
    let schedule = plan("schedule = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"\nkeep_last = 1").schedule;
    let due = |after: &str| schedule.due_after(time(after)).expect("soon").to_string();
    assert_eq!(due("2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z", "at 03:00, where 02:00 would have been");
    assert_eq!(due("2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
    assert_eq!(due("2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z", "the first 02:30");
    assert_eq!(due("2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z", "not the second");
}

#[test]
fn a_change_of_the_zone_within_a_minute_is_no_time_of_its_own() {
    // Here the table of this zone ends, with a change of nothing.
    let schedule =
        plan("schedule = \"59 */2 * * *\"\ntime_zone = \"Asia/Kathmandu\"\nkeep_last = 1").schedule;
    let due = |after: &str| schedule.due_after(time(after)).expect("soon").to_string();
    assert_eq!(due("2038-01-19T02:00:00Z"), "2038-01-19T03:14:00Z");
    assert_eq!(due("2038-01-19T03:14:00Z"), "2038-01-19T05:14:00Z");
}

#[test]
fn intervals_count_from_1970_whenever_the_gateway_starts() {
    let schedule = plan("every = \"15m\"\nkeep_last = 1").schedule;
    let due = |after: &str| schedule.due_after(time(after)).expect("soon").to_string();
    assert_eq!(due("2026-01-01T00:14:59.5Z"), "2026-01-01T00:15:00Z");
    assert_eq!(due("2026-01-01T00:15:00Z"), "2026-01-01T00:30:00Z");
}

#[test]
fn jitter_is_the_same_for_the_same_run_spread_over_its_range_and_different_for_others() {
    let jittered = |name: &str| {
        let keys = "every = \"1h\"\njitter = \"5m\"\nkeep_last = 1";
        let mut policy = plan(keys).policy;
        policy.name = name.parse().expect("a name");
        Schedule::of(&policy)
    };
    let dues: Vec<Timestamp> =
        (1..500).map(|hour| later(time("2026-01-01T00:00:00Z"), hour * 3_600)).collect();
    let delays = |name: &str| -> Vec<i64> {
        let schedule = jittered(name);
        dues.iter().map(|due| schedule.begins(*due).as_second() - due.as_second()).collect()
    };
    assert_eq!(delays("nightly"), delays("nightly"));
    assert_ne!(delays("nightly"), delays("weekly"));
    let (least, most) = (delays("nightly").into_iter().min(), delays("nightly").into_iter().max());
    assert!(least < Some(10) && most > Some(290) && most <= Some(300), "{least:?} to {most:?}");
}

#[test]
fn what_is_rare_is_found_and_what_never_comes_is_none() {
    let schedule = plan("schedule = \"0 0 29 2 *\"\nkeep_last = 1").schedule;
    assert_eq!(schedule.due_after(time("2026-01-01T00:00:00Z")), Some(time("2028-02-29T00:00:00Z")));
    let end = schedule.due_after(Timestamp::MAX);
    assert_eq!(end, None, "after the end of time");
}

#[test]
fn a_simulated_year_keeps_what_the_rules_say() {
    let plan = plan("schedule = \"0 2 * * *\"\nkeep_daily = 7\nkeep_monthly = 12");
    let (from, to) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    let found = simulate(&plan.schedule, &plan.rules, from, to).expect("few runs");
    assert_eq!((found.runs, found.kept.len()), (365, 7 + 11));
    assert_eq!(found.kept[0].0, time("2026-01-31T02:00:00Z"), "twelve months are found, so not the oldest");
    let every_minute = plan_of_minutes();
    assert_eq!(
        simulate(&every_minute.schedule, &every_minute.rules, from, time("2028-01-01T00:00:00Z")),
        Err(TooManyRuns)
    );
}

fn plan_of_minutes() -> Plan {
    plan("every = \"1m\"\nkeep_last = 1")
}
