//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::Admin;
use super::error::ApiError;
use crate::assembly::host_name;
use crate::telemetry::{export, record_runs};

impl Admin {
    /// Sends metrics and traces where the settings in force say, until it is told to stop.
    pub async fn export_telemetry(self: Arc<Self>, stop: CancellationToken) {
        export(host_name(), || self.in_force.settings(), || page(self.clone()), stop).await;
    }
}

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
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], page(admin).await).into_response()
}

/// The text of `/metrics`.
async fn page(admin: Arc<Admin>) -> String {
    let data = admin.in_force.settings().gateway.data.clone();
    // Without the runs the rest is shown all the same.
    let _ = tokio::task::spawn_blocking(move || record_runs(data.as_path())).await;
    let _showing = admin.showing.lock().await;
    admin.metrics.render(&admin.control.status().await)
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.control.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(error) => ApiError(error).into_response(),
    }
}
