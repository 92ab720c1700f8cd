//! `[recovery]` and `[[prices]]`: what is known of the way back, and what it costs.

use std::fmt;
use std::str::FromStr;

use super::Settings;
use super::check::distinct;
use super::names::Name;
use super::problems::Problems;
use super::schema::table;
use super::values::{Size, Span, text_setting};

/// Digits after the point of a price.
const PRICE_DIGITS: usize = 6;
/// The longest name of a currency, in bytes.
const CURRENCY_BYTES_MAX: usize = 8;

table! {
    /// How it is found out whether the objectives `rto`, `rto_hot` and `rto_whole` of shares can be kept.
    pub struct Recovery("recovery", once) {
        /// How often the link from the target that leads is measured, while any share has such an objective: it is asked
        /// for some packs again. What clients and others fetch meanwhile counts too. 0s for never: then by `tidegate dr plan --measure` alone.
        measure_every: Span, default(Span::days(1)) in Span::seconds(0), Span::days(365);
        /// The most that is fetched for it, each time.
        measure_bytes: Size, default(Size::mib(32)) in Size::mib(1), Size::gib(4);
    }
}

table! {
    /// What a target charges. Without it, no prices are shown: neither of a recovery nor, among the metrics, of what the
    /// gateway asks of it.
    pub struct PriceTable("prices", repeated) {
        /// The target.
        target: Name, required;
        /// For each GB (1,000,000,000 bytes) that leaves it.
        per_gb_out: Price, default(Price(0));
        /// For a thousand requests that read.
        per_thousand_requests: Price, default(Price(0));
        /// For a thousand requests that write or list.
        per_thousand_writes: Price, default(Price(0));
        /// In what they are paid.
        currency: Currency, default(Currency("USD".to_owned()));
    }
}

/// An amount of money: millionths of a currency's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(u64);

impl Price {
    /// Nothing.
    pub(super) const FREE: Self = Self(0);

    /// In millionths of a unit of the currency.
    pub fn millionths(self) -> u64 {
        self.0
    }

    /// In units of the currency.
    pub fn units(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > PRICE_DIGITS {
            return Err(format!("is no number with at most {PRICE_DIGITS} digits after the point"));
        }
        let millionths: u64 =
            format!("{part:0<PRICE_DIGITS$}").parse().map_err(|_| "is no number".to_owned())?;
        let whole: u64 = whole.parse().map_err(|_| "is too large".to_owned())?;
        let all = whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(millionths));
        all.map(Self).ok_or_else(|| "is too large".to_owned())
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

text_setting!(Price, "an amount of money such as \"0.09\"");

/// The name of a currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency(String);

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = !text.is_empty() && text.chars().all(char::is_alphabetic);
        if is_word && text.len() <= CURRENCY_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("is no word of at most {CURRENCY_BYTES_MAX} bytes"))
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Currency, "a currency such as \"USD\"");

/// Notes prices of what is no target, and of one twice.
pub(super) fn prices_fit(settings: &Settings, problems: &mut Problems<'_>) {
    for prices in &settings.prices {
        if settings.target(prices.target.as_str()).is_none() {
            let message = format!("names no target: there is no [[target]] \"{}\"", prices.target);
            problems.add("prices.target", None, message);
        }
    }
    distinct("prices", "target", settings.prices.iter().map(|prices| &prices.target), problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_and_read_as_they_are_written() {
        for (text, millionths) in
            [("0", 0), ("0.09", 90_000), ("0.0004", 400), ("12", 12_000_000), ("1.000001", 1_000_001)]
        {
            assert_eq!(text.parse(), Ok(Price(millionths)), "{text}");
            assert_eq!(Price(millionths).to_string(), text);
        }
        for text in ["", ".5", "-1", "1e3", "0.0000001", "0,09", "99999999999999999999", "18446744073710"] {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
    }
}
