//! A point in the history of a share, as people write it.
//!
//! ```text
//! live                       what clients see now (not yet published changes included)
//! head                       the newest published head
//! head:NAME                  that head
//! snapshot:NAME              that snapshot, by name or id
//! at:2026-11-20T14:05:00Z    the newest head or snapshot not after that time
//! 2026-11-20 14:05           the same; seconds, and `at:`, may be left out
//! ```
//!
//! A time without a zone is UTC. Zones are offsets (`2026-11-20T14:05+01:00`) or names
//! (`2026-11-20T14:05[Europe/Berlin]`).

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name of a head or snapshot, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A point in the history of a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// What clients see now.
    Live,
    /// The newest published head.
    NewestHead,
    /// The head of that name.
    Head(String),
    /// The snapshot of that name or id.
    Snapshot(String),
    /// The newest head or snapshot that is not after that time.
    At(Timestamp),
}

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no moment; write live, head, head:NAME, snapshot:NAME or at:TIME, \
     with TIME such as 2026-11-20T14:05:00Z, \"2026-11-20 14:05\" (UTC) or 2026-11-20T14:05[Europe/Berlin]"
)]
pub struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let refuse = || MomentError(text.to_owned());
        let name = |name: &str| match name.len() {
            1..=NAME_BYTES_MAX if !name.contains(|letter: char| letter.is_control()) => Ok(name.to_owned()),
            _ => Err(refuse()),
        };
        match text.split_once(':') {
            None if text == "live" => Ok(Self::Live),
            None if text == "head" => Ok(Self::NewestHead),
            Some(("head", head)) => name(head).map(Self::Head),
            Some(("snapshot", snapshot)) => name(snapshot).map(Self::Snapshot),
            Some(("at", time)) => time_of(time).map(Self::At).ok_or_else(refuse),
            None | Some(_) => time_of(text).map(Self::At).ok_or_else(refuse),
        }
    }
}

/// A time as people write it; without a zone it is UTC.
fn time_of(text: &str) -> Option<Timestamp> {
    if !text.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<Zoned>() {
        return Some(time.timestamp());
    }
    let time = text.parse::<DateTime>().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::NewestHead => f.write_str("head"),
            Self::Head(name) => write!(f, "head:{name}"),
            Self::Snapshot(name) => write!(f, "snapshot:{name}"),
            Self::At(time) => write!(f, "at:{time}"),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = MomentError;

    fn try_from(text: String) -> Result<Self, MomentError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_round_trips() {
        for text in ["live", "head", "head:ffff-1", "snapshot:before upgrade", "at:2026-11-20T14:05:00Z"] {
            let moment: Moment = text.parse().expect(text);
            assert_eq!(moment.to_string(), text);
        }
    }

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        for (text, meant) in [
            ("2026-11-20 14:05", "2026-11-20T14:05:00Z"),
            ("at:2026-11-20T14:05", "2026-11-20T14:05:00Z"),
            ("2026-11-20T14:05:07.5Z", "2026-11-20T14:05:07.5Z"),
            ("2026-11-20 14:05+01:00", "2026-11-20T13:05:00Z"),
            ("2026-11-20T14:05[America/New_York]", "2026-11-20T19:05:00Z"),
        ] {
            let moment: Moment = text.parse().expect(text);
            assert_eq!(moment, Moment::At(meant.parse().expect("a time")), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms_that_exist() {
        for text in ["", "now", "head:", "snapshot:", "at:", "at:noon", "tag:x", "head:\n"] {
            let error = text.parse::<Moment>().expect_err(text).to_string();
            assert!(error.contains("snapshot:NAME"), "{error}");
        }
    }
}
