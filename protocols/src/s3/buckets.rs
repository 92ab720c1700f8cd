//! Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket and GetBucketLocation.
//!
//! There is one place, and its region is the one that S3 does not name. Clients that are set to another one may make
//! buckets all the same, and find them in the region that they named.

use http::{HeaderMap, StatusCode};
use s3s::dto::{
    Bucket as WireBucket, BucketLocationConstraint, CreateBucketConfiguration, CreateBucketInput,
    CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{custom, invalid_argument, s3_error};
use super::metadata::refuse_unknown;
use super::operations::Operations;
use super::ownership::check_ownership;
use super::token::Token;
use super::values::{owner, timestamp, who_of};
use crate::objects::{Bucket, NewBucket};

/// The usual region.
const REGION: &str = "us-east-1";
/// The longest name of a region in bytes.
const REGION_BYTES_MAX: usize = 32;
/// How names begin that nobody may use.
const KEPT_STARTS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
/// How names end that nobody may use.
const KEPT_ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
/// The most buckets of a page.
const BUCKETS_MAX: i32 = 10_000;

fn to_wire(bucket: &Bucket) -> WireBucket {
    WireBucket {
        bucket_region: Some(bucket.region.clone().unwrap_or_else(|| REGION.to_owned())),
        creation_date: Some(timestamp(bucket.created)),
        name: Some(bucket.name.clone()),
    }
}

/// The region that a bucket is to be in, unless it is the usual one; refuses what cannot be one.
fn region_of(configuration: Option<&CreateBucketConfiguration>) -> S3Result<Option<String>> {
    let place = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let Some(name) = place.map(BucketLocationConstraint::as_str) else { return Ok(None) };
    if name.len() > REGION_BYTES_MAX || !is_name(name) {
        let why = "The specified location-constraint is not valid";
        return Err(S3Error::with_message(S3ErrorCode::InvalidLocationConstraint, why));
    }
    Ok(Some(name).filter(|name| !name.is_empty() && *name != REGION).map(str::to_owned))
}

/// Refuses names that Amazon keeps for itself: a bucket of that name could not move there.
fn check_name(name: &str) -> S3Result<()> {
    let is_kept = KEPT_STARTS.iter().any(|start| name.starts_with(start))
        || KEPT_ENDS.iter().any(|end| name.ends_with(end));
    if !is_kept {
        return Ok(());
    }
    let why = "The specified bucket is not valid.";
    Err(S3Error::with_message(S3ErrorCode::InvalidBucketName, why))
}

/// Refuses headers that ask for what is not done; ACLs have a code of their own here.
fn check_headers(headers: &HeaderMap) -> S3Result<()> {
    refuse_unknown(headers).map_err(|error| {
        if *error.code() != S3ErrorCode::AccessControlListNotSupported {
            return error;
        }
        let why = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
        custom("InvalidBucketAclWithObjectOwnership", StatusCode::BAD_REQUEST, why)
    })
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
            owner: Some(owner(&self.view().owner_name(&who))),
            prefix: input.prefix,
        }))
    }

    /// CreateBucket.
    pub(super) async fn create(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let who = who_of(&request)?;
        check_headers(&request.headers)?;
        let input = request.input;
        check_name(&input.bucket)?;
        check_ownership(input.object_ownership.as_ref())?;
        let region = region_of(input.create_bucket_configuration.as_ref())?;
        let new = NewBucket { lock: input.object_lock_enabled_for_bucket == Some(true), region };
        self.view().create_bucket(&who, &input.bucket, new).await.map_err(s3_error)?;
        let location = Some(format!("/{}", input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    /// HeadBucket.
    pub(super) async fn head(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let who = who_of(&request)?;
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let bucket_region = settings.region.clone().or_else(|| Some(REGION.to_owned()));
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
        let settings = self.view().settings(&who, &request.input.bucket).await.map_err(s3_error)?;
        let location_constraint = settings.region.clone().map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }
}
