//! What is asked about the bin, and what is answered.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ControlError, SnapshotInfo};

/// What lies in the bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BinKind {
    /// A snapshot that somebody has removed. It ends by itself.
    Snapshot,
    /// A share that was taken out of the settings, with everything that the repository has of it. It stays.
    Share,
}

/// Something in the bin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BinEntry {
    /// What it is.
    pub kind: BinKind,
    /// The share that it is, or that it was taken of.
    pub share: String,
    /// Of a snapshot its id in the bin, of a share its id.
    pub id: String,
    /// What it is called once it is brought back.
    pub name: String,
    /// When its content was frozen; of a share, that of its newest head, if it has one that can be read.
    pub frozen: Option<Timestamp>,
    /// Since when it is there, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it ends: with the first collection after that. None: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The policy that took it; none if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Inodes in it.
    pub files: u64,
    /// Their length in bytes, holes not counted.
    pub bytes: u64,
}

/// Bring a snapshot back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BinRestoreRequest {
    /// Under this name; without one under that which it had.
    #[serde(default)]
    pub name: Option<String>,
}

/// A share that is served again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BroughtBack {
    /// What it is called.
    pub share: String,
    /// What else of the settings came with it, for people.
    pub adopted: Vec<String>,
}

/// What was removed, and can still be brought back.
#[async_trait]
pub trait Binning: Send + Sync + 'static {
    /// What is in the bin of a share, or of all of them and with it shares that are not served any more; what ends first
    /// comes first.
    async fn bin(&self, share: Option<&str>) -> Result<Vec<BinEntry>, ControlError>;

    /// Brings a snapshot back, by its id in the bin or its name. [`super::ErrorKind::Exists`] when the name is taken.
    async fn bin_restore(
        &self,
        share: &str,
        snapshot: &str,
        request: &BinRestoreRequest,
    ) -> Result<SnapshotInfo, ControlError>;

    /// Serves a share again that was taken out of the settings, as its newest head says.
    async fn bin_restore_share(&self, share: &str) -> Result<BroughtBack, ControlError>;

    /// Ends snapshots in the bin before their time: one, all of a share, or all. Gives what ended, or would.
    async fn bin_empty(
        &self,
        share: Option<&str>,
        snapshot: Option<&str>,
        dry_run: bool,
    ) -> Result<Vec<BinEntry>, ControlError>;
}
