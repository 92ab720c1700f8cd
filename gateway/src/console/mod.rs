//! The console: a web page over the admin API, served by the same listener.
//!
//! Owns the routes below, the headers of their answers and the guard around the API. The pages themselves are
//! plain files in `gateway/console`, compiled in (`assets.rs`); they ask the API for everything they show and have
//! no rights that their session does not have. Nothing is loaded from anywhere else.
//!
//! ```text
//! GET /                  to /console/
//! GET /console/          the page
//! GET /console/{asset}   what it is made of
//! ```
//!
//! Promises: no script or style runs that is not such a file, no text becomes a document (trusted types are
//! required and no policy makes any), no other page frames this one. A browser that was sent here by another
//! site's page changes nothing: see [`guard`].

mod assets;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use assets::Asset;

/// What a page may do: load scripts, styles and data from where it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The routes of the console, without the API. They need no session: what they answer is the same for everybody.
pub fn routes() -> Router {
    Router::new()
        .route("/", get(async || Redirect::permanent("/console/")))
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(async |headers: HeaderMap| answer(assets::find("index.html"), &headers)))
        .route(
            "/console/{*asset}",
            get(async |Path(name): Path<String>, headers: HeaderMap| answer(assets::find(&name), &headers)),
        )
}

fn answer(asset: Option<&'static Asset>, asked: &HeaderMap) -> Response {
    let Some(asset) = asset else {
        return (StatusCode::NOT_FOUND, hardened(), "there is no such file in the console\n").into_response();
    };
    let tag = asset.tag();
    let known = asked.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [(ETAG, tag), (CONTENT_TYPE, asset.content_type().to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, hardened(), headers).into_response();
    }
    (hardened(), headers, asset.bytes).into_response()
}

/// The headers of every answer of the console.
fn hardened() -> [(HeaderName, HeaderValue); 8] {
    [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=()")),
    ]
}

/// Stands before every route of the API. Refuses a change that a browser makes for the page of another origin
/// (RFC 6454 section 7: browsers say the origin with every such call, other clients say none), and keeps answers
/// out of caches and away from guesses of their type.
pub async fn guard(request: Request, next: Next) -> Response {
    if !request.method().is_safe() && is_of_another_origin(request.headers()) {
        return (StatusCode::FORBIDDEN, "refused: the call comes from the page of another site\n")
            .into_response();
    }
    let is_get = request.method() == Method::GET;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if is_get {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_none() || authority != host
}
