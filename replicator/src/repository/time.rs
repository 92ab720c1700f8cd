//! Times in repository objects: nanoseconds since 1970-01-01 UTC, by the clock of whoever wrote them.
//!
//! Written as RFC 3339 with nine digits of a second, so that people can read an object. No clock is
//! read here: callers say what time it is.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// A time between the years 1970 and 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcNanos(i64);

impl UtcNanos {
    /// This many nanoseconds after 1970-01-01 UTC; earlier times become that instant.
    pub const fn new(nanos: i64) -> Self {
        Self(if nanos < 0 { 0 } else { nanos })
    }

    /// Nanoseconds since 1970-01-01 UTC; never negative.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Reads what `Display` writes; fewer digits of a second are fine, other zones are not.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, time) = text.split_once('T')?;
        let [year, month, day] = numbers(date, '-')?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        let [hour, minute, second] = numbers(time, ':')?;
        let valid = (1970..=2261).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let days = days_from_civil(year, month, day);
        if !valid || civil_from_days(days) != (year, month, day) {
            return None;
        }
        let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Some(Self(seconds * NANOS + nanos_of(fraction)?))
    }
}

impl From<SystemTime> for UtcNanos {
    fn from(time: SystemTime) -> Self {
        let nanos = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for UtcNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / NANOS, self.0 % NANOS);
        let (year, month, day) = civil_from_days(seconds / DAY_SECONDS);
        let second = seconds % DAY_SECONDS;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

impl Serialize for UtcNanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcNanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a time such as 2025-01-31T23:59:59.5Z"))
    }
}

/// Three numbers of only digits between two separators.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

/// Up to nine digits after the point, as nanoseconds.
fn nanos_of(fraction: &str) -> Option<i64> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted in years that begin in March,
/// so that the leap day is the last of a year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_print_as_rfc_3339() {
        assert_eq!(UtcNanos::new(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(UtcNanos::new(951_827_696 * NANOS + 7).to_string(), "2000-02-29T12:34:56.000000007Z");
        assert_eq!(UtcNanos::parse("2000-02-29T12:34:56.5Z"), Some(UtcNanos::new(951_827_696_500_000_000)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "2000-02-30T00:00:00Z",
            "2000-02-29T24:00:00Z",
            "2000-02-29T00:00:00+01:00",
            "1969-12-31T00:00:00Z",
        ] {
            assert_eq!(UtcNanos::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_time_round_trips(nanos in 0..=9_214_646_399_999_999_999i64) {
            let time = UtcNanos::new(nanos);
            prop_assert_eq!(UtcNanos::parse(&time.to_string()), Some(time));
        }
    }
}
