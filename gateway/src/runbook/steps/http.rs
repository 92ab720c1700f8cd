//! `check-http`: asks a web server, by GET, over HTTP or HTTPS. Redirections are not followed: they are an answer.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::USER_AGENT;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{contains, key};
use crate::outbound::{self, Roots, connector, read_whole};
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::Step;

/// The most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(in super::super) async fn check_http(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let url = site.words().fill(key(step.url.as_ref(), "url")?.as_str());
    let request = Request::get(&url)
        .header(USER_AGENT, outbound::USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|error| StepFailure::lasting(format!("the URL cannot be asked: {error}")))?;
    let speaks_tls = request.uri().scheme_str() == Some("https");
    let connector = connector(if speaks_tls { Roots::System } else { Roots::None }).await;
    let client = Client::builder(TokioExecutor::new()).build(connector.map_err(StepFailure::lasting)?);
    let answer = client.request(request).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        StepFailure::passing(format!("{url} does not answer: {error}: {cause}"))
    })?;
    let status = answer.status().as_u16();
    if u32::from(status) != step.status {
        return Err(StepFailure::passing(format!("{url} answered {status}, not {}", step.status)));
    }
    let body = read_whole(answer.into_body(), ANSWER_BYTES_MAX).await;
    let body =
        body.map_err(|why| StepFailure::passing(format!("the answer of {url} is of no use: {why}")))?;
    contains(&body, step.contains.as_ref(), "the answer")?;
    Ok(Done::saying(format!("{url} answered {status} with {} bytes", body.len())))
}
