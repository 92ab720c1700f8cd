//! What is asked about the history of a share, and what is answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FilePath, Moment};

/// The most changes in one page of a diff.
pub const DIFF_PAGE_MAX: usize = 10_000;

/// Retain the state of a share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// What people call it; unique in the share. Without one it is called by its time.
    #[serde(default)]
    pub name: Option<String>,
    /// Free words kept with it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A retained root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotInfo {
    /// Its id in the repository.
    pub id: String,
    /// What people call it, and its folder below `.snapshot`.
    pub name: String,
    /// When its content was frozen.
    pub frozen: Timestamp,
    /// The policy that took it; none if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Free words kept with it.
    pub tags: BTreeMap<String, String>,
    /// Inodes in it.
    pub files: u64,
    /// Their length in bytes, holes not counted.
    pub bytes: u64,
    /// Of one that was removed: until when the bin keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin_until: Option<Timestamp>,
}

/// Compare two moments of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// The earlier side.
    pub from: Moment,
    /// The later side.
    pub to: Moment,
    /// Only at and below this path.
    #[serde(default = "FilePath::root")]
    pub path: FilePath,
    /// Continue after this path: `next` of the page before.
    #[serde(default)]
    pub after: Option<FilePath>,
    /// At most so many changes, up to [`DIFF_PAGE_MAX`].
    #[serde(default = "diff_page_max")]
    pub limit: usize,
}

fn diff_page_max() -> usize {
    DIFF_PAGE_MAX
}

/// A page of differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffPage {
    /// In byte order of paths.
    pub changes: Vec<Change>,
    /// Where the next page begins, when there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FilePath>,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Only the later side has it.
    Added,
    /// Only the earlier side has it.
    Removed,
    /// Content or type differ.
    Modified,
    /// Only owner, mode, times or extended attributes differ.
    Attributes,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Where.
    pub path: FilePath,
    /// How.
    pub kind: ChangeKind,
    /// Length in bytes on the earlier side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_before: Option<u64>,
    /// Length in bytes on the later side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_after: Option<u64>,
}

/// Put a path of the live share back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The moment to take it from.
    pub from: Moment,
    /// What to put back: a file, or a directory with everything below it.
    pub path: FilePath,
    /// Whether files below the path that were not there at that moment go too.
    #[serde(default)]
    pub remove_newer: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreReport {
    /// Inodes put back.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Inodes that were as wanted already.
    pub unchanged: u64,
    /// Inodes removed.
    pub removed: u64,
}

/// Put a whole share back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The moment to go back to.
    pub to: Moment,
}

/// Hand a share over to another gateway, or take that back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverRequest {
    /// Whether it is taken back.
    #[serde(default)]
    pub take_back: bool,
}

/// What a rollback did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackReport {
    /// The state before, retained: the way back.
    pub before: SnapshotInfo,
    /// When the content was frozen that is served now.
    pub frozen: Timestamp,
}

/// Prepare a new share over a moment of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneRequest {
    /// The moment that becomes its base.
    pub from: Moment,
    /// The name of the new share.
    pub name: String,
}

/// What a clone made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloneReport {
    /// Name of the new share.
    pub name: String,
    /// Its id in the repository, in hex.
    pub id: String,
    /// When the content was frozen that it starts from.
    pub frozen: Timestamp,
}

/// What of a bucket's lifecycle rules is to be carried out now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleRequest {
    /// Change nothing; only say what would be done.
    pub dry_run: bool,
}

/// One thing that a lifecycle rule did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleStep {
    /// `expire`, `remove` (a version or delete marker, for ever) or `abort-upload`.
    pub action: String,
    /// The key.
    pub key: String,
    /// The version that is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the lifecycle rules of a bucket did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleReport {
    /// Objects, versions and delete markers that were looked at.
    pub looked_at: u64,
    /// Objects that expired.
    pub expired: u64,
    /// Versions and delete markers that were removed for ever.
    pub removed: u64,
    /// Uploads that were dropped.
    pub aborted: u64,
    /// What stayed because it is locked.
    pub locked: u64,
    /// What could not be done; the log says why.
    pub failed: u64,
    /// The first of what was done.
    pub steps: Vec<LifecycleStep>,
}

impl LifecycleReport {
    /// Counts a step, and names it if fewer than `steps_max` are named.
    pub fn count(&mut self, step: LifecycleStep, steps_max: usize) {
        match step.action.as_str() {
            "expire" => self.expired += 1,
            "remove" => self.removed += 1,
            _ => self.aborted += 1,
        }
        if self.steps.len() < steps_max {
            self.steps.push(step);
        }
    }
}

/// Lead the repository from another target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The one that leads now is not to be waited for.
    #[serde(default)]
    pub lead_is_lost: bool,
}

/// What a promotion did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromoteReport {
    /// The target that leads now.
    pub lead: String,
    /// The target that led before.
    pub led_before: String,
}

/// What a collection of garbage found, and deletes unless it was a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectionReport {
    /// Whether it was only looked.
    pub dry_run: bool,
    /// Packs that there are.
    pub packs: u64,
    /// Their length in bytes.
    pub pack_bytes: u64,
    /// Packs that nothing retained reaches and that are old enough to go.
    pub condemned: u64,
    /// Their length in bytes.
    pub condemned_bytes: u64,
    /// Packs of which little is alive, that are stored anew without the rest.
    pub sparse: u64,
    /// Packs that nothing reaches, and that were stored too recently.
    pub deferred: u64,
    /// Packs that nothing reaches, and whose locks have not ended.
    pub held: u64,
}
