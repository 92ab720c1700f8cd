//! What is fetched of a provider: its discovery document (OpenID Connect Discovery 1.0, section 4), and the keys where that
//! says they are. Over TLS alone, without following anything else; bounds: [`ANSWER_BYTES_MAX`], [`TIME_MAX`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::keys::KeySet;
use super::provider::Source;
use crate::outbound::{self, Roots, connector, read_whole, with_causes};
use crate::settings::Oidc;

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How long both answers may take together.
const TIME_MAX: Duration = Duration::from_secs(5);

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

#[async_trait]
impl Source for Oidc {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    async fn keys(&self) -> Result<KeySet, String> {
        let fetched = tokio::time::timeout(TIME_MAX, fetch(self)).await;
        fetched.unwrap_or_else(|_| Err(format!("it took longer than {} s", TIME_MAX.as_secs())))
    }
}

async fn fetch(oidc: &Oidc) -> Result<KeySet, String> {
    let client: Https =
        Client::builder(TokioExecutor::new()).build(connector(Roots::of(oidc.ca_file.as_ref())).await?);
    let discovery = get(&client, &oidc.issuer.discovery()).await?;
    let text = |name: &str| discovery.get(name).and_then(Value::as_str);
    // Section 4.3: what it says must be what was asked for.
    if text("issuer") != Some(oidc.issuer.as_str()) {
        return Err("its discovery document is of another issuer".to_owned());
    }
    let place = text("jwks_uri").ok_or("its discovery document has no jwks_uri")?;
    let keys = KeySet::of(&get(&client, place).await?).ok_or("its keys are no set of keys")?;
    if keys.is_empty() {
        return Err("it has no key for RS256, ES256 or EdDSA".to_owned());
    }
    Ok(keys)
}

async fn get(client: &Https, address: &str) -> Result<Value, String> {
    let uri: Uri = address.parse().map_err(|_| format!("{address:?} is no address"))?;
    let request = Request::get(uri)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, outbound::USER_AGENT)
        .body(Empty::new())
        .map_err(|_| format!("{address:?} cannot be asked"))?;
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| format!("{address:?} does not answer: {}", with_causes(&error)))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{address:?} answered {}", answer.status()));
    }
    let body = read_whole(answer.into_body(), ANSWER_BYTES_MAX).await;
    let body = body.map_err(|why| format!("the answer of {address:?} is of no use: {why}"))?;
    serde_json::from_slice(&body).map_err(|_| format!("the answer of {address:?} is no JSON"))
}
