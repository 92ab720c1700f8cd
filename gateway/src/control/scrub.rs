//! What is told of the scrub.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the scrub is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrubStatus {
    /// A round through all packs takes so long, in seconds; absent when none goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u64>,
    /// When it was last looked whether packs are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
    /// The round that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<ScrubRound>,
    /// The round that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScrubRound>,
    /// What is missing or damaged and has no copy.
    #[serde(default)]
    pub lost: Vec<LostPart>,
    /// More of that, which is only counted.
    #[serde(default)]
    pub more_lost: u64,
    /// Heads and snapshots that cannot be read, and that no other target has.
    #[serde(default)]
    pub unreadable: Vec<UnreadableHead>,
    /// The same of the targets that follow.
    #[serde(default)]
    pub copies: Vec<CopyScrub>,
    /// For how long a round should have ended, or the next one have begun, in seconds; 0 while all is in time.
    #[serde(default)]
    pub late_seconds: u64,
    /// Why it does not go on, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ScrubFailure>,
}

/// How far the scrub of a copy is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyScrub {
    /// The target.
    pub target: String,
    /// The round that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<ScrubRound>,
    /// The round that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScrubRound>,
    /// What is missing or damaged there and could not be put back.
    #[serde(default)]
    pub lost: Vec<LostPart>,
    /// More of that, which is only counted.
    #[serde(default)]
    pub more_lost: u64,
    /// Heads and snapshots that cannot be read there, and that no other target has.
    #[serde(default)]
    pub unreadable: Vec<UnreadableHead>,
    /// Why its round does not go on, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A head or snapshot that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableHead {
    /// The name of its object.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
}

/// How the scrub goes by the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrubHealth {
    /// A round through all packs takes so long, in seconds; absent when none goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u64>,
    /// For how long a round should have ended, or the next one have begun, in seconds; 0 while all is in time.
    #[serde(default)]
    pub late_seconds: u64,
    /// Why it does not go on, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ScrubFailure>,
}

/// Why the scrub does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrubFailure {
    /// When it was tried last.
    pub at: Timestamp,
    /// How many tries have failed, one after the other. There is one a minute.
    pub turns: u32,
    /// What failed and why, the last time.
    pub message: String,
}

/// A round through all packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrubRound {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Packs that were looked at.
    pub packs: u64,
    /// Packs that there were.
    pub packs_total: u64,
    /// Length of those that were looked at, in bytes.
    pub bytes: u64,
    /// Length of all.
    pub bytes_total: u64,
    /// Packs that were put back whole.
    pub packs_healed: u64,
    /// Chunks that were sealed anew.
    pub chunks_resealed: u64,
    /// Frames that had no copy.
    pub frames_lost: u64,
    /// Of the packs that were looked at: those that sleep in an archive, and were not read.
    #[serde(default)]
    pub packs_asleep: u64,
    /// Their length in bytes.
    #[serde(default)]
    pub bytes_asleep: u64,
}

/// A part of a pack that has no copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostPart {
    /// The pack.
    pub pack: String,
    /// What is wrong.
    pub what: String,
    /// The chunks in it.
    pub chunks: Vec<String>,
    /// When it was found.
    pub found: Timestamp,
    /// Who needs it, as far as it was looked for and named.
    pub users: Vec<LostUser>,
}

/// Who needs a lost part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostUser {
    /// The share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// The head or snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl CopyScrub {
    /// The same of one copy.
    pub fn lost_count(&self) -> u64 {
        (self.lost.len() + self.unreadable.len()) as u64 + self.more_lost
    }
}

impl ScrubStatus {
    /// Lost parts, heads and snapshots on all targets, named or not.
    pub fn lost_count(&self) -> u64 {
        let of_copies = self.copies.iter().map(CopyScrub::lost_count);
        (self.lost.len() + self.unreadable.len()) as u64 + self.more_lost + of_copies.sum::<u64>()
    }

    /// How it goes by the clock.
    pub fn health(&self) -> ScrubHealth {
        let Self { every_seconds, late_seconds, .. } = *self;
        ScrubHealth { every_seconds, late_seconds, failure: self.failure.clone() }
    }
}
