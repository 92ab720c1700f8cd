//! The S3 server as a whole: addresses, settings, start and stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::access::{BaseDomain, DomainError, Permissions, Secrets};
use super::connections::{Common, Listener};
use super::cors::Pages;
use super::form::Forms;
use super::front::Front;
use super::limits::S3Limits;
use super::metrics::S3Metrics;
use super::operations::Operations;
use super::tls::{TlsError, TlsIdentity, acceptor};
use crate::objects::ObjectView;
use crate::transport::LimitsError;

/// Why an S3 server did not start.
#[derive(Debug, thiserror::Error)]
pub enum S3StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A base domain that cannot be one.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// An address that could not be listened at.
    #[error("failed to listen at {address} for s3: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Puts an S3 server together.
pub struct S3ServerBuilder {
    view: Arc<dyn ObjectView>,
    addresses: Vec<SocketAddr>,
    base_domain: Option<String>,
    tls: Option<TlsIdentity>,
    limits: S3Limits,
}

impl S3ServerBuilder {
    /// An address at which it is served; may be said more than once. Unless it is said at all: port 9000
    /// of all addresses.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// A domain below which each name is a bucket (virtual-host style), without a port. Path style works in
    /// any case.
    #[must_use]
    pub fn base_domain(mut self, domain: impl Into<String>) -> Self {
        self.base_domain = Some(domain.into());
        self
    }

    /// Serves TLS, and nothing without it.
    #[must_use]
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.tls = Some(identity);
        self
    }

    /// What clients may use.
    #[must_use]
    pub fn limits(mut self, limits: S3Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Binds all addresses and begins to serve. Needs a runtime of tokio. When one address fails, nothing
    /// is served.
    pub fn start(self) -> Result<S3Server, S3StartError> {
        self.limits.check()?;
        let tls = self.tls.as_ref().map(acceptor).transpose()?;
        let domain = self.base_domain.as_deref().map(BaseDomain::new).transpose()?;
        let pages = Pages::new(Arc::clone(&self.view), domain.clone());
        let forms = Forms::new(Arc::clone(&self.view), domain.clone());
        let service = service(self.view, domain, &self.limits);
        let (metrics, stop) = (S3Metrics::new(), CancellationToken::new());
        let limits = self.limits;
        let front = Front::new(service, pages, forms, metrics.clone(), &limits);
        let common = Common {
            front: Arc::new(front),
            places: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            limits: Arc::new(limits),
            tls,
            metrics,
            stop: stop.clone(),
        };
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 9000));
        let asked = if self.addresses.is_empty() { vec![anywhere] } else { self.addresses };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in asked {
            let failed = |source| S3StartError::Listen { address, source };
            let listener = Listener::bind(address, common.clone()).map_err(failed)?;
            addresses.push(listener.address().map_err(failed)?);
            listeners.push(listener);
        }
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(listener.run());
        }
        Ok(S3Server { addresses, stop, tasks })
    }
}

fn service(view: Arc<dyn ObjectView>, domain: Option<BaseDomain>, limits: &S3Limits) -> S3Service {
    let mut config = S3Config::default();
    config.xml_max_body_size = limits.document_bytes_max;
    let mut builder = S3ServiceBuilder::new(Operations::new(Arc::clone(&view)));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Secrets(Arc::clone(&view)));
    builder.set_access(Permissions(view));
    if let Some(domain) = domain {
        builder.set_host(domain);
    }
    builder.build()
}

/// A running S3 server. Dropping it ends it at once; [`S3Server::stop`] ends it well.
pub struct S3Server {
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl S3Server {
    /// A server of `view` with the usual settings.
    pub fn builder(view: Arc<dyn ObjectView>) -> S3ServerBuilder {
        S3ServerBuilder {
            view,
            addresses: Vec::new(),
            base_domain: None,
            tls: None,
            limits: S3Limits::default(),
        }
    }

    /// Where it listens, with the ports that were really bound.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no further request, waits for those in flight and their answers (up to
    /// [`S3Limits::drain_timeout`]), and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
