//! The NBD server as a whole: addresses, start and stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::Common;
use super::limits::NbdLimits;
use super::metrics::NbdMetrics;
use super::tls::{NbdTls, acceptor};
use crate::blocks::BlockView;
use crate::s3::TlsError;
use crate::telemetry::{NoticeLimiter, SlowCalls};
use crate::transport::{LimitsError, ServerBudget, canonical, listen};

/// The pause after a failed accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an NBD server did not start.
#[derive(Debug, thiserror::Error)]
pub enum NbdStartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address that could not be listened at.
    #[error("failed to listen at {address} for NBD: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Puts an NBD server together.
pub struct NbdServerBuilder {
    view: Arc<dyn BlockView>,
    addresses: Vec<SocketAddr>,
    tls: Option<NbdTls>,
    limits: NbdLimits,
}

impl NbdServerBuilder {
    /// An address at which it is served; may be said more than once. Unless it is said at all: port 10809 of this machine
    /// alone.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Serves TLS to clients that ask for it, and unless [`NbdTls::plain_too`] to no others.
    #[must_use]
    pub fn tls(mut self, tls: NbdTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What clients may use.
    #[must_use]
    pub fn limits(mut self, limits: NbdLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Binds all addresses and begins to serve. Needs a runtime of tokio. When one address fails, nothing is served.
    pub fn start(self) -> Result<NbdServer, NbdStartError> {
        self.limits.check()?;
        let tls = match &self.tls {
            None => None,
            Some(tls) => Some((acceptor(tls)?, tls.plain_too)),
        };
        let stop = CancellationToken::new();
        let of_budget = self.limits.of_budget();
        let common = Common {
            view: self.view,
            budget: ServerBudget::new(&of_budget),
            of_budget: Arc::new(of_budget),
            places: Arc::new(Semaphore::new(self.limits.connections_max.min(Semaphore::MAX_PERMITS))),
            slow: Arc::new(SlowCalls::new(self.limits.slow_call)),
            limits: Arc::new(self.limits),
            tls,
            metrics: NbdMetrics::new(),
            stop: stop.clone(),
        };
        let here = SocketAddr::from(([127, 0, 0, 1], 10809));
        let asked = if self.addresses.is_empty() { vec![here] } else { self.addresses };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in asked {
            let failed = |source| NbdStartError::Listen { address, source };
            let listener = listen(address).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(run(listener, common.clone()));
        }
        Ok(NbdServer { addresses, stop, tasks })
    }
}

/// A server that runs until it is stopped or dropped.
pub struct NbdServer {
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl NbdServer {
    /// A server of the volumes of `view`.
    pub fn builder(view: Arc<dyn BlockView>) -> NbdServerBuilder {
        NbdServerBuilder { view, addresses: Vec::new(), tls: None, limits: NbdLimits::default() }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no request any more, answers those in flight, and closes; after a bound whatever is left.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn run(listener: TcpListener, common: Common) {
    let mut connections = JoinSet::new();
    let notices = NoticeLimiter::default();
    loop {
        tokio::select! {
            biased;
            () = common.stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Ok(place) = Arc::clone(&common.places).try_acquire_owned() {
                        connections.spawn(common.clone().serve(stream, canonical(peer), place));
                    } else {
                        common.metrics.refused.increment(1);
                        if notices.allows() {
                            let most = common.limits.connections_max;
                            tracing::warn!(most, "too many NBD connections; new ones are closed until others end");
                        }
                    }
                }
                Err(error) => {
                    if notices.allows() {
                        tracing::warn!(%error, "failed to accept a connection; check the limit on open files");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(common.limits.drain_timeout, all_ended).await.is_err() {
        let left = connections.len();
        tracing::warn!(
            connections = left,
            "requests in flight outlasted the drain; closing their connections"
        );
        connections.shutdown().await;
    }
}
