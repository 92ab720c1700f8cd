//! The TCP server: listener, connections, graceful stop.
//!
//! A stop closes the listener, lets each connection take no further call, waits until the replies
//! of the calls in flight are written, and after a bound closes what is left.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::budget::{ConnectionBudget, ServerBudget};
use super::clients::{Clients, OneClient};
use super::limits::Limits;
use super::reader::{End, Reader};
use super::writer::Writer;
use crate::rpc::Programs;
use crate::telemetry::{NoticeLimiter, ServerMetrics};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// The pause after a failed accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which the kernel asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// What all listening addresses of a server share.
#[derive(Clone)]
pub(crate) struct Common {
    limits: Arc<Limits>,
    budget: ServerBudget,
    clients: Arc<Clients>,
    places: Arc<Semaphore>,
    metrics: ServerMetrics,
    stop: CancellationToken,
}

impl Common {
    /// Of a server that ends with `stop`.
    pub(crate) fn new(limits: Limits, stop: CancellationToken) -> Self {
        Self {
            budget: ServerBudget::new(&limits),
            clients: Clients::new(&limits),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            metrics: ServerMetrics::new(),
            limits: Arc::new(limits),
            stop,
        }
    }

    /// A place for a connection from an address, unless there are too many of that or of all.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let client = self.clients.of(address);
        let of_client = client.place()?;
        let of_all = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permits: [of_client, of_all], client })
    }
}

/// A connection counts, for its client and for all.
struct Place {
    // Goes before the client is forgotten.
    _permits: [OwnedSemaphorePermit; 2],
    client: Arc<OneClient>,
}

/// A listening address, to be served.
pub(crate) struct TcpServer {
    listener: TcpListener,
    common: Common,
}

/// What the connections of one address share.
#[derive(Clone)]
struct Shared {
    programs: Arc<Programs>,
    common: Common,
}

impl TcpServer {
    /// Listens at `address`.
    pub(crate) fn bind(address: SocketAddr, common: Common) -> io::Result<Self> {
        Ok(Self { listener: listen(address)?, common })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `programs` until stopped, then drains.
    pub(crate) async fn run(self, programs: Arc<Programs>) {
        let Self { listener, common } = self;
        let shared = Shared { programs, common };
        let mut connections = JoinSet::new();
        let notices = NoticeLimiter::default();
        loop {
            tokio::select! {
                biased;
                () = shared.common.stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => shared.admit(stream, canonical(peer), &mut connections, &notices),
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
        drain(connections, shared.common.limits.drain_timeout).await;
    }
}

async fn drain(mut connections: JoinSet<()>, patience: Duration) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all_ended).await.is_err() {
        let left = connections.len();
        tracing::warn!(connections = left, "calls in flight outlasted the drain; closing their connections");
        connections.shutdown().await;
    }
}

impl Shared {
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        notices: &NoticeLimiter,
    ) {
        let Some(place) = self.common.place(peer.ip()) else {
            self.common.metrics.refused.increment(1);
            if notices.allows() {
                let most = self.common.limits.connections_max;
                tracing::warn!(
                    client = %peer.ip(), most,
                    "too many connections, or a client has more than its part of them; new ones are closed \
                     until others end"
                );
            }
            return;
        };
        connections.spawn(self.clone().serve(stream, peer, place));
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let Self { programs, common: Common { limits, budget, metrics, stop, .. } } = self;
        let receiving = place.client.receiving();
        let open = OpenConnection::new(&metrics, peer.ip(), place);
        if let Err(error) = configure(&stream) {
            tracing::debug!(%error, "failed to set socket options");
        }
        let (read_half, write_half) = stream.into_split();
        let budget = ConnectionBudget::new(&limits, budget).of_client(receiving);
        let mut writer = Writer::new(write_half, &limits, metrics.clone());
        let stop = stop.child_token().cancelled_owned();
        let reader = Reader::new(read_half, peer, programs, limits, budget, metrics, stop);
        match reader.run(&mut writer).await {
            End::Closed => tracing::debug!(client = %peer.ip(), "connection ended"),
            other => tracing::debug!(client = %peer.ip(), reason = %other, "connection closed"),
        }
        writer.finish().await;
        drop(open);
    }
}

/// Counts a connection while it is open.
struct OpenConnection {
    metrics: ServerMetrics,
    client: IpAddr,
    _place: Place,
}

impl OpenConnection {
    fn new(metrics: &ServerMetrics, client: IpAddr, place: Place) -> Self {
        metrics.opened(client);
        Self { metrics: metrics.clone(), client, _place: place }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.closed(self.client);
    }
}

/// Listens at an address; one of IPv6 takes IPv4 clients too.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// An IPv4 client of a socket for both versions is an IPv4 client: rules about networks are for those.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// No delay of small answers, and the kernel asks after silent clients.
pub(crate) fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}
