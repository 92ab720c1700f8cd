//! What values of conditions are when they are not plain text: numbers, moments, ranges of addresses (IAM user
//! guide, "IAM JSON policy elements: Condition operators").

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::view::Time;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// A range of IPv4 addresses with fewer fixed bits counts as the whole world.
const BROAD_BITS_V4: u8 = 8;
/// The same of IPv6.
const BROAD_BITS_V6: u8 = 32;

/// How a value of a request must stand to one of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it stands so, given how the value of the request is to that of the policy.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A finite number in decimal.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// `true` or `false`, in any case of letters.
pub(super) fn boolean(text: &str) -> Option<bool> {
    [true, false].into_iter().find(|value| value.to_string().eq_ignore_ascii_case(text))
}

/// A moment: seconds since 1970 in digits, or as ISO 8601 writes it in UTC: `2026-01-31`, `2026-01-31T12:30Z`,
/// `2026-01-31T12:30:15Z`, `2026-01-31T12:30:15.123Z`.
pub(super) fn moment(text: &str) -> Option<Time> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Time { seconds: text.parse().ok()?, nanos: 0 });
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let (of_day, nanos) = time.map_or(Some((0, 0)), time_of_day)?;
    Some(Time { seconds: days_before(year, month, day) * DAY_SECONDS + of_day, nanos })
}

fn time_of_day(text: &str) -> Option<(i64, u32)> {
    let (whole, nanos) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(nanos(fraction)?)),
        None => (text, None),
    };
    let mut parts = whole.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(nanos.is_none().then_some(0), |second| digits(second, 2))?;
    let sane = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    sane.then_some((hour * 3600 + minute * 60 + second, nanos.unwrap_or(0)))
}

fn nanos(fraction: &str) -> Option<u32> {
    let length = fraction.len();
    let value = u32::try_from(digits(fraction, length)?).ok()?;
    ((1..=9).contains(&length)).then(|| value * 10_u32.pow(9 - length as u32))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn month_days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    /// Leap days before the year 1970.
    const LEAPS: i64 = 477;
    let before = year - 1;
    let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let of_months: i64 = (1..month).map(|month| month_days(year, month)).sum();
    (year - 1970) * 365 + leaps - LEAPS + of_months + day - 1
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    /// How many bits at the front are fixed.
    bits: u8,
}

impl Network {
    /// An address, or an address, a slash and how many bits at the front count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                digits(bits, bits.len()).filter(|_| !bits.is_empty())?;
                (address, Some(bits.parse().ok()?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(bits_max);
        (bits <= bits_max).then_some(Self { address, bits })
    }

    /// Whether an address lies in it. An IPv4 address in the clothes of IPv6 is an IPv4 address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether it is so large that S3 takes it for everybody: but for private ones, ranges of IPv4 with less than
    /// 8 fixed bits, and of IPv6 with less than 32.
    pub(super) fn is_broad(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.bits < BROAD_BITS_V4,
            IpAddr::V6(address) => {
                self.bits < BROAD_BITS_V6 && !(address.is_unique_local() && self.bits >= 7)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    #[test]
    fn moments_are_read() {
        for (text, expected) in [
            ("0", at(0, 0)),
            ("1700000000", at(1_700_000_000, 0)),
            ("1970-01-01", at(0, 0)),
            ("1969-12-31", at(-86_400, 0)),
            ("2000-03-01", at(951_868_800, 0)),
            ("2024-02-29T12:30Z", at(1_709_209_800, 0)),
            ("2024-02-29T12:30:15Z", at(1_709_209_815, 0)),
            ("2024-02-29T12:30:15.25Z", at(1_709_209_815, 250_000_000)),
            ("9999-12-31T23:59:59Z", at(253_402_300_799, 0)),
            ("0000-01-01", at(-62_167_219_200, 0)),
        ] {
            assert_eq!(moment(text), Some(expected), "{text}");
        }
        for wrong in [
            "",
            "now",
            "-1",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-1-1",
            "2024-01-01T12:00",
            "2024-01-01T24:00Z",
            "2024-01-01T12:60Z",
            "2024-01-01T12Z",
            "2024-01-01T12:00.5Z",
            "2024-01-01T12:00:00.Z",
            "2024-01-01T12:00:00.0123456789Z",
            "2024-01-01-01",
            "+024-01-01",
            "99999999999999999999",
            "2024-01-01T12:00:00:00Z",
        ] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn networks_hold_addresses() {
        for (network, address, expected) in [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.7/24", "203.0.113.1", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("0.0.0.0/0", "255.1.1.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ] {
            let network_read = Network::parse(network).unwrap();
            assert_eq!(network_read.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for wrong in ["", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+8", "::/129", "a/8", "1.2.3.4/8/8"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn broad_networks_are_the_world() {
        for (network, expected) in [
            ("0.0.0.0/0", true),
            ("0.0.0.0/1", true),
            ("10.0.0.0/8", false),
            ("192.168.0.0/16", false),
            ("::/0", true),
            ("2001::/16", true),
            ("2001:db8::/32", false),
            ("fd00::/8", false),
            ("fd00::/3", true),
        ] {
            assert_eq!(Network::parse(network).unwrap().is_broad(), expected, "{network}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(number("-1.5"), Some(-1.5));
        for wrong in ["", "x", "nan", "inf", "1e999", "1 "] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!((boolean("True"), boolean("false"), boolean("1")), (Some(true), Some(false), None));
    }
}
