//! `/api/v1/shares/{share}/branches`, `/rejoin` and `/failback`: what the line of a share does not go on from, and the way
//! back to the line.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::removal::DryRun;
use super::routes::{Answer, Gateway};
use crate::control::{
    BranchApplyRequest, BranchDiffPage, BranchDiffRequest, BranchInfo, ControlError, DIFF_PAGE_MAX,
    ErrorKind, FailbackPlan, RejoinRequest,
};

pub(super) async fn list(State(admin): Gateway, Path(share): Path<String>) -> Answer<Vec<BranchInfo>> {
    Ok(Json(admin.control.branches(&share).await?))
}

pub(super) async fn remove(
    State(admin): Gateway,
    Path((share, branch)): Path<(String, String)>,
    Asked(ask): Asked<DryRun>,
) -> Answer<BranchInfo> {
    if ask.dry_run {
        let found = admin.control.branches(&share).await?;
        let found = found.into_iter().find(|found| found.name == branch || found.id == branch);
        let missing = || {
            let message = format!("share {share:?} has no branch {branch:?}");
            ControlError::new(ErrorKind::NotFound, message)
                .todo(format!("see `tidegate branch list {share}`"))
        };
        return Ok(Json(found.ok_or_else(missing)?));
    }
    Ok(Json(admin.control.branch_remove(&share, &branch).await?))
}

pub(super) async fn diff(
    State(admin): Gateway,
    Path((share, branch)): Path<(String, String)>,
    Payload(mut request): Payload<BranchDiffRequest>,
) -> Answer<BranchDiffPage> {
    request.limit = request.limit.clamp(1, DIFF_PAGE_MAX);
    Ok(Json(admin.control.branch_diff(&share, &branch, &request).await?))
}

pub(super) async fn apply(
    State(admin): Gateway,
    Path((share, branch)): Path<(String, String)>,
    Payload(request): Payload<BranchApplyRequest>,
) -> Result<Response, ApiError> {
    admin.start("branch-apply", share, |control, share, job| async move {
        control.branch_apply(&share, &branch, &request, &job).await
    })
}

pub(super) async fn rejoin(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<RejoinRequest>,
) -> Result<Response, ApiError> {
    admin.start(
        "rejoin",
        share,
        |control, share, job| async move { control.rejoin(&share, &request, &job).await },
    )
}

pub(super) async fn failback(State(admin): Gateway, Path(share): Path<String>) -> Answer<FailbackPlan> {
    Ok(Json(admin.control.failback_plan(&share).await?))
}
