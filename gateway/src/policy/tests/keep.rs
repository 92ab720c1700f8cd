//! Goal: the rules keep what a person would keep who goes through a list with a calendar.
//!
//! Method: random rules over random times, many of them close to where clocks change, against a model that writes
//! periods as text and looks at them all.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;

/// What the model knows of a snapshot: when, and whether it has the tag.
pub(super) type Plain = (Timestamp, bool);

/// How a period is written, by the name of its rule.
const FORMS: [(&str, &str); 5] = [
    ("hourly", "%Y-%m-%d %H %z"),
    ("daily", "%Y-%m-%d"),
    ("weekly", "%G week %V"),
    ("monthly", "%Y-%m"),
    ("yearly", "%Y"),
];

fn count(rules: &Rules, name: &str) -> usize {
    let count = match name {
        "hourly" => rules.hourly,
        "daily" => rules.daily,
        "weekly" => rules.weekly,
        "monthly" => rules.monthly,
        _ => rules.yearly,
    };
    count as usize
}

/// A snapshot with its periods written out.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) at: Timestamp,
    tagged: bool,
    periods: Vec<String>,
}

impl Written {
    pub(super) fn new((at, tagged): Plain, zone: &TimeZone) -> Self {
        let shown = at.to_zoned(zone.clone());
        let periods = FORMS.iter().map(|(_, form)| shown.strftime(form).to_string()).collect();
        Self { at, tagged, periods }
    }
}

/// The names of the rules that keep each snapshot. The list is oldest first.
pub(super) fn model(rules: &Rules, snapshots: &[Written]) -> Vec<BTreeSet<&'static str>> {
    let mut kept = vec![BTreeSet::new(); snapshots.len()];
    let Some(newest) = snapshots.len().checked_sub(1) else { return kept };
    kept[newest].insert("newest");
    for (place, names) in kept.iter_mut().enumerate() {
        if newest - place < rules.last as usize {
            names.insert("last");
        }
        if snapshots[place].tagged {
            names.insert("tag");
        }
        let age = snapshots[newest].at.duration_since(snapshots[place].at);
        if rules.within.is_some_and(|within| age <= SignedDuration::try_from(within).expect("short")) {
            names.insert("within");
        }
    }
    for (rule, (name, _)) in FORMS.iter().enumerate() {
        let is_newest_of_its_period = |place: &usize| {
            let period = &snapshots[*place].periods[rule];
            snapshots[place + 1..].iter().all(|later| later.periods[rule] != *period)
        };
        let found: Vec<usize> = (0..snapshots.len()).rev().filter(is_newest_of_its_period).collect();
        for place in found.iter().take(count(rules, name)) {
            kept[*place].insert(name);
        }
        if found.len() < count(rules, name) {
            kept[0].insert(name);
        }
    }
    kept
}

pub(super) fn random_rules(chance: &mut Chance) -> Rules {
    let mut count = |bound: u64| if chance.below(3) == 0 { 0 } else { chance.below(bound) as u32 };
    let (last, hourly, daily) = (count(6), count(40), count(12));
    let (weekly, monthly, yearly) = (count(8), count(14), count(5));
    let within = (chance.below(3) == 0).then(|| Duration::from_secs(60 + chance.below(20 * 86_400)));
    let name: &str = chance.one_of::<&str>(&ZONES);
    let zone = TimeZone::get(name).expect("it is in the program");
    let tags = vec!["hold".parse().expect("a tag")];
    Rules { last, hourly, daily, weekly, monthly, yearly, within, tags, zone }
}

/// Times in order, many of them around changes of the clock.
fn random_times(chance: &mut Chance, zone: &TimeZone) -> Vec<Plain> {
    let mut times = Vec::new();
    for _ in 0..=chance.below(5) {
        let year = 2000 + chance.below(30) as i64;
        let mut around = Timestamp::from_second((year - 1970) * 31_556_952).expect("a time");
        if let Some(change) = zone.following(around).next().filter(|_| chance.below(4) > 0) {
            around = change.timestamp();
        }
        let spread = *chance.one_of(&[7_200, 4 * 86_400, 60 * 86_400, 700 * 86_400]);
        for _ in 0..chance.below(20) {
            let seconds = chance.below(2 * spread) as i64 - spread as i64;
            // Some at the same time as others.
            times.push((later(around, seconds / 600 * 600), chance.below(12) == 0));
        }
    }
    times.sort_by_key(|(at, _)| *at);
    times
}

fn dated(rules: &Rules, snapshots: &[Plain]) -> Vec<Dated> {
    let tags = |tagged: &bool| tagged.then_some(("hold", "yes")).into_iter().chain([("other", "no")]);
    snapshots.iter().map(|(at, tagged)| rules.date(*at, tags(tagged))).collect()
}

#[test]
fn random_rules_keep_what_the_model_keeps_and_for_the_same_reasons() {
    let mut kept = 0;
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        for _ in 0..400 {
            let rules = random_rules(&mut chance);
            let snapshots = random_times(&mut chance, &rules.zone);
            let written: Vec<Written> =
                snapshots.iter().map(|plain| Written::new(*plain, &rules.zone)).collect();
            let expected = model(&rules, &written);
            let found: Vec<BTreeSet<&str>> = rules
                .reasons(&dated(&rules, &snapshots))
                .into_iter()
                .map(|reasons| reasons.iter().map(Reason::as_str).collect())
                .collect();
            assert_eq!(found, expected, "{rules:?} of {snapshots:#?}");
            kept += found.iter().filter(|reasons| !reasons.is_empty()).count();
        }
    }
    assert!(kept > 3_000, "the rules had something to keep: {kept}");
}

#[test]
fn the_order_of_a_list_does_not_matter_when_times_differ() {
    let mut chance = Chance::new(7);
    let rules = random_rules(&mut chance);
    let mut snapshots: Vec<Plain> =
        (0..50).map(|number| (later(time("2026-01-01T00:00:00Z"), number * 40_000), false)).collect();
    let kept = |snapshots: &[Plain]| -> BTreeSet<Timestamp> {
        let reasons = rules.reasons(&dated(&rules, snapshots));
        let kept = snapshots.iter().zip(reasons).filter(|(_, reasons)| reasons.is_kept());
        kept.map(|((at, _), _)| *at).collect()
    };
    let expected = kept(&snapshots);
    for _ in 0..20 {
        let (one, other) = (chance.below(50) as usize, chance.below(50) as usize);
        snapshots.swap(one, other);
        assert_eq!(kept(&snapshots), expected);
    }
}

#[test]
fn one_snapshot_is_kept_whatever_the_rules_say() {
    let rules = Rules {
        last: 0,
        hourly: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        within: None,
        tags: Vec::new(),
        zone: TimeZone::UTC,
    };
    let snapshots = [(time("2026-01-01T00:00:00Z"), false), (time("2026-01-02T00:00:00Z"), false)];
    let reasons = rules.reasons(&dated(&rules, &snapshots));
    assert_eq!(reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), ["", "newest"]);
    assert!(rules.reasons(&[]).is_empty());
}

#[test]
fn days_are_those_of_the_time_zone() {
    // 23:30 and 00:30 in Berlin, on the same day in UTC.
    let snapshots = [(time("2026-06-30T21:30:00Z"), false), (time("2026-06-30T22:30:00Z"), false)];
    for (zone, kept) in [("UTC", 1), ("Europe/Berlin", 2)] {
        let plan = plan(&format!("every = \"1h\"\nkeep_monthly = 1\ntime_zone = \"{zone}\""));
        let rules = Rules { daily: 2, monthly: 0, ..plan.rules };
        // Of one day, the rule keeps the oldest besides, since it has not found two days.
        let mut list = vec![(time("2026-06-30T03:00:00Z"), false)];
        list.extend(snapshots);
        let reasons = rules.reasons(&dated(&rules, &list));
        let of_the_two = reasons[1..].iter().filter(|reasons| reasons.is_kept()).count();
        assert_eq!(of_the_two, kept, "{zone}");
    }
}
