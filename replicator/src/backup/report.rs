//! What a backup did.

use serde::{Deserialize, Serialize};

use crate::frozen::path_text;

/// Paths that a report names at most, of each kind; all are counted.
pub const LEFT_OUT_MAX: usize = 1_000;

/// A path, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The path in the source, as text (see [`path_text`]).
    pub path: String,
    /// Why it is not there, or not as it should be.
    pub why: String,
}

/// See the head of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Names that the source has.
    pub names: u64,
    /// Files and folders that were new.
    pub new: u64,
    /// Files and folders that are not as they were.
    pub changed: u64,
    /// Files and folders that are gone.
    pub gone: u64,
    /// Files that were not read, for nothing says that they changed.
    pub not_read: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Names that could not be read and are left out.
    pub left_out: u64,
    /// Files that changed while they were read, or had less data than they said, and are saved as torn as they came.
    pub torn: u64,
    /// What was left out, up to [`LEFT_OUT_MAX`].
    pub left_out_paths: Vec<LeftOut>,
    /// What is torn, up to [`LEFT_OUT_MAX`].
    pub torn_paths: Vec<LeftOut>,
    /// The first that is not there at all.
    #[serde(skip)]
    pub(super) first_missing: Option<LeftOut>,
}

impl Report {
    pub(super) fn leave_out(&mut self, path: &[u8], why: impl Into<String>) {
        let why = why.into();
        self.first_missing.get_or_insert_with(|| left_out(path, why.clone()));
        self.leave_part_out(path, why);
    }

    /// Something is there, and lacks something.
    pub(super) fn leave_part_out(&mut self, path: &[u8], why: impl Into<String>) {
        self.left_out += 1;
        note(&mut self.left_out_paths, path, why.into());
    }

    pub(super) fn tear(&mut self, path: &[u8]) {
        self.torn += 1;
        let why = "it changed while it was read, or had less data than it said";
        note(&mut self.torn_paths, path, why.to_owned());
    }
}

fn note(list: &mut Vec<LeftOut>, path: &[u8], why: String) {
    if list.len() < LEFT_OUT_MAX {
        list.push(left_out(path, why));
    }
}

fn left_out(path: &[u8], why: String) -> LeftOut {
    LeftOut { path: path_text(&[b"/", path].concat()), why }
}
