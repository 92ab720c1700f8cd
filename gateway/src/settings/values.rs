//! Values with a unit: sizes, durations, rates; and the plain ones.
//!
//! A unit is always written, so that nobody has to look up whether a number means seconds or
//! bytes. What is written is what is meant: `1KiB` is 1,024 bytes, `1kB` is 1,000.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use toml_edit::Value;

use super::schema::Setting;

/// Implements [`Setting`] for a type that is written as a string.
macro_rules! text_setting {
    ($name:ty, $form:expr) => {
        impl $crate::settings::schema::Setting for $name {
            fn form() -> String {
                $form.to_owned()
            }

            fn parse(value: &toml_edit::Value) -> Result<Self, String> {
                value.as_str().ok_or_else(|| "is not a string".to_owned())?.parse()
            }

            fn write(&self) -> toml_edit::Value {
                self.to_string().into()
            }
        }
    };
}
pub(super) use text_setting;

/// Units of a size and their bytes, greatest first; the binary ones are used for writing.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// That many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// That many GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// That many TiB.
    pub const fn tib(count: u64) -> Self {
        Self(count << 40)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, unit) = number_and_unit(text).ok_or("is not a number and a unit")?;
        let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or("has no unit of size")?;
        count.checked_mul(*bytes).map(Self).ok_or_else(|| "is too large".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(name, bytes): &&(&str, u64)| {
            self.0.is_multiple_of(*bytes) && !matches!(*name, "TB" | "GB" | "MB" | "kB")
        };
        match SIZE_UNITS.iter().find(whole) {
            Some((unit, bytes)) if self.0 > 0 => write!(f, "{}{unit}", self.0 / bytes),
            Some(_) | None => f.write_str("0B"),
        }
    }
}

text_setting!(Size, "a size such as \"512MiB\" or \"20GiB\" (units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)");

/// Units of a duration and their milliseconds, greatest first.
const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time, written with its unit; whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// That many milliseconds.
    pub const fn milliseconds(count: u64) -> Self {
        Self(count)
    }

    /// That many seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1_000)
    }

    /// That many days.
    pub const fn days(count: u64) -> Self {
        Self(count * 86_400_000)
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, unit) = number_and_unit(text).ok_or("is not a number and a unit")?;
        let (_, length) = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or("has no unit of time")?;
        count.checked_mul(*length).map(Self).ok_or_else(|| "is too large".to_owned())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SPAN_UNITS.iter().find(|(_, length)| self.0.is_multiple_of(*length)) {
            Some((unit, length)) if self.0 > 0 => write!(f, "{}{unit}", self.0 / length),
            Some(_) | None => f.write_str("0s"),
        }
    }
}

text_setting!(Span, "a duration such as \"30s\" or \"15m\" (units ms, s, m, h, d)");

/// Bytes per second, written as a size and `/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub Size);

impl Rate {
    /// The number of bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0.bytes()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix("/s").ok_or("does not end with /s")?.parse().map(Self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

text_setting!(Rate, "a rate such as \"10MiB/s\" (bytes, not bits)");

impl Setting for bool {
    fn form() -> String {
        "true or false".to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "is neither".to_owned())
    }

    fn write(&self) -> Value {
        (*self).into()
    }
}

impl Setting for u32 {
    fn form() -> String {
        "a whole number from 0 to 4294967295".to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let number = value.as_integer().ok_or("is not a whole number")?;
        number.try_into().map_err(|_| "is out of range".to_owned())
    }

    fn write(&self) -> Value {
        i64::from(*self).into()
    }
}

/// The most elements of any list.
const LIST_LENGTH_MAX: usize = 1_000;

impl<T: Setting> Setting for Vec<T> {
    fn form() -> String {
        format!("a list in brackets, each {}", T::form())
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let list = value.as_array().ok_or("is not a list")?;
        if list.len() > LIST_LENGTH_MAX {
            return Err(format!("has more than {LIST_LENGTH_MAX} elements"));
        }
        let element =
            |(at, value)| T::parse(value).map_err(|reason| format!("has an element {at} that {reason}"));
        list.iter().enumerate().map(element).collect()
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(T::write).collect())
    }
}

/// Splits `"512MiB"` into 512 and `"MiB"`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// Declares a value that is one of a few words.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident {
            $(#[doc = $first_meaning:literal])+ $first:ident = $first_text:literal
            $(, $(#[doc = $meaning:literal])+ $variant:ident = $text:literal)+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $first_meaning])+ $first,
            $( $(#[doc = $meaning])+ $variant, )+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|choice| choice.as_str() == text);
                found.copied().ok_or_else(|| "is none of them".to_owned())
            }
        }

        $crate::settings::values::text_setting!(
            $name,
            concat!("\"", $first_text, "\"" $(, " or \"", $text, "\"")+)
        );
    };
}
pub(super) use choice;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_mean_what_they_say() {
        for (text, bytes) in
            [("0B", 0), ("1KiB", 1024), ("1kB", 1000), ("512 MiB", 512 << 20), ("3TB", 3_000_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (text, milliseconds) in [("0s", 0), ("5ms", 5), ("30s", 30_000), ("2d", 172_800_000)] {
            assert_eq!(text.parse(), Ok(Span(milliseconds)), "{text}");
        }
        assert_eq!("10MiB/s".parse(), Ok(Rate(Size::mib(10))));
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in
            ["", "5", "MiB", "-1MiB", "1.5GiB", "1mib", "99999999999999999999B", "18446744073709551615TiB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["", "5", "1h30m", "1w", "-1s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same_value(number in any::<u64>(), shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            prop_assert_eq!(Span(number).to_string().parse(), Ok(Span(number)));
        }
    }
}
