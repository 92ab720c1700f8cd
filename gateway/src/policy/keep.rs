//! Which snapshots the rules of a policy keep, and why. Pure: times and tags in, reasons out.
//!
//! A rule with a count walks from the newest snapshot to the oldest and keeps the newest of each period until it
//! has found as many periods as it may. Periods without a snapshot do not count. A rule that runs out of
//! snapshots first keeps the oldest one too, so that the beginning is not lost before there is enough behind it.
//! Every rule looks at all snapshots; what any of them keeps is kept. The newest is always kept.
//!
//! Periods are those of the policy's time zone. An hour that comes twice, when clocks go back, is two hours.
//! Where the same day comes twice, it is one.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::settings::{Policy, TagPattern};

/// Why a snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is the newest of all.
    Newest,
    /// `keep_last`
    Last,
    /// `keep_hourly`
    Hourly,
    /// `keep_daily`
    Daily,
    /// `keep_weekly`
    Weekly,
    /// `keep_monthly`
    Monthly,
    /// `keep_yearly`
    Yearly,
    /// `keep_within`
    Within,
    /// `keep_tags`
    Tag,
    /// It is the newest that is whole, and the newer ones are not. No rule says so: see [`super::Plan`].
    Whole,
}

impl Reason {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Newest,
        Self::Last,
        Self::Hourly,
        Self::Daily,
        Self::Weekly,
        Self::Monthly,
        Self::Yearly,
        Self::Within,
        Self::Tag,
        Self::Whole,
    ];

    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Tag => "tag",
            Self::Whole => "whole",
        }
    }
}

/// Why a snapshot is kept, all reasons; none when it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u16);

impl Reasons {
    /// Adds one.
    pub fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u16;
    }

    /// Whether there is any.
    pub fn is_kept(self) -> bool {
        self.0 != 0
    }

    /// All of them, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.0 & (1 << *reason as u16) != 0)
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Reason::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// Kinds of periods.
const PERIODS: usize = 5;

/// The rules of a policy. A count of 0 is a rule that is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `keep_last`
    pub last: u32,
    /// `keep_hourly`
    pub hourly: u32,
    /// `keep_daily`
    pub daily: u32,
    /// `keep_weekly`
    pub weekly: u32,
    /// `keep_monthly`
    pub monthly: u32,
    /// `keep_yearly`
    pub yearly: u32,
    /// `keep_within`
    pub within: Option<Duration>,
    /// `keep_tags`
    pub tags: Vec<TagPattern>,
    /// `time_zone`
    pub zone: TimeZone,
}

/// A snapshot as the rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// When it was taken.
    pub at: Timestamp,
    /// Its hour, day, week, month and year; numbers that grow with time.
    periods: [i64; PERIODS],
    /// It has a tag that keeps it.
    tagged: bool,
}

impl Rules {
    /// Those of a policy.
    pub fn of(policy: &Policy) -> Self {
        Self {
            last: policy.keep_last.unwrap_or(0),
            hourly: policy.keep_hourly.unwrap_or(0),
            daily: policy.keep_daily.unwrap_or(0),
            weekly: policy.keep_weekly.unwrap_or(0),
            monthly: policy.keep_monthly.unwrap_or(0),
            yearly: policy.keep_yearly.unwrap_or(0),
            within: policy.keep_within.map(crate::settings::Span::duration),
            tags: policy.keep_tags.clone(),
            zone: policy.time_zone.rules().clone(),
        }
    }

    /// A snapshot that was taken at a time and has these tags.
    pub fn date<'t>(&self, at: Timestamp, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> Dated {
        let tagged = !self.tags.is_empty()
            && tags.into_iter().any(|(key, value)| self.tags.iter().any(|tag| tag.matches(key, value)));
        Dated { at, periods: periods(at, &self.zone), tagged }
    }

    /// Why each of these snapshots is kept, in their order. Of two that were taken at the same time the later
    /// in this order is the newer.
    pub fn reasons(&self, snapshots: &[Dated]) -> Vec<Reasons> {
        let mut reasons = vec![Reasons::default(); snapshots.len()];
        let mut newest_first: Vec<usize> = (0..snapshots.len()).rev().collect();
        newest_first.sort_by_key(|&place| std::cmp::Reverse(snapshots[place].at));
        let Some(&newest) = newest_first.first() else { return reasons };
        reasons[newest].add(Reason::Newest);
        for &place in newest_first.iter().take(self.last as usize) {
            reasons[place].add(Reason::Last);
        }
        for (period, (count, reason)) in self.counts().into_iter().enumerate() {
            for place in newest_of_periods(snapshots, &newest_first, period, count as usize) {
                reasons[place].add(reason);
            }
        }
        for (place, snapshot) in snapshots.iter().enumerate() {
            if self.within.is_some_and(|within| is_within(snapshots[newest].at, snapshot.at, within)) {
                reasons[place].add(Reason::Within);
            }
            if snapshot.tagged {
                reasons[place].add(Reason::Tag);
            }
        }
        reasons
    }

    /// The rules of periods, in the order of [`Dated::periods`].
    fn counts(&self) -> [(u32, Reason); PERIODS] {
        [
            (self.hourly, Reason::Hourly),
            (self.daily, Reason::Daily),
            (self.weekly, Reason::Weekly),
            (self.monthly, Reason::Monthly),
            (self.yearly, Reason::Yearly),
        ]
    }
}

/// The places of what one rule keeps.
fn newest_of_periods(snapshots: &[Dated], newest_first: &[usize], period: usize, count: usize) -> Vec<usize> {
    let mut kept = Vec::new();
    let mut earliest = i64::MAX;
    for &place in newest_first {
        if kept.len() == count {
            return kept;
        }
        let found = snapshots[place].periods[period];
        // Where clocks go back over midnight, a day comes after its successor.
        let seen = |kept: &[usize]| kept.iter().any(|&place| snapshots[place].periods[period] == found);
        if found < earliest || (found > earliest && !seen(&kept)) {
            earliest = earliest.min(found);
            kept.push(place);
        }
    }
    if kept.len() < count && kept.last() != newest_first.last() {
        kept.extend(newest_first.last());
    }
    kept
}

fn is_within(newest: Timestamp, at: Timestamp, within: Duration) -> bool {
    let age = newest.duration_since(at);
    u128::try_from(age.as_nanos()).is_ok_and(|age| age <= within.as_nanos())
}

/// Hour, day, week, month and year of a time, as numbers that grow with it.
fn periods(at: Timestamp, zone: &TimeZone) -> [i64; PERIODS] {
    let offset = i64::from(zone.to_offset(at).seconds());
    let local = zone.to_datetime(at);
    // In UTC, so that an hour that the clock shows twice is two.
    let hour = at.as_second() - (at.as_second() + offset).rem_euclid(3_600);
    let day = days_since_1970(local.date());
    let month = i64::from(local.year()) * 12 + i64::from(local.month()) - 1;
    // 1970-01-01 was a Thursday, three days after the Monday that its week began with.
    [hour, day, (day + 3).div_euclid(7), month, i64::from(local.year())]
}

fn days_since_1970(day: Date) -> i64 {
    day.duration_since(date(1970, 1, 1)).as_hours().div_euclid(24)
}
