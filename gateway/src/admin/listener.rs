//! Where the admin API is reached: the Unix socket, and the address for metrics.
//!
//! The socket appears with mode 0600, in one step: it is bound under a temporary name and renamed.
//! Besides, the peer's user is asked of the kernel on every connection: only root and the user of
//! this process are served. A socket that nobody listens on any more is replaced; one that somebody
//! answers on is a running gateway, and refused.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::control::{ControlError, ErrorKind};

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

/// Something that connections come from.
pub(super) trait Accept: Send + 'static {
    /// A connection.
    type Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static;

    /// The next connection; `None` for one that is not to be served.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Self::Stream>>> + Send;
}

impl Accept for AdminListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if user == 0 || user == rustix::process::geteuid().as_raw() {
            return Ok(Some(stream));
        }
        tracing::warn!(user, "refused a call on the admin socket: only root and the gateway's user may");
        Ok(None)
    }
}

impl Accept for HealthListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Option<TcpStream>> {
        self.0.accept().await.map(|(stream, _)| Some(stream))
    }
}
