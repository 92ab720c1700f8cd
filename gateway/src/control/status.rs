//! The state of a running gateway as plain data: what `tidegate status` and the overview show.
//!
//! Times are UTC; ages and sizes are seconds and bytes at the moment of the answer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Alarm, LinkStatus, PolicyStatus, ScrubHealth, ShareRecovery, WarmProgress};

/// Everything an overview needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the running binary.
    pub version: String,
    /// When this process began to serve.
    pub started: Timestamp,
    /// How long ago that was, in seconds.
    pub uptime_seconds: u64,
    /// In the order of the settings.
    pub shares: Vec<ShareStatus>,
    /// In the order of the settings.
    pub targets: Vec<TargetStatus>,
    /// By name.
    #[serde(default)]
    pub policies: Vec<PolicyStatus>,
    /// What is missing or damaged on the target and has no copy: parts of packs.
    #[serde(default)]
    pub lost_parts: u64,
    /// How the scrub goes by the clock.
    #[serde(default)]
    pub scrub: ScrubHealth,
    /// Local packs and memory.
    pub cache: CacheStatus,
    /// The local log.
    pub journal: JournalStatus,
    /// Memory of the process.
    pub memory: MemoryStatus,
    /// The last collection of garbage since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionStatus>,
    /// Objects of the repository that hold keys and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_keys: Vec<String>,
    /// What is wrong now, the most urgent first; empty when all is well.
    pub alarms: Vec<Alarm>,
}

/// How a collection of garbage ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectionStatus {
    /// When.
    pub ended: Timestamp,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a share is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShareState {
    /// Serves reads and writes, publishes heads.
    Serving,
    /// Serves reads; the settings say so.
    ReadOnly,
    /// Serves the newest head of another gateway, and follows it.
    Following,
    /// Writes wait: the dirty budget is used up.
    Full,
    /// Another gateway leads; this one keeps what it had not published as a branch.
    Superseded,
    /// Not served; `reason` says why.
    Failed,
}

impl ShareState {
    /// As it is written in JSON and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::ReadOnly => "read-only",
            Self::Following => "following",
            Self::Full => "full",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }
}

/// One share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShareStatus {
    /// Its name in the settings.
    pub name: String,
    /// Its id in the repository, in hex.
    pub id: String,
    /// The path that NFS clients mount.
    pub export: String,
    /// What it is doing.
    pub state: ShareState,
    /// Why, when that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of clients' handles when the share was attached, or joined its line again, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<String>,
    /// The recovery point objective, in seconds.
    pub rpo_seconds: u64,
    /// What would be lost now: age of the oldest acknowledged change that no head has; 0 when none.
    pub rpo_now_seconds: u64,
    /// Bytes that were acknowledged and are in no head yet.
    pub dirty_bytes: u64,
    /// The newest published head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadInfo>,
    /// Files, directories and all other inodes.
    pub files: u64,
    /// Their length in bytes, holes not counted.
    pub bytes: u64,
    /// What they may use; absent when the settings set no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
    /// How long recovery would take elsewhere; absent while that was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<ShareRecovery>,
    /// How far its warming is; absent while none goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warming: Option<WarmProgress>,
}

/// The quota of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaStatus {
    /// Of [`ShareStatus::bytes`].
    pub bytes: LimitStatus,
    /// Of [`ShareStatus::files`].
    pub files: LimitStatus,
    /// How long a soft limit may be exceeded before it counts as a hard one, in seconds.
    pub grace_seconds: u64,
}

/// Limits of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitStatus {
    /// May be exceeded for as long as the grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<u64>,
    /// Is never exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
    /// Since when more than the soft limit has been used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_soft_since: Option<Timestamp>,
    /// The grace period is over: the soft limit counts as a hard one.
    #[serde(default)]
    pub grace_is_over: bool,
}

/// A published root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadInfo {
    /// Its name in the store; sorts newest first.
    pub name: String,
    /// Position in the share's line of heads.
    pub sequence: u64,
    /// Epoch of the leader that published it.
    pub epoch: u64,
    /// When its content was frozen: everything acknowledged before is in it.
    pub frozen: Timestamp,
    /// How long ago that was, in seconds.
    pub age_seconds: u64,
    /// What publishing it took.
    #[serde(default)]
    pub cost: HeadCost,
}

/// What one commit did, from freeze to published head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadCost {
    /// Map entries that changed.
    pub entries: u64,
    /// File data that was cut, in bytes.
    pub bytes_in: u64,
    /// The part of it that was new, in bytes.
    pub bytes_unique: u64,
    /// What the new part became by compression, in bytes.
    pub bytes_compressed: u64,
    /// Packs that went to the store, in bytes; those of the tree too.
    pub bytes_uploaded: u64,
    /// Objects that went to the store.
    pub objects: u64,
    /// How long it took.
    pub milliseconds: u64,
}

/// One target of the repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetStatus {
    /// Its name in the settings.
    pub name: String,
    /// Scheme, bucket and prefix; never a credential.
    pub address: String,
    /// Whether the repository is led from it; otherwise it is a copy.
    pub leads: bool,
    /// Whether the last reads and writes there succeeded.
    pub reachable: bool,
    /// How far it is behind the lead, in seconds: the age of its newest head of the share that is furthest behind;
    /// of one that has been away since the start, and is owed something, the time since then; none while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<u64>,
    /// What is in its way, for people: shares that are not copied, packs that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
    /// Bytes in local packs that it lacks.
    pub backlog_bytes: u64,
    /// The number of those packs.
    pub backlog_packs: u64,
    /// Bytes sent since the start.
    pub uploaded_bytes: u64,
    /// In how many seconds it will have what it lacks now, by the speed of the last minute and the rates that the
    /// calendar will allow; absent while nothing moves, or the end is not in sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_seconds: Option<u64>,
    /// The link to it.
    #[serde(default)]
    pub link: LinkStatus,
    /// What it has charged since it was opened, where the settings have its prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<SpentStatus>,
    /// The last failed call, while it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<StoreFailure>,
    /// How far its clock is ahead of this machine's, in milliseconds and to about two seconds, if it tells the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// How objects are locked there, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockStatus>,
    /// The newest head of each share there, by share. Of the target that leads: of the shares served here. Of a copy: of every
    /// share, as its last pass left it; none of a share of which that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<TargetHead>,
}

/// The newest head of a share on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetHead {
    /// The share, as the repository calls it.
    pub share: String,
    /// Its name in the store; sorts newest first.
    pub name: String,
    /// Position in the share's line of heads.
    pub sequence: u64,
    /// Epoch of the leader that published it.
    pub epoch: u64,
    /// When its content was frozen: everything acknowledged before is in it.
    pub frozen: Timestamp,
    /// How long ago that was, in seconds.
    pub age_seconds: u64,
}

/// What a target has charged since its store was opened, by the prices of the settings: each request by those that stood when it
/// was first counted. A request counts once it has ended, each attempt by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpentStatus {
    /// For requests, in millionths of the currency.
    pub requests_millionths: u64,
    /// For bytes that left it, in millionths of the currency.
    pub bytes_millionths: u64,
    /// The currency.
    pub currency: String,
}

/// How the objects of a target are locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockStatus {
    /// `compliance` or `governance`.
    pub mode: String,
    /// For how many days what is needed is locked at least.
    pub days: u32,
    /// When the locks of everything that is needed were last extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Timestamp>,
    /// What went wrong in the newest round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why what is needed may be locked for a shorter time, for people: no round has ended in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<String>,
}

/// A failed call to a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreFailure {
    /// When.
    pub at: Timestamp,
    /// What failed and why.
    pub message: String,
}

/// Local packs and memory that hold what the repository has too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheStatus {
    /// Bytes of uploaded packs and of frames gathered from the store, on the disk.
    pub disk_bytes: u64,
    /// Bound of those.
    pub disk_bytes_max: u64,
    /// Bytes of opened chunks in memory.
    pub memory_bytes: u64,
    /// Bound of those.
    pub memory_bytes_max: u64,
    /// Bytes that only this machine has: journal and packs not yet on a target.
    pub dirty_bytes: u64,
    /// Bound of those; writers slow down from 70 % of it and wait at 100 %.
    pub dirty_bytes_max: u64,
    /// The part that is used, in percent, of that bound or of what disk and memory allow: whichever is more.
    #[serde(default)]
    pub dirty_percent: u64,
    /// Frames read from memory or disk since the start.
    pub hits: u64,
    /// Frames that had to come from the store since the start.
    pub misses: u64,
}

/// The local log of acknowledged changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalStatus {
    /// Its segment files.
    pub segments: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// The newest durable record.
    pub durable_sequence: u64,
    /// The newest record that the map has.
    pub applied_sequence: u64,
    /// Free bytes of the file system that it lies on.
    pub free_bytes: u64,
    /// Bytes of those that are kept for making room.
    #[serde(default)]
    pub reserve_bytes: u64,
}

/// Memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStatus {
    /// The budget in the settings, in bytes.
    pub budget_bytes: u64,
    /// Resident now, in bytes.
    pub resident_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub peak_bytes: u64,
}
