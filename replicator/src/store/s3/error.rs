//! From answers of an S3 endpoint to kinds of store errors.
//!
//! Three questions, in this order: did an answer come at all; which S3 error code does it name; which
//! HTTP status has it. A status without a code never becomes [`ErrorKind::Missing`]: a page of some
//! proxy that says 404 must not pass for the absence of an object.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::{ErrorKind, StoreError};

/// A store error for a failed request; `doing` reads after "failed to".
pub(super) fn store_error<E>(doing: String, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let kind = kind(&error);
    StoreError::new(kind, doing).caused_by(cause(&error))
}

/// The HTTP status of an answer that reports a failure.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn kind<E>(error: &SdkError<E, HttpResponse>) -> ErrorKind
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(service) => match service.err().code().and_then(kind_of_code) {
            Some(kind) => kind,
            None => kind_of_status(service.raw().status().as_u16()),
        },
        SdkError::ConstructionFailure(_) => kind_of_credentials(error).unwrap_or(ErrorKind::Misconfigured),
        SdkError::DispatchFailure(failure) if failure.is_user() => ErrorKind::Misconfigured,
        SdkError::DispatchFailure(_) if is_certificate_error(error) => ErrorKind::Misconfigured,
        SdkError::DispatchFailure(_) => kind_of_credentials(error).unwrap_or(ErrorKind::Transient),
        // An answer that could not be read. The type may grow; whatever else it reports passes or shows
        // in the retries that it does not.
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) | _ => ErrorKind::Transient,
    }
}

/// What an S3 error code asks of the caller. `None` for codes that say no more than their status.
fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchVersion" => ErrorKind::Missing,
        "PreconditionFailed" => ErrorKind::Exists,
        // Of a class that sleeps, and not thawed.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => ErrorKind::Asleep,
        "AccessDenied"
        | "AccountProblem"
        | "AllAccessDisabled"
        | "AuthFailure"
        | "ExpiredToken"
        | "Forbidden"
        | "InvalidAccessKeyId"
        | "InvalidSecurity"
        | "InvalidToken"
        | "NotSignedUp"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired"
        | "UnauthorizedAccess" => ErrorKind::Denied,
        "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "InvalidBucketName"
        | "InvalidStorageClass"
        | "KMS.DisabledException"
        | "KMS.NotFoundException"
        | "MethodNotAllowed"
        | "NoSuchBucket"
        | "NotImplemented"
        | "PermanentRedirect" => ErrorKind::Misconfigured,
        "EntityTooLarge" | "EntityTooSmall" | "InvalidRange" | "KeyTooLongError" => ErrorKind::Invalid,
        "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => {
            ErrorKind::Full
        }
        "BadDigest"
        | "IncompleteBody"
        | "InvalidDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch" => ErrorKind::Damaged,
        "BandwidthLimitExceeded"
        | "ConditionalRequestConflict"
        | "InternalError"
        | "NoSuchUpload"
        | "OperationAborted"
        | "RequestLimitExceeded"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceUnavailable"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests" => ErrorKind::Transient,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 | 403 | 407 => ErrorKind::Denied,
        412 => ErrorKind::Exists,
        413 | 414 | 416 => ErrorKind::Invalid,
        507 => ErrorKind::Full,
        408 | 409 | 425 | 429 => ErrorKind::Transient,
        0..500 | 501 | 505 => ErrorKind::Misconfigured,
        500.. => ErrorKind::Transient,
    }
}

/// Requests without credentials do not leave this machine; the reason is deep in the chain.
fn kind_of_credentials(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()).map(|cause| match cause {
        CredentialsError::ProviderTimedOut(_) => ErrorKind::Transient,
        _ => ErrorKind::Denied,
    })
}

/// Whether the endpoint showed a certificate that this machine does not trust. The TLS library's error
/// type is not visible from here, its text is.
fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.to_string().contains("invalid peer certificate"))
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What an error and its causes say, each once: the SDK's own text of the whole chain ends in Rust's debug form of it.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for text in chain(error).map(ToString::to_string) {
        if words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

fn cause<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(service) = error else { return in_words(error) };
    let status = service.raw().status().as_u16();
    let code = service.err().code().unwrap_or("no error code");
    let message = service.err().message().unwrap_or("no message");
    format!("the store answered {status} {code}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_404_is_not_a_missing_object() {
        assert_eq!(kind_of_status(404), ErrorKind::Misconfigured);
        assert_eq!(kind_of_code("NoSuchKey"), Some(ErrorKind::Missing));
        assert_eq!(kind_of_code("NoSuchBucket"), Some(ErrorKind::Misconfigured));
    }

    #[test]
    fn what_failed_is_told_in_words_each_once() {
        let refused = std::io::Error::from_raw_os_error(111);
        let said = refused.to_string();
        let error: SdkError<std::io::Error> =
            SdkError::timeout_error(Box::<dyn Error + Send + Sync>::from(refused));
        assert_eq!(in_words(&error), format!("request has timed out: {said}"));
    }

    #[test]
    fn what_sleeps_is_neither_gone_nor_denied() {
        assert_eq!(kind_of_code("InvalidObjectState"), Some(ErrorKind::Asleep));
    }

    #[test]
    fn every_status_that_asks_to_come_again_is_transient() {
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 520, 599] {
            assert_eq!(kind_of_status(status), ErrorKind::Transient, "{status}");
        }
    }

    #[test]
    fn refusals_need_a_person() {
        for status in [400, 301, 307, 405, 501] {
            assert_eq!(kind_of_status(status), ErrorKind::Misconfigured, "{status}");
        }
        for status in [401, 403, 407] {
            assert_eq!(kind_of_status(status), ErrorKind::Denied, "{status}");
        }
    }
}
