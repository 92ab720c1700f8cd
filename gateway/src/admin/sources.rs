//! `/api/v1/sources`: what sources of backup are there, and saving one by hand.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use super::error::ApiError;
use super::payload::Payload;
use super::routes::{Answer, Gateway};
use crate::control::{SourceDetails, SourceRunRequest, SourceStatus};

pub(super) async fn list(State(admin): Gateway) -> Json<Vec<SourceStatus>> {
    Json(admin.control.sources().await)
}

pub(super) async fn show(State(admin): Gateway, Path(source): Path<String>) -> Answer<SourceDetails> {
    Ok(Json(admin.control.source(&source).await?))
}

pub(super) async fn run(
    State(admin): Gateway,
    Path(source): Path<String>,
    Payload(request): Payload<SourceRunRequest>,
) -> Result<Response, ApiError> {
    admin.start("source-run", source, |control, source, job| async move {
        control.source_run(&source, &request, &job).await
    })
}
