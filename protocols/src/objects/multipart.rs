//! Uploads in parts (Amazon S3 user guide, "Uploading and copying objects using multipart upload").

use std::ops::Range;

use super::{Checksum, ChecksumAlgorithm, ChecksumKind, Conditions, CopySource, Digests, ObjectName};
use crate::view::Time;

/// A part of an upload by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartName {
    /// The object.
    pub object: ObjectName,
    /// The upload's id.
    pub upload: String,
    /// The part's number: 1 to [`super::PART_NUMBER_MAX`].
    pub number: u16,
}

/// Whence a part's bytes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCopy {
    /// The object.
    pub source: CopySource,
    /// Which of its bytes; all without.
    pub range: Option<Range<u64>>,
}

/// A part that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDone {
    /// What it hashes to.
    pub digests: Digests,
    /// When.
    pub modified: Time,
}

/// A part as the caller names it when the upload is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: u16,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum, if the caller says it.
    pub checksum: Option<Checksum>,
}

/// How an upload is completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The parts that the object is made of, by number, each named once.
    pub parts: Vec<CompletedPart>,
    /// What the whole object must hash to, if the caller says it: else [`super::ObjectError::BadDigest`].
    pub checksum: Option<Checksum>,
    /// How long the object must be in bytes, if the caller says it: else
    /// [`super::ObjectError::InvalidArgument`].
    pub size: Option<u64>,
    /// What must be so for it to be made.
    pub conditions: Conditions,
}

/// A part that lies ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: u16,
    /// Its length in bytes.
    pub size: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When it was written.
    pub modified: Time,
}

/// Which parts to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartQuery {
    /// After this number; 0 from the start.
    pub after: u16,
    /// Most of them.
    pub limit: usize,
}

/// A page of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// By number.
    pub parts: Vec<Part>,
    /// Whether more follow.
    pub more: bool,
    /// Which checksum the upload computes.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// And of what.
    pub kind: ChecksumKind,
    /// The storage class that was asked for.
    pub storage_class: Option<String>,
}

/// Which uploads to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadQuery {
    /// Keys begin with it.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up.
    pub delimiter: Option<String>,
    /// Uploads of keys after this one; with `after_upload` also later ones of this key. A rolled-up prefix
    /// may stand here: then what it covers is passed over too.
    pub after_key: Option<String>,
    /// Uploads of `after_key` after this one.
    pub after_upload: Option<String>,
    /// Most uploads and prefixes together.
    pub limit: usize,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The key of its object.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it began.
    pub begun: Time,
    /// The access key that began it.
    pub owner: String,
    /// Which checksum it computes.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// And of what.
    pub kind: ChecksumKind,
    /// The storage class that was asked for.
    pub storage_class: Option<String>,
}

/// A page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploads {
    /// By key, then by when they began.
    pub uploads: Vec<Upload>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<String>,
    /// Whether more follow.
    pub more: bool,
}
