//! `/api/v1/recovery` and `/api/v1/shares/{share}/warm`: how long recovery would take, and bringing a share here.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::access::Right;
use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::routes::{Answer, Gateway, Who};
use crate::control::{ControlError, ErrorKind, RecoveryPlan, RecoveryRequest, WarmRequest};

pub(super) async fn plan(
    State(admin): Gateway,
    Extension(caller): Who,
    Asked(request): Asked<RecoveryRequest>,
) -> Answer<RecoveryPlan> {
    // A measurement sends and reads objects: it is no look.
    if request.measure && (caller.shares.is_some() || !caller.may(Right::Operate)) {
        let error =
            ControlError::new(ErrorKind::Denied, "measuring the link is for operators of the whole gateway");
        return Err(ApiError(error.todo("ask without `measure`: what was measured last is told")));
    }
    Ok(Json(caller.within_recovery(admin.control.recovery(&request).await?)))
}

pub(super) async fn warm(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<WarmRequest>,
) -> Result<Response, ApiError> {
    admin.start("warm", share, |control, share, job| async move { control.warm(&share, request, &job).await })
}
