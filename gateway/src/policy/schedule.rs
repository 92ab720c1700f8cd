//! When a policy runs: the next time after a time. Pure.
//!
//! | `schedule` | when clocks change |
//! |---|---|
//! | hours are `*` or `*/N` | goes by the time that passes: an hour that comes twice is run through twice, one that is left out not at all |
//! | hours are named | goes by the clock on the wall: what falls into an hour that is left out runs when that ends, what falls into one that comes twice runs the first time |
//!
//! `every` counts from 1970-01-01T00:00:00Z and knows no clock on a wall. The jitter of a run depends on the name of
//! the policy and on the time that the run is due, on nothing else.

use std::time::Duration;

use cronexpr::Crontab;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::settings::Policy;

/// The most times of the calendar that are looked at to find one that is still to come: an hour that comes twice
/// has 60, and no zone changes its clocks by more than a day.
const CANDIDATES_MAX: usize = 2 * 24 * 60;

/// The most changes of the offset of a zone that are passed to find a time of the calendar.
const CHANGES_MAX: usize = 64;

/// After this there are no more runs, in seconds since 1970: some years before the end of times, over which
/// calendars must be able to look.
const END_SECONDS: i64 = 253_000_000_000;

/// See the head of this module.
#[derive(Clone, Debug)]
pub struct Schedule {
    when: When,
    jitter: Duration,
    /// What the jitter of a run is made of, beside the time.
    name: String,
}

#[derive(Clone, Debug)]
enum When {
    /// A calendar, read as if in UTC, by the time that passes in a zone.
    Passing(Box<Crontab>, TimeZone),
    /// The same, by the clock on the wall.
    Wall(Box<Crontab>, TimeZone),
    /// So often, in milliseconds.
    Every(i64),
    Never,
}

impl Schedule {
    /// That of a policy.
    pub fn of(policy: &Policy) -> Self {
        let when = match (&policy.schedule, policy.every) {
            (Some(calendar), _) => {
                let (crontab, zone) = (calendar.in_utc().clone(), policy.time_zone.rules().clone());
                let by_passing = calendar.counts_hours();
                let crontab = Box::new(crontab);
                if by_passing { When::Passing(crontab, zone) } else { When::Wall(crontab, zone) }
            }
            (None, Some(every)) => When::Every((every.duration().as_millis() as i64).max(1)),
            (None, None) => When::Never,
        };
        Self { when, jitter: policy.jitter.duration(), name: policy.name.to_string() }
    }

    /// The first time after `time` that a run is due; None if none is in sight.
    pub fn due_after(&self, time: Timestamp) -> Option<Timestamp> {
        if time.as_second() >= END_SECONDS {
            return None;
        }
        match &self.when {
            When::Passing(crontab, zone) => next_as_time_passes(crontab, zone, time),
            When::Wall(crontab, zone) => next_on_the_wall(crontab, zone, time),
            When::Every(length) => {
                let next = (time.as_millisecond().div_euclid(*length) + 1).checked_mul(*length)?;
                Timestamp::from_millisecond(next).ok()
            }
            When::Never => None,
        }
    }

    /// When a run begins that is due at a time: then, or later by its jitter.
    pub fn begins(&self, due: Timestamp) -> Timestamp {
        let seconds = self.jitter.as_secs();
        if seconds == 0 {
            return due;
        }
        let part = chance(&self.name, due.as_second()) % (seconds + 1);
        due.saturating_add(SignedDuration::from_secs(part as i64)).unwrap_or(due)
    }

    /// When the next run begins for what was last done at `time`.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        self.due_after(time).map(|due| self.begins(due))
    }
}

/// While the offset of the zone stands, its wall is UTC moved by it: looked at from one change to the next.
fn next_as_time_passes(crontab: &Crontab, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    let mut from = time;
    for _ in 0..CHANGES_MAX {
        let change = zone.following(from).next().map(|change| change.timestamp());
        let offset = zone.to_offset(from);
        let wall = Offset::UTC.to_timestamp(offset.to_datetime(from)).ok()?;
        let found = crontab.find_next(wall).ok()?.timestamp();
        let found = offset.to_timestamp(Offset::UTC.to_datetime(found)).ok()?;
        let Some(change) = change.filter(|change| found >= *change) else { return Some(found) };
        // Only what is after `from` counts, and the time of the change itself may be due: where a minute begins. Tables of
        // zones have changes of nothing too, as at the end of times of 32 bits.
        let shown = zone.to_offset(change).to_datetime(change);
        let wall = Offset::UTC.to_timestamp(shown).ok()?;
        if shown.second() == 0 && crontab.matches(wall).ok()? {
            return Some(change);
        }
        from = change;
    }
    None
}

fn next_on_the_wall(crontab: &Crontab, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    // Times of the wall are looked for as if they were in UTC. What the wall showed up to now is past: an hour
    // that comes twice counts the first time.
    let mut wall = Offset::UTC.to_timestamp(zone.to_datetime(time)).ok()?;
    for _ in 0..CANDIDATES_MAX {
        wall = crontab.find_next(wall).ok()?.timestamp();
        let found = when_the_wall_shows(Offset::UTC.to_datetime(wall), zone)?;
        if found > time {
            return Some(found);
        }
    }
    None
}

/// The first time that the wall shows this, or leaves it out.
fn when_the_wall_shows(shown: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the clock before the change this time is not before it.
            let after_change = before.to_timestamp(shown).ok()?;
            let after_change = after_change.checked_add(SignedDuration::from_nanos(1)).ok()?;
            Some(zone.preceding(after_change).next()?.timestamp())
        }
    }
}

/// The same number for the same name and time; spread evenly.
fn chance(name: &str, due_seconds: i64) -> u64 {
    let mut mixed = (u64::from(crc32c::crc32c(name.as_bytes())) << 32) ^ due_seconds as u64;
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}
