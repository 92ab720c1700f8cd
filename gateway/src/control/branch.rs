//! What is asked about branches of a share and about going back, and what is answered.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Change, ChangeKind, ControlError, DIFF_PAGE_MAX, FilePath, JobHandle};

/// The most paths that a report names.
pub const PATHS_NAMED_MAX: usize = 100;

/// A state of a share that its line does not go on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchInfo {
    /// What it is called.
    pub name: String,
    /// Its id in the repository.
    pub id: String,
    /// The host whose state it is; empty if that is not known.
    pub site: String,
    /// Why it is there: `superseded`, `passed-over` or `fork`.
    pub cause: String,
    /// When it was made.
    pub made: Timestamp,
    /// When its content was frozen.
    pub frozen: Timestamp,
    /// The head of the line that it left from, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestor: Option<String>,
    /// Inodes in it.
    pub files: u64,
    /// Their length in bytes, holes not counted.
    pub bytes: u64,
    /// Pieces of files that were lost before it could be made.
    #[serde(default)]
    pub lacks: u64,
}

/// Compare a branch with the share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchDiffRequest {
    /// Only at and below this path.
    #[serde(default = "FilePath::root")]
    pub path: FilePath,
    /// Continue after this path: `next` of the page before.
    #[serde(default)]
    pub after: Option<FilePath>,
    /// At most so many changes, up to [`DIFF_PAGE_MAX`].
    #[serde(default = "page_max")]
    pub limit: usize,
}

impl Default for BranchDiffRequest {
    fn default() -> Self {
        Self { path: FilePath::root(), after: None, limit: DIFF_PAGE_MAX }
    }
}

fn page_max() -> usize {
    DIFF_PAGE_MAX
}

/// How what a branch has changed stands towards the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The share is as it was when the branch left: it can be applied.
    Clean,
    /// The share has changed it too.
    Conflict,
    /// The share has it already.
    Applied,
}

/// What a branch has changed at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchChange {
    /// What the branch did since it left the line.
    #[serde(flatten)]
    pub change: Change,
    /// How that stands towards the share.
    pub against: Against,
    /// In a conflict: what the share did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<ChangeKind>,
}

/// A page of what a branch has and the share has not, or not so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchDiffPage {
    /// A directory before what is in it, names in byte order.
    pub changes: Vec<BranchChange>,
    /// Where the next page begins, when there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FilePath>,
}

/// What becomes of a path that both sides have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnConflict {
    /// Nothing is applied while there is one.
    #[default]
    Refuse,
    /// What the share has stays.
    Ours,
    /// What the branch has takes its place.
    Theirs,
    /// What the branch has goes beside it, under a name that says so.
    Beside,
}

/// Bring what a branch has changed into the share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchApplyRequest {
    /// Only at and below these paths; empty: everything.
    #[serde(default)]
    pub paths: Vec<FilePath>,
    /// What becomes of what both have changed.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an apply did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchApplyReport {
    /// Files, directories and other inodes that were put in place.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Names that were removed.
    pub removed: u64,
    /// Paths that the share had already as the branch has them.
    pub unchanged: u64,
    /// Paths that both sides had changed.
    pub conflicts: u64,
    /// Those of them where what the share has stayed alone.
    pub kept: u64,
    /// Those where what the branch has lies beside.
    pub beside: u64,
    /// The first conflicts, at most [`PATHS_NAMED_MAX`].
    pub named: Vec<FilePath>,
}

/// How a share joins its line again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RejoinRequest {
    /// Lead it; else follow.
    pub lead: bool,
    /// Lead it whoever else does.
    pub take_over: bool,
}

/// How a share has joined its line again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejoinReport {
    /// Its id in the repository.
    pub id: String,
    /// The head that it stands over.
    pub head: String,
    /// Whether it follows; else it leads.
    pub follows: bool,
    /// The branch that keeps what was here beyond the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What became of the handles of before, and why.
    pub handles: String,
}

/// What it would take to go back to this site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailbackPlan {
    /// The share.
    pub share: String,
    /// The head that what is here stands over; none if nothing of the share is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
    /// The newest head.
    pub newest: String,
    /// When it was frozen.
    pub frozen: Timestamp,
    /// The host that leads now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Whether this gateway leads already.
    pub leads: bool,
    /// Whether the share was handed over: nothing is lost then, and handles stay valid.
    pub handed_over: bool,
    /// Inodes that differ.
    pub inodes: u64,
    /// File data that is new or changed, in bytes.
    pub bytes: u64,
    /// Of that, frames that must come from the store.
    pub fetch_frames: u64,
    /// Their length in bytes.
    pub fetch_bytes: u64,
    /// Packs that they lie in.
    pub fetch_packs: u64,
    /// Bytes of frames that are here already.
    pub here_bytes: u64,
    /// Whether more may be counted than there is.
    #[serde(default)]
    pub at_most: bool,
    /// How long the fetch takes at the speed that was measured last; none when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_seconds: Option<u64>,
    /// Branches of the share that nobody has removed yet.
    pub branches: Vec<String>,
    /// The first paths that differ, at most [`PATHS_NAMED_MAX`].
    pub changes: Vec<Change>,
    /// What is to be done, in order.
    pub steps: Vec<String>,
}

/// What a gateway knows of branches, and how its shares join their lines again.
#[async_trait]
pub trait Branching: Send + Sync + 'static {
    /// The branches of a share of the repository, oldest first.
    async fn branches(&self, share: &str) -> Result<Vec<BranchInfo>, ControlError>;

    /// What a branch has changed since it left the line, and how that stands towards the share, page by page.
    async fn branch_diff(
        &self,
        share: &str,
        branch: &str,
        request: &BranchDiffRequest,
    ) -> Result<BranchDiffPage, ControlError>;

    /// Brings what a branch has changed into the share, as ordinary changes. What is done stays when it is stopped; running
    /// it again goes on.
    async fn branch_apply(
        &self,
        share: &str,
        branch: &str,
        request: &BranchApplyRequest,
        job: &JobHandle,
    ) -> Result<BranchApplyReport, ControlError>;

    /// Stops keeping a branch.
    async fn branch_remove(&self, share: &str, branch: &str) -> Result<BranchInfo, ControlError>;

    /// Has a share that somebody else leads join its line again, as follower or leader.
    async fn rejoin(
        &self,
        share: &str,
        request: &RejoinRequest,
        job: &JobHandle,
    ) -> Result<RejoinReport, ControlError>;

    /// What it would take to serve the newest head of a share from here.
    async fn failback_plan(&self, share: &str) -> Result<FailbackPlan, ControlError>;
}
