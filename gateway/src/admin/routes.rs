//! `/api/v1`: each route takes its request apart, asks the gateway, and answers with plain data.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::jobs::JobInfo;
use super::payload::Payload;
use super::{Admin, Applied, branches, disks, files, health, policies, recovery, scrub, sources, targets};
use crate::console;
use crate::control::{
    Alarm, CloneRequest, Control, ControlError, DIFF_PAGE_MAX, DiffPage, DiffRequest, ErrorKind,
    HandoverRequest, HeadInfo, JobHandle, LifecycleRequest, Moment, RestoreRequest, RollbackRequest,
    ShareStatus, SnapshotInfo, SnapshotRequest, Status,
};
use crate::settings::{
    AccessKey, Bucket, Share, Table, add_table, remove_table, remove_table_by, table_from_json,
};

/// The most heads in one answer, and how many there are when the caller names no number.
const HEADS_MAX: usize = 1_000;
/// The longest that a call waits for the end of a job.
const WAIT_SECONDS_MAX: u64 = 60;

pub(super) type Answer<T> = Result<Json<T>, ApiError>;
pub(super) type Gateway = State<Arc<Admin>>;

pub(super) fn all(admin: Arc<Admin>) -> Router {
    let api = Router::new()
        .route("/status", get(status))
        .route("/alarms", get(alarms))
        .route("/settings/reload", post(reload))
        .route("/shares", get(shares).post(share_add))
        .route("/shares/{share}", get(share).delete(share_remove))
        .route("/shares/{share}/heads", get(heads))
        .route("/shares/{share}/commit", post(commit))
        .route("/shares/{share}/snapshots", get(snapshots).post(snapshot_create))
        .route("/shares/{share}/snapshots/{snapshot}", delete(snapshot_remove))
        .route("/shares/{share}/diff", post(diff))
        .route("/shares/{share}/files", get(files::list))
        .route("/shares/{share}/file", get(files::read))
        .route("/shares/{share}/restore", post(restore))
        .route("/shares/{share}/rollback", post(rollback))
        .route("/shares/{share}/handover", post(handover))
        .route("/shares/{share}/branches", get(branches::list))
        .route("/shares/{share}/branches/{branch}", delete(branches::remove))
        .route("/shares/{share}/branches/{branch}/diff", post(branches::diff))
        .route("/shares/{share}/branches/{branch}/apply", post(branches::apply))
        .route("/shares/{share}/rejoin", post(branches::rejoin))
        .route("/shares/{share}/failback", get(branches::failback))
        .route("/shares/{share}/clone", post(clone))
        .route("/shares/{share}/warm", post(recovery::warm))
        .route("/recovery", get(recovery::plan))
        .route("/buckets", post(bucket_add))
        .route("/buckets/{bucket}", delete(bucket_remove))
        .route("/buckets/{bucket}/lifecycle", post(lifecycle))
        .route("/targets", get(targets::list).post(targets::add))
        .route("/targets/{target}", delete(targets::remove))
        .route("/targets/{target}/promote", post(targets::promote))
        .route("/policies", get(policies::list))
        .route("/policies/{policy}", get(policies::show))
        .route("/policies/{policy}/run", post(policies::run))
        .route("/policies/{policy}/simulation", get(policies::simulate))
        .route("/scrub", get(scrub::status))
        .route("/scrub/run", post(scrub::run))
        .route("/targets/{target}/limit", post(targets::limit))
        .route("/sources", get(sources::list))
        .route("/sources/{source}", get(sources::show))
        .route("/sources/{source}/run", post(sources::run))
        .route("/access-keys", post(access_key_add))
        .route("/access-keys/{id}", delete(access_key_remove))
        .route("/jobs", get(jobs))
        .route("/jobs/{job}", get(job))
        .route("/jobs/{job}/cancel", post(job_cancel))
        .merge(disks::routes())
        .with_state(admin.clone())
        .layer(from_fn(console::guard));
    Router::new()
        .nest("/api/v1", api)
        .merge(health::routes(admin))
        .merge(console::routes())
        .fallback(no_such_route)
}

async fn no_such_route() -> ApiError {
    ApiError(ControlError::new(ErrorKind::NotFound, "there is no such route in this version of the API"))
}

async fn status(State(admin): Gateway) -> Json<Status> {
    Json(admin.control.status().await)
}

async fn alarms(State(admin): Gateway) -> Json<Vec<Alarm>> {
    Json(admin.control.status().await.alarms)
}

async fn reload(State(admin): Gateway) -> Answer<Applied> {
    Ok(Json(admin.reload().await?))
}

async fn shares(State(admin): Gateway) -> Json<Vec<ShareStatus>> {
    Json(admin.control.status().await.shares)
}

async fn share(State(admin): Gateway, Path(name): Path<String>) -> Answer<ShareStatus> {
    let found = admin.control.status().await.shares.into_iter().find(|share| share.name == name);
    found.map(Json).ok_or_else(|| {
        let error = ControlError::new(ErrorKind::NotFound, format!("there is no share {name:?}"));
        ApiError(error.todo("`tidegate share list` shows all shares"))
    })
}

async fn share_add(
    State(admin): Gateway,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Share>(&admin, &body).await
}

async fn share_remove(State(admin): Gateway, Path(name): Path<String>) -> Answer<Applied> {
    let Json(_) = share(State(admin.clone()), Path(name.clone())).await?;
    Ok(Json(admin.changes.edit(move |document| remove_table::<Share>(document, &name)).await?))
}

/// Adds a table to the settings.
pub(super) async fn table_add<T: Table>(
    admin: &Admin,
    body: &serde_json::Value,
) -> Result<Response, ApiError> {
    let (_, table) = table_from_json::<T>(body).map_err(ControlError::from)?;
    let applied = admin.changes.edit(move |document| add_table::<T>(document, table)).await?;
    Ok((StatusCode::CREATED, Json(applied)).into_response())
}

async fn bucket_add(
    State(admin): Gateway,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Bucket>(&admin, &body).await
}

async fn bucket_remove(State(admin): Gateway, Path(name): Path<String>) -> Answer<Applied> {
    Ok(Json(admin.changes.edit(move |document| remove_table::<Bucket>(document, &name)).await?))
}

async fn access_key_add(
    State(admin): Gateway,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<AccessKey>(&admin, &body).await
}

async fn access_key_remove(State(admin): Gateway, Path(id): Path<String>) -> Answer<Applied> {
    Ok(Json(admin.changes.edit(move |document| remove_table_by::<AccessKey>(document, "id", &id)).await?))
}

async fn lifecycle(
    State(admin): Gateway,
    Path(bucket): Path<String>,
    Payload(request): Payload<LifecycleRequest>,
) -> Result<Response, ApiError> {
    admin.start("lifecycle", bucket, |control, bucket, job| async move {
        control.lifecycle(&bucket, &request, &job).await
    })
}

#[derive(Deserialize)]
struct HeadsQuery {
    limit: Option<usize>,
}

async fn heads(
    State(admin): Gateway,
    Path(share): Path<String>,
    Query(query): Query<HeadsQuery>,
) -> Answer<Vec<HeadInfo>> {
    let limit = query.limit.unwrap_or(HEADS_MAX).min(HEADS_MAX);
    Ok(Json(admin.control.heads(&share, limit).await?))
}

async fn snapshots(State(admin): Gateway, Path(share): Path<String>) -> Answer<Vec<SnapshotInfo>> {
    Ok(Json(admin.control.snapshots(&share).await?))
}

async fn snapshot_remove(
    State(admin): Gateway,
    Path((share, snapshot)): Path<(String, String)>,
) -> Answer<SnapshotInfo> {
    Ok(Json(admin.control.snapshot_remove(&share, &snapshot).await?))
}

async fn diff(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(mut request): Payload<DiffRequest>,
) -> Answer<DiffPage> {
    request.limit = request.limit.clamp(1, DIFF_PAGE_MAX);
    Ok(Json(admin.control.diff(&share, &request).await?))
}

async fn commit(State(admin): Gateway, Path(share): Path<String>) -> Result<Response, ApiError> {
    admin.start("commit", share, |control, share, job| async move { control.commit_now(&share, &job).await })
}

async fn snapshot_create(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<SnapshotRequest>,
) -> Result<Response, ApiError> {
    admin.start("snapshot-create", share, |control, share, job| async move {
        control.snapshot_create(&share, &request, &job).await
    })
}

async fn restore(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<RestoreRequest>,
) -> Result<Response, ApiError> {
    admin.start("restore", share, |control, share, job| async move {
        control.restore(&share, &request, &job).await
    })
}

async fn rollback(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<RollbackRequest>,
) -> Result<Response, ApiError> {
    admin.start("rollback", share, |control, share, job| async move {
        control.rollback(&share, &request, &job).await
    })
}

async fn handover(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<HandoverRequest>,
) -> Result<Response, ApiError> {
    admin.start("handover", share, |control, share, job| async move {
        control.handover(&share, &request, &job).await
    })
}

/// Make a share over a moment of another one, and serve it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloneBody {
    /// The moment that becomes its base.
    from: Moment,
    /// Its keys in `[[share]]`.
    settings: serde_json::Value,
}

async fn clone(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(body): Payload<CloneBody>,
) -> Result<Response, ApiError> {
    let (settings, table) = table_from_json::<Share>(&body.settings).map_err(ControlError::from)?;
    let changes = admin.changes.clone();
    admin.start("clone", share, |control, share, job| async move {
        let request = CloneRequest { from: body.from, name: settings.name.to_string() };
        let report = control.clone_share(&share, &request, &job).await?;
        changes.edit(move |document| add_table::<Share>(document, table)).await?;
        Ok(report)
    })
}

async fn jobs(State(admin): Gateway) -> Json<Vec<JobInfo>> {
    Json(admin.jobs.list())
}

#[derive(Deserialize)]
struct JobQuery {
    wait_seconds: Option<u64>,
}

async fn job(
    State(admin): Gateway,
    Path(id): Path<String>,
    Query(query): Query<JobQuery>,
) -> Answer<JobInfo> {
    let time = Duration::from_secs(query.wait_seconds.unwrap_or(0).min(WAIT_SECONDS_MAX));
    Ok(Json(admin.jobs.wait(&id, time).await?))
}

async fn job_cancel(State(admin): Gateway, Path(id): Path<String>) -> Answer<JobInfo> {
    Ok(Json(admin.jobs.cancel(&id)?))
}

impl Admin {
    /// Starts a job about a share and answers with it.
    pub(super) fn start<W, F, T>(&self, kind: &str, share: String, work: W) -> Result<Response, ApiError>
    where
        W: FnOnce(Arc<dyn Control>, String, JobHandle) -> F,
        F: Future<Output = Result<T, ControlError>> + Send + 'static,
        T: Serialize + Send + 'static,
    {
        let control = self.control.clone();
        let info = self.jobs.start(kind, &share.clone(), |job| work(control, share, job))?;
        Ok((StatusCode::ACCEPTED, Json(info)).into_response())
    }
}
