//! One look at one thing.

use std::time::Duration;

use crate::control::{AlarmCode, Severity};

/// How a thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as an alarm says.
    Wrong {
        /// How urgent that is.
        severity: Severity,
        /// How long it must be so before it is an alarm.
        after: Duration,
        /// What is wrong, with the numbers of the moment.
        message: String,
        /// What to do.
        todo: String,
    },
    /// Between wrong and right, or not to be told: what was said stays.
    Between,
    /// It is as it should be.
    Right,
}

/// See the head of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What kind of thing.
    pub code: AlarmCode,
    /// Which one.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
}

impl Reading {
    /// A reading of this thing.
    pub fn new(code: AlarmCode, subject: impl Into<String>, verdict: Verdict) -> Self {
        Self { code, subject: subject.into(), verdict }
    }
}
