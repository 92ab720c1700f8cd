//! `/api/v1/recovery` and `/api/v1/shares/{share}/warm`: how long recovery would take, and bringing a share here.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;

use super::error::ApiError;
use super::payload::Payload;
use super::routes::{Answer, Gateway};
use crate::control::{RecoveryPlan, RecoveryRequest, WarmRequest};

pub(super) async fn plan(
    State(admin): Gateway,
    Query(request): Query<RecoveryRequest>,
) -> Answer<RecoveryPlan> {
    Ok(Json(admin.control.recovery(&request).await?))
}

pub(super) async fn warm(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<WarmRequest>,
) -> Result<Response, ApiError> {
    admin.start("warm", share, |control, share, job| async move { control.warm(&share, request, &job).await })
}
