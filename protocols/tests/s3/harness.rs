//! A server over [`Memory`] on a free port, and the official client of it.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Region, SharedHttpClient};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use tidegate_protocols::s3::{S3Limits, S3Server};

use crate::memory::{ACCESS_KEY, Memory, SECRET_KEY};

pub(crate) const BUCKET: &str = "bucket";

pub(crate) struct Harness {
    pub(crate) memory: Arc<Memory>,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) server: S3Server,
}

impl Harness {
    /// A server with one bucket.
    pub(crate) async fn start() -> Self {
        Self::start_with(S3Limits::default()).await
    }

    #[allow(clippy::unused_async)] // A server needs a runtime to start in.
    pub(crate) async fn start_with(limits: S3Limits) -> Self {
        let memory = Arc::new(Memory::with_bucket(BUCKET));
        let builder = S3Server::builder(memory.clone()).limits(limits).base_domain("s3.example.com");
        let server = builder.address(([127, 0, 0, 1], 0).into()).start().expect("started");
        let address = server.addresses()[0];
        let client = Client::from_conf(config(&format!("http://{address}")).build());
        Self { memory, address, client, server }
    }

    /// Puts an object.
    pub(crate) async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = ByteStream::from(body.into());
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body).send().await.expect("put");
        put.e_tag().expect("an ETag").to_owned()
    }

    /// The bytes of an object.
    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.expect("got");
        got.body.collect().await.expect("the whole body").to_vec()
    }
}

/// The settings of a client.
pub(crate) fn config(endpoint: &str) -> Builder {
    config_with(endpoint, ACCESS_KEY, SECRET_KEY)
}

/// The settings of a client with keys.
pub(crate) fn config_with(endpoint: &str, access_key: &str, secret_key: &str) -> Builder {
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "tests"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(http_client(None))
}

/// An HTTP client that trusts a certificate.
pub(crate) fn http_client(trusted: Option<&str>) -> SharedHttpClient {
    let mut store = TrustStore::empty();
    if let Some(pem) = trusted {
        store = store.with_pem_certificate(pem.as_bytes());
    }
    let context = TlsContext::builder().with_trust_store(store).build().expect("a context");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https()
}

/// The code and the status of an answer with an error; it has the id of its request.
pub(crate) fn refused<T, E>(result: Result<T, SdkError<E>>) -> (String, u16)
where
    E: ProvideErrorMetadata + RequestId + std::fmt::Debug,
{
    let Err(error) = result else { panic!("an error was expected") };
    let Some(response) = error.raw_response() else { panic!("no answer: {error:?}") };
    assert!(response.headers().get("x-amz-request-id").is_some(), "no id: {error:?}");
    let status = response.status().as_u16();
    (error.code().unwrap_or_default().to_owned(), status)
}
