//! What is so of every bucket and cannot be set otherwise: PutBucketEncryption and GetBucketEncryption,
//! PutBucketOwnershipControls and GetBucketOwnershipControls, GetBucketLogging, GetBucketNotificationConfiguration,
//! GetBucketRequestPayment, GetBucketAccelerateConfiguration.
//!
//! What lies in the repository is encrypted with AES-256, and the owner of a bucket owns its objects. Setting what is
//! so already is no error; everything else is refused, as to take it would be a promise that is not kept.

use s3s::dto::{
    DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, GetBucketAccelerateConfigurationInput,
    GetBucketAccelerateConfigurationOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketOwnershipControlsInput,
    GetBucketOwnershipControlsOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    ObjectOwnership, OwnershipControls, OwnershipControlsRule, Payer, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{not_implemented, s3_error};
use super::operations::Operations;
use super::values::who_of;

/// Refuses an ownership other than that of the owner of the bucket.
pub(super) fn check_ownership(ownership: Option<&ObjectOwnership>) -> S3Result<()> {
    match ownership.map(ObjectOwnership::as_str) {
        None | Some(ObjectOwnership::BUCKET_OWNER_ENFORCED) => Ok(()),
        Some(_) => Err(not_implemented("the owner of a bucket owns what is in it; there are no ACLs")),
    }
}

fn check_encryption(configuration: &ServerSideEncryptionConfiguration) -> S3Result<()> {
    let [rule] = configuration.rules.as_slice() else { return Err(S3ErrorCode::MalformedXML.into()) };
    let default = rule.apply_server_side_encryption_by_default.as_ref();
    match default.map(|default| default.sse_algorithm.as_str()) {
        None | Some(ServerSideEncryption::AES256) => Ok(()),
        Some(_) => Err(not_implemented("encryption is AES256, with keys of the appliance")),
    }
}

fn encryption() -> ServerSideEncryptionConfiguration {
    let by_default = ServerSideEncryptionByDefault {
        kms_master_key_id: None,
        sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
    };
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(by_default),
        bucket_key_enabled: Some(false),
    };
    ServerSideEncryptionConfiguration { rules: vec![rule] }
}

fn ownership() -> OwnershipControls {
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] }
}

impl Operations {
    /// An answer about a bucket that is there.
    pub(super) async fn of_bucket<I: Send + Sync, O>(
        &self,
        request: &S3Request<I>,
        bucket: &str,
        output: O,
    ) -> S3Result<S3Response<O>> {
        let who = who_of(request)?;
        self.view().bucket(&who, bucket).await.map_err(s3_error)?;
        Ok(S3Response::new(output))
    }

    /// GetBucketEncryption.
    pub(super) async fn encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let server_side_encryption_configuration = Some(encryption());
        let output = GetBucketEncryptionOutput { server_side_encryption_configuration };
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// PutBucketEncryption.
    pub(super) async fn set_encryption(
        &self,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        check_encryption(&request.input.server_side_encryption_configuration)?;
        let output = PutBucketEncryptionOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// DeleteBucketEncryption: back to what is so.
    pub(super) async fn delete_encryption(
        &self,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        let output = DeleteBucketEncryptionOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// GetBucketOwnershipControls.
    pub(super) async fn ownership(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let output = GetBucketOwnershipControlsOutput { ownership_controls: Some(ownership()) };
        self.of_bucket(&request, &request.input.bucket, output).await
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
        let output = PutBucketOwnershipControlsOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// GetBucketLogging: nothing is logged into buckets.
    pub(super) async fn logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        self.of_bucket(&request, &request.input.bucket, GetBucketLoggingOutput::default()).await
    }

    /// GetBucketNotificationConfiguration: nobody is told.
    pub(super) async fn notification(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let output = GetBucketNotificationConfigurationOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// GetBucketRequestPayment.
    pub(super) async fn request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
        let output = GetBucketRequestPaymentOutput { payer };
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// GetBucketAccelerateConfiguration: there is no other way.
    pub(super) async fn acceleration(
        &self,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
        let output = GetBucketAccelerateConfigurationOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }
}
