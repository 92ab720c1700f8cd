//! What every call passes before its handler: who it is, whether they may, and the record of it.
//!
//! Order: the caller is known by the headers alone; role and share decide; then the body is read, within bounds of size and
//! time; what the call is about to do is recorded and synced; then the handler runs. So a stranger costs no more than a
//! head, and nothing is changed that is not recorded. A call whose record cannot be written is refused. From its record on
//! a call goes on to its end and the record of that, also when the caller has gone.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Admin;
use super::access::{Caller, Refusal, Right};
use super::error::ApiError;
use super::listener::Peer;
use super::payload::{BODY_BYTES_MAX, read_body};
use super::row::{Effect, Reach, Row};
use crate::audit::{Entry, Event, short};
use crate::control::{ControlError, ErrorKind};

/// The longest body that is recorded as it is, in bytes.
const PARAMETERS_BYTES_MAX: usize = 4 << 10;
/// The longest query that is recorded as it is, in bytes.
const QUERY_BYTES_MAX: usize = 1 << 10;
/// Why a call is refused that destroys something by what it says.
const DESTROYS: &str = "the role changes what destroys nothing, and this call says that something goes";
/// Why a call came to nothing that the caller might have made.
const NO_BODY: &str = "its body broke off, was too long, or took too long";
/// Parts of names of what is never recorded.
const SECRET_NAMES: [&str; 6] = ["secret", "token", "password", "passphrase", "private", "hash"];

/// What the way to a handler knows.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) admin: Arc<Admin>,
    pub(super) row: &'static Row,
}

/// See the head of this module.
pub(super) async fn pass(
    State(Gate { admin, row }): State<Gate>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    // Who serves without saying where a call comes from serves nobody.
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Refusal::Unknown.into_response();
    };
    let Ok(parameters) = parameters else {
        let error = ControlError::new(ErrorKind::Invalid, "the path is not UTF-8 once it is decoded");
        return ApiError(error).into_response();
    };
    let subject: Vec<(String, String)> =
        parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let entry = Entry {
        from: peer.to_string(),
        call: format!("{} {}", row.method, row.path),
        subject: subject.iter().map(|(_, value)| value.clone()).collect(),
        ..Entry::default()
    };
    if row.effect == Effect::Begins {
        // Its handler knows who it is, and records it.
        return next.run(request).await;
    }
    let caller = admin.access.caller(peer, request.method(), request.headers(), Instant::now()).await;
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => {
            let entry = Entry { who: refusal.who().to_owned(), ..entry };
            return admin.refuse(peer, entry, refusal).await;
        }
    };
    let entry = Entry { who: caller.who.clone(), role: caller.role.as_str().to_owned(), ..entry };
    if let Err(refusal) = authorise(&admin, row, &caller, &subject) {
        return admin.refuse(peer, entry, refusal).await;
    }
    // Whoever has no session ends none.
    let ends_nothing = row.effect == Effect::Own && caller.cookie.is_none();
    request.extensions_mut().insert(caller.clone());
    if row.effect.is_recorded() && !ends_nothing {
        admin.recorded(row, (caller, entry), request, next).await
    } else {
        next.run(request).await
    }
}

/// Whether a caller may make a call.
fn authorise(admin: &Admin, row: &Row, caller: &Caller, subject: &[(String, String)]) -> Result<(), Refusal> {
    if row.effect.right().is_some_and(|right| !caller.may(right)) {
        return Err(Refusal::Forbidden("the role does not allow it"));
    }
    if caller.shares.is_none() {
        return Ok(());
    }
    let named =
        |wanted: &str| subject.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let share = match row.reach {
        Reach::Listed => return Ok(()),
        Reach::Whole => None,
        Reach::Share => named("share").map(str::to_owned),
        Reach::Bucket => named("bucket").map(|bucket| admin.share_of_bucket(bucket)),
        Reach::Volume => named("volume").and_then(|volume| admin.share_of_volume(volume)),
        Reach::Job => named("job").and_then(|job| admin.jobs.share_of(job)),
    };
    match share {
        Some(share) if caller.reaches(&share) => Ok(()),
        Some(_) | None => Err(Refusal::Forbidden("the token is for other shares")),
    }
}

impl Admin {
    /// Refuses a call, and records that.
    pub(super) async fn refuse(&self, peer: Peer, entry: Entry, refusal: Refusal) -> Response {
        self.note_refusal(peer, entry, &refusal).await;
        refusal.into_response()
    }

    async fn note_refusal(&self, peer: Peer, entry: Entry, refusal: &Refusal) {
        if let Some(missed) = self.access.records(peer, refusal, Instant::now()) {
            let mut outcome = refusal.why().to_owned();
            if missed > 0 {
                outcome
                    .push_str(&format!("; {missed} refusals before this one were not recorded one by one"));
            }
            let entry = Entry { outcome, ..entry };
            if let Err(error) = self.audit.write(Event::Denied, entry).await {
                tracing::error!(%error, "a refused call was not recorded");
            }
        }
    }

    /// Carries a call out between its two records.
    async fn recorded(
        self: &Arc<Self>,
        row: &Row,
        (caller, entry): (Caller, Entry),
        request: Request,
        next: Next,
    ) -> Response {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (parts, body) = request.into_parts();
        let body = match read_body(body, BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => {
                self.note_refusal(caller.peer, entry, &Refusal::Forbidden(NO_BODY)).await;
                return error.into_response();
            }
        };
        if !caller.may(Right::Administer) && row.destroys_with.is_some_and(|destroys| destroys.is_in(&body)) {
            return self.refuse(caller.peer, entry, Refusal::Forbidden(DESTROYS)).await;
        }
        let says_nothing = row.is_secret || row.effect == Effect::Own;
        let parameters = if says_nothing { None } else { told(&query, &body) };
        let request = Request::from_parts(parts, Body::from(body));
        let carried_out = self.clone().carried_out(entry, parameters, request, next);
        let place = self.calls_left.clone().acquire_owned().await;
        // The future of a connection ends with it; what is recorded as begun is not cut short by that.
        let carried_out = async move {
            let _place = place;
            carried_out.await
        };
        self.calls.spawn(carried_out).await.unwrap_or_else(|error| {
            let message = format!("the call broke off: {error}");
            ApiError(ControlError::new(ErrorKind::Failed, message)).into_response()
        })
    }

    async fn carried_out(
        self: Arc<Self>,
        entry: Entry,
        parameters: Option<Value>,
        request: Request,
        next: Next,
    ) -> Response {
        let number = match self.audit.write(Event::Call, Entry { parameters, ..entry.clone() }).await {
            Ok(number) => number,
            Err(error) => return ApiError(error.into()).into_response(),
        };
        let response = next.run(request).await;
        let answered = Entry { of: Some(number), status: Some(response.status().as_u16()), ..entry };
        if let Err(error) = self.audit.write(Event::Answered, answered).await {
            tracing::error!(%error, record = number, "how a call was answered was not recorded");
        }
        response
    }

    /// The share that a bucket shows, or the bucket itself.
    pub(super) fn share_of_bucket(&self, bucket: &str) -> String {
        let settings = self.in_force.settings();
        let share = settings.bucket(bucket).and_then(|bucket| bucket.share.as_ref());
        share.map_or_else(|| bucket.to_owned(), ToString::to_string)
    }

    fn share_of_volume(&self, name: &str) -> Option<String> {
        let settings = self.in_force.settings();
        let volume = settings.volumes.iter().find(|volume| volume.name.as_str() == name);
        volume.map(|volume| volume.share.to_string())
    }
}

/// What a call said besides its path, without secrets.
fn told(query: &str, body: &[u8]) -> Option<Value> {
    let query = (!query.is_empty()).then(|| json!({ "query": short(query, QUERY_BYTES_MAX) }));
    if body.is_empty() {
        return query;
    }
    let parsed =
        (body.len() <= PARAMETERS_BYTES_MAX).then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
    let told = match parsed {
        Some(mut value) => {
            hide_secrets(&mut value);
            value
        }
        None => json!({ "bytes": body.len(), "blake3": blake3::hash(body).to_hex().to_string() }),
    };
    match query {
        Some(query) => Some(json!({ "query": query["query"], "body": told })),
        None => Some(told),
    }
}

fn hide_secrets(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                let name = name.to_ascii_lowercase();
                if SECRET_NAMES.iter().any(|secret| name.contains(secret)) {
                    *value = Value::from("(not recorded)");
                } else {
                    hide_secrets(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_of_a_body_has_no_secret_and_is_bounded() {
        let body = json!({"name": "a", "credentials": {"secret_file": "/x"}, "list": [{"Token": "hunter2"}]});
        let told_of = told("dry-run=true", body.to_string().as_bytes()).expect("something").to_string();
        assert!(!told_of.contains("hunter2") && told_of.contains("dry-run=true"), "{told_of}");
        let long = format!("\"{}\"", "hunter2".repeat(1_000));
        let told_of = told("", long.as_bytes()).expect("something").to_string();
        assert!(told_of.len() < 200 && told_of.contains("blake3"), "{told_of}");
        let told_of = told(&"x".repeat(50_000), b"").expect("something").to_string();
        assert!(told_of.len() < 2 * QUERY_BYTES_MAX && told_of.contains("50000 bytes, blake3"), "{told_of}");
        assert_eq!(told("", b""), None);
        assert!(told("", b"hunter2 is no JSON").expect("something").get("blake3").is_some());
    }
}
