//! `/api/v1/targets`: the links to targets.

use axum::Json;
use axum::extract::{Path, State};

use super::payload::Payload;
use super::routes::{Answer, Gateway};
use crate::control::{LimitRequest, LinkStatus};

pub(super) async fn limit(
    State(admin): Gateway,
    Path(target): Path<String>,
    Payload(request): Payload<LimitRequest>,
) -> Answer<LinkStatus> {
    Ok(Json(admin.control.target_limit(&target, &request).await?))
}
