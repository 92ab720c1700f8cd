//! JSON bodies and queries: bounded in size and time, refused with the same kind of error as everything else.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::control::{ControlError, ErrorKind};

/// The longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send it.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The body of a call: a JSON object. An empty body counts as `{}`. Other forms in which the same could be said are refused, so
/// that what is looked for in a body before it is read is found there.
pub(super) struct Payload<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(refuse("the body is no JSON object".to_owned()));
        }
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| refuse(format!("the body cannot be read: {error}")))
    }
}

/// The query of a call.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(asked)| Self(asked))
            .map_err(|error| refuse(format!("the query cannot be read: {error}")))
    }
}

/// A body as a whole, within bounds of size and time.
pub(super) async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(refuse(format!("the body broke off, or is longer than {bytes_max} bytes"))),
        Err(_) => Err(refuse(format!("the body took longer than {} s", BODY_TIME_MAX.as_secs()))),
    }
}

fn refuse(message: String) -> ApiError {
    ApiError(ControlError::new(ErrorKind::Invalid, message))
}
