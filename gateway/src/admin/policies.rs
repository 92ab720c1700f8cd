//! `/api/v1/policies`: what policies are there, and running one by hand.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::routes::{Answer, Gateway, Who};
use crate::control::{
    PolicyDetails, PolicyRunRequest, PolicySimulation, PolicySimulationRequest, PolicyStatus,
};

pub(super) async fn list(State(admin): Gateway, Extension(caller): Who) -> Json<Vec<PolicyStatus>> {
    Json(caller.within_policies(admin.control.status().await.policies))
}

pub(super) async fn show(State(admin): Gateway, Path(policy): Path<String>) -> Answer<PolicyDetails> {
    Ok(Json(admin.control.policy(&policy).await?))
}

pub(super) async fn run(
    State(admin): Gateway,
    Path(policy): Path<String>,
    Payload(request): Payload<PolicyRunRequest>,
) -> Result<Response, ApiError> {
    admin.start("policy-run", policy, |control, policy, job| async move {
        control.policy_run(&policy, &request, &job).await
    })
}

pub(super) async fn simulate(
    State(admin): Gateway,
    Path(policy): Path<String>,
    Asked(request): Asked<PolicySimulationRequest>,
) -> Answer<PolicySimulation> {
    Ok(Json(admin.control.policy_simulate(&policy, &request).await?))
}
