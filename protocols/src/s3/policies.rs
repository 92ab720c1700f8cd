//! Who may use a bucket: PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus, and what no
//! policy can allow: PutPublicAccessBlock, GetPublicAccessBlock, DeletePublicAccessBlock.
//!
//! A policy is kept and given back as it was sent. Whether it is one, and whether it may be set, says the view.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeletePublicAccessBlockInput,
    DeletePublicAccessBlockOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput,
    GetBucketPolicyStatusOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput, PolicyStatus,
    PublicAccessBlockConfiguration, PutBucketPolicyInput, PutBucketPolicyOutput, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::errors::s3_error;
use super::operations::Operations;
use super::unset::Unset;
use super::values::who_of;
use crate::objects::policy::Policy;
use crate::objects::{BucketChange, ObjectError, PublicAccessBlock, Who};

/// The longest policy in bytes.
const POLICY_BYTES_MAX: usize = 20 << 10;

impl Operations {
    /// PutBucketPolicy.
    pub(super) async fn set_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        if input.policy.len() > POLICY_BYTES_MAX {
            let why = "it is longer than 20 KB".to_owned();
            return Err(s3_error(ObjectError::MalformedPolicy(why)));
        }
        let change = BucketChange::Policy(Some(input.policy));
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutBucketPolicyOutput::default()))
    }

    /// GetBucketPolicy.
    pub(super) async fn policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let who = who_of(&request)?;
        let policy = Some(self.policy_of(&who, &request.input.bucket).await?);
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Ok(S3Response::with_headers(GetBucketPolicyOutput { policy }, json))
    }

    /// DeleteBucketPolicy.
    pub(super) async fn delete_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let who = who_of(&request)?;
        let change = BucketChange::Policy(None);
        self.view().change_settings(&who, &request.input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
    }

    /// GetBucketPolicyStatus. A bucket without a policy lets nobody in, nor does one whose policy cannot be read.
    pub(super) async fn policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let policy = settings.policy.as_deref().map(|text| Policy::of_bucket(text, &request.input.bucket));
        let is_public = Some(policy.is_some_and(|policy| policy.is_ok_and(|policy| policy.is_public())));
        let policy_status = Some(PolicyStatus { is_public });
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
    }

    async fn policy_of(&self, who: &Who, bucket: &str) -> S3Result<String> {
        let settings = self.view().settings(who, bucket).await.map_err(s3_error)?;
        settings.policy.clone().ok_or_else(|| Unset::Policy.error())
    }

    /// PutPublicAccessBlock.
    pub(super) async fn set_public_access(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let asked = input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_acls: asked.block_public_acls == Some(true),
            ignore_acls: asked.ignore_public_acls == Some(true),
            block_policy: asked.block_public_policy == Some(true),
            restrict: asked.restrict_public_buckets == Some(true),
        };
        let change = BucketChange::PublicAccess(Some(block));
        self.view().change_settings(&who, &input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    /// GetPublicAccessBlock.
    pub(super) async fn public_access(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let block = settings.public_access.ok_or_else(|| Unset::PublicAccessBlock.error())?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_acls),
            block_public_policy: Some(block.block_policy),
            ignore_public_acls: Some(block.ignore_acls),
            restrict_public_buckets: Some(block.restrict),
        };
        let public_access_block_configuration = Some(configuration);
        Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration }))
    }

    /// DeletePublicAccessBlock.
    pub(super) async fn delete_public_access(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        let who = who_of(&request)?;
        let change = BucketChange::PublicAccess(None);
        self.view().change_settings(&who, &request.input.bucket, change).await.map_err(s3_error)?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }
}
