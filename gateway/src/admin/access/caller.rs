//! Somebody who calls, once it is known who, and why somebody is refused.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use super::Right;
use crate::admin::error::ApiError;
use crate::admin::listener::Peer;
use crate::admin::oidc::Claimed;
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Role, Token};

/// When somebody comes again whose provider is away, in seconds.
const PROVIDER_AGAIN_SECONDS: u64 = 30;
const GRANTS_NOTHING: &str = "the token is valid, and the settings grant its holder nothing";

/// Who calls.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Caller {
    /// As the audit log has it.
    pub(in crate::admin) who: String,
    /// As the settings call them; who shows a token of a provider, as the audit log has it.
    pub(in crate::admin) name: String,
    pub(in crate::admin) role: Role,
    /// The shares that they may call for; none: all, and the gateway as a whole.
    pub(in crate::admin) shares: Option<BTreeSet<String>>,
    pub(in crate::admin) peer: Peer,
    /// The cookie of their session, where it was that.
    pub(in crate::admin) cookie: Option<String>,
    /// What a change in that session carries.
    pub(in crate::admin) csrf: Option<String>,
}

impl Caller {
    /// Whoever the Unix socket lets in.
    pub(in crate::admin) fn of_socket() -> Self {
        Self {
            who: "socket".to_owned(),
            name: "socket".to_owned(),
            role: Role::Admin,
            shares: None,
            peer: Peer::Socket,
            cookie: None,
            csrf: None,
        }
    }

    pub(super) fn of_token(token: &Token, peer: Peer) -> Self {
        let shares = token.shares.as_ref().map(|shares| shares.iter().map(ToString::to_string).collect());
        Self {
            who: format!("token:{}", token.name),
            name: token.name.to_string(),
            role: token.role,
            shares,
            peer,
            cookie: None,
            csrf: None,
        }
    }

    pub(super) fn of_claimed(claimed: Claimed, peer: Peer) -> Self {
        let Claimed { who, role, shares } = claimed;
        Self { name: who.clone(), who, role, shares, peer, cookie: None, csrf: None }
    }

    /// Whether their role has the right.
    pub(in crate::admin) fn may(&self, right: Right) -> bool {
        self.role.has(right)
    }

    /// Whether they may call for that share.
    pub(in crate::admin) fn reaches(&self, share: &str) -> bool {
        self.shares.as_ref().is_none_or(|shares| shares.contains(share))
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Refusal {
    /// Nobody knows who it is.
    Unknown,
    /// Too many calls; come again after so many seconds.
    TooMany {
        /// Seconds.
        again: u64,
        /// Whether it is the first one refused for that, which is recorded.
        first: bool,
    },
    /// The keys by which a token would be verified cannot be had.
    ProviderAway,
    /// A provider says who it is, and the settings grant them nothing.
    GrantsNothing {
        /// Who, as the audit log has it.
        who: String,
    },
    /// They may not do that.
    Forbidden(&'static str),
}

impl Refusal {
    /// For the audit log.
    pub(in crate::admin) fn why(&self) -> &'static str {
        match self {
            Self::Unknown => "no token or session that is valid",
            Self::TooMany { .. } => "too many calls; further ones of this minute are not recorded one by one",
            Self::ProviderAway => "the keys of the token's provider cannot be had",
            Self::GrantsNothing { .. } => GRANTS_NOTHING,
            Self::Forbidden(why) => why,
        }
    }

    /// Who is refused, where that is known by nothing but this.
    pub(in crate::admin) fn who(&self) -> &str {
        match self {
            Self::GrantsNothing { who } => who,
            Self::Unknown | Self::TooMany { .. } | Self::ProviderAway | Self::Forbidden(_) => "",
        }
    }

    /// Whether it is recorded by itself.
    pub(in crate::admin) fn is_recorded(&self) -> bool {
        match self {
            Self::TooMany { first, .. } => *first,
            Self::Unknown | Self::ProviderAway | Self::GrantsNothing { .. } | Self::Forbidden(_) => true,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let answer = |status, error: ControlError| {
            let mut response = ApiError(error).into_response();
            *response.status_mut() = status;
            response
        };
        match self {
            Self::Unknown => {
                let error =
                    ControlError::new(ErrorKind::Denied, "no valid token or session came with the call")
                        .todo("send `authorization: Bearer TOKEN`; `tidegate token add` makes a token");
                let mut response = answer(StatusCode::UNAUTHORIZED, error);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Self::TooMany { again, .. } => {
                let message = format!("too many calls; come again in {again} s");
                let mut response =
                    answer(StatusCode::TOO_MANY_REQUESTS, ControlError::new(ErrorKind::Busy, message));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(again));
                response
            }
            Self::ProviderAway => {
                let message = "the keys of the provider that issued the token cannot be had now";
                let error = ControlError::new(ErrorKind::Busy, message)
                    .todo("come again; a token of the settings works in any case (`tidegate token add`)");
                let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, error);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(PROVIDER_AGAIN_SECONDS));
                response
            }
            Self::GrantsNothing { .. } => {
                let error = ControlError::new(ErrorKind::Denied, format!("refused: {GRANTS_NOTHING}"))
                    .todo("have a value of your token written into `grants` of its `[[oidc]]`");
                answer(StatusCode::FORBIDDEN, error)
            }
            Self::Forbidden(why) => {
                answer(StatusCode::FORBIDDEN, ControlError::new(ErrorKind::Denied, format!("refused: {why}")))
            }
        }
    }
}
