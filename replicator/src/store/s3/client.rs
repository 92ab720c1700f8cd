//! Building the SDK's client: endpoint, region, style, proxy, trusted certificates, time-outs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use serde::{Deserialize, Serialize};

use super::clock::ReadDate;
use super::credentials::Credentials;
use crate::store::{ErrorKind, StoreClock, StoreError};

/// How requests name the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// In the path: `https://endpoint/bucket/key`. What most stores besides AWS want.
    Path,
    /// In the host name: `https://bucket.endpoint/key`. What AWS wants.
    VirtualHost,
}

/// How to reach an S3 endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `http://` or `https://` with host and port; `None` for AWS in this region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// How requests name the bucket.
    pub style: Style,
    /// An HTTP proxy, `http://host:port`.
    pub proxy: Option<String>,
    /// A file of certificates in PEM that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long establishing a connection may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer to a request without a body may take.
    pub answer_timeout: Duration,
}

/// A client, which notes what time answers tell; sends nothing.
pub(super) fn build(
    connection: &Connection,
    credentials: &Credentials,
    clock: &Arc<StoreClock>,
) -> Result<Client, StoreError> {
    let region = Region::new(connection.region.clone());
    let http = client_of(http_connector(connection)?);
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials.provider(&region, &http))
        .region(region)
        .http_client(http)
        .interceptor(ReadDate(Arc::clone(clock)))
        .force_path_style(connection.style == Style::Path)
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &connection.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

/// What calls of other services of the same provider need.
#[derive(Clone, Debug)]
pub struct AwsAccess {
    /// For clients of the SDK: region, credentials, endpoint, proxy, trusted certificates, time-outs, and repetitions, of which a client
    /// makes only as many as its budget holds (the token bucket of the SDK's standard mode).
    pub config: SdkConfig,
    /// For who speaks HTTP himself, over the same proxy and with the same trust.
    pub connector: SharedHttpConnector,
}

/// What calls of other services need to reach them so; asks nobody yet.
pub fn aws_access(
    connection: &Connection,
    credentials: &Credentials,
    attempts_max: u32,
) -> Result<AwsAccess, StoreError> {
    let region = Region::new(connection.region.clone());
    let connector = http_connector(connection)?;
    let http = client_of(connector.clone());
    let times = TimeoutConfig::builder()
        .connect_timeout(connection.connect_timeout)
        .operation_attempt_timeout(connection.answer_timeout)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials.provider(&region, &http))
        .region(region)
        .http_client(http)
        .timeout_config(times)
        .retry_config(RetryConfig::standard().with_max_attempts(attempts_max));
    if let Some(endpoint) = &connection.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Ok(AwsAccess { config: config.build(), connector })
}

fn client_of(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_settings, _components| connector.clone())
}

fn http_connector(connection: &Connection) -> Result<SharedHttpConnector, StoreError> {
    let settings = HttpConnectorSettings::builder().connect_timeout(connection.connect_timeout).build();
    let tls = tls_context(connection)?;
    let proxy = match &connection.proxy {
        Some(proxy) => ProxyConfig::all(proxy.as_str())
            .map_err(|error| refused(format!("use the proxy {proxy}")).caused_by(error))?,
        None => ProxyConfig::disabled(),
    };
    let build = || {
        let connector = Connector::builder()
            .connector_settings(settings)
            .proxy_config(proxy)
            .tls_provider(Provider::rustls(CryptoMode::AwsLc))
            .tls_context(tls)
            .build();
        SharedHttpConnector::new(connector)
    };
    // The connector panics on certificates that it cannot read, and offers no way to check them before.
    catch_unwind(AssertUnwindSafe(build)).map_err(|_panic| {
        let file = connection.ca_file.as_deref().unwrap_or(Path::new("of the system"));
        refused(format!("read the trusted certificates {}", file.display()))
    })
}

fn tls_context(connection: &Connection) -> Result<TlsContext, StoreError> {
    let plain = connection.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut trusted = TrustStore::empty().with_native_roots(!plain);
    if let Some(path) = &connection.ca_file {
        let doing = || format!("read the trusted certificates {}", path.display());
        let pem = std::fs::read(path).map_err(|error| refused(doing()).caused_by(error))?;
        if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
            return Err(refused(doing()).caused_by("the file holds no certificate in PEM"));
        }
        trusted = trusted.with_pem_certificate(pem);
    }
    TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|error| refused("set up TLS".to_owned()).caused_by(error))
}

fn refused(doing: String) -> StoreError {
    StoreError::new(ErrorKind::Misconfigured, doing)
}
