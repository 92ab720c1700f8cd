//! `/api/v1/targets`: the targets of the repository, and the links to them.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::removal::{DryRun, Removal, remove_named};
use super::routes::{Answer, Gateway, Who, table_add};
use crate::control::{ControlError, ErrorKind, LimitRequest, LinkStatus, PromoteRequest, TargetStatus};
use crate::settings::Target;

pub(super) async fn list(State(admin): Gateway) -> Json<Vec<TargetStatus>> {
    Json(admin.control.status().await.targets)
}

pub(super) async fn add(
    State(admin): Gateway,
    Extension(caller): Who,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Target>(&admin, &caller, &body).await
}

pub(super) async fn remove(
    State(admin): Gateway,
    Path(name): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let targets = admin.control.status().await.targets;
    if targets.iter().any(|target| target.leads && target.name == name) {
        let error =
            ControlError::new(ErrorKind::Invalid, format!("the repository is led from target {name:?}"));
        return Err(ApiError(error.todo("promote another target first: `tidegate target promote`")));
    }
    let gone = vec![format!("target {name} gets nothing more; what lies there stays")];
    Ok(Json(remove_named::<Target>(&admin, "name", &name, ask, gone).await?))
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
