//! JSON bodies: bounded in size and time, refused with the same kind of error as everything else.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::control::{ControlError, ErrorKind};

/// The longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send it.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// The body of a call. An empty body counts as `{}`.
pub(super) struct Payload<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let refuse = |message: String| ApiError(ControlError::new(ErrorKind::Invalid, message));
        let body = tokio::time::timeout(BODY_TIME_MAX, to_bytes(request.into_body(), BODY_BYTES_MAX));
        let body = match body.await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                return Err(refuse(format!("the body broke off, or is longer than {BODY_BYTES_MAX} bytes")));
            }
            Err(_) => return Err(refuse(format!("the body took longer than {} s", BODY_TIME_MAX.as_secs()))),
        };
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| refuse(format!("the body cannot be read: {error}")))
    }
}
