//! `/api/v1/targets`: the targets of the repository, and the links to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Applied;
use super::error::ApiError;
use super::payload::Payload;
use super::routes::{Answer, Gateway, table_add};
use crate::control::{ControlError, ErrorKind, LimitRequest, LinkStatus, PromoteRequest, TargetStatus};
use crate::settings::{Target, remove_table};

pub(super) async fn list(State(admin): Gateway) -> Json<Vec<TargetStatus>> {
    Json(admin.control.status().await.targets)
}

pub(super) async fn add(
    State(admin): Gateway,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Target>(&admin, &body).await
}

pub(super) async fn remove(State(admin): Gateway, Path(name): Path<String>) -> Answer<Applied> {
    let targets = admin.control.status().await.targets;
    if targets.iter().any(|target| target.leads && target.name == name) {
        let error =
            ControlError::new(ErrorKind::Invalid, format!("the repository is led from target {name:?}"));
        return Err(ApiError(error.todo("promote another target first: `tidegate target promote`")));
    }
    Ok(Json(admin.changes.edit(move |document| remove_table::<Target>(document, &name)).await?))
}

pub(super) async fn promote(
    State(admin): Gateway,
    Path(target): Path<String>,
    Payload(request): Payload<PromoteRequest>,
) -> Result<Response, ApiError> {
    admin.start("target-promote", target, |control, target, job| async move {
        control.target_promote(&target, &request, &job).await
    })
}

pub(super) async fn limit(
    State(admin): Gateway,
    Path(target): Path<String>,
    Payload(request): Payload<LimitRequest>,
) -> Answer<LinkStatus> {
    Ok(Json(admin.control.target_limit(&target, &request).await?))
}
