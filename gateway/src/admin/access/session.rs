//! Sessions of the console: a cookie that a browser keeps to itself, begun with a token.
//!
//! The cookie is named with `__Host-` (RFC 6265bis section 4.1.3.2), is sent over TLS alone, to this host alone, with calls of
//! its own pages alone, and no script sees it. Here only its hash is kept, in memory: a restart ends all sessions. What a
//! change carries besides (`x-tidegate-csrf`) is a value that only a page of this origin has been told.
//!
//! Bounds: [`SESSIONS_MAX`] sessions, [`SESSIONS_OF_TOKEN_MAX`] of one token; the one that was used longest ago makes room.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::control::{ControlError, ErrorKind};
use crate::settings::TokenHash;

/// The name of the cookie.
const COOKIE_NAME: &str = "__Host-tidegate";
/// Carries the value that goes with a change.
pub(in crate::admin) const CSRF_HEADER: &str = "x-tidegate-csrf";
const SESSIONS_MAX: usize = 1_024;
const SESSIONS_OF_TOKEN_MAX: usize = 32;

/// All sessions of a gateway.
#[derive(Default)]
pub(in crate::admin) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

/// A session.
#[derive(Clone)]
pub(in crate::admin) struct Session {
    /// The token that it was begun with. Both must still be in the settings.
    pub(super) token: String,
    pub(super) hash: TokenHash,
    pub(super) csrf: String,
    began: Instant,
    used: Instant,
}

/// A session that has just begun.
pub(in crate::admin) struct Began {
    pub(in crate::admin) cookie: String,
    pub(in crate::admin) csrf: String,
}

/// How long sessions last.
#[derive(Clone, Copy)]
pub(in crate::admin) struct Terms {
    pub(super) idle: Duration,
    pub(super) whole: Duration,
}

impl Session {
    fn has_ended(&self, terms: Terms, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= terms.idle
            || now.saturating_duration_since(self.began) >= terms.whole
    }
}

fn key(cookie: &str) -> [u8; 32] {
    *blake3::hash(cookie.as_bytes()).as_bytes()
}

/// 256 bits of chance, in hex.
fn chance() -> Result<String, ControlError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        ControlError::new(ErrorKind::Failed, format!("failed to get random numbers for a session: {error}"))
    })?;
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
}

impl Sessions {
    /// Begins one.
    pub(super) fn begin(
        &self,
        token: &str,
        hash: TokenHash,
        terms: Terms,
        now: Instant,
    ) -> Result<Began, ControlError> {
        let began = Began { cookie: chance()?, csrf: chance()? };
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| !session.has_ended(terms, now));
        make_room(&mut sessions, SESSIONS_OF_TOKEN_MAX, |session| session.token == token);
        make_room(&mut sessions, SESSIONS_MAX, |_| true);
        let csrf = began.csrf.clone();
        sessions.insert(
            key(&began.cookie),
            Session { token: token.to_owned(), hash, csrf, began: now, used: now },
        );
        Ok(began)
    }

    /// The session of a cookie, used once more.
    pub(super) fn of(&self, cookie: &str, terms: Terms, now: Instant) -> Option<Session> {
        let key = key(cookie);
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&key)?;
        if session.has_ended(terms, now) {
            sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Ends the session of a cookie.
    pub(in crate::admin) fn end(&self, cookie: &str) {
        self.0.lock().remove(&key(cookie));
    }
}

/// Takes out those that were used longest ago, until one fits besides.
fn make_room(sessions: &mut HashMap<[u8; 32], Session>, most: usize, counts: impl Fn(&Session) -> bool) {
    while sessions.values().filter(|session| counts(session)).count() >= most {
        let counted = sessions.iter().filter(|(_, session)| counts(session));
        let Some(oldest) = counted.min_by_key(|(_, session)| session.used).map(|(key, _)| *key) else {
            return;
        };
        sessions.remove(&oldest);
    }
}

/// The value of the cookie in the headers of a call.
pub(in crate::admin) fn cookie_of(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value.to_owned())
}

/// `Set-Cookie` of a session.
pub(in crate::admin) fn set_cookie(value: &str, seconds: u64) -> String {
    format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict")
}

/// `Set-Cookie` that takes it away.
pub(in crate::admin) fn gone_cookie() -> String {
    set_cookie("", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { idle: Duration::from_secs(60), whole: Duration::from_secs(600) };

    fn begin(sessions: &Sessions, token: &str, now: Instant) -> String {
        sessions.begin(token, TokenHash::of(b"x"), TERMS, now).expect("chance").cookie
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_in_any_case() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let idle = begin(&sessions, "ops", start);
        assert!(sessions.of(&idle, TERMS, start + Duration::from_secs(59)).is_some());
        assert!(sessions.of(&idle, TERMS, start + Duration::from_secs(119)).is_none());
        let busy = begin(&sessions, "ops", start);
        for seconds in (0..600).step_by(30) {
            assert!(sessions.of(&busy, TERMS, start + Duration::from_secs(seconds)).is_some(), "{seconds}");
        }
        assert!(sessions.of(&busy, TERMS, start + Duration::from_secs(600)).is_none());
        assert!(sessions.0.lock().is_empty());
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let other = begin(&sessions, "other", start);
        let first = begin(&sessions, "ops", start);
        for second in 1..=SESSIONS_OF_TOKEN_MAX as u64 {
            begin(&sessions, "ops", start + Duration::from_secs(second));
        }
        let now = start + Duration::from_secs(40);
        assert!(sessions.of(&first, TERMS, now).is_none());
        assert!(sessions.of(&other, TERMS, now).is_some());
        sessions.end(&other);
        assert!(sessions.of(&other, TERMS, now).is_none());
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; __Host-tidegatex=no".parse().expect("a value"));
        assert_eq!(cookie_of(&headers), None);
        headers.append(COOKIE, "__Host-tidegate=abc; z=1".parse().expect("a value"));
        assert_eq!(cookie_of(&headers).as_deref(), Some("abc"));
        for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set_cookie("abc", 9).split("; ").any(|found| found == part), "{part}");
        }
        assert!(!set_cookie("abc", 9).contains("Domain"), "a cookie of the host alone");
    }
}
