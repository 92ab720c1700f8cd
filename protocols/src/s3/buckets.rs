//! Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, and what is asked of one (GetBucketLocation,
//! GetBucketVersioning, GetBucketEncryption).
//!
//! There is one region, which is the one that S3 does not name. Buckets have no versions; what lies in the
//! repository is encrypted with AES-256.

use s3s::dto::{
    Bucket as WireBucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketLocationInput, GetBucketLocationOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Request, S3Response, S3Result};

use super::errors::{invalid_argument, not_implemented, s3_error};
use super::metadata::refuse_unknown;
use super::operations::Operations;
use super::token::Token;
use super::values::{owner, timestamp, who_of};
use crate::objects::Bucket;

/// The one region.
const REGION: &str = "us-east-1";
/// The most buckets of a page.
const BUCKETS_MAX: i32 = 10_000;

fn to_wire(bucket: &Bucket) -> WireBucket {
    WireBucket {
        bucket_region: Some(REGION.to_owned()),
        creation_date: Some(timestamp(bucket.created)),
        name: Some(bucket.name.clone()),
    }
}

impl Operations {
    /// ListBuckets, with a prefix and in pages if that is asked for.
    pub(super) async fn buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let most = input.max_buckets.unwrap_or(BUCKETS_MAX);
        if !(1..=BUCKETS_MAX).contains(&most) {
            return Err(invalid_argument("max-buckets must be between 1 and 10000"));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let scope = ["buckets", prefix.as_str()];
        let after = input.continuation_token.as_deref().map(|text| Token::read(text, &scope)).transpose()?;
        let all = self.view().buckets(&who).await.map_err(s3_error)?;
        let is_asked = |bucket: &&Bucket| {
            bucket.name.starts_with(&prefix) && after.as_ref().is_none_or(|after| bucket.name > *after)
        };
        let mut found = all.iter().filter(is_asked).peekable();
        let page: Vec<&Bucket> = found.by_ref().take(most as usize).collect();
        let last = page.last().filter(|_| found.peek().is_some());
        Ok(S3Response::new(ListBucketsOutput {
            continuation_token: last.map(|bucket| Token::write(&bucket.name, &scope)),
            buckets: Some(page.into_iter().map(to_wire).collect()),
            owner: Some(owner(who.name())),
            prefix: input.prefix,
        }))
    }

    /// CreateBucket.
    pub(super) async fn create(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let who = who_of(&request)?;
        refuse_unknown(&request.headers)?;
        let input = request.input;
        if input.object_lock_enabled_for_bucket == Some(true) {
            return Err(not_implemented("buckets with object lock are not made by this request"));
        }
        self.view()
            .create_bucket(&who, &input.bucket, crate::objects::NewBucket::default())
            .await
            .map_err(s3_error)?;
        let location = Some(format!("/{}", input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    /// HeadBucket.
    pub(super) async fn head(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let who = who_of(&request)?;
        self.view().bucket(&who, &request.input.bucket).await.map_err(s3_error)?;
        let bucket_region = Some(REGION.to_owned());
        Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
    }

    /// DeleteBucket.
    pub(super) async fn delete_one_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let who = who_of(&request)?;
        self.view().delete_bucket(&who, &request.input.bucket).await.map_err(s3_error)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    /// GetBucketLocation.
    pub(super) async fn location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let who = who_of(&request)?;
        self.view().bucket(&who, &request.input.bucket).await.map_err(s3_error)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    /// GetBucketVersioning: it was never switched on.
    pub(super) async fn versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let who = who_of(&request)?;
        self.view().bucket(&who, &request.input.bucket).await.map_err(s3_error)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    /// GetBucketEncryption.
    pub(super) async fn encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let who = who_of(&request)?;
        self.view().bucket(&who, &request.input.bucket).await.map_err(s3_error)?;
        let by_default = ServerSideEncryptionByDefault {
            kms_master_key_id: None,
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(by_default),
            bucket_key_enabled: Some(false),
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(configuration),
        }))
    }
}
