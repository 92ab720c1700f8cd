//! The quota of a share: limits of bytes and inodes, and the grace period of the soft ones.
//!
//! One value in braces, so that what belongs together is checked together wherever a share is described:
//! in the file, through the admin API, in a head.

use toml_edit::{InlineTable, Value};

use super::schema::Setting;
use super::values::{Size, Span};

/// The grace period when none is written.
const GRACE: Span = Span::days(7);
/// The longest grace period.
const GRACE_MAX: Span = Span::days(3650);

/// How much a share may use. Limits at least one of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Data, in bytes; holes do not count.
    pub bytes: Limits<Size>,
    /// Files, directories and everything else that has an inode.
    pub inodes: Limits<Count>,
    /// How long a soft limit may be exceeded before it counts as a hard one.
    pub grace: Span,
}

/// Limits of one thing: at least one of both, the soft one not above the hard one. Default: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<T> {
    /// May be exceeded for as long as the grace period.
    pub soft: Option<T>,
    /// Is never exceeded.
    pub hard: Option<T>,
}

/// A number of things, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u64);

impl Count {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Setting for Count {
    fn form() -> String {
        "a whole number from 1 on".to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let number = value.as_integer().ok_or("is not a whole number")?;
        u64::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .map(Self)
            .ok_or_else(|| "is below 1".to_owned())
    }

    fn write(&self) -> Value {
        // What was parsed from a signed number fits into one.
        i64::try_from(self.0).unwrap_or(i64::MAX).into()
    }
}

impl<T> Default for Limits<T> {
    fn default() -> Self {
        Self { soft: None, hard: None }
    }
}

impl<T: Setting + PartialOrd> Limits<T> {
    fn parse(value: &Value) -> Result<Self, String> {
        let table = braces(value, &["soft", "hard"])?;
        let limits = Self { soft: part(table, "soft")?, hard: part(table, "hard")? };
        match &limits {
            Self { soft: None, hard: None } => Err("has neither a soft nor a hard limit".to_owned()),
            Self { soft: Some(soft), hard: Some(hard) } if soft > hard => {
                Err("has a soft limit above the hard one".to_owned())
            }
            _ => Ok(limits),
        }
    }

    fn write(&self) -> Option<Value> {
        let parts = [("soft", &self.soft), ("hard", &self.hard)];
        let written = parts.into_iter().filter_map(|(name, limit)| Some((name, limit.as_ref()?.write())));
        let table: InlineTable = written.collect();
        (!table.is_empty()).then_some(Value::InlineTable(table))
    }
}

impl Setting for Quota {
    fn form() -> String {
        "{ bytes = { soft = \"80GiB\", hard = \"100GiB\" }, inodes = { soft = 800000, hard = 1000000 }, \
         grace = \"7d\" }, without the parts that shall not be limited; a soft limit is not above the hard one"
            .to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let table = braces(value, &["bytes", "inodes", "grace"])?;
        let bytes = within("bytes", table.get("bytes").map(Limits::<Size>::parse))?.unwrap_or_default();
        let inodes = within("inodes", table.get("inodes").map(Limits::<Count>::parse))?.unwrap_or_default();
        let grace = part(table, "grace")?.unwrap_or(GRACE);
        if grace > GRACE_MAX {
            return Err(format!("has a grace period above {GRACE_MAX}"));
        }
        if [bytes.soft, bytes.hard].contains(&Some(Size(0))) {
            return Err("has a limit of no bytes at all".to_owned());
        }
        let quota = Self { bytes, inodes, grace };
        if quota.bytes == Limits::default() && quota.inodes == Limits::default() {
            return Err("limits neither bytes nor inodes".to_owned());
        }
        Ok(quota)
    }

    fn write(&self) -> Value {
        let grace = Some(self.grace.write());
        let parts = [("bytes", self.bytes.write()), ("inodes", self.inodes.write()), ("grace", grace)];
        let written = parts.into_iter().filter_map(|(name, part)| Some((name, part?)));
        Value::InlineTable(written.collect())
    }
}

/// The parts of a value in braces, all of which must be known.
pub(super) fn braces<'a>(value: &'a Value, known: &[&str]) -> Result<&'a InlineTable, String> {
    let table = value.as_inline_table().ok_or("is not a table in braces")?;
    match table.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(format!("has a part {name:?}; there are {}", known.join(", "))),
        None => Ok(table),
    }
}

/// A part that may be absent.
pub(super) fn part<T: Setting>(table: &InlineTable, name: &str) -> Result<Option<T>, String> {
    within(name, table.get(name).map(T::parse))
}

fn within<T>(name: &str, parsed: Option<Result<T, String>>) -> Result<Option<T>, String> {
    parsed.transpose().map_err(|reason| format!("has a part {name:?} that {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Quota, String> {
        Quota::parse(&text.parse::<Value>().expect("a TOML value"))
    }

    #[test]
    fn what_is_not_written_is_not_limited() {
        let quota = parse("{ bytes = { hard = '1GiB' } }").expect("enough");
        assert_eq!(quota.bytes, Limits { soft: None, hard: Some(Size::gib(1)) });
        assert_eq!((quota.inodes, quota.grace), (Limits::default(), GRACE));
        let quota =
            parse("{ inodes = { soft = 7, hard = 7 }, grace = '0s' }").expect("a soft limit may be hard");
        assert_eq!((quota.inodes.soft, quota.grace), (Some(Count(7)), Span::seconds(0)));
    }

    #[test]
    fn a_wrong_part_is_named() {
        for (text, part) in [
            ("'100GiB'", "braces"),
            ("{}", "neither bytes nor inodes"),
            ("{ bytes = '1GiB' }", "\"bytes\" that is not a table"),
            ("{ bytes = {} }", "\"bytes\" that has neither"),
            ("{ bytes = { hard = 5 } }", "\"hard\" that is not a string"),
            ("{ bytes = { hard = '0B' } }", "no bytes at all"),
            ("{ bytes = { soft = '2GiB', hard = '1GiB' } }", "soft limit above the hard one"),
            ("{ inodes = { hard = 0 } }", "\"hard\" that is below 1"),
            ("{ inodes = { soft = -1 } }", "\"soft\" that is below 1"),
            ("{ inodes = { soft = 1.5 } }", "\"soft\" that is not a whole number"),
            ("{ inodes = { hard = 1, firm = 2 } }", "\"firm\""),
            ("{ files = { hard = 1 } }", "\"files\"; there are bytes, inodes, grace"),
            ("{ inodes = { hard = 1 }, grace = 7 }", "\"grace\""),
            ("{ inodes = { hard = 1 }, grace = '3651d' }", "grace period above 3650d"),
        ] {
            let reason = parse(text).expect_err(text);
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
