//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Admin;
use super::error::ApiError;
use crate::telemetry::record_runs;

/// The version of the text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4";

pub(super) fn routes(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(admin)
}

/// Whether this process lives, and nothing else.
pub(super) fn alone() -> Router {
    Router::new().route("/healthz", get(async || "alive\n"))
}

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let data = admin.in_force.settings().gateway.data.clone();
    // Without the runs the rest is shown all the same.
    let _ = tokio::task::spawn_blocking(move || record_runs(data.as_path())).await;
    let _showing = admin.showing.lock().await;
    let text = admin.metrics.render(&admin.control.status().await);
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.control.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(error) => ApiError(error).into_response(),
    }
}
