//! From an error of a view to the one error of S3 that says it (Amazon S3 API reference, "Error responses").
//!
//! Owns the table: each [`ObjectError`] has exactly one code and one status. Messages never hold a key. An
//! error that may pass says so: `SlowDown` comes with a `Retry-After`. The quota has no code at Amazon's;
//! `QuotaExceeded` with status 403 is an error that clients show instead of trying again for ever.

use http::header::{ALLOW, CONTENT_TYPE, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};

use super::values::http_date;
use crate::objects::{ObjectError, VersionId};
use crate::view::Time;

/// After how many seconds a client is asked to come again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
/// Says that a delete marker stands there.
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
/// Says which version it is.
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
/// What error documents are.
const XML: HeaderValue = HeaderValue::from_static("application/xml");

/// The error on the wire.
pub(super) fn s3_error(error: ObjectError) -> S3Error {
    let (code, status) = code_of(&error);
    let mut answer = S3Error::with_message(code, error.to_string());
    answer.set_status_code(status);
    match error {
        ObjectError::SlowDown => {
            let headers = [(RETRY_AFTER, RETRY_AFTER_SECONDS), (CONTENT_TYPE, XML)];
            answer.set_headers(HeaderMap::from_iter(headers));
        }
        ObjectError::DeleteMarker { version, named, made } => {
            answer.set_headers(marker_headers(&version, named.then_some(made)));
        }
        _ => {}
    }
    answer
}

/// What the answer says of a delete marker that was met. Of one that was named it says when it was made, and that it
/// can only be deleted.
fn marker_headers(version: &VersionId, named: Option<Time>) -> HeaderMap {
    let yes = HeaderValue::from_static("true");
    let mut headers = HeaderMap::from_iter([(DELETE_MARKER, yes), (CONTENT_TYPE, XML)]);
    if let Ok(version) = HeaderValue::try_from(version.as_str()) {
        headers.insert(VERSION_ID, version);
    }
    let Some(made) = named else { return headers };
    headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
    if let Some(date) = http_date(made).and_then(|date| HeaderValue::try_from(date).ok()) {
        headers.insert(LAST_MODIFIED, date);
    }
    headers
}

/// The error of a caller who may not.
pub(super) fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")
}

/// An error with a code that `s3s` has no name for.
pub(super) fn custom(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut answer = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    answer.set_status_code(status);
    answer
}

/// What a client asks for that this server does not have.
pub(super) fn not_implemented(what: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, what)
}

/// A value of the request that cannot be.
pub(super) fn invalid_argument(why: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, why)
}

/// A request that contradicts itself.
pub(super) fn invalid_request(why: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, why)
}

fn code_of(error: &ObjectError) -> (S3ErrorCode, StatusCode) {
    use S3ErrorCode as Code;
    match error {
        ObjectError::AccessDenied | ObjectError::Locked | ObjectError::ReadOnly | ObjectError::Fixed(_) => {
            (Code::AccessDenied, StatusCode::FORBIDDEN)
        }
        ObjectError::NoSuchBucket => (Code::NoSuchBucket, StatusCode::NOT_FOUND),
        ObjectError::BucketOwned => (Code::BucketAlreadyOwnedByYou, StatusCode::CONFLICT),
        ObjectError::BucketExists => (Code::BucketAlreadyExists, StatusCode::CONFLICT),
        ObjectError::BucketNotEmpty => (Code::BucketNotEmpty, StatusCode::CONFLICT),
        ObjectError::NoSuchKey | ObjectError::DeleteMarker { named: false, .. } => {
            (Code::NoSuchKey, StatusCode::NOT_FOUND)
        }
        ObjectError::NoSuchVersion => (Code::NoSuchVersion, StatusCode::NOT_FOUND),
        ObjectError::DeleteMarker { named: true, .. } => {
            (Code::MethodNotAllowed, StatusCode::METHOD_NOT_ALLOWED)
        }
        ObjectError::BucketState(_) => (Code::InvalidBucketState, StatusCode::CONFLICT),
        ObjectError::MalformedPolicy(_) => (Code::MalformedPolicy, StatusCode::BAD_REQUEST),
        ObjectError::NoSuchUpload => (Code::NoSuchUpload, StatusCode::NOT_FOUND),
        ObjectError::InvalidPart { .. } => (Code::InvalidPart, StatusCode::BAD_REQUEST),
        ObjectError::InvalidPartOrder => (Code::InvalidPartOrder, StatusCode::BAD_REQUEST),
        ObjectError::PartTooSmall { .. } => (Code::EntityTooSmall, StatusCode::BAD_REQUEST),
        ObjectError::TooLarge { .. } => (Code::EntityTooLarge, StatusCode::BAD_REQUEST),
        ObjectError::PreconditionFailed => (Code::PreconditionFailed, StatusCode::PRECONDITION_FAILED),
        ObjectError::NotModified => (Code::NotModified, StatusCode::NOT_MODIFIED),
        ObjectError::Conflict => (Code::OperationAborted, StatusCode::CONFLICT),
        ObjectError::InvalidKey(_) | ObjectError::InvalidArgument(_) => {
            (Code::InvalidArgument, StatusCode::BAD_REQUEST)
        }
        ObjectError::KeyTooLong => (Code::KeyTooLongError, StatusCode::BAD_REQUEST),
        ObjectError::InvalidRange => (Code::InvalidRange, StatusCode::RANGE_NOT_SATISFIABLE),
        ObjectError::BadDigest(_) => (Code::BadDigest, StatusCode::BAD_REQUEST),
        ObjectError::IncompleteBody => (Code::IncompleteBody, StatusCode::BAD_REQUEST),
        ObjectError::Body(_) | ObjectError::InvalidRequest(_) | ObjectError::NoLock => {
            (Code::InvalidRequest, StatusCode::BAD_REQUEST)
        }
        ObjectError::SlowDown => (Code::SlowDown, StatusCode::SERVICE_UNAVAILABLE),
        ObjectError::Quota => (Code::Custom("QuotaExceeded".into()), StatusCode::FORBIDDEN),
        ObjectError::Internal => (Code::InternalError, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The error on the wire of a change with conditions, whose conflicts have a code of their own.
pub(super) fn conditional_error(error: ObjectError, conditional: bool) -> S3Error {
    let conflict = conditional && error == ObjectError::Conflict;
    let mut answer = s3_error(error);
    if conflict {
        answer.set_code(S3ErrorCode::ConditionalRequestConflict);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant with its code and status; `code_of` has no wildcard, so a new one must be decided on.
    fn table() -> Vec<(ObjectError, &'static str, u16)> {
        use ObjectError as E;
        vec![
            (E::AccessDenied, "AccessDenied", 403),
            (E::NoSuchBucket, "NoSuchBucket", 404),
            (E::BucketOwned, "BucketAlreadyOwnedByYou", 409),
            (E::BucketExists, "BucketAlreadyExists", 409),
            (E::BucketNotEmpty, "BucketNotEmpty", 409),
            (E::Fixed("set in the settings"), "AccessDenied", 403),
            (E::NoSuchKey, "NoSuchKey", 404),
            (E::NoSuchVersion, "NoSuchVersion", 404),
            (marker(false), "NoSuchKey", 404),
            (marker(true), "MethodNotAllowed", 405),
            (E::Locked, "AccessDenied", 403),
            (E::NoLock, "InvalidRequest", 400),
            (E::BucketState("no versions"), "InvalidBucketState", 409),
            (E::MalformedPolicy("none".into()), "MalformedPolicy", 400),
            (E::NoSuchUpload, "NoSuchUpload", 404),
            (E::InvalidPart { number: 3 }, "InvalidPart", 400),
            (E::InvalidPartOrder, "InvalidPartOrder", 400),
            (E::PartTooSmall { number: 1, bytes: 9 }, "EntityTooSmall", 400),
            (E::TooLarge { max: 5 }, "EntityTooLarge", 400),
            (E::PreconditionFailed, "PreconditionFailed", 412),
            (E::NotModified, "NotModified", 304),
            (E::Conflict, "OperationAborted", 409),
            (E::InvalidKey("ends in a slash"), "InvalidArgument", 400),
            (E::KeyTooLong, "KeyTooLongError", 400),
            (E::InvalidArgument("no".into()), "InvalidArgument", 400),
            (E::InvalidRequest("no".into()), "InvalidRequest", 400),
            (E::InvalidRange, "InvalidRange", 416),
            (E::BadDigest("MD5"), "BadDigest", 400),
            (E::IncompleteBody, "IncompleteBody", 400),
            (E::Body("chunks".into()), "InvalidRequest", 400),
            (E::SlowDown, "SlowDown", 503),
            (E::Quota, "QuotaExceeded", 403),
            (E::ReadOnly, "AccessDenied", 403),
            (E::Internal, "InternalError", 500),
        ]
    }

    fn marker(named: bool) -> ObjectError {
        ObjectError::DeleteMarker { version: VersionId::new("v"), named, made: Time::default() }
    }

    #[test]
    fn who_meets_a_delete_marker_is_told_which() {
        for named in [false, true] {
            let answer = s3_error(marker(named));
            let headers = answer.headers().unwrap();
            assert_eq!(
                (&headers[DELETE_MARKER], &headers[VERSION_ID]),
                (&"true".parse().unwrap(), &"v".parse().unwrap())
            );
            assert_eq!(headers.contains_key(ALLOW), named);
            assert_eq!(headers.contains_key(LAST_MODIFIED), named);
        }
    }

    #[test]
    fn every_error_has_one_code_and_one_status() {
        for (error, code, status) in table() {
            let answer = s3_error(error.clone());
            assert_eq!(answer.code().as_str(), code, "{error:?}");
            assert_eq!(answer.status_code().unwrap().as_u16(), status, "{error:?}");
            assert_eq!(answer.message(), Some(error.to_string().as_str()));
        }
    }

    #[test]
    fn who_is_asked_to_come_again_is_told_when() {
        let answer = s3_error(ObjectError::SlowDown);
        assert_eq!(answer.headers().unwrap()[RETRY_AFTER], RETRY_AFTER_SECONDS);
        assert!(s3_error(ObjectError::Internal).headers().is_none());
    }

    #[test]
    fn a_conflict_of_a_conditional_change_has_its_own_code() {
        let code = |conditional| conditional_error(ObjectError::Conflict, conditional).code().clone();
        assert_eq!(code(true), S3ErrorCode::ConditionalRequestConflict);
        assert_eq!(code(false), S3ErrorCode::OperationAborted);
    }
}
