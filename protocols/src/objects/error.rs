//! What can go wrong with objects, in the words of the Amazon S3 API reference ("Error responses").

use crate::view::FsError;

/// An error of a call. Each has one code and one status on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The caller may not.
    #[error("access denied")]
    AccessDenied,
    /// There is no such bucket.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// The bucket is there, and the caller's own.
    #[error("the bucket is there already, and yours")]
    BucketOwned,
    /// The name is taken by something else.
    #[error("the name of the bucket is taken")]
    BucketExists,
    /// The bucket holds objects or uploads.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// What is fixed in the settings cannot be changed by a client.
    #[error("{0}")]
    Fixed(&'static str),
    /// There is no such object.
    #[error("the key does not exist")]
    NoSuchKey,
    /// There is no such version of the object.
    #[error("the version does not exist")]
    NoSuchVersion,
    /// A delete marker stands there.
    #[error("{}", marker_text(*.named))]
    DeleteMarker {
        /// Which version it is.
        version: super::VersionId,
        /// Whether the caller named it, or came to it by the key.
        named: bool,
        /// When it was made.
        made: crate::view::Time,
    },
    /// The object is under a lock.
    #[error("access denied: the object is protected by object lock")]
    Locked,
    /// The bucket has no object lock.
    #[error("the bucket has no object lock")]
    NoLock,
    /// What is asked for cannot be in the state that the bucket is in.
    #[error("{0}")]
    BucketState(&'static str),
    /// A policy that is none.
    #[error("the policy cannot be used: {0}")]
    MalformedPolicy(String),
    /// There is no such upload: never begun, completed or dropped.
    #[error("the upload does not exist; it may have been completed or aborted")]
    NoSuchUpload,
    /// A part is not there, or is another one than the caller believes.
    #[error("part {number} was not found, or its ETag differs")]
    InvalidPart {
        /// Which.
        number: u16,
    },
    /// Parts are not named in the order of their numbers.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part that is not the last is smaller than [`super::PART_BYTES_MIN`].
    #[error("part {number} is {bytes} bytes; every part but the last needs 5 MiB")]
    PartTooSmall {
        /// Which.
        number: u16,
        /// How large it is.
        bytes: u64,
    },
    /// The object or part is larger than may be.
    #[error("the object is larger than {max} bytes")]
    TooLarge {
        /// What may be.
        max: u64,
    },
    /// A condition does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// For reads: the caller has what is there.
    #[error("not modified")]
    NotModified,
    /// Something else changed the same at the same time.
    #[error("another change of the same object is under way; try again")]
    Conflict,
    /// The key cannot be used in this bucket.
    #[error("the key {0}")]
    InvalidKey(&'static str),
    /// The key is longer than [`super::KEY_BYTES_MAX`].
    #[error("the key is longer than 1,024 bytes")]
    KeyTooLong,
    /// A value of the request is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// The request contradicts what it is about.
    #[error("{0}")]
    InvalidRequest(String),
    /// The range lies outside of the object.
    #[error("the range cannot be satisfied")]
    InvalidRange,
    /// The body is not what its digest says.
    #[error("the {0} of the body is not what was sent")]
    BadDigest(&'static str),
    /// The body ended before its announced length.
    #[error("the body ended before its announced length")]
    IncompleteBody,
    /// The body broke the rules of its encoding or signature.
    #[error("the body could not be read: {0}")]
    Body(String),
    /// No room, or what must be asked is away: try again later.
    #[error("try again later")]
    SlowDown,
    /// The quota leaves no room.
    #[error("the quota of the bucket leaves no room")]
    Quota,
    /// Nothing may be changed here.
    #[error("the bucket is read-only")]
    ReadOnly,
    /// Something failed here; it is in the log.
    #[error("an internal error, see the log")]
    Internal,
}

fn marker_text(named: bool) -> &'static str {
    if named { "the version is a delete marker, which can only be deleted" } else { "the key does not exist" }
}

impl From<FsError> for ObjectError {
    /// What an error of the files that objects are made of means to who asked for an object.
    fn from(error: FsError) -> Self {
        match error {
            FsError::Access | FsError::NotOwner => Self::AccessDenied,
            FsError::Locked => Self::Locked,
            FsError::NotFound | FsError::Stale => Self::NoSuchKey,
            FsError::ReadOnly => Self::ReadOnly,
            FsError::Quota | FsError::NoSpace => Self::Quota,
            FsError::TryLater => Self::SlowDown,
            FsError::NameTooLong => Self::InvalidKey("has a component of more than 255 bytes"),
            FsError::NotDirectory | FsError::IsDirectory => {
                Self::InvalidKey("is that of a file and of a folder")
            }
            FsError::Exists | FsError::NotEmpty | FsError::NotSync => Self::Conflict,
            FsError::FileTooBig => Self::TooLarge { max: super::OBJECT_BYTES_MAX },
            _ => Self::Internal,
        }
    }
}
