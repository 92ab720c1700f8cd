//! The S3 server of the settings.

use std::sync::Arc;

use tidegate_protocols::s3::{S3Limits, S3Server, TlsIdentity};

use zeroize::Zeroizing;

use super::AssemblyError;
use crate::objects::Objects;
use crate::settings::S3;

/// The part of the memory that bodies of S3 clients take on their way.
const S3_PART: u64 = 8;

/// What bodies of S3 clients may take of so much memory.
pub(super) fn bodies_bytes(memory_bytes: u64) -> usize {
    usize::try_from(memory_bytes / S3_PART).unwrap_or(usize::MAX)
}

/// Starts the server; none when it listens nowhere.
pub(super) async fn start_s3(
    settings: &S3,
    objects: Arc<Objects>,
) -> Result<Option<S3Server>, AssemblyError> {
    if settings.listen.is_empty() {
        return Ok(None);
    }
    let limits = S3Limits { connections_max: settings.connections as usize, ..S3Limits::default() };
    let mut builder = S3Server::builder(objects).limits(limits);
    for listen in &settings.listen {
        builder = builder.address(listen.0);
    }
    if let Some(domain) = &settings.domain {
        builder = builder.base_domain(domain.as_str());
    }
    if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.private_key) {
        let certificates = std::fs::read(certificate.as_path()).map_err(|error| AssemblyError::Unusable {
            what: format!("the certificate {certificate}"),
            why: error.to_string(),
        })?;
        let key = Zeroizing::new(key.resolve().await?.expose().to_vec());
        builder = builder.tls(TlsIdentity { certificates, key });
    }
    let server = builder.start()?;
    tracing::info!(addresses = ?server.addresses(), tls = settings.certificate.is_some(), "serving S3");
    Ok(Some(server))
}
