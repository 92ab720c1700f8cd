//! Who owns what is in a bucket: PutBucketOwnershipControls, GetBucketOwnershipControls,
//! DeleteBucketOwnershipControls.
//!
//! The owner of a bucket owns its objects, and there are no ACLs to say otherwise. Tools take the controls away before
//! they remove a bucket, and look whether they are gone: that is remembered, and changes nothing else.

use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, GetBucketOwnershipControlsInput,
    GetBucketOwnershipControlsOutput, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{not_implemented, s3_error};
use super::operations::Operations;
use super::unset::Unset;
use super::values::who_of;
use crate::objects::{BucketChange, Who};

/// Refuses an ownership other than that of the owner of the bucket.
pub(super) fn check_ownership(ownership: Option<&ObjectOwnership>) -> S3Result<()> {
    match ownership.map(ObjectOwnership::as_str) {
        None | Some(ObjectOwnership::BUCKET_OWNER_ENFORCED) => Ok(()),
        Some(_) => Err(not_implemented("the owner of a bucket owns what is in it; there are no ACLs")),
    }
}

impl Operations {
    /// GetBucketOwnershipControls.
    pub(super) async fn ownership(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        if settings.ownership_unsaid {
            return Err(Unset::OwnershipControls.error());
        }
        let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
        let ownership_controls =
            Some(OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] });
        Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
    }

    /// PutBucketOwnershipControls.
    pub(super) async fn set_ownership(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let [rule] = request.input.ownership_controls.rules.as_slice() else {
            return Err(S3ErrorCode::MalformedXML.into());
        };
        check_ownership(Some(&rule.object_ownership))?;
        self.say_ownership(&who_of(&request)?, &request.input.bucket, true).await?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    /// DeleteBucketOwnershipControls.
    pub(super) async fn delete_ownership(
        &self,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        self.say_ownership(&who_of(&request)?, &request.input.bucket, false).await?;
        Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
    }

    /// The name of who owns a bucket and what is in it, or else the caller's.
    pub(super) async fn owner_of(&self, who: &Who, bucket: &str) -> S3Result<String> {
        let settings = self.view().settings(who, bucket).await.map_err(s3_error)?;
        Ok(settings.owner_name(&self.view().owner_name(who)).to_owned())
    }

    async fn say_ownership(&self, who: &Who, bucket: &str, said: bool) -> S3Result<()> {
        let settings = self.view().settings(who, bucket).await.map_err(s3_error)?;
        if settings.ownership_unsaid != said {
            return Ok(());
        }
        self.view().change_settings(who, bucket, BucketChange::Ownership(said)).await.map_err(s3_error)
    }
}
