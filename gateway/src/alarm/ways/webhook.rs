//! By a webhook: a POST of JSON. An answer of 200 to 299 says that it arrived.
//!
//! Over HTTPS; over plain HTTP only to this machine itself, which the settings see to. Redirections are not followed: a
//! notice and its secret go where the settings say, and nowhere else. What a server says that will not change by
//! asking again (400 to 499, but for 408, 425 and 429) is a refusal.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{DeliverError, Notice, Sender, Way};
use crate::outbound::{self, Roots, connector, with_causes};
use crate::settings::{HeaderText, LocalPath, SecretReference, WebhookAddress};

/// See the head of this module.
pub(super) struct Webhook {
    pub(super) address: WebhookAddress,
    pub(super) header: HeaderText,
    pub(super) secret: Option<SecretReference>,
    pub(super) ca_file: Option<LocalPath>,
}

#[async_trait]
impl Way for Webhook {
    async fn deliver(&self, notice: &Notice, sender: &Sender) -> Result<(), DeliverError> {
        let request = self.request(notice.json(sender)).await?;
        let speaks_tls = request.uri().scheme_str() == Some("https");
        let roots = if speaks_tls { Roots::of(self.ca_file.as_ref()) } else { Roots::None };
        let client = Client::builder(TokioExecutor::new())
            .build(connector(roots).await.map_err(DeliverError::Refused)?);
        // The address may hold a secret, so an error that could name it is told by its causes alone.
        let answer = client.request(request).await.map_err(|error| {
            let why = std::error::Error::source(&error).map(with_causes);
            let why = why.unwrap_or_else(|| "the connection failed".to_owned());
            DeliverError::Passing(format!("the webhook cannot be reached: {why}"))
        })?;
        judge(answer.status())
    }
}

fn judge(status: StatusCode) -> Result<(), DeliverError> {
    let said = format!("the webhook answered {status}");
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | 425 | 429 => Err(DeliverError::Passing(said)),
        300..=499 => Err(DeliverError::Refused(said)),
        _ => Err(DeliverError::Passing(said)),
    }
}

impl Webhook {
    async fn request(&self, body: Vec<u8>) -> Result<Request<Full<Bytes>>, DeliverError> {
        let address = self.address.resolve().await?.map_err(DeliverError::Refused)?;
        let refused = |what: &str| DeliverError::Refused(format!("the webhook cannot be called: {what}"));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(address.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, outbound::USER_AGENT)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| refused("its address is none"))?;
        if let Some(reference) = &self.secret {
            let secret = reference.resolve().await?;
            let name =
                HeaderName::try_from(self.header.as_str()).map_err(|_| refused("its header has no name"))?;
            let mut value = HeaderValue::from_bytes(secret.expose())
                .map_err(|_| refused("its secret cannot stand in a header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_decides_whether_it_is_tried_again() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).expect("a status"));
        for status in [200, 201, 204, 299] {
            judged(status).expect("delivered");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(status), Err(DeliverError::Passing(_))), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 410, 413] {
            assert!(matches!(judged(status), Err(DeliverError::Refused(_))), "{status}");
        }
    }
}
