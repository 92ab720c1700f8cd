//! What is asked about policies, and what is answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// The shares and sources that it takes snapshots of.
    pub shares: Vec<String>,
    /// When it runs, for people.
    pub when: String,
    /// When the next run begins; a run that failed is tried again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When the earliest run that has not been done was, or is, to begin; tries after a failure do not move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Whether it runs now.
    pub running: bool,
    /// When all its shares last had a snapshot of it: the oldest of their newest ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// The last run since the gateway began to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<PolicyRun>,
    /// Runs that failed since the gateway began to serve.
    pub failures: u64,
    /// Snapshots that it has taken and that are kept, of all its shares.
    pub snapshots: u64,
    /// What the newest snapshots of its sources lack, by the name of the source; none of those that are whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lacks: BTreeMap<String, String>,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRun {
    /// The policy.
    pub policy: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Its shares, in the order of the settings; a run that makes up for a failed one has those that failed.
    pub shares: Vec<PolicyShareRun>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run did for one share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyShareRun {
    /// The share.
    pub share: String,
    /// What the snapshot lacks, if it lacks something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// The id of the snapshot that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The ids of the snapshots that the rules kept no more.
    pub forgotten: Vec<String>,
    /// How many snapshots of the policy the share has then.
    pub kept: u64,
    /// What failed, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Run a policy now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRunRequest {
    /// Free words kept with the snapshots.
    pub tags: BTreeMap<String, String>,
}

/// A policy and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDetails {
    /// The policy.
    pub status: PolicyStatus,
    /// When the next runs begin, if none fails.
    pub next_runs: Vec<Timestamp>,
    /// Its snapshots, by share, newest first.
    pub snapshots: Vec<PolicySnapshot>,
}

/// A snapshot of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySnapshot {
    /// The share.
    pub share: String,
    /// Its id in the repository.
    pub id: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// The rules that keep it now; without any it goes with the next run.
    pub kept_by: Vec<String>,
}

/// The longest time that is simulated, in days.
pub const SIMULATED_DAYS_MAX: u32 = 3_660;

/// Say what a policy would keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySimulationRequest {
    /// When it begins; without it now.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// How long it goes on, in days from 1 to [`SIMULATED_DAYS_MAX`].
    #[serde(default = "one_year")]
    pub days: u32,
}

fn one_year() -> u32 {
    365
}

/// What a policy would keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySimulation {
    /// The policy.
    pub policy: String,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// How often it would run.
    pub runs: u64,
    /// The most snapshots of a share after a run.
    pub most: usize,
    /// What would be kept of each share in the end, newest first.
    pub kept: Vec<SimulatedSnapshot>,
}

/// A snapshot that would be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedSnapshot {
    /// When it would be taken.
    pub taken: Timestamp,
    /// The rules that would keep it.
    pub kept_by: Vec<String>,
}
