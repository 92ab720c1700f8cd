//! `check-http`: asks a web server, by GET, over HTTP or HTTPS. Redirections are not followed: they are an answer.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::{contains, key};
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::Step;

/// The most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(in super::super) async fn check_http(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let url = site.words().fill(key(step.url.as_ref(), "url")?.as_str());
    let request =
        Request::get(&url).header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| StepFailure::lasting(format!("the URL cannot be asked: {error}")))?;
    let speaks_tls = request.uri().scheme_str() == Some("https");
    let client = Client::builder(TokioExecutor::new()).build(connector(speaks_tls)?);
    let answer = client.request(request).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        StepFailure::passing(format!("{url} does not answer: {error}: {cause}"))
    })?;
    let status = answer.status().as_u16();
    if u32::from(status) != step.status {
        return Err(StepFailure::passing(format!("{url} answered {status}, not {}", step.status)));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body =
        body.map_err(|error| StepFailure::passing(format!("the answer of {url} broke off: {error}")))?;
    let body = body.to_bytes();
    contains(&body, step.contains.as_ref(), "the answer")?;
    Ok(Done::saying(format!("{url} answered {status} with {} bytes", body.len())))
}

/// HTTP and HTTPS; certificates are trusted as the system trusts them.
fn connector(speaks_tls: bool) -> Result<HttpsConnector<HttpConnector>, StepFailure> {
    let refused = |why: String| StepFailure::lasting(format!("TLS cannot be set up: {why}"));
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let builder = if speaks_tls {
        builder.with_native_roots().map_err(|error| refused(error.to_string()))?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    let settings = builder.with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(settings).https_or_http().enable_http1().build())
}
