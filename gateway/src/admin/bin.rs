//! `/api/v1/bin` and `/shares/{share}/bin`: what was removed, and can still be brought back.

use axum::Json;
use axum::extract::{Extension, Path, State};

use super::payload::{Asked, Payload};
use super::removal::DryRun;
use super::routes::{Answer, Gateway, Who};
use crate::control::{BinEntry, BinRestoreRequest, BroughtBack, SnapshotInfo};

pub(super) async fn list(State(admin): Gateway, Extension(caller): Who) -> Answer<Vec<BinEntry>> {
    Ok(Json(caller.within_bin(admin.control.bin(None).await?)))
}

pub(super) async fn list_of(State(admin): Gateway, Path(share): Path<String>) -> Answer<Vec<BinEntry>> {
    Ok(Json(admin.control.bin(Some(&share)).await?))
}

pub(super) async fn empty(State(admin): Gateway, Asked(ask): Asked<DryRun>) -> Answer<Vec<BinEntry>> {
    Ok(Json(admin.control.bin_empty(None, None, ask.dry_run).await?))
}

pub(super) async fn empty_of(
    State(admin): Gateway,
    Path(share): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Vec<BinEntry>> {
    Ok(Json(admin.control.bin_empty(Some(&share), None, ask.dry_run).await?))
}

pub(super) async fn end(
    State(admin): Gateway,
    Path((share, snapshot)): Path<(String, String)>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Vec<BinEntry>> {
    Ok(Json(admin.control.bin_empty(Some(&share), Some(&snapshot), ask.dry_run).await?))
}

pub(super) async fn restore(
    State(admin): Gateway,
    Path((share, snapshot)): Path<(String, String)>,
    Payload(request): Payload<BinRestoreRequest>,
) -> Answer<SnapshotInfo> {
    Ok(Json(admin.control.bin_restore(&share, &snapshot, &request).await?))
}

pub(super) async fn restore_share(State(admin): Gateway, Path(share): Path<String>) -> Answer<BroughtBack> {
    Ok(Json(admin.control.bin_restore_share(&share).await?))
}
