//! Whether this machine can run the gateway that its settings describe: what `tidegate doctor` looks at.
//!
//! Each check looks at one thing, changes nothing but a file of its own that it removes, and says what it
//! found and what to do. A check that cannot be made says so; none keeps the others from being made. Nothing here
//! needs a running gateway; where one runs, what only it can know (its ports, its folder) is not held against it.

mod disk;
mod encryption;
mod machine;
mod ports;
mod stores;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and may not for long or not well.
    Warning,
    /// The gateway cannot do its work like this.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// In a sentence, without a secret.
    pub found: String,
    /// What to do, where something is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict, found: found.into(), todo: None }
    }

    /// As it should be.
    pub fn good(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Good, check, found)
    }

    fn warning(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, check, found)
    }

    /// In the way.
    pub fn wrong(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Wrong, check, found)
    }

    /// With what to do.
    #[must_use]
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}

/// Looks at everything. `is_running`: whether a gateway answers on the socket of these settings.
pub async fn examine(settings: &Settings, is_running: bool) -> Vec<Finding> {
    let mut findings = machine::examine();
    findings.extend(disk::examine(settings));
    findings.extend(encryption::examine(settings));
    findings.extend(ports::examine(settings, is_running));
    findings.extend(stores::examine(settings).await);
    findings
}

/// The whole chain of causes in a sentence.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
