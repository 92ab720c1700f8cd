//! Goal: MOUNT in both versions and the port mapper, over TCP and UDP, serve what clients ask.

use nfs3_client::tokio::TokioIo;
use nfs3_client::{MountClient, PortmapperClient};
use nfs3_types::mount::dirpath;
use nfs3_types::nfs3::{MKDIR3args, sattr3};
use nfs3_types::xdr_codec::Opaque;
use tidegate_protocols::view::FsError;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::common::Tree;
use crate::harness::{MOUNT, NFS, PATIENCE, Raw, Served, at, call, packed, root, serve, word, words};

fn path(path: &str) -> dirpath<'_> {
    dirpath(Opaque::borrowed(path.as_bytes()))
}

async fn mount_client(served: &Served) -> MountClient<TokioIo<TcpStream>> {
    MountClient::new(TokioIo::new(TcpStream::connect(served.server.addresses().mount[0]).await.unwrap()))
}

#[tokio::test]
async fn every_way_to_say_the_root_mounts_the_root() {
    let served = serve().await;
    let mut client = mount_client(&served).await;
    client.null().await.unwrap();
    for said in ["", "/", "/share", "/share/", "share"] {
        let mounted = client.mnt(path(said)).await.unwrap();
        assert_eq!(&*mounted.fhandle.0, Tree::handle(1).as_bytes(), "{said:?}");
        assert_eq!(mounted.auth_flavors.len(), 1);
    }
}

#[tokio::test]
async fn mounts_are_listed_until_they_are_undone() {
    let served = serve().await;
    let mut client = mount_client(&served).await;
    client.mnt(path("/share")).await.unwrap();
    client.mnt(path("/")).await.unwrap();
    let listed = client.dump().await.unwrap().into_inner();
    assert_eq!(listed.len(), 2);
    client.umnt(path("/share")).await.unwrap();
    assert_eq!(client.dump().await.unwrap().into_inner().len(), 1);
    client.umntall().await.unwrap();
    assert!(client.dump().await.unwrap().is_empty());
}

#[tokio::test]
async fn exports_are_shown_with_their_clients_in_both_versions() {
    let served = serve().await;
    let exports = mount_client(&served).await.export().await.unwrap().into_inner();
    assert_eq!(exports.len(), 1);
    let mut raw = served.raw().await;
    let third = raw.exchange(&call(1, MOUNT, 3, 5, &[])).await;
    let first = raw.exchange(&call(1, MOUNT, 1, 5, &[])).await;
    let first_all = raw.exchange(&call(1, MOUNT, 1, 6, &[])).await;
    assert!(third == first && third == first_all);
    let missing = raw.exchange(&call(1, MOUNT, 3, 6, &[])).await;
    assert_eq!(word(&missing, 5), 3, "version 3 has no EXPORTALL");
}

#[tokio::test]
async fn a_failed_mount_says_why_in_the_words_of_its_version() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let long = [words(&[5000]), vec![b'a'; 5000]].concat();
    let reply = raw.exchange(&call(1, MOUNT, 3, 1, &long)).await;
    assert_eq!(word(&reply, 6), 63);
    for (error, third, first) in
        [(FsError::Access, 13, 13), (FsError::NotFound, 2, 2), (FsError::ServerFault, 10_006, 5)]
    {
        *served.view.failure.lock() = Some(error);
        for (version, status) in [(3, third), (1, first)] {
            let reply = raw.exchange(&call(1, MOUNT, version, 1, &words(&[0]))).await;
            assert_eq!(word(&reply, 6), status, "{error:?} in version {version}");
        }
    }
}

#[tokio::test]
async fn version_1_refuses_handles_that_it_cannot_carry() {
    let served = serve().await;
    let reply = served.raw().await.exchange(&call(1, MOUNT, 1, 1, &words(&[0]))).await;
    assert_eq!((word(&reply, 5), word(&reply, 6), reply.len()), (0, 22, 28));
}

#[tokio::test]
async fn versions_that_are_not_served_are_told_those_that_are() {
    let served = serve().await;
    let mut raw = served.raw().await;
    for (program, version, low, high) in [(NFS, 4, 3, 3), (NFS, 2, 3, 3), (MOUNT, 2, 1, 3)] {
        let reply = raw.exchange(&call(1, program, version, 0, &[])).await;
        assert_eq!((word(&reply, 5), word(&reply, 6), word(&reply, 7)), (2, low, high));
    }
    for program in [100_227, 100_024] {
        let reply = raw.exchange(&call(1, program, 3, 0, &[])).await;
        assert_eq!(word(&reply, 5), 1, "program {program} is unavailable");
    }
    let reply = raw.exchange(&call(1, NFS, 3, 22, &[])).await;
    assert_eq!(word(&reply, 5), 3, "there is no procedure 22");
}

#[tokio::test]
async fn the_port_mapper_knows_the_ports_of_this_server() {
    let served = serve().await;
    let addresses = served.server.addresses();
    let stream = TcpStream::connect(addresses.portmap[0]).await.unwrap();
    let mut client = PortmapperClient::new(TokioIo::new(stream));
    client.null().await.unwrap();
    assert_eq!(client.getport(NFS, 3, 6).await.unwrap(), addresses.nfs[0].port());
    assert_eq!(client.getport(MOUNT, 3, 6).await.unwrap(), addresses.mount[0].port());
    assert_eq!(client.getport(MOUNT, 1, 17).await.unwrap(), addresses.mount_udp[0].port());
    assert_eq!(client.getport(100_021, 4, 6).await.unwrap(), addresses.nfs[0].port());
    assert!(client.getport(100_024, 1, 6).await.is_err(), "there is no status monitor");
    let all = client.dump().await.unwrap();
    let own = all.iter().find(|mapping| mapping.prog == 100_000).unwrap();
    assert_eq!(own.port, u32::from(addresses.portmap[0].port()));
}

#[tokio::test]
async fn the_port_mapper_cannot_be_changed_or_made_to_call_others() {
    let served = serve().await;
    let mut raw = Raw::connect(served.server.addresses().portmap[0]).await;
    let mapping = words(&[NFS, 3, 6, 666]);
    for procedure in [1, 2] {
        let reply = raw.exchange(&call(1, 100_000, 2, procedure, &mapping)).await;
        assert_eq!((word(&reply, 5), word(&reply, 6)), (0, 0), "procedure {procedure} answers false");
    }
    let reply = raw.exchange(&call(1, 100_000, 2, 5, &mapping)).await;
    assert_eq!(word(&reply, 5), 3, "CALLIT does not exist");
    let reply = raw.exchange(&call(1, 100_000, 4, 3, &mapping)).await;
    assert_eq!((word(&reply, 5), word(&reply, 6), word(&reply, 7)), (2, 2, 2));
}

#[tokio::test]
async fn mount_and_port_mapper_answer_datagrams() {
    let served = serve().await;
    let addresses = served.server.addresses();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 9000];
    let mut ask = async |address: std::net::SocketAddr, record: &[u8]| {
        socket.send_to(record, address).await.unwrap();
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        buffer[..length].to_vec()
    };
    let mounted = ask(addresses.mount_udp[0], &call(9, MOUNT, 3, 1, &words(&[0]))).await;
    assert_eq!((word(&mounted, 0), word(&mounted, 6)), (9, 0));
    assert!(mounted.windows(16).any(|bytes| bytes == &*root().data.0));
    let port = ask(addresses.portmap[0], &call(9, 100_000, 2, 3, &words(&[NFS, 3, 6, 0]))).await;
    assert_eq!(word(&port, 6), u32::from(addresses.nfs[0].port()));
    let none = ask(addresses.mount_udp[0], &call(9, NFS, 3, 0, &[])).await;
    assert_eq!(word(&none, 5), 1, "NFS is not served over UDP");
}

#[tokio::test]
async fn a_datagram_is_answered_from_the_address_that_it_came_to() {
    for (listen, asked) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "127.0.0.2"), ("[::]:0", "::1")] {
        let view = std::sync::Arc::new(crate::common::MemoryView::default());
        let any: std::net::SocketAddr = listen.parse().unwrap();
        if any.is_ipv6() && UdpSocket::bind("[::1]:0").await.is_err() {
            eprintln!("skipped: {listen}: this machine has no IPv6");
            continue;
        }
        let server = tidegate_protocols::NfsServer::builder(view).nfs_address(any).start().await.unwrap();
        let port = server.addresses().mount_udp[0].port();
        // Connected, it takes nothing that comes from another address.
        let own = if asked.contains(':') { "[::1]:0" } else { "127.0.0.1:0" };
        let socket = UdpSocket::bind(own).await.unwrap();
        socket.connect((asked, port)).await.unwrap();
        socket.send(&call(7, MOUNT, 3, 0, &[])).await.unwrap();
        let mut buffer = [0; 9000];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect(listen).unwrap();
        assert_eq!(word(&buffer[..length], 0), 7, "{listen}");
    }
}

/// How many mounts a DUMP lists.
fn listed(reply: &[u8]) -> usize {
    let (mut at, mut count) = (6, 0);
    while word(reply, at) == 1 {
        for _ in 0..2 {
            at += 1 + (word(reply, at + 1) as usize).div_ceil(4);
        }
        (at, count) = (at + 1, count + 1);
    }
    assert_eq!(reply.len(), at * 4 + 4, "the list ends where the reply does");
    count
}

#[tokio::test]
async fn a_list_that_is_too_long_for_a_datagram_is_cut() {
    const MOUNTS: usize = 200;
    let served = serve().await;
    let (mut raw, mut client) = (served.raw().await, mount_client(&served).await);
    for number in 0..MOUNTS {
        let name = format!("{number:0100}");
        let arguments = MKDIR3args { where_: at(&root(), name.as_bytes()), attributes: sattr3::default() };
        raw.exchange(&call(number as u32, NFS, 3, 9, &packed(&arguments))).await;
        client.mnt(path(&format!("/share/{name}"))).await.unwrap();
    }
    let dump = call(9, MOUNT, 3, 2, &[]);
    assert_eq!(listed(&raw.exchange(&dump).await), MOUNTS);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&dump, served.server.addresses().mount_udp[0]).await.unwrap();
    let mut buffer = [0; 9000];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
    assert!((7 << 10..=8 << 10).contains(&length), "{length} bytes: as much as fits");
    assert!((1..MOUNTS).contains(&listed(&buffer[..length])));
}

#[tokio::test]
async fn mount_may_have_a_port_of_its_own() {
    let view = std::sync::Arc::new(crate::common::MemoryView::default());
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let builder = tidegate_protocols::NfsServer::builder(view).nfs_address(any).mount_address(any);
    let server = builder.mount_udp(false).start().await.unwrap();
    let addresses = server.addresses();
    assert_ne!(addresses.nfs, addresses.mount);
    assert!(addresses.mount_udp.is_empty() && addresses.portmap.is_empty());
    let mut nfs = Raw::connect(addresses.nfs[0]).await;
    assert_eq!(word(&nfs.exchange(&call(1, MOUNT, 3, 0, &[])).await, 5), 1);
    let mut mount = Raw::connect(addresses.mount[0]).await;
    assert_eq!(word(&mount.exchange(&call(1, MOUNT, 3, 0, &[])).await, 5), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_server_listens_at_several_addresses_and_remembers_across_them() {
    let view = std::sync::Arc::new(crate::common::MemoryView::default());
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let builder = tidegate_protocols::NfsServer::builder(view.clone()).nfs_address(any).nfs_address(any);
    let server = builder.start().await.unwrap();
    let arguments = packed(&MKDIR3args { where_: at(&root(), b"d"), attributes: sattr3::default() });
    let mut replies = Vec::new();
    for &address in &server.addresses().nfs {
        replies.push(Raw::connect(address).await.exchange(&call(1, NFS, 3, 9, &arguments)).await);
    }
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0], replies[1]);
    assert_eq!(view.count("MKDIR"), 1);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let served = serve().await;
    let view = std::sync::Arc::new(crate::common::MemoryView::default());
    let builder = tidegate_protocols::NfsServer::builder(view).nfs_address(served.address());
    let error = builder.start().await.err().expect("the address is in use").to_string();
    assert!(error.starts_with(&format!("failed to listen at {} for nfs: ", served.address())), "{error}");
}
