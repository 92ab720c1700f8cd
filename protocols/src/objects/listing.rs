//! Listing keys (Amazon S3 API reference, ListObjects and ListObjectsV2).

use super::ObjectInfo;

/// What a page of a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys begin with it.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up to its first place there.
    pub delimiter: Option<String>,
    /// Keys and rolled-up prefixes come after it; what a rolled-up prefix covers does too.
    pub after: Option<String>,
    /// Most keys and prefixes together: at most [`super::PAGE_ENTRIES_MAX`].
    pub limit: usize,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq)]
pub enum ListEntry {
    /// An object.
    Object {
        /// Its key.
        key: String,
        /// What is known of it; its metadata and tags may be left out.
        info: Box<ObjectInfo>,
    },
    /// All keys that begin so, up to and with the delimiter.
    Prefix(String),
}

impl ListEntry {
    /// The key or prefix.
    pub fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Objects and prefixes in byte order of their names.
    pub entries: Vec<ListEntry>,
    /// Whether more follow: then the next page comes after the name of the last entry.
    pub more: bool,
}
