//! One request to a collector, and what its answer means (OTLP 1.x, section "OTLP/HTTP Response").

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::outbound::{self, Roots, connector, read_whole, with_causes};
use crate::settings::Otlp;

/// How long a request may take.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why something did not arrive.
#[derive(Debug)]
pub(super) enum SendError {
    /// It may by and by.
    Passing { why: String, wait: Option<Duration> },
    /// Not as it is.
    Refused(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing { why, .. } | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// A collector that was found in the settings.
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Without a slash at its end.
    address: String,
    secret: Option<(HeaderName, HeaderValue)>,
}

impl Collector {
    /// Reads address, secret and certificates; asks nobody.
    pub(super) async fn new(otlp: &Otlp) -> Result<Self, SendError> {
        let refused = |why: String| SendError::Refused(why);
        let endpoint = otlp.endpoint.as_ref().ok_or_else(|| refused("there is no endpoint".to_owned()))?;
        let address =
            endpoint.resolve().await.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
        let secret = match &otlp.secret {
            None => None,
            Some(reference) => {
                let secret = reference.resolve().await.map_err(|error| refused(error.to_string()))?;
                let name = HeaderName::try_from(otlp.header.as_str());
                let name = name.map_err(|_| refused("the header has no name".to_owned()))?;
                let value = HeaderValue::from_bytes(secret.expose());
                let mut value =
                    value.map_err(|_| refused("the secret cannot stand in a header".to_owned()))?;
                value.set_sensitive(true);
                Some((name, value))
            }
        };
        let speaks_tls = address.starts_with("https://");
        let roots = if speaks_tls { Roots::of(otlp.ca_file.as_ref()) } else { Roots::None };
        let client =
            Client::builder(TokioExecutor::new()).build(connector(roots).await.map_err(SendError::Refused)?);
        Ok(Self { client, address: address.trim_end_matches('/').to_owned(), secret })
    }

    /// Sends a message to a path of the protocol.
    pub(super) async fn post(&self, path: &str, message: &impl Message) -> Result<(), SendError> {
        let body = Full::new(Bytes::from(message.encode_to_vec()));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.address))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, outbound::USER_AGENT);
        let request = match &self.secret {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let request = request.body(body).map_err(|_| SendError::Refused("its address is none".to_owned()))?;
        let answered = async {
            // The address may hold a secret, so an error is told by its causes alone.
            let answer = self.client.request(request).await.map_err(|error| {
                let why = std::error::Error::source(&error).map(with_causes);
                why.unwrap_or_else(|| "the connection failed".to_owned())
            })?;
            let (head, body) = answer.into_parts();
            let body =
                read_whole(body, ANSWER_BYTES_MAX).await.map_err(|why| format!("its answer: {why}"))?;
            Ok::<_, String>(Response::from_parts(head, body))
        };
        match tokio::time::timeout(REQUEST_TIME, answered).await {
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(why)) => {
                Err(SendError::Passing { why: format!("it cannot be reached: {why}"), wait: None })
            }
            Err(_) => {
                let why = format!("it did not answer within {} s", REQUEST_TIME.as_secs());
                Err(SendError::Passing { why, wait: None })
            }
        }
    }
}

fn judge(answer: &Response<Bytes>) -> Result<(), SendError> {
    let status = answer.status();
    let why = format!("it answered {status}");
    match status.as_u16() {
        200..=299 => {
            say_what_was_refused(answer.body());
            Ok(())
        }
        429 | 502 | 503 | 504 => {
            let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(SendError::Passing { why, wait: wait.map(Duration::from_secs) })
        }
        _ => Err(SendError::Refused(why)),
    }
}

/// A collector may take a part of a request. The answers to metrics and to traces have the same fields.
fn say_what_was_refused(body: &Bytes) {
    let Ok(answer) = ExportTraceServiceResponse::decode(body.clone()) else { return };
    if let Some(partial) = answer.partial_success.filter(|partial| partial.rejected_spans > 0) {
        let (count, why) =
            (partial.rejected_spans, partial.error_message.chars().take(200).collect::<String>());
        tracing::warn!(count, why, "the OpenTelemetry collector took a request but for a part of it");
    }
}
