//! The object view: what an S3 server asks of whoever has the objects.
//!
//! Owns the trait [`ObjectView`] and the types in its signatures. The S3 server in this crate calls it; the
//! gateway implements it. Nothing here knows a wire encoding, nor how objects are kept. Words and rules are
//! those of the Amazon S3 API reference.
//!
//! What an implementation promises:
//!
//! * A change that returned `Ok` is durable: it survives a power cut.
//! * An object is wholly there or not at all: a body that ends early, or whose [`Body::finish`] fails, leaves
//!   what was there before, and so does a crash.
//! * Conditions of a change are checked in the same transaction as the change.
//! * Permissions are checked by the implementation, on every call.
//! * No call hangs: one that must wait for something far away ends with [`ObjectError::SlowDown`] within a
//!   bound.
//! * Dropping the future of a call may not leave a change half done.
//!
//! What the server promises: names of buckets and keys are valid UTF-8 and within their bounds, signatures
//! have been checked, and nothing of a body is believed before [`Body::finish`] has returned.

mod conditions;
mod error;
mod listing;
mod multipart;
mod types;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use zeroize::Zeroizing;

pub use conditions::{Conditions, EtagCondition};
pub use error::ObjectError;
pub use listing::{ListEntry, ListQuery, Listing};
pub use multipart::{
    CompletedPart, Completion, Part, PartCopy, PartDone, PartName, PartQuery, Parts, Upload, UploadQuery,
    Uploads,
};
pub use types::{
    Bucket, Checksum, ChecksumAlgorithm, ChecksumKind, CopySource, Digests, Metadata, NewObject, ObjectInfo,
    ObjectName, PartSizes, PutDone, Tags,
};

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// The most entries of a page of a listing.
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// The highest number of a part.
pub const PART_NUMBER_MAX: u16 = 10_000;
/// The largest object that one PUT makes, and the largest part, in bytes.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// The smallest part but the last, in bytes.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// The largest object, in bytes.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// All names and values of an object's own metadata together, in bytes.
pub const METADATA_BYTES_MAX: usize = 2048;
/// The most tags of an object.
pub const TAGS_MAX: usize = 10;

/// Who calls: the access key whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Its id.
    pub access_key: String,
}

/// A body on its way in. The server hashes it as it passes.
#[async_trait]
pub trait Body: Send {
    /// The length that was announced, in bytes.
    fn announced_bytes(&self) -> Option<u64>;

    /// Before the first bytes: the checksum that [`Body::finish`] shall give. Unless it is said, that is the
    /// one that the client named, or CRC-64/NVME when it named none. What the client claims of its body is
    /// verified in any case.
    fn compute(&mut self, algorithm: ChecksumAlgorithm);

    /// The next bytes; none at the end. An error ends the body.
    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError>;

    /// After the end: what the body hashes to. Fails when that is not what was announced, or the body ended
    /// early.
    async fn finish(&mut self) -> Result<Digests, ObjectError>;
}

/// Data on its way out, in order.
pub type DataStream = BoxStream<'static, Result<Bytes, ObjectError>>;

/// An object that was found. It can be read to its end whatever happens to its name meanwhile.
#[async_trait]
pub trait OpenObject: Send + Sync {
    /// What is known of it.
    fn info(&self) -> &ObjectInfo;

    /// Its bytes in a range that lies within its size.
    fn read(&self, range: Range<u64>) -> DataStream;
}

/// Objects by bucket and key. See the head of this module.
#[async_trait]
pub trait ObjectView: Send + Sync + 'static {
    /// The secret of an access key; none for one that is unknown or turned off.
    async fn secret(&self, access_key: &str) -> Option<Zeroizing<String>>;

    /// The buckets that the caller may see, by name.
    async fn buckets(&self, who: &Who) -> Result<Vec<Bucket>, ObjectError>;

    /// One bucket.
    async fn bucket(&self, who: &Who, bucket: &str) -> Result<Bucket, ObjectError>;

    /// Makes a bucket; [`ObjectError::BucketOwned`] when it is there and the caller's.
    async fn create_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError>;

    /// Removes a bucket that holds nothing.
    async fn delete_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError>;

    /// Writes an object.
    async fn put(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
        body: &mut dyn Body,
    ) -> Result<PutDone, ObjectError>;

    /// Makes an object of another one's bytes. Without `new` it gets the metadata of its source.
    async fn copy(
        &self,
        who: &Who,
        source: &CopySource,
        name: &ObjectName,
        new: NewObject,
        keep_metadata: bool,
        keep_tags: bool,
    ) -> Result<PutDone, ObjectError>;

    /// Finds an object.
    async fn open(&self, who: &Who, name: &ObjectName) -> Result<Box<dyn OpenObject>, ObjectError>;

    /// Removes an object. That there is none is no error.
    async fn delete(&self, who: &Who, name: &ObjectName, conditions: &Conditions) -> Result<(), ObjectError>;

    /// Sets the tags of an object, all of them.
    async fn set_tags(&self, who: &Who, name: &ObjectName, tags: Tags) -> Result<(), ObjectError>;

    /// A page of the keys of a bucket, in byte order.
    async fn list(&self, who: &Who, bucket: &str, query: &ListQuery) -> Result<Listing, ObjectError>;

    /// Begins an upload in parts; gives its id.
    async fn create_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
    ) -> Result<String, ObjectError>;

    /// Writes a part, in the place of one of that number. `algorithm` is what the client named; a body of an
    /// upload with another checksum is told so by [`Body::compute`].
    async fn put_part(
        &self,
        who: &Who,
        part: &PartName,
        algorithm: Option<ChecksumAlgorithm>,
        body: &mut dyn Body,
    ) -> Result<PartDone, ObjectError>;

    /// Makes a part of an object's bytes.
    async fn copy_part(&self, who: &Who, part: &PartName, copy: &PartCopy) -> Result<PartDone, ObjectError>;

    /// A page of the parts of an upload, by number.
    async fn parts(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        query: &PartQuery,
    ) -> Result<Parts, ObjectError>;

    /// A page of the uploads of a bucket, by key and then by when they began.
    async fn uploads(&self, who: &Who, bucket: &str, query: &UploadQuery) -> Result<Uploads, ObjectError>;

    /// Makes the object of an upload's parts. Asked again after it was done, it answers the same.
    async fn complete_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        completion: &Completion,
    ) -> Result<PutDone, ObjectError>;

    /// Drops an upload with its parts.
    async fn abort_upload(&self, who: &Who, name: &ObjectName, upload: &str) -> Result<(), ObjectError>;
}
