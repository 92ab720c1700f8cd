//! What keeps a gateway of a simulation from going on: text for the trace, and whether it speaks of damage, of which there is
//! none unless a test has made some.

use std::error::Error;

/// See the head of this module.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) text: String,
    /// Somebody else leads.
    pub(super) superseded: bool,
}

pub(super) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), superseded: false }
    }

    pub(super) fn superseded(by: impl std::fmt::Display) -> Self {
        Self { text: format!("superseded by {by}"), superseded: true }
    }

    /// Whether it says that something is not as it should be, whatever the network does.
    pub(super) fn is_damage(&self) -> bool {
        ["damaged", "does not open", "cannot be read"].iter().any(|word| self.text.contains(word))
    }
}

impl<E: Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        // Names of temporary files are the system's.
        let known = |word: &&str| !word.contains("/.tmp") && !word.contains("tidegate-simulation");
        Self::new(text.split(' ').filter(known).collect::<Vec<_>>().join(" "))
    }
}
