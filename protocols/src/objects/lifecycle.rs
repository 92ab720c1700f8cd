//! What is taken away by itself (Amazon S3 user guide, "Managing the lifecycle of objects").

use serde::{Deserialize, Serialize};

use super::Tags;
use crate::view::Time;

/// Which objects a rule is about; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// Keys begin with it.
    pub prefix: String,
    /// They have these tags.
    pub tags: Tags,
    /// They are larger than so many bytes.
    pub larger_than: Option<u64>,
    /// They are smaller than so many bytes.
    pub smaller_than: Option<u64>,
}

/// When an object expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expiration {
    /// So many days after it was written.
    Days(u32),
    /// At midnight UTC of a day.
    Date(Time),
    /// A delete marker, when nothing but it is left.
    LoneMarker,
}

/// When a version that is no longer the newest expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// So many days after it was replaced.
    pub days: u32,
    /// If there are so many newer ones that are not the newest either.
    pub keep: Option<u32>,
}

/// A rule of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it is about.
    pub filter: LifecycleFilter,
    /// Whether the filter was written as the bare prefix of older clients.
    pub bare_prefix: bool,
    /// When objects expire.
    pub expiration: Option<Expiration>,
    /// When versions that are no longer the newest expire.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Uploads that were begun so many days ago are dropped.
    pub abort_uploads_days: Option<u32>,
}
