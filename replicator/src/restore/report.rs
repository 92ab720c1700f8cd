//! What a restore did, and what it could not do.

use serde::Serialize;

use crate::frozen::path_text;

/// Failures that are kept; with more the restore is given up.
pub const FAILURES_MAX: usize = 100_000;

/// A path that is not, or not wholly, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The path in the share, as text.
    pub path: String,
    /// What is missing, and why.
    pub why: String,
    /// Whether stored data is missing or damaged; else this machine did not take it.
    pub damaged: bool,
}

impl Failure {
    pub(super) fn damaged(path: &[u8], why: impl Into<String>) -> Self {
        Self { path: path_text(path), why: why.into(), damaged: true }
    }

    pub(super) fn local(path: &[u8], why: impl Into<String>) -> Self {
        Self { path: path_text(path), why: why.into(), damaged: false }
    }
}

/// What was done in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Names that were made, folders not counted.
    pub files: u64,
    /// Folders that were made or found.
    pub folders: u64,
    /// Bytes of file data that were written.
    pub bytes: u64,
    /// Names that an earlier run had restored.
    pub files_before: u64,
    /// Whether owners were left as they are, since only root can give files away.
    pub owners_kept: bool,
    /// Files whose set-id bits were left out, since they would stand with another owner.
    pub set_id_dropped: u64,
    /// What is not as it was.
    pub failures: Vec<Failure>,
    /// Attributes that this machine did not take, beyond those that are named among the failures: of files that are there.
    pub lapses_unnamed: u64,
}

impl RestoreReport {
    /// Whether everything is as it was.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.lapses_unnamed == 0
    }

    /// Whether stored data was found missing or damaged.
    pub fn has_damage(&self) -> bool {
        self.failures.iter().any(|failure| failure.damaged)
    }
}
