//! Tags of buckets: PutBucketTagging, GetBucketTagging, DeleteBucketTagging.
//!
//! They have the form of those of objects, and there may be more of them.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::errors::s3_error;
use super::operations::Operations;
use super::tagging::{from_document, to_document};
use super::unset::Unset;
use super::values::who_of;
use crate::objects::BucketChange;

/// The most tags of a bucket.
const TAGS_MAX: usize = 50;

impl Operations {
    /// PutBucketTagging.
    pub(super) async fn set_bucket_tags(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let change = BucketChange::Tags(Some(from_document(input.tagging.tag_set, TAGS_MAX)?));
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    /// GetBucketTagging.
    pub(super) async fn bucket_tags(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let tags = settings.tags.clone().ok_or_else(|| Unset::Tags.error())?;
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: to_document(tags) }))
    }

    /// DeleteBucketTagging.
    pub(super) async fn delete_bucket_tags(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        let who = who_of(&request)?;
        let change = BucketChange::Tags(None);
        self.view().change_settings(&who, &request.input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
    }
}
