//! The front: each request on its way from HTTP to `s3s`, and its answer on the way back.
//!
//! Owns what is the same for all requests: the id, what is refused before anybody looks at a body, the watch
//! over the body, metrics, the slow-call log, and repairs of answers where `s3s` and S3 differ:
//!
//! * web pages of other origins get the headers that let them see an answer, and uploads by forms and what browsers
//!   ask beforehand are answered without `s3s`;
//! * what a read says of itself and cannot be read is ignored ([`super::unreadable`]);
//! * a body that was not received turns whatever came of it into the error that says so;
//! * an answer with a range is 206 for HEAD too, and 304 has no body;
//! * an error document has the id of the request, and the path that it was about;
//! * an answer with an object says that it is encrypted, as that of the encryption of its bucket does;
//! * an answer before the end of the body closes the connection, as what follows is no request;
//! * so does an answer to a client that asked for a 100 and has no body to send: none is sent then (RFC 9110
//!   section 10.1.1), and botocore, which got an answer instead, would not send its next request on it.
//!
//! Logs have neither keys nor headers. `s3s` writes both into its own log lines: a program that installs a
//! subscriber must turn the target `s3s` off.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use metrics::Counter;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, S3Result};

use super::access::check_life;
use super::body::{expected_md5, silence};
use super::checksums::Claim;
use super::cors::Pages;
use super::errors::invalid_argument;
use super::form::Forms;
use super::incoming::{Expected, WatchedBody};
use super::limits::S3Limits;
use super::metrics::{S3Metrics, answered};
use super::note::{BodyFault, Note};
use super::signed::is_shown_twice;
use super::unreadable;
use super::values::header;
use crate::telemetry::SlowCalls;
use crate::waits::Waits;

/// The header with the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// What a browser asks beforehand, as logs and metrics call it.
const PREFLIGHT: &str = "Preflight";
/// The header with the encryption of an object.
const ENCRYPTION: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
/// Operations whose answers say how the object is encrypted; see [`super::given`].
const ENCRYPTED: [&str; 8] = [
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "GetObject",
    "HeadObject",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
];
/// What may come with a chunk before it is passed on: what stands around it, and the ends of its neighbours.
const CHUNK_EDGES_BYTES: usize = 1 << 20;
/// Why a request with two signatures is refused.
const SHOWN_TWICE: &str = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
     string parameter or the Authorization header should be specified";
/// How an error document ends.
const ERROR_END: &[u8] = b"</Error>";

/// What is set of a bucket or an object by a document, as the query names it.
const DOCUMENTS: [&str; 16] = [
    "accelerate",
    "acl",
    "cors",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
];

/// What all connections of a server share on the way of requests.
pub(super) struct Front {
    service: S3Service,
    pages: Pages,
    forms: Forms,
    metrics: S3Metrics,
    slow_calls: SlowCalls,
    silence: Duration,
    document_bytes_max: usize,
    chunk_bytes_max: usize,
}

impl Front {
    /// Before a service.
    pub(super) fn new(
        service: S3Service,
        pages: Pages,
        forms: Forms,
        metrics: S3Metrics,
        limits: &S3Limits,
    ) -> Self {
        Self {
            service,
            pages,
            forms,
            metrics,
            slow_calls: SlowCalls::new(limits.slow_call),
            silence: limits.body_silence_timeout,
            document_bytes_max: limits.document_bytes_max,
            chunk_bytes_max: limits.chunk_bytes_max,
        }
    }

    async fn answer(&self, request: Request<Incoming>, note: Note, cut: &AtomicBool) -> Response<SentBody> {
        let note = Arc::new(note);
        let started = Instant::now();
        let in_flight = self.metrics.request();
        let gets_no_word = waits_for_a_word(&request) && request.body().is_end_stream();
        let carry_out = async {
            let (call, path) = (self.pages.call_of(&request), request.uri().path().to_owned());
            let mut response = finish(self.carry_out(request, &note).await, &note, &path);
            self.pages.open(call.as_ref(), &mut response).await;
            response
        };
        let (mut response, waits) = Waits::of(Box::pin(carry_out)).await;
        if gets_no_word {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let elapsed = started.elapsed();
        drop(in_flight);
        answered(note.operation(), response.status(), elapsed);
        let own = elapsed.saturating_sub(note.client_time());
        self.slow_calls.note(note.operation(), note.peer(), own, &waits);
        if !note.is_body_read() {
            cut.store(true, Ordering::Release);
        }
        let sent = self.metrics.sent_bytes.clone();
        response.map(|inner| SentBody { inner, sent })
    }

    /// What the body of a request must be, unless the request is refused before anybody looks at it.
    fn admit(&self, request: &Request<Incoming>, is_form: bool) -> S3Result<Expected> {
        let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
        check_method(request.method())?;
        if is_shown_twice(headers, query) {
            return Err(invalid_argument(SHOWN_TWICE));
        }
        check_life(query)?;
        let md5 = expected_md5(headers)?;
        if is_form || !is_document(request.method(), query) {
            let held = (self.chunk_bytes_max + CHUNK_EDGES_BYTES) as u64;
            let held_bytes_max = is_chunked(headers).then_some(held);
            return Ok(Expected { held_bytes_max, ..Expected::default() });
        }
        let checksum = if has_own_checksum(headers, query) { Claim::of(headers)?.said() } else { None };
        let bytes_max = Some(self.document_bytes_max as u64);
        Ok(Expected { md5, checksum, bytes_max, held_bytes_max: None })
    }

    async fn carry_out(&self, mut request: Request<Incoming>, note: &Arc<Note>) -> Response<Body> {
        if request.body().is_end_stream() {
            note.body_was_read();
        }
        if *request.method() == Method::OPTIONS {
            note.set_operation(PREFLIGHT);
            return self.pages.preflight(&request).await.unwrap_or_else(document);
        }
        let is_form = *request.method() == Method::POST && is_form(request.headers());
        let expected = match self.admit(&request, is_form) {
            Ok(expected) => expected,
            Err(error) => return document(error),
        };
        unreadable::ignore(&mut request);
        let request = request.map(|body| {
            let received = self.metrics.received_bytes.clone();
            WatchedBody::new(body, Arc::clone(note), self.silence, received, expected)
        });
        if is_form {
            return self.forms.carry_out(request, note).await.unwrap_or_else(document);
        }
        let mut request = request.map(Body::http_body);
        request.extensions_mut().insert(Arc::clone(note));
        match self.service.call(request).await {
            Ok(response) => response,
            Err(_) => document(S3ErrorCode::InternalError.into()),
        }
    }
}

/// Refuses what is no method of S3.
fn check_method(method: &Method) -> S3Result<()> {
    let known = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE];
    if known.contains(method) {
        return Ok(());
    }
    let why = "The specified method is not allowed against this resource.";
    Err(S3Error::with_message(S3ErrorCode::MethodNotAllowed, why))
}

/// Whether the client waits for a 100 before it goes on.
fn waits_for_a_word(request: &Request<Incoming>) -> bool {
    request.headers().get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn is_form(headers: &HeaderMap) -> bool {
    let form = b"multipart/form-data";
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii_start());
    value.and_then(|value| value.get(..form.len())).is_some_and(|start| start.eq_ignore_ascii_case(form))
}

/// Whether the body of a request is a document rather than an object or a part.
fn is_document(method: &Method, query: &str) -> bool {
    let names = || query.split('&').filter_map(|pair| pair.split('=').next());
    match *method {
        Method::POST => true,
        Method::PUT => names().any(|name| DOCUMENTS.contains(&name)),
        _ => false,
    }
}

/// Whether the checksum in the headers of a document is that of its bytes. That of a completion is of the object, and
/// bytes in chunks are not yet those of the document.
fn has_own_checksum(headers: &HeaderMap, query: &str) -> bool {
    let is_upload = query.split('&').any(|pair| pair.starts_with("upload"));
    !is_upload && !is_chunked(headers)
}

/// Whether the body comes in chunks of S3.
fn is_chunked(headers: &HeaderMap) -> bool {
    header(headers, "x-amz-content-sha256").is_some_and(|payload| payload.starts_with("STREAMING-"))
}

/// An answer with an error.
fn document(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// An answer as the client gets it.
fn finish(response: Response<Body>, note: &Note, path: &str) -> Response<Body> {
    let mut response = match note.fault() {
        Some(fault) if is_error(response.status()) => document(fault_error(fault)),
        _ => response,
    };
    if response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    if is_error(response.status()) {
        add_id(&mut response, note, path);
    }
    if response.status().is_success() && ENCRYPTED.contains(&note.operation()) {
        response.headers_mut().insert(ENCRYPTION, HeaderValue::from_static("AES256"));
    }
    if let Ok(id) = HeaderValue::try_from(note.id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if !note.is_body_read() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn fault_error(fault: BodyFault) -> S3Error {
    match fault {
        BodyFault::Silent => silence(),
        BodyFault::Broken => S3ErrorCode::IncompleteBody.into(),
        BodyFault::BadMd5 => S3Error::with_message(
            S3ErrorCode::BadDigest,
            "The Content-MD5 you specified did not match what we received.",
        ),
        BodyFault::BadChecksum => S3Error::with_message(
            S3ErrorCode::BadDigest,
            "The checksum you specified did not match what we received.",
        ),
        BodyFault::TooLong => {
            S3Error::with_message(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too big.")
        }
        BodyFault::LargeChunk => {
            let why = "A chunk of the body is larger than this server takes; send smaller chunks.";
            S3Error::with_message(S3ErrorCode::InvalidRequest, why)
        }
    }
}

/// Says in an error document which request it answers, what that was about, and what it should have signed.
fn add_id(response: &mut Response<Body>, note: &Note, path: &str) {
    let Some(text) = response.body().bytes() else { return };
    let Some(start) = text.strip_suffix(ERROR_END).filter(|start| !contains(start, b"<RequestId>")) else {
        return;
    };
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let unsigned = note.unsigned_headers().map(escaped);
    let unsigned = unsigned.map(|names| format!("<HeadersNotSigned>{names}</HeadersNotSigned>"));
    let (unsigned, path, id) = (unsigned.unwrap_or_default(), escaped(path), note.id());
    let added = format!("{unsigned}<Resource>{path}</Resource><RequestId>{id}</RequestId>");
    let document = [start, added.as_bytes(), ERROR_END].concat();
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(document);
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Requests {
    /// What carries them out.
    pub(super) front: Arc<Front>,
    /// Who sends them.
    pub(super) peer: IpAddr,
    /// Whether they come over TLS.
    pub(super) secure: bool,
    /// Which version of TLS.
    pub(super) tls_version: Option<&'static str>,
    /// Set when a body was left unread: the connection then ends with bytes on their way.
    pub(super) cut: Arc<AtomicBool>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<SentBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self { front, peer, secure, tls_version, cut } = self.clone();
        let note = Note::new(peer, secure).over(tls_version);
        Box::pin(async move { Ok(front.answer(request, note, &cut).await) })
    }
}

/// The body of an answer, counted.
pub(super) struct SentBody {
    inner: Body,
    sent: Counter,
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.sent.increment(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_known_by_their_type() {
        let form =
            |value: &'static str| is_form(&HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        assert!(form("multipart/form-data; boundary=x"));
        assert!(form("Multipart/Form-Data"));
        assert!(!form("application/xml"));
        assert!(!form("multi"));
    }

    #[test]
    fn the_checksum_of_a_completion_is_not_that_of_its_document() {
        let none = HeaderMap::new();
        assert!(has_own_checksum(&none, "delete="));
        assert!(has_own_checksum(&none, "tagging&versionId=v"));
        assert!(!has_own_checksum(&none, "uploadId=u"));
    }

    #[test]
    fn documents_are_told_from_objects() {
        assert!(is_document(&Method::POST, "delete"));
        assert!(is_document(&Method::PUT, "tagging"));
        assert!(is_document(&Method::PUT, "x=1&acl="));
        assert!(!is_document(&Method::PUT, ""));
        assert!(!is_document(&Method::PUT, "partNumber=1&uploadId=tagging"));
    }

    #[test]
    fn an_error_document_names_its_request_once() {
        let note = Note::new(IpAddr::from([127, 0, 0, 1]), false);
        note.body_was_read();
        let response = finish(document(S3ErrorCode::NoSuchKey.into()), &note, "/bucket/a&b");
        assert_eq!(response.headers()[REQUEST_ID], note.id());
        assert!(!response.headers().contains_key(CONNECTION));
        let text = response.body().bytes().unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.ends_with(&format!("<RequestId>{}</RequestId></Error>", note.id())), "{text}");
    }

    #[test]
    fn what_was_not_received_is_said_whatever_came_of_it() {
        let note = Note::new(IpAddr::from([127, 0, 0, 1]), false);
        note.set_fault(BodyFault::Silent);
        let response = finish(document(S3ErrorCode::InternalError.into()), &note, "/bucket/key");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[CONNECTION], "close");
    }
}
