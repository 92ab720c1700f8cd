//! `/api/v1/tokens`: who may use the API on the network; never a token itself.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::removal::{DryRun, Removal, remove_named};
use super::routes::{Answer, Gateway, table_add};
use crate::settings::Token;

/// A token of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenInfo {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The shares that it may do it to; none: all.
    pub shares: Vec<String>,
    /// When it is valid no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl From<&Token> for TokenInfo {
    fn from(token: &Token) -> Self {
        Self {
            name: token.name.to_string(),
            role: token.role.to_string(),
            shares: token.shares.iter().flatten().map(ToString::to_string).collect(),
            expires: token.expires.map(|expires| expires.0),
        }
    }
}

pub(super) async fn list(State(admin): Gateway) -> Json<Vec<TokenInfo>> {
    Json(admin.in_force.settings().tokens.iter().map(TokenInfo::from).collect())
}

pub(super) async fn add(
    State(admin): Gateway,
    Extension(caller): Extension<Caller>,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    table_add::<Token>(&admin, &caller, &body).await
}

pub(super) async fn remove(
    State(admin): Gateway,
    Path(name): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let gone = vec![format!(
        "whoever calls with token {name}, and every session that was begun with it, is refused"
    )];
    Ok(Json(remove_named::<Token>(&admin, "name", &name, ask, gone).await?))
}
