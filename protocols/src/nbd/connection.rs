//! One connection from its first byte to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::handshake::{Chosen, Handshake, HandshakeError, Outcome, State, Tls};
use super::limits::NbdLimits;
use super::metrics::NbdMetrics;
use super::session::Session;
use crate::blocks::BlockView;
use crate::telemetry::SlowCalls;
use crate::transport::{ConnectionBudget, Limits, ServerBudget, configure};

/// What all connections share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) view: Arc<dyn BlockView>,
    pub(super) limits: Arc<NbdLimits>,
    pub(super) of_budget: Arc<Limits>,
    pub(super) budget: ServerBudget,
    pub(super) places: Arc<Semaphore>,
    /// And whether clients without it are served too.
    pub(super) tls: Option<(TlsAcceptor, bool)>,
    pub(super) metrics: NbdMetrics,
    pub(super) slow: Arc<SlowCalls>,
    pub(super) stop: CancellationToken,
}

impl Common {
    /// Serves a client until the connection ends.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        if self.view.volumes(peer.ip()).is_empty() {
            tracing::debug!(client = %peer.ip(), "no volume is for this client");
            return;
        }
        let open = self.metrics.connection();
        if let Err(error) = configure(&stream) {
            tracing::debug!(%error, "failed to set socket options");
        }
        if let Err(error) = self.negotiate(stream, peer).await {
            tracing::debug!(client = %peer.ip(), %error, "negotiation ended");
        }
        drop((open, place));
    }

    async fn negotiate(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<(), HandshakeError> {
        let tls = match &self.tls {
            None => Tls::Absent,
            Some((_, true)) => Tls::Offered,
            Some((_, false)) => Tls::Required,
        };
        let mut handshake = self.handshake(&mut stream, peer, tls);
        let first = self.bounded(async {
            handshake.greet().await?;
            handshake.run().await
        });
        let outcome = first.await?;
        let no_zeroes = handshake.no_zeroes;
        match (outcome, &self.tls) {
            (Outcome::Chosen(chosen), _) => self.transmit(stream, peer, chosen).await,
            (Outcome::StartTls, Some((acceptor, _))) => {
                let mut stream = self.bounded(async { Ok(acceptor.accept(stream).await?) }).await?;
                // What was negotiated before counts no more: somebody else may have done it.
                let mut handshake = self.handshake(&mut stream, peer, Tls::Spoken);
                handshake.no_zeroes = no_zeroes;
                match self.bounded(handshake.run()).await? {
                    Outcome::Chosen(chosen) => self.transmit(stream, peer, chosen).await,
                    Outcome::StartTls => return Err(HandshakeError::NotNbd("TLS within TLS")),
                }
            }
            (Outcome::StartTls, None) => return Err(HandshakeError::NotNbd("TLS that was not offered")),
        }
        Ok(())
    }

    fn handshake<S>(&self, stream: S, peer: SocketAddr, tls: Tls) -> Handshake<'_, S> {
        Handshake {
            stream,
            view: &*self.view,
            client: peer.ip(),
            limits: &self.limits,
            tls,
            no_zeroes: false,
            state: State::default(),
        }
    }

    /// Bounds a part of the negotiation in time; a stop ends it.
    async fn bounded<T>(
        &self,
        part: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, HandshakeError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(HandshakeError::Ended),
            done = timeout(self.limits.handshake_timeout, part) => {
                done.unwrap_or(Err(HandshakeError::TooMuch("time")))
            }
        }
    }

    async fn transmit<S>(&self, stream: S, peer: SocketAddr, chosen: Chosen)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let volume = chosen.volume.name().to_owned();
        tracing::debug!(client = %peer.ip(), volume, "a volume is opened");
        let session = Session {
            chosen,
            client: peer.ip(),
            limits: self.limits.clone(),
            budget: ConnectionBudget::new(&self.of_budget, self.budget.clone()),
            metrics: self.metrics.clone(),
            slow: self.slow.clone(),
            stop: self.stop.clone(),
        };
        let end = session.run(stream).await;
        tracing::debug!(client = %peer.ip(), volume, reason = %end, "connection ended");
    }
}
