//! Web pages of other origins: the answer to what a browser asks beforehand (OPTIONS), and the headers on answers to
//! pages (Amazon S3 user guide, "Using cross-origin resource sharing"; Fetch standard, "CORS protocol").
//!
//! Owns the wire side; which rule answers is decided in [`crate::objects::cors`]. A preflight is answered to anybody
//! and says nothing of objects: whether the call that follows is allowed is asked when it comes. Errors have the
//! headers too, so that a page can see them.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};

use super::access::BaseDomain;
use super::errors::custom;
use super::target::Target;
use super::values::header;
use crate::objects::ObjectView;
use crate::objects::cors::{self, CorsAnswer};

/// On what an answer depends, besides its address.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// The rules of all buckets.
pub(super) struct Pages {
    view: Arc<dyn ObjectView>,
    domain: Option<BaseDomain>,
}

/// A request of a page.
pub(super) struct Call {
    origin: String,
    method: Method,
    target: Option<Target>,
}

impl Pages {
    /// Of the buckets of a view.
    pub(super) fn new(view: Arc<dyn ObjectView>, domain: Option<BaseDomain>) -> Self {
        Self { view, domain }
    }

    /// The call that a request is, if it is one of a page.
    pub(super) fn call_of<B>(&self, request: &Request<B>) -> Option<Call> {
        Some(Call {
            origin: header(request.headers(), ORIGIN.as_str())?.to_owned(),
            method: request.method().clone(),
            target: Target::of(self.domain.as_ref(), request.headers(), request.uri()),
        })
    }

    /// Answers what a browser asks beforehand.
    pub(super) async fn preflight<B>(&self, request: &Request<B>) -> S3Result<Response<Body>> {
        let headers = request.headers();
        let origin = header(headers, ORIGIN.as_str())
            .ok_or_else(|| incomplete("Insufficient information. Origin request header needed."))?;
        let method = header(headers, ACCESS_CONTROL_REQUEST_METHOD.as_str())
            .ok_or_else(|| incomplete("Invalid Access-Control-Request-Method: null"))?;
        let asked = header(headers, ACCESS_CONTROL_REQUEST_HEADERS.as_str()).unwrap_or_default();
        let asked: Vec<&str> = cors::requested_headers(asked).collect();
        let target = Target::of(self.domain.as_ref(), request.headers(), request.uri());
        let rules = match &target {
            Some(target) => self.view.cors(&target.bucket).await,
            None => Vec::new(),
        };
        if rules.is_empty() {
            return Err(forbidden("CORSResponse: CORS is not enabled for this bucket."));
        }
        let answer = cors::preflight(&rules, origin, method, &asked).ok_or_else(|| {
            forbidden(
                "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of \
                 Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are \
                 not whitelisted by the resource's CORS spec.",
            )
        })?;
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = to_headers(&answer);
        Ok(response)
    }

    /// Adds to an answer what lets the page see it.
    pub(super) async fn open(&self, call: Option<&Call>, response: &mut Response<Body>) {
        let Some(call) = call else { return };
        let Some(target) = &call.target else { return };
        let rules = self.view.cors(&target.bucket).await;
        if let Some(answer) = cors::actual(&rules, &call.origin, call.method.as_str()) {
            response.headers_mut().extend(to_headers(&answer));
        }
    }
}

fn incomplete(why: &'static str) -> S3Error {
    custom("BadRequest", StatusCode::BAD_REQUEST, why)
}

fn forbidden(why: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("AccessForbidden".into()), why);
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

fn to_headers(answer: &CorsAnswer<'_>) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(VARY, VARIES)]);
    let mut say = |name: HeaderName, value: &str| {
        // What came in a header goes out in one; rules were checked when they were set.
        if let Ok(value) = HeaderValue::try_from(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    };
    say(ACCESS_CONTROL_ALLOW_ORIGIN, answer.origin);
    say(ACCESS_CONTROL_ALLOW_METHODS, &answer.methods.join(", "));
    say(ACCESS_CONTROL_ALLOW_HEADERS, &answer.headers.join(", "));
    say(ACCESS_CONTROL_EXPOSE_HEADERS, &answer.exposed.join(", "));
    if answer.credentials() {
        say(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if let Some(seconds) = answer.max_age_seconds {
        say(ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    headers
}
