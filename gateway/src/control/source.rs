//! What is asked about sources of backup, and what is answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::requests::SnapshotInfo;

/// A source, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What it saves, for people.
    pub what: String,
    /// The policies that save it.
    pub policies: Vec<String>,
    /// Whether it is being saved now.
    pub running: bool,
    /// The last run since the gateway began to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<SourceRun>,
}

/// A source and what is there of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceDetails {
    /// The source.
    pub status: SourceStatus,
    /// Its snapshots, newest first.
    pub snapshots: Vec<SnapshotInfo>,
}

/// Save a source now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceRunRequest {
    /// Free words kept with the snapshot.
    pub tags: BTreeMap<String, String>,
    /// Read everything, also what does not look changed.
    pub rescan: bool,
    /// Save it also when there is nothing in it.
    pub allow_empty: bool,
    /// Go on with what another gateway has saved under this name; that one saves it no more.
    pub take_over: bool,
}

/// A path, and why it is not saved as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathTrouble {
    /// The path in the source; what is no letter is written as `\xHH`.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SourceRun {
    /// The source.
    pub source: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The id of the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Names that the source has.
    pub names: u64,
    /// Files and folders that are new.
    pub new: u64,
    /// Files and folders that are not as they were.
    pub changed: u64,
    /// Files and folders that are gone.
    pub gone: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes of them that no earlier state, of whatever share or source, had.
    pub bytes_new: u64,
    /// What those became by compression.
    pub bytes_stored: u64,
    /// Bytes that went to the store.
    pub bytes_uploaded: u64,
    /// Names that could not be read, and are missing.
    pub left_out: u64,
    /// Files that changed while they were read.
    pub torn: u64,
    /// What is missing, the first of it.
    pub left_out_paths: Vec<PathTrouble>,
    /// What changed while it was read, the first of it.
    pub torn_paths: Vec<PathTrouble>,
    /// Why there is no snapshot, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SourceRun {
    /// What the snapshot lacks, for people; none if it is whole.
    pub fn lacks(&self) -> Option<String> {
        let first = self.left_out_paths.first()?;
        let more = if self.left_out > 1 { " and others" } else { "" };
        Some(format!("{} names could not be read: {}: {}{more}", self.left_out, first.path, first.why))
    }
}
