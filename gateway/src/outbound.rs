//! HTTP and HTTPS from this machine to others: by which certificates they are trusted, how much of an answer is read, and
//! what an error is called.
//!
//! Redirections are never followed, and no proxy is used. Nothing here bounds how long a call takes: its caller does.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::AsyncReadExt;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::settings::LocalPath;

/// What calls from here name themselves (RFC 9110 section 10.1.5).
pub(crate) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// The longest file of certificates, in bytes.
const PEM_BYTES_MAX: usize = 4 << 20;

/// By which certificates a server is trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Roots<'r> {
    /// None: TLS is not spoken.
    None,
    /// Those of the system.
    System,
    /// Those of a file alone.
    File(&'r LocalPath),
}

impl<'r> Roots<'r> {
    /// Those of a file, if there is one.
    pub(crate) fn of(file: Option<&'r LocalPath>) -> Self {
        file.map_or(Self::System, Self::File)
    }
}

/// For a client of hyper: HTTPS alone, by these certificates; with [`Roots::None`] HTTP alone. An error says why TLS cannot be
/// set up.
pub(crate) async fn connector(roots: Roots<'_>) -> Result<HttpsConnector<HttpConnector>, String> {
    let settings = client_config(roots).await.map_err(|why| format!("TLS cannot be set up: {why}"))?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(settings);
    // Without certificates no server is trusted, so there HTTPS fails by itself.
    let builder = if let Roots::None = roots { builder.https_or_http() } else { builder.https_only() };
    Ok(builder.enable_http1().build())
}

async fn client_config(roots: Roots<'_>) -> Result<ClientConfig, String> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match roots {
        Roots::None => builder.with_root_certificates(RootCertStore::empty()),
        Roots::System => builder.with_native_roots().map_err(|error| error.to_string())?,
        Roots::File(path) => {
            let pem = pem(path).await?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("{path}: {error}"))?;
                roots.add(certificate).map_err(|error| format!("{path}: {error}"))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(builder.with_no_client_auth())
}

/// What is in a file of certificates.
pub(crate) async fn pem(path: &LocalPath) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("the certificates in {path} cannot be used: {why}");
    let file = tokio::fs::File::open(path.as_path()).await.map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(PEM_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > PEM_BYTES_MAX {
        return Err(wrong(format!("the file has more than {PEM_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The whole body of an answer. An error says that it broke off, or has more than so many bytes, of which no more are read.
pub(crate) async fn read_whole<B>(body: B, bytes_max: usize) -> Result<Bytes, String>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(format!("it has more than {bytes_max} bytes"))
        }
        Err(error) => Err(format!("it broke off: {}", with_causes(&*error))),
    }
}

/// An error, and what caused it.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;

    #[tokio::test]
    async fn no_more_of_an_answer_is_read_than_is_wanted() {
        let body = || Full::new(Bytes::from_static(b"hello world"));
        assert_eq!(read_whole(body(), 11).await, Ok(Bytes::from_static(b"hello world")));
        assert_eq!(read_whole(body(), 10).await, Err("it has more than 10 bytes".to_owned()));
    }

    #[tokio::test]
    async fn where_certificates_count_nothing_is_asked_without_tls_and_a_file_that_is_missing_trusts_nobody()
    {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocols/tests/s3/certificates");
        let file = |name: &str| {
            let folder = std::fs::canonicalize(folder).expect("a folder");
            folder.join(name).to_string_lossy().parse::<LocalPath>().expect("a path")
        };
        let missing = connector(Roots::of(Some(&file("missing.pem")))).await.map(drop);
        assert!(missing.is_err_and(|why| why.contains("missing.pem")));
        let secure = connector(Roots::of(Some(&file("authority.pem")))).await.expect("certificates");
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(secure);
        let refused = client.get("http://127.0.0.1:9/".parse().expect("an address")).await;
        let why = with_causes(&refused.expect_err("without TLS"));
        assert!(why.contains("unsupported scheme http"), "{why}");
    }
}
