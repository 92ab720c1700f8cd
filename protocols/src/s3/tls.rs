//! TLS of the S3 server: a certificate and its key, as PEM. Versions 1.2 and 1.3; no certificates of clients.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ProtocolVersion, ServerConfig, ServerConnection};
use zeroize::Zeroizing;

/// Who a server is towards clients with TLS.
pub struct TlsIdentity {
    /// Its certificate, then those between it and a root, as PEM.
    pub certificates: Vec<u8>,
    /// The key of its certificate, as PEM.
    pub key: Zeroizing<Vec<u8>>,
}

/// Why an identity cannot be used. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates cannot be read, or there are none.
    #[error("failed to read the certificates: PEM with at least one CERTIFICATE is expected")]
    Certificates,
    /// The key cannot be read.
    #[error("failed to read the key: PEM with one PRIVATE KEY is expected")]
    Key,
    /// The certificates that clients are checked against.
    #[error(
        "failed to read the certificates of the authority of clients: PEM with at least one CERTIFICATE is expected"
    )]
    Authority,
    /// They do not belong together, or are of a kind that is not supported.
    #[error("failed to use the certificate with its key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The chain of certificates of an identity, and its key.
pub(crate) fn identity_of(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificates).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| TlsError::Key)?;
    Ok((chain, key))
}

/// What accepts TLS with an identity.
pub fn acceptor(identity: &TlsIdentity) -> Result<TlsAcceptor, TlsError> {
    let (chain, key) = identity_of(identity)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The version of TLS of a connection, as policies name it.
pub(super) fn version_of(connection: &ServerConnection) -> Option<&'static str> {
    match connection.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_identity_is_refused() {
        let identity = |certificates: &[u8]| TlsIdentity {
            certificates: certificates.to_vec(),
            key: Zeroizing::new(b"no key".to_vec()),
        };
        assert!(matches!(acceptor(&identity(b"")), Err(TlsError::Certificates)));
        let looks_right = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(acceptor(&identity(looks_right)), Err(TlsError::Key)));
    }
}
