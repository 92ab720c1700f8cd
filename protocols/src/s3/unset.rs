//! What a bucket may have at Amazon's and has not here: each is answered as unset, which clients that ask before they work
//! understand better than that it is not implemented. Setting one stays `NotImplemented`.

use http::StatusCode;
use s3s::{S3Error, S3Request};

use super::errors::{custom, s3_error};
use super::operations::Operations;
use super::values::who_of;

/// The codes, with what they are about.
pub(super) enum Unset {
    Cors,
    Lifecycle,
    ObjectLock,
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
            Self::Policy => "NoSuchBucketPolicy",
            Self::PublicAccessBlock => "NoSuchPublicAccessBlockConfiguration",
            Self::Replication => "ReplicationConfigurationNotFoundError",
            Self::Tags => "NoSuchTagSet",
            Self::Website => "NoSuchWebsiteConfiguration",
        }
    }
}

impl Operations {
    /// The answer for a bucket that has no such thing; another one when there is no such bucket.
    pub(super) async fn unset<T: Send + Sync>(
        &self,
        request: &S3Request<T>,
        bucket: &str,
        what: Unset,
    ) -> S3Error {
        let who = match who_of(request) {
            Ok(who) => who,
            Err(error) => return error,
        };
        match self.view().bucket(&who, bucket).await {
            Ok(_) => custom(what.code(), StatusCode::NOT_FOUND, "The bucket has none."),
            Err(error) => s3_error(error),
        }
    }
}
