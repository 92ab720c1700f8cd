//! TLS of the NBD server: its certificate, and whom it asks for one.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::s3::{TlsError, TlsIdentity, identity_of};

/// How clients and the server show each other who they are.
pub struct NbdTls {
    /// The server's certificate and key.
    pub identity: TlsIdentity,
    /// Certificates as PEM; a client must show one that one of these has signed. Without it clients show none.
    pub client_authority: Option<Vec<u8>>,
    /// Whether clients are served too that do not ask for TLS.
    pub plain_too: bool,
}

/// What accepts TLS.
pub(super) fn acceptor(tls: &NbdTls) -> Result<TlsAcceptor, TlsError> {
    let (chain, key) = identity_of(&tls.identity)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &tls.client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|_| TlsError::Authority)?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|_| TlsError::Authority)?)
        }
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?)))
}
