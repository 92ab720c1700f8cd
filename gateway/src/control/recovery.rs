//! What is told of recovery: how long it would take, and warming.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long it would take to have everything again, from nothing but the repository and its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryPlan {
    /// The link that it is reckoned with; absent while none was measured: then there are no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<RecoveryLink>,
    /// By name.
    pub shares: Vec<ShareRecovery>,
    /// Why nothing can be said of times although the link is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
}

/// What is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRequest {
    /// Only this share.
    #[serde(default)]
    pub share: Option<String>,
    /// Measure the link first.
    #[serde(default)]
    pub measure: bool,
}

/// A link as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryLink {
    /// To which target.
    pub target: String,
    /// The time of an answer without a body, in milliseconds.
    pub latency_ms: f64,
    /// Bytes per second that come down.
    pub bytes_per_second: u64,
    /// Requests that run at once.
    pub requests_max: u64,
    /// Bytes per second that the disk takes; absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_second: Option<u64>,
    /// When it was measured; absent where it was given by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Timestamp>,
}

/// How long it would take to have one share again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShareRecovery {
    /// The share.
    pub share: String,
    /// From which state: when that was frozen.
    pub frozen: Timestamp,
    /// How old it is, in seconds: what would be lost at most.
    pub age_seconds: u64,
    /// How old it may become, in seconds; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<u64>,
    /// To the first byte that a client reads.
    pub first: RecoveryStage,
    /// To what was used lately, the first byte included.
    pub hot: RecoveryStage,
    /// To everything, the first byte included.
    pub whole: RecoveryStage,
    /// Whether somebody has accepted that the objectives may not be kept.
    #[serde(default)]
    pub accept_risk: bool,
    /// Which objectives cannot be kept, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

impl ShareRecovery {
    /// The stages, in order.
    pub fn stages(&self) -> [(&'static str, &RecoveryStage); 3] {
        [("first", &self.first), ("hot", &self.hot), ("whole", &self.whole)]
    }
}

/// One stage of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryStage {
    /// Bytes that come from the store.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// How long it takes; absent without a link that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What most of that is: `latency`, `link`, `disk`, `opening`, `waiting` or `thawing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// What the store charges, by the prices of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// How long it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_seconds: Option<u64>,
    /// Whether it does; absent without an objective or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_kept: Option<bool>,
    /// Bytes of it that sleep in the archive of the store, at most.
    #[serde(default)]
    pub asleep_bytes: u64,
    /// How long of the time the store thaws them, at most; absent where nothing sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw_seconds: Option<f64>,
}

/// Bring a share here before it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmRequest {
    /// Everything, not only what was used lately.
    #[serde(default)]
    pub all: bool,
}

/// How far the warming of a share is that goes on by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmProgress {
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes that are wanted.
    pub total_bytes: u64,
}

/// What warming has brought here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmDone {
    /// Requests to the store.
    pub requests: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Ranges that were here before.
    pub here: u64,
    /// Ranges that are in the store no more.
    pub gone: u64,
    /// Ranges of packs that sleep in the archive of the store.
    #[serde(default)]
    pub asleep: u64,
    /// Whether it ended because the cache has no more room.
    pub is_full: bool,
}
