//! What is so of every bucket and cannot be set otherwise: the encryption, logging, notification, request payment and
//! acceleration of a bucket (Get and Put of each, Delete of the first).
//!
//! What lies in the repository is encrypted with AES-256. Setting what is so already is no error; everything else is
//! refused, as to take it would be a promise that is not kept.

use s3s::dto::{
    BucketAccelerateStatus, DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput,
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLoggingInput, GetBucketLoggingOutput,
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, NotificationConfiguration, Payer,
    PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketLoggingInput, PutBucketLoggingOutput,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{not_implemented, s3_error};
use super::operations::Operations;
use super::values::who_of;

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

/// Whether a configuration tells somebody of something.
fn tells(configuration: &NotificationConfiguration) -> bool {
    let NotificationConfiguration {
        event_bridge_configuration,
        lambda_function_configurations,
        queue_configurations,
        topic_configurations,
    } = configuration;
    event_bridge_configuration.is_some()
        || lambda_function_configurations.as_ref().is_some_and(|list| !list.is_empty())
        || queue_configurations.as_ref().is_some_and(|list| !list.is_empty())
        || topic_configurations.as_ref().is_some_and(|list| !list.is_empty())
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

    /// GetBucketLogging: nothing is logged into buckets.
    pub(super) async fn logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        self.of_bucket(&request, &request.input.bucket, GetBucketLoggingOutput::default()).await
    }

    /// PutBucketLogging: into nowhere.
    pub(super) async fn set_logging(
        &self,
        request: S3Request<PutBucketLoggingInput>,
    ) -> S3Result<S3Response<PutBucketLoggingOutput>> {
        if request.input.bucket_logging_status.logging_enabled.is_some() {
            return Err(not_implemented("requests are not logged into buckets"));
        }
        self.of_bucket(&request, &request.input.bucket, PutBucketLoggingOutput::default()).await
    }

    /// GetBucketNotificationConfiguration: nobody is told.
    pub(super) async fn notification(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let output = GetBucketNotificationConfigurationOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }

    /// PutBucketNotificationConfiguration: of nothing.
    pub(super) async fn set_notification(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        if tells(&request.input.notification_configuration) {
            return Err(not_implemented("nobody is told of what happens in a bucket"));
        }
        let output = PutBucketNotificationConfigurationOutput::default();
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

    /// PutBucketRequestPayment.
    pub(super) async fn set_request_payment(
        &self,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
        match request.input.request_payment_configuration.payer.as_str() {
            Payer::BUCKET_OWNER => {}
            Payer::REQUESTER => return Err(not_implemented("nobody pays for requests")),
            _ => return Err(S3ErrorCode::MalformedXML.into()),
        }
        let output = PutBucketRequestPaymentOutput::default();
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

    /// PutBucketAccelerateConfiguration: suspended, which it is.
    pub(super) async fn set_acceleration(
        &self,
        request: S3Request<PutBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketAccelerateConfigurationOutput>> {
        let status = request.input.accelerate_configuration.status.as_ref();
        match status.map(BucketAccelerateStatus::as_str) {
            Some(BucketAccelerateStatus::SUSPENDED) => {}
            Some(BucketAccelerateStatus::ENABLED) => {
                return Err(not_implemented("there is no other way to a bucket that could be faster"));
            }
            _ => return Err(S3ErrorCode::MalformedXML.into()),
        }
        let output = PutBucketAccelerateConfigurationOutput::default();
        self.of_bucket(&request, &request.input.bucket, output).await
    }
}
