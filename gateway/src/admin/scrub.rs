//! `/api/v1/scrub`: how far the scrub is, and running it by hand.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::error::ApiError;
use super::routes::Gateway;
use crate::control::ScrubStatus;

pub(super) async fn status(State(admin): Gateway) -> Json<ScrubStatus> {
    Json(admin.control.scrub().await)
}

pub(super) async fn run(State(admin): Gateway) -> Result<Response, ApiError> {
    admin.start("scrub", String::new(), |control, _, job| async move { control.scrub_run(&job).await })
}
