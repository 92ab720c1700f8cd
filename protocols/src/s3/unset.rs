//! What a bucket may have and this one has not: each with a code of its own, which clients that ask before they work
//! understand better than that something is not implemented.

use http::StatusCode;
use s3s::{S3Error, S3Request};

use super::errors::custom;
use super::operations::Operations;

/// The codes, with what they are about.
pub(super) enum Unset {
    Cors,
    Lifecycle,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Replication,
    Tags,
    Website,
}

impl Unset {
    fn code(&self) -> &'static str {
        match self {
            Self::Cors => "NoSuchCORSConfiguration",
            Self::Lifecycle => "NoSuchLifecycleConfiguration",
            Self::ObjectLock => "ObjectLockConfigurationNotFoundError",
            Self::OwnershipControls => "OwnershipControlsNotFoundError",
            Self::Policy => "NoSuchBucketPolicy",
            Self::PublicAccessBlock => "NoSuchPublicAccessBlockConfiguration",
            Self::Replication => "ReplicationConfigurationNotFoundError",
            Self::Tags => "NoSuchTagSet",
            Self::Website => "NoSuchWebsiteConfiguration",
        }
    }

    /// The error of a bucket that has none.
    pub(super) fn error(&self) -> S3Error {
        custom(self.code(), StatusCode::NOT_FOUND, "The bucket has none.")
    }
}

impl Operations {
    /// The answer for what no bucket has here; another one when there is no such bucket.
    pub(super) async fn unset<T: Send + Sync>(
        &self,
        request: &S3Request<T>,
        bucket: &str,
        what: Unset,
    ) -> S3Error {
        match self.of_bucket(request, bucket, ()).await {
            Ok(_) => what.error(),
            Err(error) => error,
        }
    }
}
