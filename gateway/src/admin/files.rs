//! `/api/v1/shares/{share}/files` and `/file`: looking at a share as it is, or was at a moment.
//!
//! A file leaves as an attachment of no type that a browser would show: what is in it is not trusted.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::payload::Asked;
use super::routes::{Answer, Gateway};
use crate::control::{FILES_PAGE_MAX, FileRequest, FilesPage, FilesRequest};

pub(super) async fn list(
    State(admin): Gateway,
    Path(share): Path<String>,
    Asked(mut request): Asked<FilesRequest>,
) -> Answer<FilesPage> {
    request.limit = request.limit.clamp(1, FILES_PAGE_MAX);
    Ok(Json(admin.control.files(&share, &request).await?))
}

pub(super) async fn read(
    State(admin): Gateway,
    Path(share): Path<String>,
    Asked(request): Asked<FileRequest>,
) -> Result<Response, ApiError> {
    let file = admin.control.file(&share, &request).await?;
    let name = request.path.names().last().unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, file.info.bytes.to_string()),
        (CONTENT_DISPOSITION, disposition(name)),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(file.data)).into_response())
}

/// `attachment`, with the name twice (RFC 6266 appendix D): in plain letters, and as it is.
fn disposition(name: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let plain: String = name
        .iter()
        .map(|&byte| if is_plain(byte) || byte == b' ' { char::from(byte) } else { '_' })
        .collect();
    let whole: String = name
        .iter()
        .map(|&byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_place_in_the_header() {
        let found = disposition(b"a\"b;\r\nx: \xff.txt");
        assert_eq!(
            found,
            "attachment; filename=\"a_b___x_ _.txt\"; filename*=UTF-8''a%22b%3B%0D%0Ax%3A%20%FF.txt"
        );
    }
}
