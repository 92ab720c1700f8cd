//! `/api/v1/session`: a session of the console, begun with a token and kept in a cookie.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::access::{Caller, Right, gone_cookie, set_cookie};
use super::error::ApiError;
use super::listener::Peer;
use super::payload::read_body;
use super::routes::Gateway;
use crate::audit::{Entry, Event};
use crate::control::{ControlError, ErrorKind};

/// The longest body with a token, in bytes.
const LOGIN_BYTES_MAX: usize = 4 << 10;

/// Begin a session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// A token of the settings.
    token: String,
}

/// Who calls, and what they may do.
#[derive(Serialize, JsonSchema)]
pub(super) struct Whoami {
    /// As the settings call them; `socket` for whoever uses the Unix socket; `oidc:PROVIDER:SUBJECT` for who shows a token of
    /// an OpenID provider.
    name: String,
    /// Their role.
    role: String,
    /// What it may do.
    rights: Vec<Right>,
    /// The shares that they may do it to; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<Vec<String>>,
    /// What a change in this session carries in `x-tidegate-csrf`; absent where there is no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
}

/// Nothing more to say.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {}

impl Whoami {
    fn of(caller: &Caller) -> Self {
        Self {
            name: caller.name.clone(),
            role: caller.role.to_string(),
            rights: caller.role.rights().to_vec(),
            shares: caller.shares.as_ref().map(|shares| shares.iter().cloned().collect()),
            csrf: caller.csrf.clone(),
        }
    }
}

pub(super) async fn show(Extension(caller): Extension<Caller>) -> Json<Whoami> {
    Json(Whoami::of(&caller))
}

/// Reads no more than a token before it knows whose it is.
pub(super) async fn begin(State(admin): Gateway, request: Request) -> Response {
    let now = Instant::now();
    let peer = request.extensions().get::<Peer>().copied();
    let address = match peer {
        Some(Peer::Network(address)) => address,
        // Whoever is there has all rights already.
        Some(Peer::Socket) => return Json(Whoami::of(&Caller::of_socket())).into_response(),
        None => return StatusCode::UNAUTHORIZED.into_response(),
    };
    let peer = Peer::Network(address);
    let entry = Entry { from: peer.to_string(), call: "POST /session".to_owned(), ..Entry::default() };
    let settings = admin.in_force.settings();
    let body = match read_body(request.into_body(), LOGIN_BYTES_MAX).await {
        // Without another copy, where nobody else has it.
        Ok(body) => Zeroizing::new(Vec::from(body)),
        Err(error) => return error.into_response(),
    };
    // What serde says of it could repeat the token.
    let Ok(login) = serde_json::from_slice::<Login>(&body) else {
        let error = ControlError::new(ErrorKind::Invalid, "the body is not {\"token\": \"...\"}");
        return ApiError(error).into_response();
    };
    let token = Zeroizing::new(login.token);
    let (caller, began) = match admin.access.login(address, &token, now) {
        Ok(found) => found,
        Err(refusal) => return admin.refuse(peer, entry, refusal).await,
    };
    let entry = Entry { who: caller.who.clone(), role: caller.role.to_string(), ..entry };
    let recorded = admin.audit.write(Event::Call, entry).await.map_err(ControlError::from);
    let began = match (recorded, began) {
        (Ok(_), Ok(began)) => began,
        (Err(error), _) | (_, Err(error)) => return ApiError(error).into_response(),
    };
    let seconds = settings.api.session_max.duration().as_secs();
    let headers = [(SET_COOKIE, set_cookie(&began.cookie, seconds)), (CACHE_CONTROL, "no-store".to_owned())];
    (headers, Json(Whoami::of(&caller))).into_response()
}

pub(super) async fn end(State(admin): Gateway, Extension(caller): Extension<Caller>) -> Response {
    if let Some(cookie) = &caller.cookie {
        admin.access.sessions.end(cookie);
    }
    ([(SET_COOKIE, gone_cookie())], Json(Done {})).into_response()
}
