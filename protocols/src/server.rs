//! The NFS server as a whole: addresses, programs, start and stop.
//!
//! NFS and MOUNT may share one TCP port, so that a client needs to know one number only. The port
//! mapper is served when an address for it is given; a machine that has one already keeps it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::mount::{MOUNT_PROGRAM, MOUNT_VERSIONS, Mount};
use crate::nfs3::{NFS_PROGRAM, NFS_VERSION, Nfs3};
use crate::portmap::{Mapping, NLM_ADVICE, NLM_PROGRAM, PORTMAP_PROGRAM, Portmap, Protocol};
use crate::retransmission::Retransmissions;
use crate::rpc::{Program, Programs};
use crate::telemetry::SlowCalls;
use crate::transport::{Limits, LimitsError, TcpServer, UdpServer};
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
        /// For which programs.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Where a server listens, with the ports that were really bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// NFS over TCP.
    pub nfs: SocketAddr,
    /// MOUNT over TCP; the same as `nfs` unless it was given an address of its own.
    pub mount: SocketAddr,
    /// MOUNT over UDP, at the port of `mount`.
    pub mount_udp: Option<SocketAddr>,
    /// The port mapper, over TCP and UDP.
    pub portmap: Option<SocketAddr>,
}

/// Puts a server together.
pub struct NfsServerBuilder {
    view: Arc<dyn FileView>,
    nfs: SocketAddr,
    mount: Option<SocketAddr>,
    mount_udp: bool,
    portmap: Option<SocketAddr>,
    limits: Limits,
}

impl NfsServerBuilder {
    /// Where NFS is served; port 2049 of all addresses unless said otherwise.
    #[must_use]
    pub fn nfs_address(mut self, address: SocketAddr) -> Self {
        self.nfs = address;
        self
    }

    /// Where MOUNT is served, if not at the address of NFS.
    #[must_use]
    pub fn mount_address(mut self, address: SocketAddr) -> Self {
        self.mount = Some(address);
        self
    }

    /// Whether MOUNT is also served over UDP; on unless said otherwise.
    #[must_use]
    pub fn mount_udp(mut self, served: bool) -> Self {
        self.mount_udp = served;
        self
    }

    /// Where the port mapper is served (its port is 111 everywhere); nowhere unless said otherwise.
    #[must_use]
    pub fn portmap_address(mut self, address: SocketAddr) -> Self {
        self.portmap = Some(address);
        self
    }

    /// What clients may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Binds all addresses and begins to serve. Needs a runtime of tokio.
    pub async fn start(self) -> Result<NfsServer, StartError> {
        self.limits.check()?;
        let starting = Starting {
            retransmissions: Arc::new(Retransmissions::default()),
            slow_calls: Arc::new(SlowCalls::new(self.limits.slow_call)),
            limits: Arc::new(self.limits),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        let nfs: Arc<dyn Program> = Arc::new(Nfs3::new(Arc::clone(&self.view)));
        let mount: Arc<dyn Program> = Arc::new(Mount::new(self.view));
        starting.run(self.nfs, self.mount, self.mount_udp, self.portmap, nfs, mount).await
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
            nfs: SocketAddr::from(([0, 0, 0, 0], 2049)),
            mount: None,
            mount_udp: true,
            portmap: None,
            limits: Limits::default(),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
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
    limits: Arc<Limits>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Starting {
    async fn run(
        mut self,
        nfs_address: SocketAddr,
        mount_address: Option<SocketAddr>,
        mount_udp: bool,
        portmap_address: Option<SocketAddr>,
        nfs: Arc<dyn Program>,
        mount: Arc<dyn Program>,
    ) -> Result<NfsServer, StartError> {
        let (nfs, mount_tcp) = if let Some(address) = mount_address {
            let nfs = self.tcp("nfs", nfs_address, &[nfs])?;
            (nfs, self.tcp("mount", address, &[Arc::clone(&mount)])?)
        } else {
            let both = self.tcp("nfs", nfs_address, &[nfs, Arc::clone(&mount)])?;
            (both, both)
        };
        let mount_udp = if mount_udp { Some(self.udp("mount", mount_tcp, mount).await?) } else { None };
        let mut addresses = Addresses { nfs, mount: mount_tcp, mount_udp, portmap: None };
        if let Some(address) = portmap_address {
            addresses.portmap = Some(self.portmap(address, &addresses).await?);
        }
        Ok(NfsServer { addresses, stop: self.stop, tasks: self.tasks })
    }

    async fn portmap(&mut self, address: SocketAddr, served: &Addresses) -> Result<SocketAddr, StartError> {
        let (tcp, bound) = self.bind_tcp("portmap", address)?;
        let portmap: Arc<dyn Program> = Arc::new(Portmap::new(mappings(served, bound.port())));
        self.tasks.spawn(tcp.run(self.programs(&[Arc::clone(&portmap)])));
        self.udp("portmap", bound, portmap).await
    }

    fn tcp(
        &mut self,
        what: &'static str,
        address: SocketAddr,
        programs: &[Arc<dyn Program>],
    ) -> Result<SocketAddr, StartError> {
        let (server, bound) = self.bind_tcp(what, address)?;
        self.tasks.spawn(server.run(self.programs(programs)));
        Ok(bound)
    }

    fn bind_tcp(
        &self,
        what: &'static str,
        address: SocketAddr,
    ) -> Result<(TcpServer, SocketAddr), StartError> {
        let failed = |source| StartError::Listen { what, address, source };
        let (limits, stop) = (Arc::clone(&self.limits), self.stop.clone());
        let server = TcpServer::bind(what, address, limits, stop).map_err(failed)?;
        let bound = server.address().map_err(failed)?;
        Ok((server, bound))
    }

    async fn udp(
        &mut self,
        what: &'static str,
        address: SocketAddr,
        program: Arc<dyn Program>,
    ) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { what, address, source };
        let server = UdpServer::bind(address, self.stop.clone()).await.map_err(failed)?;
        let bound = server.address().map_err(failed)?;
        self.tasks.spawn(server.run(self.programs(&[program])));
        Ok(bound)
    }

    fn programs(&self, programs: &[Arc<dyn Program>]) -> Arc<Programs> {
        let builder = Programs::builder(Arc::clone(&self.retransmissions), Arc::clone(&self.slow_calls));
        let builder = builder.absent(NLM_PROGRAM, NLM_ADVICE);
        Arc::new(programs.iter().fold(builder, |builder, program| builder.serve(Arc::clone(program))).build())
    }
}

fn mappings(served: &Addresses, portmap_port: u16) -> Vec<Mapping> {
    let mapping = |program, version, protocol, port| Mapping { program, version, protocol, port };
    let mut all = vec![
        mapping(PORTMAP_PROGRAM, 2, Protocol::Tcp, portmap_port),
        mapping(PORTMAP_PROGRAM, 2, Protocol::Udp, portmap_port),
        mapping(NFS_PROGRAM, NFS_VERSION, Protocol::Tcp, served.nfs.port()),
    ];
    for &version in MOUNT_VERSIONS {
        all.push(mapping(MOUNT_PROGRAM, version, Protocol::Tcp, served.mount.port()));
        if let Some(address) = served.mount_udp {
            all.push(mapping(MOUNT_PROGRAM, version, Protocol::Udp, address.port()));
        }
    }
    all
}
