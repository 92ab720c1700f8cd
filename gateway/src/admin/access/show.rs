//! From the headers of a call to who it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method};
use jiff::Timestamp;
use tokio::time::Instant;

use super::limits::Empty;
use super::session::Terms;
use super::{Began, CSRF_HEADER, Caller, Limit, Refusal, Sessions, cookie_of, peer_key};
use crate::admin::in_force::InForce;
use crate::admin::listener::Peer;
use crate::admin::oidc::{self, Denied, Providers};
use crate::control::ControlError;
use crate::settings::{Api, Settings, Token, TokenHash};

/// Who may be the page that makes a browser call (Fetch Metadata Request Headers, section 2.3).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How many calls of nobody's an address makes for each that one token may make, before it is told to come later.
const CALLS_OF_ADDRESS: u32 = 4;
/// How many refusals of an address, and of all together, are recorded a minute: nobody fills the log with them, and so
/// pushes out what it had before.
const RECORDS_PER_MINUTE: u32 = 60;
const RECORDS_OF_ALL_PER_MINUTE: u32 = 120;
/// How many sessions a token begins a minute: each is recorded.
const LOGINS_PER_MINUTE: u32 = 20;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// See the head of this module's parent.
pub(in crate::admin) struct Access {
    in_force: Arc<InForce>,
    providers: Providers,
    pub(in crate::admin) sessions: Sessions,
    calls: Limit<String>,
    addresses: Limit<IpAddr>,
    failures: Limit<IpAddr>,
    logins: Limit<String>,
    records: Limit<IpAddr>,
    records_of_all: Limit<()>,
    /// Refusals that were not recorded since the last that was.
    unrecorded: AtomicU64,
}

impl From<Empty> for Refusal {
    fn from(empty: Empty) -> Self {
        Self::TooMany { again: empty.again, first: empty.first }
    }
}

impl Access {
    pub(in crate::admin) fn new(in_force: Arc<InForce>) -> Self {
        let sessions = Sessions::default();
        Self {
            in_force,
            providers: Providers::default(),
            sessions,
            calls: Limit::default(),
            addresses: Limit::default(),
            failures: Limit::default(),
            logins: Limit::default(),
            records: Limit::default(),
            records_of_all: Limit::default(),
            unrecorded: AtomicU64::new(0),
        }
    }

    /// Who makes a call. Nothing of its body has been read. A valid token is bound by its own calls alone: what others do at
    /// the same address does not shut it out, and nobody guesses 200 bits.
    pub(in crate::admin) async fn caller(
        &self,
        peer: Peer,
        method: &Method,
        headers: &HeaderMap,
        now: Instant,
    ) -> Result<Caller, Refusal> {
        let Peer::Network(address) = peer else { return Ok(Caller::of_socket()) };
        let settings = self.in_force.settings();
        let api = &settings.api;
        let caller = match headers.get(AUTHORIZATION) {
            Some(value) => {
                let bearer = value.to_str().ok().and_then(bearer_of).unwrap_or_default();
                match find(&settings.tokens, bearer) {
                    Some(token) => Caller::of_token(token, peer),
                    None => self.of_provider(&settings, bearer, (peer, address), now).await?,
                }
            }
            // A cookie that has ended is no guess: nobody guesses 256 bits.
            None => {
                let cookie = cookie_of(headers);
                let found =
                    cookie.and_then(|cookie| self.of_session(&settings.tokens, api, &cookie, peer, now));
                let caller = found.ok_or_else(|| self.stranger(address, api, now))?;
                is_of_own_page(method, headers, &caller)?;
                caller
            }
        };
        self.calls.take(caller.name.clone(), api.calls_per_minute, now)?;
        Ok(caller)
    }

    /// Who shows a token of an OpenID provider. Whatever is wrong with one counts as a wrong token.
    async fn of_provider(
        &self,
        settings: &Settings,
        bearer: &str,
        (peer, address): (Peer, IpAddr),
        now: Instant,
    ) -> Result<Caller, Refusal> {
        if settings.oidc.is_empty() || !oidc::is_like_one(bearer) {
            return Err(self.failed(address, &settings.api, now));
        }
        match self.providers.claimed(&settings.oidc, bearer).await {
            Ok(claimed) => Ok(Caller::of_claimed(claimed, peer)),
            // It is somebody, and so no guess: their calls are counted as those of others are.
            Err(Denied::GrantsNothing(who)) => {
                self.calls.take(who.clone(), settings.api.calls_per_minute, now)?;
                Err(Refusal::GrantsNothing { who })
            }
            Err(Denied::Away) => Err(match self.stranger(address, &settings.api, now) {
                Refusal::Unknown => Refusal::ProviderAway,
                refusal => refusal,
            }),
            Err(Denied::Invalid(why)) => {
                tracing::debug!(why, "a token of a provider is not taken");
                Err(self.failed(address, &settings.api, now))
            }
        }
    }

    /// Begins a session with a token.
    pub(in crate::admin) fn login(
        &self,
        address: IpAddr,
        token: &str,
        now: Instant,
    ) -> Result<(Caller, Result<Began, ControlError>), Refusal> {
        let settings = self.in_force.settings();
        let api = &settings.api;
        let Some(token) = find(&settings.tokens, token) else { return Err(self.failed(address, api, now)) };
        self.logins.take(token.name.to_string(), LOGINS_PER_MINUTE, now)?;
        let began = self.sessions.begin(token.name.as_str(), token.hash, terms(api), now);
        let mut caller = Caller::of_token(token, Peer::Network(address));
        caller.who = format!("session:{}", token.name);
        caller.csrf = began.as_ref().ok().map(|began| began.csrf.clone());
        Ok((caller, began))
    }

    /// Whether a refusal is recorded: so many of one address, and then the first of those that are too many; and so many of
    /// all. With it, how many were not since the last that was.
    pub(in crate::admin) fn records(&self, peer: Peer, refusal: &Refusal, now: Instant) -> Option<u64> {
        if let Peer::Network(address) = peer {
            let taken = self.records.take(peer_key(address), RECORDS_PER_MINUTE, now);
            let of_address = refusal.is_recorded() && taken.map_or_else(|empty| empty.first, |()| true);
            let of_all = || self.records_of_all.take((), RECORDS_OF_ALL_PER_MINUTE, now).is_ok();
            if !of_address || !of_all() {
                self.unrecorded.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
        Some(self.unrecorded.swap(0, Ordering::Relaxed))
    }

    /// Refuses a call that shows nothing, or a session that is over.
    fn stranger(&self, address: IpAddr, api: &Api, now: Instant) -> Refusal {
        let most = api.calls_per_minute.saturating_mul(CALLS_OF_ADDRESS);
        match self.addresses.take(peer_key(address), most, now) {
            Ok(()) => Refusal::Unknown,
            Err(empty) => empty.into(),
        }
    }

    fn failed(&self, address: IpAddr, api: &Api, now: Instant) -> Refusal {
        match self.failures.take(peer_key(address), api.failures_per_minute, now) {
            Ok(()) => Refusal::Unknown,
            Err(empty) => empty.into(),
        }
    }

    fn of_session(
        &self,
        tokens: &[Token],
        api: &Api,
        cookie: &str,
        peer: Peer,
        now: Instant,
    ) -> Option<Caller> {
        let session = self.sessions.of(cookie, terms(api), now)?;
        let of_it = |token: &&Token| token.name.as_str() == session.token && token.hash == session.hash;
        let Some(token) = tokens.iter().find(of_it).filter(|token| is_valid(token)) else {
            self.sessions.end(cookie);
            return None;
        };
        let mut caller = Caller::of_token(token, peer);
        caller.who = format!("session:{}", token.name);
        (caller.cookie, caller.csrf) = (Some(cookie.to_owned()), Some(session.csrf));
        Some(caller)
    }
}

fn terms(api: &Api) -> Terms {
    Terms { idle: api.session_idle.duration(), whole: api.session_max.duration() }
}

/// The token of an `Authorization` header (RFC 6750 section 2.1).
fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_valid(token: &Token) -> bool {
    token.expires.is_none_or(|expires| Timestamp::now() < expires.0)
}

/// The token of the settings that this is. Compares with all of them, each in constant time: how long it takes tells
/// nothing of which, or how near.
fn find<'t>(tokens: &'t [Token], shown: &str) -> Option<&'t Token> {
    if shown.is_empty() || shown.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let hash = TokenHash::of(shown.as_bytes());
    let found = tokens.iter().fold(None, |found, token| if token.hash == hash { Some(token) } else { found });
    found.filter(|token| is_valid(token))
}

/// A change that comes with a cookie was made by a page of this origin, which says so in three ways.
fn is_of_own_page(method: &Method, headers: &HeaderMap, caller: &Caller) -> Result<(), Refusal> {
    if method.is_safe() {
        return Ok(());
    }
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Refusal::Forbidden("the call comes from the page of another site"));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if origin.is_some_and(|origin| origin != format!("https://{host}")) {
        return Err(Refusal::Forbidden("the call comes from the page of another origin"));
    }
    let shown = headers.get(CSRF_HEADER).map(|value| blake3::hash(value.as_bytes()));
    let wanted = caller.csrf.as_ref().map(|csrf| blake3::hash(csrf.as_bytes()));
    if shown.is_none() || shown != wanted {
        return Err(Refusal::Forbidden(
            "a change in a session carries x-tidegate-csrf, as the session was told",
        ));
    }
    Ok(())
}
