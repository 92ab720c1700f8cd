//! A point in the history of a share, as people write it.
//!
//! ```text
//! live                       what clients see now (not yet published changes included)
//! head                       the newest published head
//! head:NAME                  that head
//! snapshot:NAME              that snapshot, by name or id
//! at:2026-11-20T14:05:00Z    the newest head or snapshot not after that time
//! ```

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest name of a head or snapshot, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A point in the history of a share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
     with TIME such as 2026-11-20T14:05:00Z"
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
            Some(("at", time)) => time.parse().map(Self::At).map_err(|_| refuse()),
            None | Some(_) => Err(refuse()),
        }
    }
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
    fn anything_else_is_refused_with_the_forms_that_exist() {
        for text in ["", "now", "head:", "snapshot:", "at:", "at:noon", "tag:x", "head:\n"] {
            let error = text.parse::<Moment>().expect_err(text).to_string();
            assert!(error.contains("snapshot:NAME"), "{error}");
        }
    }
}
