//! Goal: where the machine has a port mapper already, clients that ask it find this server, for as long as it runs and no
//! longer; and whatever that port mapper does, the server starts soon and serves.
//!
//! Method: a port mapper that keeps mappings as `rpcbind` does: one port for each protocol of a version of a program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_protocols::{NfsServer, NfsServerBuilder};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::common::MemoryView;
use crate::harness::{MOUNT, NFS, PATIENCE, Raw, call, serve, word, words};
use crate::warnings::Warnings;

const NLM: u32 = 100_021;
const TCP: u32 = 6;
const UDP: u32 = 17;
const SET: u32 = 1;
const UNSET: u32 = 2;

/// Program, version, protocol and port.
type Mapping = [u32; 4];

/// What a port mapper keeps.
#[derive(Default)]
struct Kept {
    mappings: Vec<Mapping>,
    /// Whether all of it belongs to somebody who alone may unset it.
    is_locked: bool,
}

impl Kept {
    fn set(&mut self, new: Mapping) -> bool {
        if let Some(known) = self.mappings.iter().find(|known| known[..3] == new[..3]) {
            return *known == new;
        }
        self.mappings.push(new);
        true
    }

    fn unset(&mut self, [program, version, ..]: Mapping) -> bool {
        if !self.is_locked {
            self.mappings.retain(|known| known[..2] != [program, version]);
        }
        !self.is_locked
    }
}

struct Mapper {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Mapper {
    async fn start(mappings: &[Mapping]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Mutex::new(Kept { mappings: mappings.to_vec(), is_locked: false }));
        let served = Arc::clone(&kept);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(Raw { stream }, Arc::clone(&served)));
            }
        });
        Self { port, kept }
    }

    fn mappings(&self) -> Vec<Mapping> {
        sorted(&self.kept.lock().mappings)
    }
}

async fn converse(mut raw: Raw, kept: Arc<Mutex<Kept>>) {
    while let Some(call) = record(&mut raw.stream).await {
        let [xid, program, version, procedure] = [0, 3, 4, 5].map(|index| word(&call, index));
        assert_eq!((program, version), (100_000, 2), "a call of the port mapper");
        let mapping = [10, 11, 12, 13].map(|index| word(&call, index));
        let is_done = match procedure {
            SET => kept.lock().set(mapping),
            UNSET => kept.lock().unset(mapping),
            other => panic!("procedure {other} is not needed"),
        };
        raw.send(&words(&[xid, 1, 0, 0, 0, 0, u32::from(is_done)])).await;
    }
}

/// The next record, until the connection ends.
async fn record(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mark = stream.read_u32().await.ok()?;
    let mut record = vec![0; (mark & !(1 << 31)) as usize];
    stream.read_exact(&mut record).await.ok()?;
    Some(record)
}

fn sorted(mappings: &[Mapping]) -> Vec<Mapping> {
    let mut mappings = mappings.to_vec();
    mappings.sort_unstable();
    mappings
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn builder() -> NfsServerBuilder {
    NfsServer::builder(Arc::new(MemoryView::default())).nfs_address(any())
}

/// What a port mapper is told of a server at these ports.
fn told(nfs: u16, mount_udp: u16) -> Vec<Mapping> {
    let (nfs, mount_udp) = (u32::from(nfs), u32::from(mount_udp));
    let locks = [1, 3, 4].map(|version| [NLM, version, TCP, nfs]);
    let mounts = [1, 3].map(|version| [[MOUNT, version, TCP, nfs], [MOUNT, version, UDP, mount_udp]]);
    [&[[NFS, 3, TCP, nfs]][..], &locks, mounts.as_flattened()].concat()
}

async fn assert_served(server: &NfsServer) {
    let reply = Raw::connect(server.addresses().mount[0]).await.exchange(&call(1, MOUNT, 3, 0, &[])).await;
    assert_eq!(word(&reply, 5), 0, "it serves");
}

#[tokio::test]
async fn what_is_served_is_registered_while_it_is_and_what_a_dead_server_left_is_replaced() {
    let others = [[100_000, 2, TCP, 111], [100_024, 1, UDP, 700]];
    let left = [[NFS, 3, TCP, 9], [NFS, 3, UDP, 9], [MOUNT, 1, UDP, 9]];
    let mapper = Mapper::start(&[&others[..], &left].concat()).await;
    // Of several addresses the first is told.
    let server = builder().nfs_address(any()).system_portmap(mapper.port).start().await.unwrap();
    let addresses = server.addresses();
    let told = told(addresses.nfs[0].port(), addresses.mount_udp[0].port());
    assert_eq!(mapper.mappings(), sorted(&[&others[..], &told].concat()));
    server.stop().await;
    assert_eq!(mapper.mappings(), sorted(&others));
}

#[tokio::test]
async fn the_lock_manager_of_the_kernel_stays_registered_and_is_nothing_to_complain_of() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let kernel = [1, 3, 4].map(|version| [NLM, version, TCP, 32_803]);
    let mapper = Mapper::start(&kernel).await;
    let server = builder().system_portmap(mapper.port).start().await.unwrap();
    let addresses = server.addresses();
    let mut told = told(addresses.nfs[0].port(), addresses.mount_udp[0].port());
    told.retain(|mapping| mapping[0] != NLM);
    assert_eq!(mapper.mappings(), sorted(&[&kernel[..], &told].concat()));
    server.stop().await;
    assert_eq!(mapper.mappings(), sorted(&kernel));
    assert!(warnings.lines().is_empty(), "{:?}", warnings.lines());
}

#[tokio::test]
async fn without_a_port_mapper_the_server_serves_and_the_log_says_how_to_mount() {
    let free = TcpListener::bind(any()).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let server = builder().system_portmap(port).start().await.unwrap();
    assert_served(&server).await;
    server.stop().await;
    let lines = warnings.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let parts = ["rpcbind", "port= and mountport=", "cannot be asked", &format!("127.0.0.1:{port}")];
    assert!(parts.iter().all(|part| lines[0].contains(*part)), "{lines:?}");
}

#[tokio::test]
async fn a_port_mapper_that_does_not_answer_holds_nothing_up() {
    // Connections wait for ever: nobody accepts them.
    let silent = TcpListener::bind(any()).await.unwrap();
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let began = Instant::now();
    let server = builder().system_portmap(silent.local_addr().unwrap().port()).start().await.unwrap();
    assert_served(&server).await;
    server.stop().await;
    assert!(began.elapsed() < PATIENCE);
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("has not answered"), "{lines:?}");
}

#[tokio::test]
async fn what_another_server_holds_is_named_and_the_rest_is_registered() {
    let mapper = Mapper::start(&[[NFS, 3, TCP, 9]]).await;
    mapper.kept.lock().is_locked = true;
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let server = builder().system_portmap(mapper.port).start().await.unwrap();
    assert_served(&server).await;
    let mount = u32::from(server.addresses().mount[0].port());
    let mappings = mapper.mappings();
    assert!(mappings.contains(&[NFS, 3, TCP, 9]) && mappings.contains(&[MOUNT, 3, TCP, mount]));
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("refuses program 100003 version 3"), "{lines:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_port_mapper_in_the_place_of_our_own_is_asked_instead() {
    let mapper = Mapper::start(&[]).await;
    let taken = SocketAddr::from(([127, 0, 0, 1], mapper.port));
    let server = builder().portmap_address(taken).start().await.unwrap();
    let addresses = server.addresses();
    assert!(addresses.portmap.is_empty());
    assert_eq!(mapper.mappings(), sorted(&told(addresses.nfs[0].port(), addresses.mount_udp[0].port())));
    server.stop().await;
    assert!(mapper.mappings().is_empty());
}

#[tokio::test]
async fn one_in_the_place_of_our_own_that_takes_nothing_is_in_the_way() {
    let served = serve().await;
    let taken = served.server.addresses().portmap[0];
    let error = builder().portmap_address(taken).start().await.err().expect("the address is in use");
    let error = error.to_string();
    assert!(error.starts_with(&format!("failed to listen at {taken} for portmap: ")), "{error}");
}
