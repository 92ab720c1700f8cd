//! Connections of the S3 server: accept, TLS, HTTP/1.1, and their end.
//!
//! An open connection without a request costs a task and no buffer: reading begins when there is something to
//! read. A stop closes the listener, lets each connection take no further request, waits until the answers of
//! those in flight are written, and after a bound closes what is left.
//!
//! A connection that ends while its client still sends (a request that was refused before its body) is closed
//! for writing first and read on for a bounded while: else the answer would be lost to a reset.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::front::{Front, Requests};
use super::limits::S3Limits;
use super::metrics::S3Metrics;
use super::stall::StallGuard;
use super::tls::version_of;
use crate::telemetry::NoticeLimiter;
use crate::transport::{canonical, configure, listen};

/// Bytes that a connection buffers of what it reads, and of what it is to write; more where heads may be longer.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// The pause after a failed accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection is read on after its last answer.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes are read then.
const LINGER_BYTES_MAX: usize = 16 << 20;
/// Bytes that are read at a time then.
const LINGER_BUFFER_BYTES: usize = 16 << 10;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) front: Arc<Front>,
    pub(super) limits: Arc<S3Limits>,
    pub(super) places: Arc<Semaphore>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) metrics: S3Metrics,
    pub(super) stop: CancellationToken,
}

/// A listening address, to be served.
pub(super) struct Listener {
    listener: TcpListener,
    common: Common,
}

impl Listener {
    /// Listens at `address`.
    pub(super) fn bind(address: SocketAddr, common: Common) -> io::Result<Self> {
        Ok(Self { listener: listen(address)?, common })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until stopped, then drains.
    pub(super) async fn run(self) {
        let Self { listener, common } = self;
        let mut connections = JoinSet::new();
        let notices = NoticeLimiter::default();
        loop {
            tokio::select! {
                biased;
                () = common.stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => common.admit(stream, canonical(peer), &mut connections, &notices),
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
        drain(connections, common.limits.drain_timeout).await;
    }
}

async fn drain(mut connections: JoinSet<()>, patience: Duration) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all_ended).await.is_err() {
        let left = connections.len();
        tracing::warn!(
            connections = left,
            "requests in flight outlasted the drain; closing their connections"
        );
        connections.shutdown().await;
    }
}

impl Common {
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        notices: &NoticeLimiter,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.refused.increment(1);
            if notices.allows() {
                let most = self.limits.connections_max;
                tracing::warn!(most, "too many S3 connections; new ones are closed until others end");
            }
            return;
        };
        connections.spawn(self.clone().serve(stream, peer, place));
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let open = self.metrics.connection();
        if let Err(error) = configure(&stream) {
            tracing::debug!(%error, "failed to set socket options");
        }
        if self.is_spoken_to(&stream).await {
            match &self.tls {
                None => self.serve_http(stream, peer, None).await,
                Some(tls) => {
                    let handshake = tokio::time::timeout(self.limits.handshake_timeout, tls.accept(stream));
                    match handshake.await {
                        Ok(Ok(stream)) => {
                            let version = version_of(stream.get_ref().1);
                            self.serve_http(stream, peer, version).await;
                        }
                        Ok(Err(error)) => tracing::debug!(client = %peer.ip(), %error, "TLS failed"),
                        Err(_) => tracing::debug!(client = %peer.ip(), "TLS took too long"),
                    }
                }
            }
        }
        drop((open, place));
    }

    /// Waits for the first byte: nothing is set aside before.
    async fn is_spoken_to(&self, stream: &TcpStream) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            readable = tokio::time::timeout(self.limits.idle_timeout, stream.readable()) => {
                matches!(readable, Ok(Ok(())))
            }
        }
    }

    async fn serve_http<S>(&self, stream: S, peer: SocketAddr, tls_version: Option<&'static str>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let cut = Arc::new(AtomicBool::new(false));
        let requests = Requests {
            front: Arc::clone(&self.front),
            peer: peer.ip(),
            secure: self.tls.is_some(),
            tls_version,
            cut: Arc::clone(&cut),
        };
        let stream = TokioIo::new(StallGuard::new(stream, self.limits.write_stall_timeout));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.idle_timeout);
        builder.max_header_size(self.limits.header_bytes_max);
        builder.max_buf_size(self.limits.header_bytes_max.max(BUFFER_BYTES_MAX));
        let mut connection = builder.serve_connection(stream, requests);
        let mut stopping = false;
        let outcome = loop {
            tokio::select! {
                outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break outcome,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        if let Err(error) = &outcome {
            tracing::debug!(client = %peer.ip(), %error, "S3 connection ended");
        }
        let stream = connection.into_parts().io.into_inner();
        end(stream, cut.load(Ordering::Acquire)).await;
    }
}

/// Closes a connection; reads on for a while when the client still sends.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, lingers: bool) {
    let ended = tokio::time::timeout(LINGER, stream.shutdown()).await;
    if !lingers || !matches!(ended, Ok(Ok(()))) {
        return;
    }
    let read_on = async {
        let mut buffer = vec![0; LINGER_BUFFER_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
            }
        }
    };
    // Whoever sends for longer than that does not hear the answer.
    let _ = tokio::time::timeout(LINGER, read_on).await;
}
