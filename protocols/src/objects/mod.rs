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
//! * Permissions are what [`ObjectView::authorize`] says; what the owner, group and mode of a file say is checked by
//!   the implementation on every call besides.
//! * No call hangs: one that must wait for something far away ends with [`ObjectError::SlowDown`] within a
//!   bound.
//! * Dropping the future of a call may not leave a change half done.
//!
//! What the server promises: each call that a client causes was authorized before, names of buckets and keys are valid UTF-8 and within their bounds, signatures
//! have been checked, and nothing of a body is believed before [`Body::finish`] has returned.

mod access;
mod bucket;
mod conditions;
pub mod cors;
mod error;
pub mod lifecycle;
mod listing;
mod lock;
mod multipart;
pub mod policy;
pub mod sums;
mod types;
mod version;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use zeroize::Zeroizing;

pub use access::{Asked, Who};
pub use bucket::{Bucket, BucketChange, BucketSettings, NewBucket, PublicAccessBlock};
pub use conditions::{Conditions, Doomed, EtagCondition};
pub use error::ObjectError;
pub use listing::{ListEntry, ListQuery, Listing};
pub use lock::{DefaultRetention, Lock, LockConfiguration, LockMode, Retention};
pub use multipart::{
    CompletedPart, Completion, Part, PartCopy, PartDone, PartName, PartQuery, Parts, Upload, UploadQuery,
    Uploads,
};
pub use types::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CopySource, Digests, Metadata, NewObject, ObjectInfo,
    ObjectName, PartSizes, PutDone, Tags,
};
pub use version::{Changed, Deletion, VersionEntry, VersionId, VersionListing, VersionQuery, Versioning};

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
/// The same of headers that are given back as they are, with their names.
pub const HEADERS_BYTES_MAX: usize = 2048;
/// The most tags of an object.
pub const TAGS_MAX: usize = 10;

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

    /// The checksums of the parts that it was made of, by number: up to `limit` whose numbers are above `after`. Nothing
    /// where they are not known.
    async fn part_checksums(&self, after: u32, limit: usize) -> Result<Vec<Checksum>, ObjectError>;

    /// Its bytes in a range that lies within its size.
    fn read(&self, range: Range<u64>) -> DataStream;
}

/// Objects by bucket and key. See the head of this module.
#[async_trait]
pub trait ObjectView: Send + Sync + 'static {
    /// The secret of an access key; none for one that is unknown or turned off.
    async fn secret(&self, access_key: &str) -> Option<Zeroizing<String>>;

    /// How a caller is called where S3 wants an owner. Several access keys may have one name.
    fn owner_name(&self, who: &Who) -> String {
        who.name().to_owned()
    }

    /// Whether a caller may do something; [`ObjectError::AccessDenied`] if not, and
    /// [`ObjectError::NoSuchBucket`] to one who might.
    async fn authorize(&self, who: &Who, asked: &Asked<'_>) -> Result<(), ObjectError>;

    /// The buckets that the caller may see, by name.
    async fn buckets(&self, who: &Who) -> Result<Vec<Bucket>, ObjectError>;

    /// One bucket.
    async fn bucket(&self, who: &Who, bucket: &str) -> Result<Bucket, ObjectError>;

    /// Makes a bucket, whose owner is the caller; [`ObjectError::BucketOwned`] when it is there and the caller's or
    /// nobody's, [`ObjectError::BucketExists`] when it is another's.
    async fn create_bucket(&self, who: &Who, bucket: &str, new: NewBucket) -> Result<(), ObjectError>;

    /// Removes a bucket that holds nothing.
    async fn delete_bucket(&self, who: &Who, bucket: &str) -> Result<(), ObjectError>;

    /// What clients have set of a bucket.
    async fn settings(&self, who: &Who, bucket: &str) -> Result<Arc<BucketSettings>, ObjectError>;

    /// Sets a part of it.
    async fn change_settings(&self, who: &Who, bucket: &str, change: BucketChange)
    -> Result<(), ObjectError>;

    /// Which web pages may use a bucket, asked before anybody has shown a key; nothing for one that is not there.
    async fn cors(&self, bucket: &str) -> Vec<cors::CorsRule>;

    /// Writes an object.
    async fn put(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
        body: &mut dyn Body,
    ) -> Result<PutDone, ObjectError>;

    /// Makes an object of another one's bytes. With `keep_metadata` and `keep_tags` it gets those of its source.
    /// Its lock is what `new` says, or the default of the bucket.
    async fn copy(
        &self,
        who: &Who,
        source: &CopySource,
        name: &ObjectName,
        new: NewObject,
        keep_metadata: bool,
        keep_tags: bool,
    ) -> Result<PutDone, ObjectError>;

    /// Finds an object, or a version of it. What is hidden by a delete marker, and the marker itself, are
    /// [`ObjectError::DeleteMarker`]; a version that is not there is [`ObjectError::NoSuchVersion`].
    async fn open(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> Result<Box<dyn OpenObject>, ObjectError>;

    /// Removes an object, or hides it where the bucket keeps versions; with a version, removes that one for
    /// ever, unless it is locked. `bypass`: the caller asks to pass governance, and has the right to. That there is
    /// none is no error, whatever the conditions ([`Conditions::check_delete`]) are.
    async fn delete(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError>;

    /// Sets the tags of an object, all of them.
    async fn set_tags(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        tags: Tags,
    ) -> Result<Changed, ObjectError>;

    /// Sets until when an object is kept; none takes the retention away. [`ObjectError::Locked`] when that is not
    /// allowed (see [`Lock::admit`]); [`ObjectError::NoLock`] where the bucket has no lock.
    async fn set_retention(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Changed, ObjectError>;

    /// Sets or lifts the legal hold of an object; [`ObjectError::NoLock`] where the bucket has no lock.
    async fn set_legal_hold(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        held: bool,
    ) -> Result<Changed, ObjectError>;

    /// A page of the keys of a bucket, in byte order.
    async fn list(&self, who: &Who, bucket: &str, query: &ListQuery) -> Result<Listing, ObjectError>;

    /// A page of the versions and delete markers of a bucket, by key in byte order and then from the newest on.
    async fn versions(
        &self,
        who: &Who,
        bucket: &str,
        query: &VersionQuery,
    ) -> Result<VersionListing, ObjectError>;

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
