//! `/api/v1`: each handler takes its request apart, asks the gateway, and answers with plain data.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::error::ApiError;
use super::jobs::JobInfo;
use super::listener::Peer;
use super::payload::{Asked, Payload};
use super::removal::{DryRun, Removal, remove_named};
use super::{Admin, Applied};
use crate::control::{
    Alarm, ClientInfo, CloneRequest, Control, ControlError, DIFF_PAGE_MAX, DiffPage, DiffRequest, ErrorKind,
    FilePath, HandoverRequest, HeadInfo, JobHandle, KeySlot, LifecycleRequest, Moment, RestoreRequest,
    RollbackRequest, ShareState, ShareStatus, SnapshotInfo, SnapshotRequest, Status,
};
use crate::settings::{AccessKey, AccessKeyChange, Bucket, Share, Table, add_table, table_from_json};

/// The most heads in one answer, and how many there are when the caller names no number.
const HEADS_MAX: usize = 1_000;
/// The longest that a call waits for the end of a job.
const WAIT_SECONDS_MAX: u64 = 60;

pub(super) type Answer<T> = Result<Json<T>, ApiError>;
pub(super) type Gateway = State<Arc<Admin>>;
pub(super) type Who = Extension<Caller>;

pub(super) async fn status(State(admin): Gateway, Extension(caller): Who) -> Json<Status> {
    Json(caller.within_status(admin.status().await))
}

pub(super) async fn alarms(State(admin): Gateway, Extension(caller): Who) -> Json<Vec<Alarm>> {
    Json(caller.within_alarms(admin.status().await.alarms))
}

pub(super) async fn reload(State(admin): Gateway) -> Answer<Applied> {
    Ok(Json(admin.changes.reload().await?))
}

pub(super) async fn shares(State(admin): Gateway, Extension(caller): Who) -> Json<Vec<ShareStatus>> {
    Json(caller.within_shares(admin.control.status().await.shares))
}

pub(super) async fn share(State(admin): Gateway, Path(name): Path<String>) -> Answer<ShareStatus> {
    let found = admin.control.status().await.shares.into_iter().find(|share| share.name == name);
    found.map(Json).ok_or_else(|| {
        let error = ControlError::new(ErrorKind::NotFound, format!("there is no share {name:?}"));
        ApiError(error.todo("`tidegate share list` shows all shares"))
    })
}

pub(super) async fn share_add(
    State(admin): Gateway,
    Extension(caller): Who,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Share>(&admin, &caller, &body).await
}

pub(super) async fn share_remove(
    State(admin): Gateway,
    Path(name): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let Json(found) = share(State(admin.clone()), Path(name.clone())).await?;
    let mut gone = vec![match found.state {
        ShareState::Following | ShareState::Superseded | ShareState::Failed => {
            format!("clients lose {}", found.export)
        }
        ShareState::Serving | ShareState::ReadOnly | ShareState::Full => {
            format!("clients lose {}; `tidegate bin restore {name}` serves it again", found.export)
        }
    }];
    if found.dirty_bytes > 0 {
        gone.push(format!("{} bytes were acknowledged and are in no head yet", found.dirty_bytes));
    }
    Ok(Json(remove_named::<Share>(&admin, "name", &name, ask, gone).await?))
}

/// Adds a table to the settings.
pub(super) async fn table_add<T: Table>(
    admin: &Admin,
    caller: &Caller,
    body: &serde_json::Value,
) -> Result<Response, ApiError> {
    runs_nothing(caller, body)?;
    let (_, table) = table_from_json::<T>(body).map_err(ControlError::from)?;
    let applied = admin.changes.edit(move |document| add_table::<T>(document, table)).await?;
    Ok((StatusCode::CREATED, Json(applied)).into_response())
}

/// Nothing that comes over the network has this machine run a program: a secret that is a command is set here alone.
fn runs_nothing(caller: &Caller, body: &serde_json::Value) -> Result<(), ControlError> {
    if caller.peer == Peer::Socket || !names_command(body) {
        return Ok(());
    }
    let error = ControlError::new(ErrorKind::Denied, "a command cannot be set over the network");
    Err(error.todo("use `tidegate` on the machine itself, or name a file or a credential"))
}

fn names_command(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name == "command" || names_command(value))
        }
        serde_json::Value::Array(list) => list.iter().any(names_command),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => false,
    }
}

pub(super) async fn bucket_add(
    State(admin): Gateway,
    Extension(caller): Who,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Bucket>(&admin, &caller, &body).await
}

pub(super) async fn bucket_remove(
    State(admin): Gateway,
    Path(name): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let gone = vec![format!("S3 clients lose bucket {name}; the repository keeps its data")];
    Ok(Json(remove_named::<Bucket>(&admin, "name", &name, ask, gone).await?))
}

pub(super) async fn access_key_add(
    State(admin): Gateway,
    Extension(caller): Who,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<AccessKey>(&admin, &caller, &body).await
}

pub(super) async fn access_key_change(
    State(admin): Gateway,
    Path(id): Path<String>,
    Payload(change): Payload<AccessKeyChange>,
) -> Answer<Applied> {
    Ok(Json(admin.changes.edit(move |document| change.apply(document, &id)).await?))
}

pub(super) async fn access_key_remove(
    State(admin): Gateway,
    Path(id): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let gone = vec![format!("S3 clients with access key {id} are refused; the file with its secret stays")];
    Ok(Json(remove_named::<AccessKey>(&admin, "id", &id, ask, gone).await?))
}

pub(super) async fn lifecycle(
    State(admin): Gateway,
    Path(bucket): Path<String>,
    Payload(request): Payload<LifecycleRequest>,
) -> Result<Response, ApiError> {
    admin.start("lifecycle", bucket, |control, bucket, job| async move {
        control.lifecycle(&bucket, &request, &job).await
    })
}

/// Which heads.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadsQuery {
    /// At most so many, up to 1,000.
    limit: Option<usize>,
}

pub(super) async fn heads(
    State(admin): Gateway,
    Path(share): Path<String>,
    Asked(query): Asked<HeadsQuery>,
) -> Answer<Vec<HeadInfo>> {
    let limit = query.limit.unwrap_or(HEADS_MAX).min(HEADS_MAX);
    Ok(Json(admin.control.heads(&share, limit).await?))
}

pub(super) async fn snapshots(State(admin): Gateway, Path(share): Path<String>) -> Answer<Vec<SnapshotInfo>> {
    Ok(Json(admin.control.snapshots(&share).await?))
}

pub(super) async fn snapshot_remove(
    State(admin): Gateway,
    Path((share, snapshot)): Path<(String, String)>,
    Asked(ask): Asked<DryRun>,
) -> Answer<SnapshotInfo> {
    if ask.dry_run {
        let found = admin.control.snapshots(&share).await?;
        let found = found.into_iter().find(|found| found.name == snapshot || found.id == snapshot);
        let missing = || {
            let message = format!("share {share:?} has no snapshot {snapshot:?}");
            ControlError::new(ErrorKind::NotFound, message)
                .todo(format!("see `tidegate snapshot list {share}`"))
        };
        return Ok(Json(found.ok_or_else(missing)?));
    }
    Ok(Json(admin.control.snapshot_remove(&share, &snapshot).await?))
}

pub(super) async fn diff(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(mut request): Payload<DiffRequest>,
) -> Answer<DiffPage> {
    request.limit = request.limit.clamp(1, DIFF_PAGE_MAX);
    Ok(Json(admin.control.diff(&share, &request).await?))
}

pub(super) async fn commit(State(admin): Gateway, Path(share): Path<String>) -> Result<Response, ApiError> {
    admin.start("commit", share, |control, share, job| async move { control.commit_now(&share, &job).await })
}

pub(super) async fn snapshot_create(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<SnapshotRequest>,
) -> Result<Response, ApiError> {
    admin.start("snapshot-create", share, |control, share, job| async move {
        control.snapshot_create(&share, &request, &job).await
    })
}

pub(super) async fn restore(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<RestoreRequest>,
) -> Result<Response, ApiError> {
    admin.start("restore", share, |control, share, job| async move {
        control.restore(&share, &request, &job).await
    })
}

pub(super) async fn rollback(
    State(admin): Gateway,
    Path(share): Path<String>,
    Asked(ask): Asked<DryRun>,
    Payload(request): Payload<RollbackRequest>,
) -> Result<Response, ApiError> {
    if ask.dry_run {
        // What is live and in no head yet becomes a snapshot first, and is not counted here.
        let request = DiffRequest {
            from: Moment::NewestHead,
            to: request.to,
            path: FilePath::root(),
            after: None,
            limit: DIFF_PAGE_MAX,
        };
        return Ok(Json(admin.control.diff(&share, &request).await?).into_response());
    }
    admin.start("rollback", share, |control, share, job| async move {
        control.rollback(&share, &request, &job).await
    })
}

pub(super) async fn handover(
    State(admin): Gateway,
    Path(share): Path<String>,
    Payload(request): Payload<HandoverRequest>,
) -> Result<Response, ApiError> {
    admin.start("handover", share, |control, share, job| async move {
        control.handover(&share, &request, &job).await
    })
}

/// Make a share over a moment of another one, and serve it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CloneBody {
    /// The moment that becomes its base.
    from: Moment,
    /// Its keys in `[[share]]`.
    settings: serde_json::Value,
}

pub(super) async fn clone(
    State(admin): Gateway,
    Extension(caller): Who,
    Path(share): Path<String>,
    Payload(body): Payload<CloneBody>,
) -> Result<Response, ApiError> {
    runs_nothing(&caller, &body.settings)?;
    let (settings, table) = table_from_json::<Share>(&body.settings).map_err(ControlError::from)?;
    let changes = admin.changes.clone();
    admin.start("clone", share, |control, share, job| async move {
        let request = CloneRequest { from: body.from, name: settings.name.to_string() };
        let report = control.clone_share(&share, &request, &job).await?;
        changes.edit(move |document| add_table::<Share>(document, table)).await?;
        Ok(report)
    })
}

pub(super) async fn collect(State(admin): Gateway, Asked(ask): Asked<DryRun>) -> Result<Response, ApiError> {
    admin.start("gc", String::new(), move |control, _, job| async move {
        control.collect(ask.dry_run, &job).await
    })
}

pub(super) async fn clients(State(admin): Gateway) -> Answer<Vec<ClientInfo>> {
    Ok(Json(admin.control.clients().await?))
}

pub(super) async fn keys(State(admin): Gateway) -> Answer<Vec<KeySlot>> {
    Ok(Json(admin.control.keys().await?))
}

pub(super) async fn jobs(State(admin): Gateway, Extension(caller): Who) -> Json<Vec<JobInfo>> {
    Json(caller.within_jobs(admin.jobs.list()))
}

/// How long to wait for the end of a job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobQuery {
    /// In seconds, up to 60; 0 when absent.
    wait_seconds: Option<u64>,
}

pub(super) async fn job(
    State(admin): Gateway,
    Extension(caller): Who,
    Path(id): Path<String>,
    Asked(query): Asked<JobQuery>,
) -> Answer<JobInfo> {
    let time = Duration::from_secs(query.wait_seconds.unwrap_or(0).min(WAIT_SECONDS_MAX));
    Ok(Json(caller.within_job(admin.jobs.wait(&id, time).await?)))
}

pub(super) async fn job_cancel(State(admin): Gateway, Path(id): Path<String>) -> Answer<JobInfo> {
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
        let within = self.within_of(kind, &share);
        let info = self.jobs.start(kind, &share.clone(), within, |job| work(control, share, job))?;
        Ok((StatusCode::ACCEPTED, Json(info)).into_response())
    }
}
