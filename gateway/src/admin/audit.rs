//! `/api/v1/audit`: the audit log, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::payload::Asked;
use super::routes::{Answer, Gateway};
use crate::audit::Page;
use crate::control::{ControlError, ErrorKind};

/// How many records there are in a page when the caller names no number.
const PAGE_DEFAULT: usize = 200;

/// A page of the audit log.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditRequest {
    /// Only records with lower numbers: `before` of the page before.
    before: Option<u64>,
    /// At most so many records, up to 1,000.
    limit: Option<usize>,
}

pub(super) async fn page(State(admin): Gateway, Asked(request): Asked<AuditRequest>) -> Answer<Page> {
    let log = Arc::clone(&admin.audit);
    let read = move || log.page(request.before, request.limit.unwrap_or(PAGE_DEFAULT));
    let page = tokio::task::spawn_blocking(read).await.map_err(|error| {
        ControlError::new(ErrorKind::Failed, format!("reading the audit log broke off: {error}"))
    })?;
    Ok(Json(page.map_err(ControlError::from)?))
}
