//! From errors of the gateway to HTTP answers: one status a kind, the error itself as JSON.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::control::{ControlError, ErrorKind};
use crate::settings::SettingsError;

/// After how many seconds a caller may try again what failed in passing.
const RETRY_AFTER_SECONDS: &str = "5";

/// A failed call.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) ControlError);

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        Self(error)
    }
}

impl From<SettingsError> for ControlError {
    fn from(error: SettingsError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
            .todo("correct the values named above; docs/settings.md has each key")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status_of(self.0.kind);
        let mut response = (status, Json(self.0)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let value = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// The HTTP status of a kind. No wildcard, so that a new kind cannot be forgotten.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exists | ErrorKind::Busy | ErrorKind::Superseded | ErrorKind::Cancelled => {
            StatusCode::CONFLICT
        }
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::StoreAway | ErrorKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Damaged | ErrorKind::Incomplete | ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
