//! The NFS server as a whole: addresses, programs, start and stop.
//!
//! NFS and MOUNT share their TCP ports, so that a client needs to know one number only; MOUNT may be
//! given an address of its own. The port mapper is served when an address for it is given; a machine
//! that has one already keeps it, and is told of the programs instead.
//!
//! All addresses share the limits, the memory and the remembered answers of the server: a client may
//! repeat at one address what it began at another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::mount::{MOUNT_PROGRAM, MOUNT_VERSIONS, Mount};
use crate::nfs3::{NFS_PROGRAM, NFS_VERSION, Nfs3};
use crate::nlm::{LockManager, NLM_PROGRAM, NLM_VERSIONS};
use crate::portmap::{Mapping, PORTMAP_PROGRAM, Portmap, Protocol, Registration};
use crate::retransmission::Retransmissions;
use crate::rpc::{Program, Programs};
use crate::telemetry::SlowCalls;
use crate::transport::{Common, Limits, LimitsError, TcpServer, UdpServer};
use crate::view::FileView;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// An address that could not be listened at.
    #[error("failed to listen at {address} for {what}: {source}")]
    Listen {
        /// For which program.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// Whether somebody else has the address.
    fn is_in_use(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Where a server listens, with the ports that were really bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// NFS over TCP.
    pub nfs: Vec<SocketAddr>,
    /// MOUNT over TCP; the same as `nfs` unless it was given an address of its own.
    pub mount: Vec<SocketAddr>,
    /// MOUNT over UDP, at the addresses of `mount`.
    pub mount_udp: Vec<SocketAddr>,
    /// The port mapper of this server, over TCP and UDP.
    pub portmap: Vec<SocketAddr>,
}

/// Puts a server together.
pub struct NfsServerBuilder {
    view: Arc<dyn FileView>,
    nfs: Vec<SocketAddr>,
    mount: Vec<SocketAddr>,
    mount_udp: bool,
    portmap: Vec<SocketAddr>,
    system_portmap: Option<u16>,
    limits: Limits,
}

impl NfsServerBuilder {
    /// An address at which NFS is served; may be said more than once. Unless it is said at all: port
    /// 2049 of all addresses.
    #[must_use]
    pub fn nfs_address(mut self, address: SocketAddr) -> Self {
        self.nfs.push(address);
        self
    }

    /// An address at which MOUNT is served instead of those of NFS; may be said more than once.
    #[must_use]
    pub fn mount_address(mut self, address: SocketAddr) -> Self {
        self.mount.push(address);
        self
    }

    /// Whether MOUNT is also served over UDP; on unless said otherwise.
    #[must_use]
    pub fn mount_udp(mut self, served: bool) -> Self {
        self.mount_udp = served;
        self
    }

    /// An address at which the port mapper is served (clients look for it at [`PORTMAP_PORT`]); may be said
    /// more than once. Nowhere unless it is said. Where somebody else listens there already, he is asked at the
    /// same port of the loopback to tell of this server; if he does not, the server does not start.
    ///
    /// [`PORTMAP_PORT`]: crate::portmap::PORTMAP_PORT
    #[must_use]
    pub fn portmap_address(mut self, address: SocketAddr) -> Self {
        self.portmap.push(address);
        self
    }

    /// Registers what is served with the port mapper that somebody else runs on this machine, at that port of the
    /// loopback, for as long as the server runs (RFC 1833 section 3.2). The server starts without it too, after three
    /// seconds at most, and asks again every minute.
    #[must_use]
    pub fn system_portmap(mut self, port: u16) -> Self {
        self.system_portmap = Some(port);
        self
    }

    /// What clients may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Binds all addresses and begins to serve. Needs a runtime of tokio. When one address fails,
    /// nothing is served.
    pub async fn start(self) -> Result<NfsServer, StartError> {
        self.limits.check()?;
        let stop = CancellationToken::new();
        let mut starting = Starting {
            retransmissions: Arc::new(Retransmissions::default()),
            slow_calls: Arc::new(SlowCalls::new(self.limits.slow_call)),
            locks: Arc::new(LockManager::default()),
            common: Common::new(self.limits, stop.clone()),
            stop,
            addresses: Addresses::default(),
            registered_at: Vec::new(),
            tasks: JoinSet::new(),
        };
        let nfs: Arc<dyn Program> = Arc::new(Nfs3::new(Arc::clone(&self.view)));
        let mount: Arc<dyn Program> = Arc::new(Mount::new(self.view));
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 2049));
        let nfs_addresses = if self.nfs.is_empty() { vec![anywhere] } else { self.nfs };
        starting.serve_nfs(&nfs_addresses, &self.mount, &nfs, &mount)?;
        if self.mount_udp {
            starting.serve_mount_datagrams(&mount).await?;
        }
        let told = starting.tell_ports(self.portmap, self.system_portmap).await;
        let server = NfsServer { addresses: starting.addresses, stop: starting.stop, tasks: starting.tasks };
        match told {
            Ok(()) => Ok(server),
            Err(error) => {
                // What another port mapper has taken already is taken back.
                server.stop().await;
                Err(error)
            }
        }
    }
}

/// A running server. Dropping it ends it at once; [`NfsServer::stop`] ends it well.
pub struct NfsServer {
    addresses: Addresses,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl NfsServer {
    /// A server of `view` with the usual settings.
    pub fn builder(view: Arc<dyn FileView>) -> NfsServerBuilder {
        NfsServerBuilder {
            view,
            nfs: Vec::new(),
            mount: Vec::new(),
            mount_udp: true,
            portmap: Vec::new(),
            system_portmap: None,
            limits: Limits::default(),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Takes no further call, waits for those in flight and their replies (up to
    /// [`Limits::drain_timeout`]), and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A server in the making.
struct Starting {
    retransmissions: Arc<Retransmissions>,
    slow_calls: Arc<SlowCalls>,
    locks: Arc<dyn Program>,
    common: Common,
    stop: CancellationToken,
    addresses: Addresses,
    /// Ports of the loopback at which a port mapper was asked to tell of this server.
    registered_at: Vec<u16>,
    tasks: JoinSet<()>,
}

impl Starting {
    fn serve_nfs(
        &mut self,
        nfs_addresses: &[SocketAddr],
        mount_addresses: &[SocketAddr],
        nfs: &Arc<dyn Program>,
        mount: &Arc<dyn Program>,
    ) -> Result<(), StartError> {
        let together = mount_addresses.is_empty();
        for &address in nfs_addresses {
            let (server, bound) = self.bind("nfs", address)?;
            let mut programs = vec![nfs, &self.locks];
            programs.extend(together.then_some(mount));
            self.tasks.spawn(server.run(self.programs(&programs)));
            self.addresses.nfs.push(bound);
        }
        for &address in mount_addresses {
            let (server, bound) = self.bind("mount", address)?;
            self.tasks.spawn(server.run(self.programs(&[mount])));
            self.addresses.mount.push(bound);
        }
        if together {
            self.addresses.mount.clone_from(&self.addresses.nfs);
        }
        Ok(())
    }

    async fn serve_mount_datagrams(&mut self, mount: &Arc<dyn Program>) -> Result<(), StartError> {
        for address in self.addresses.mount.clone() {
            let bound = self.serve_datagrams("mount", address, mount).await?;
            self.addresses.mount_udp.push(bound);
        }
        Ok(())
    }

    async fn tell_ports(&mut self, own: Vec<SocketAddr>, system: Option<u16>) -> Result<(), StartError> {
        for address in own {
            self.serve_portmap(address).await?;
        }
        if let Some(port) = system {
            self.register(port).await;
        }
        Ok(())
    }

    async fn serve_portmap(&mut self, address: SocketAddr) -> Result<(), StartError> {
        let (server, bound) = match self.bind("portmap", address) {
            Err(error) if error.is_in_use() => {
                return if self.register(address.port()).await { Ok(()) } else { Err(error) };
            }
            bound => bound?,
        };
        let over = |protocol| Mapping { program: PORTMAP_PROGRAM, version: 2, protocol, port: bound.port() };
        let own = [over(Protocol::Tcp), over(Protocol::Udp)];
        let told = own.into_iter().chain(mappings(&self.addresses)).collect();
        let portmap: Arc<dyn Program> = Arc::new(Portmap::new(told));
        self.tasks.spawn(server.run(self.programs(&[&portmap])));
        self.serve_datagrams("portmap", bound, &portmap).await?;
        self.addresses.portmap.push(bound);
        Ok(())
    }

    /// Has the port mapper at that port of the loopback tell of what is served, until the server stops. Answers whether
    /// it does so now.
    async fn register(&mut self, port: u16) -> bool {
        if self.registered_at.contains(&port) {
            return true;
        }
        let mut registration = Registration::new(port, mappings(&self.addresses));
        let is_told = registration.register().await;
        self.tasks.spawn(registration.keep(self.stop.clone()));
        self.registered_at.push(port);
        is_told
    }

    fn bind(&self, what: &'static str, address: SocketAddr) -> Result<(TcpServer, SocketAddr), StartError> {
        let failed = |source| StartError::Listen { what, address, source };
        let server = TcpServer::bind(address, self.common.clone()).map_err(failed)?;
        let bound = server.address().map_err(failed)?;
        Ok((server, bound))
    }

    async fn serve_datagrams(
        &mut self,
        what: &'static str,
        address: SocketAddr,
        program: &Arc<dyn Program>,
    ) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { what, address, source };
        let server = UdpServer::bind(address, self.stop.clone()).await.map_err(failed)?;
        let bound = server.address().map_err(failed)?;
        self.tasks.spawn(server.run(self.programs(&[program])));
        Ok(bound)
    }

    fn programs(&self, programs: &[&Arc<dyn Program>]) -> Arc<Programs> {
        let builder = Programs::builder(Arc::clone(&self.retransmissions), Arc::clone(&self.slow_calls));
        let builder = programs.iter().fold(builder, |builder, &program| builder.serve(Arc::clone(program)));
        Arc::new(builder.build())
    }
}

/// What a port mapper tells of it: of each program the ports of all its addresses, the first one first.
fn mappings(served: &Addresses) -> Vec<Mapping> {
    let mut all = Vec::new();
    let mut add = |program, version, protocol, port| {
        let mapping = Mapping { program, version, protocol, port };
        if !all.contains(&mapping) {
            all.push(mapping);
        }
    };
    for address in &served.nfs {
        add(NFS_PROGRAM, NFS_VERSION, Protocol::Tcp, address.port());
        for &version in NLM_VERSIONS {
            add(NLM_PROGRAM, version, Protocol::Tcp, address.port());
        }
    }
    for &version in MOUNT_VERSIONS {
        for address in &served.mount {
            add(MOUNT_PROGRAM, version, Protocol::Tcp, address.port());
        }
        for address in &served.mount_udp {
            add(MOUNT_PROGRAM, version, Protocol::Udp, address.port());
        }
    }
    all
}
