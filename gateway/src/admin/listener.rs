//! Where the admin API is reached: the Unix socket, TLS ports, and the address for metrics.
//!
//! The socket appears with mode 0600, in one step: it is bound under a temporary name and renamed.
//! Besides, the peer's user is asked of the kernel on every connection: only root and the user of
//! this process are served. A socket that nobody listens on any more is replaced; one that somebody
//! answers on is a running gateway, and refused.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocols::s3::StallGuard;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use super::in_force::InForce;
use crate::control::{ControlError, ErrorKind};

/// The most connections at once of what has no setting for it.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for TLS.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is written to it.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Rights of the socket.
const SOCKET_MODE: u32 = 0o600;

/// The admin socket, bound and not yet served: callers queue.
#[derive(Debug)]
pub struct AdminListener {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminListener {
    /// Binds the socket; makes its folder when it is missing.
    pub async fn bind(path: &Path) -> Result<Self, ControlError> {
        if UnixStream::connect(path).await.is_ok() {
            let message = format!("a gateway is running already: it answers on {}", path.display());
            return Err(ControlError::new(ErrorKind::Busy, message)
                .todo("stop it first, or give this one another gateway.socket and gateway.data"));
        }
        let listener = bind(path).map_err(|error| {
            ControlError::from_source(
                ErrorKind::Failed,
                &format!("bind the admin socket {}", path.display()),
                &error,
            )
            .todo("check that its folder exists and is writable, or set gateway.socket")
        })?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(SOCKET_MODE))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        // What cannot be removed is replaced by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The address of metrics and health, bound and not yet served.
#[derive(Debug)]
pub struct HealthListener(TcpListener);

impl HealthListener {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, ControlError> {
        TcpListener::bind(address).await.map(Self).map_err(|error| {
            ControlError::from_source(ErrorKind::Failed, &format!("listen on {address} for metrics"), &error)
                .todo("set gateway.metrics to a free address of this machine")
        })
    }

    /// The address, with the port that was chosen when it was 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The Unix socket, whose rights let the caller in.
    Socket,
    /// The network; nothing is known yet of who it is.
    Network(IpAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("socket"),
            Self::Network(address) => address.fmt(f),
        }
    }
}

/// A TLS port of the admin API, bound and not yet served.
pub struct TlsListener {
    listener: TcpListener,
    in_force: Arc<InForce>,
    connections_max: usize,
}

impl TlsListener {
    /// Binds the address.
    pub(super) async fn bind(
        address: SocketAddr,
        connections_max: usize,
        in_force: Arc<InForce>,
    ) -> Result<Self, ControlError> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let doing = format!("listen on {address} for the admin API");
            ControlError::from_source(ErrorKind::Failed, &doing, &error)
                .todo("set api.listen to free addresses of this machine")
        })?;
        Ok(Self { listener, in_force, connections_max })
    }

    /// The address, with the port that was chosen when it was 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Something that connections come from.
pub(super) trait Accept: Send + Sync + 'static {
    /// What is accepted.
    type Raw: Send + 'static;
    /// A connection that HTTP is spoken over.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The most connections at once; further ones wait to be accepted.
    fn connections_max(&self) -> usize {
        CONNECTIONS_MAX
    }

    /// The next connection and where it comes from; `None` for one that is not to be served.
    fn accept(&self) -> impl Future<Output = io::Result<Option<(Self::Raw, Peer)>>> + Send;

    /// What comes before HTTP, within a bound of time; `None` when it failed.
    fn open(&self, raw: Self::Raw) -> impl Future<Output = Option<Self::Stream>> + Send;
}

impl Accept for AdminListener {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Option<(UnixStream, Peer)>> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if user == 0 || user == rustix::process::geteuid().as_raw() {
            return Ok(Some((stream, Peer::Socket)));
        }
        tracing::warn!(user, "refused a call on the admin socket: only root and the gateway's user may");
        Ok(None)
    }

    async fn open(&self, raw: UnixStream) -> Option<UnixStream> {
        Some(raw)
    }
}

impl Accept for HealthListener {
    type Raw = TcpStream;
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Option<(TcpStream, Peer)>> {
        self.0.accept().await.map(|(stream, address)| Some((stream, Peer::Network(address.ip()))))
    }

    async fn open(&self, raw: TcpStream) -> Option<TcpStream> {
        Some(raw)
    }
}

impl Accept for TlsListener {
    type Raw = TcpStream;
    type Stream = StallGuard<TlsStream<TcpStream>>;

    fn connections_max(&self) -> usize {
        self.connections_max
    }

    async fn accept(&self) -> io::Result<Option<(TcpStream, Peer)>> {
        self.listener
            .accept()
            .await
            .map(|(stream, address)| Some((stream, Peer::Network(address.ip().to_canonical()))))
    }

    async fn open(&self, raw: TcpStream) -> Option<Self::Stream> {
        let tls = self.in_force.tls()?;
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.accept(raw)).await {
            Ok(Ok(stream)) => return Some(StallGuard::new(stream, WRITE_STALL_MAX)),
            Ok(Err(error)) => tracing::debug!(%error, "TLS of the admin API failed"),
            Err(_) => tracing::debug!("TLS of the admin API took too long"),
        }
        None
    }
}
