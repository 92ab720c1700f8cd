//! Versions of objects (Amazon S3 user guide, "Retaining multiple versions of objects with S3 Versioning").

use serde::{Deserialize, Serialize};

use super::ObjectInfo;
use crate::view::Time;

/// Whether a bucket keeps what is replaced and deleted. A bucket that never had versions has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versioning {
    /// Each write makes a version of its own.
    Enabled,
    /// Versions stay; each write replaces the version `null`.
    Suspended,
}

/// A version of an object as clients name it; opaque but for [`VersionId::NULL`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionId(String);

impl VersionId {
    /// What was written while the bucket had no versions, or they were suspended.
    pub const NULL: &str = "null";

    /// A version of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The version `null`.
    pub fn null() -> Self {
        Self(Self::NULL.to_owned())
    }

    /// As clients name it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Whether a delete marker was made, or one was taken away.
    pub marker: bool,
    /// The marker that was made, or the version that was taken away.
    pub version: Option<VersionId>,
    /// Whether the answer waited until the change is in the repository, or in the local journal alone.
    pub in_repository: bool,
}

/// What a change of the tags or the lock of an object did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The version that it was made to; none where the bucket has no versions.
    pub version: Option<VersionId>,
    /// Whether the answer waited until the change is in the repository, or in the local journal alone.
    pub in_repository: bool,
}

/// Which versions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionQuery {
    /// Keys begin with it.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up.
    pub delimiter: Option<String>,
    /// Versions of keys after this one; with `after_version` also older ones of this key. A rolled-up
    /// prefix may stand here: then what it covers is passed over too.
    pub after_key: Option<String>,
    /// Versions of `after_key` that are older than this one.
    pub after_version: Option<VersionId>,
    /// Most versions, markers and prefixes together.
    pub limit: usize,
}

/// An entry of a listing of versions.
#[derive(Clone, Debug, PartialEq)]
pub enum VersionEntry {
    /// A version that holds an object.
    Object {
        /// Its key.
        key: String,
        /// Which version of it.
        version: VersionId,
        /// Whether it is what the key leads to.
        latest: bool,
        /// What is known of it; its metadata and tags may be left out.
        info: Box<ObjectInfo>,
    },
    /// A delete marker.
    Marker {
        /// The key that it hides.
        key: String,
        /// Which version of it.
        version: VersionId,
        /// Whether it hides the key now.
        latest: bool,
        /// When it was made.
        modified: Time,
    },
    /// All keys that begin so, up to and with the delimiter.
    Prefix(String),
}

/// A page of versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VersionListing {
    /// By key, and then from the newest to the oldest; prefixes stand among the keys.
    pub entries: Vec<VersionEntry>,
    /// Whether more follow: then the next page comes after the last entry.
    pub more: bool,
}
