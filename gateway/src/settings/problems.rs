//! What is wrong with a settings file: all of it, each with key, line, value and what is allowed.
//!
//! Values of secrets never get here: their reader describes the wrong value without showing it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// The most problems that are listed; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `share.docs.rpo`, or empty for the file as a whole.
    pub key: String,
    /// Line in the file, from 1; `None` when there is no file or no line.
    pub line: Option<usize>,
    /// The value, why it is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
        }
        if let Some(line) = self.line {
            write!(f, "{}line {line}", if self.key.is_empty() { "" } else { ", " })?;
        }
        if !self.key.is_empty() || self.line.is_some() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// Settings that cannot be used. Nothing was changed or started because of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// At least one, in the order of the file as far as possible.
    pub problems: Vec<Problem>,
}

impl SettingsError {
    /// An error about the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        let problem = Problem { key: String::new(), line: None, message: message.into() };
        Self { file: None, problems: vec![problem] }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn of_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "the settings in {} cannot be used:", file.display())?,
            None => f.write_str("these settings cannot be used:")?,
        }
        for problem in self.problems.iter().take(PROBLEMS_SHOWN_MAX) {
            write!(f, "\n  {problem}")?;
        }
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Collects problems while a text is read.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a problem at a key and, if known, at a place in the text (in bytes).
    pub(super) fn add(&mut self, key: &str, place: Option<Range<usize>>, message: impl Into<String>) {
        let line = place.and_then(|place| self.text.get(..place.start)).map(line_after);
        self.found.push(Problem { key: key.to_owned(), line, message: message.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_error(mut self) -> SettingsError {
        self.found.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        SettingsError { file: None, problems: self.found }
    }
}

/// The number of the line on which the text after `before` begins.
fn line_after(before: &str) -> usize {
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_the_file_with_their_lines() {
        let mut problems = Problems::new("a = 1\nb = 2\n");
        problems.add("c", None, "is missing");
        problems.add("b", Some(6..7), "is odd");
        problems.add("a", Some(0..1), "is even");
        let text = problems.into_error().of_file("/x.toml").to_string();
        assert_eq!(
            text,
            "the settings in /x.toml cannot be used:\n  a, line 1: is even\n  b, line 2: is odd\n  c: is missing"
        );
    }

    #[test]
    fn a_flood_of_problems_is_cut() {
        let mut problems = Problems::new("");
        (0..60).for_each(|_| problems.add("k", None, "is wrong"));
        assert!(problems.into_error().to_string().ends_with("and 10 more"));
    }
}
