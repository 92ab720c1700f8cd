//! The settings in force, as the doors of the API go by them, and the certificate of the TLS door.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_protocols::s3::{TlsIdentity, tls_acceptor};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::troubles::Troubles;
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Api, Settings};

/// How long the key of the certificate may take: it may be the answer of a command.
const KEY_TIME_MAX: Duration = Duration::from_secs(30);
/// What the certificate is called among what may be wrong.
const CERTIFICATE: &str = "api:certificate";

/// See the head of this module.
pub(super) struct InForce {
    settings: RwLock<Arc<Settings>>,
    tls: RwLock<Option<TlsAcceptor>>,
    /// What is wrong with the API.
    pub(super) troubles: Troubles,
}

impl InForce {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            settings: RwLock::new(settings),
            tls: RwLock::new(None),
            troubles: Troubles::default(),
        })
    }

    /// The settings.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// What TLS is spoken with; none before a certificate was loaded.
    pub(super) fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.read().clone()
    }

    /// Takes others over. A certificate that cannot be read now is said in the log and an alarm, and the one before stays.
    pub(super) async fn set(&self, settings: Arc<Settings>) {
        let api = settings.api.clone();
        *self.settings.write() = settings;
        if let Err(error) = self.load_certificate(&api).await {
            tracing::error!(%error, "the certificate of the admin API was not loaded; the one before stays");
        }
    }

    /// Reads the certificate of the settings, if they name one.
    pub(super) async fn load_certificate(&self, api: &Api) -> Result<(), ControlError> {
        let loaded = self.read_certificate(api).await;
        self.troubles.note(CERTIFICATE, &loaded);
        loaded
    }

    async fn read_certificate(&self, api: &Api) -> Result<(), ControlError> {
        let (Some(certificate), Some(key)) = (&api.certificate, &api.private_key) else { return Ok(()) };
        let wrong = |why: String| {
            ControlError::new(
                ErrorKind::Invalid,
                format!("the certificate {certificate} of the admin API {why}"),
            )
            .todo("see api.certificate and api.private_key in the settings")
        };
        let certificates = tokio::fs::read(certificate.as_path()).await;
        let certificates = certificates.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let key = tokio::time::timeout(KEY_TIME_MAX, key.resolve())
            .await
            .map_err(|_| wrong(format!("has no key: it took longer than {} s", KEY_TIME_MAX.as_secs())))?
            .map_err(|error| wrong(format!("has no key: {error}")))?;
        let identity = TlsIdentity { certificates, key: Zeroizing::new(key.expose().to_vec()) };
        let acceptor = tls_acceptor(&identity).map_err(|error| wrong(format!("cannot be used: {error}")))?;
        *self.tls.write() = Some(acceptor);
        Ok(())
    }
}
