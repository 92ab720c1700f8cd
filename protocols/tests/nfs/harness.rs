//! A served view, clients of it, and records made by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nfs3_client::Nfs3Client;
use nfs3_client::tokio::TokioIo;
use nfs3_types::nfs3::{
    CREATE3args, WRITE3args, WRITE3resok, createhow3, diropargs3, fattr3, nfs_fh3, nfsstat3, sattr3,
    stable_how,
};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::{Opaque, Pack};
use tidegate_protocols::{Limits, NfsServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::common::{MemoryView, Tree};

pub(crate) const NFS: u32 = 100_003;
pub(crate) const MOUNT: u32 = 100_005;
/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Client = Nfs3Client<TokioIo<TcpStream>>;

/// A server and the view behind it.
pub(crate) struct Served {
    pub(crate) view: Arc<MemoryView>,
    pub(crate) server: NfsServer,
}

pub(crate) async fn serve() -> Served {
    serve_with(Limits::default()).await
}

pub(crate) async fn serve_with(limits: Limits) -> Served {
    let view = Arc::new(MemoryView::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = NfsServer::builder(view.clone()).nfs_address(any).portmap_address(any).limits(limits);
    Served { view, server: builder.start().await.unwrap() }
}

impl Served {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses().nfs[0]
    }

    pub(crate) async fn stream(&self) -> TokioIo<TcpStream> {
        TokioIo::new(TcpStream::connect(self.address()).await.unwrap())
    }

    /// A client that is user 1000 of group 100.
    pub(crate) async fn client(&self) -> Client {
        let auth = auth_unix {
            stamp: 1,
            machinename: Opaque::owned(b"test".to_vec()),
            uid: 1000,
            gid: 100,
            gids: vec![7, 8],
        };
        Nfs3Client::new_with_auth(self.stream().await, opaque_auth::auth_unix(&auth), opaque_auth::default())
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// As [`Served::raw`], of a client at another address.
    pub(crate) async fn raw_from_elsewhere(&self) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        Raw { stream: socket.connect(self.address()).await.unwrap() }
    }
}

pub(crate) fn root() -> nfs_fh3 {
    handle(1)
}

pub(crate) fn handle(inode: u64) -> nfs_fh3 {
    nfs_fh3 { data: Opaque::owned(Tree::handle(inode).as_bytes().to_vec()) }
}

pub(crate) fn at(directory: &nfs_fh3, name: &[u8]) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.to_vec().into() }
}

/// The status of a result that must be a failure.
pub(crate) fn status<T: std::fmt::Debug, E>(result: nfs3_types::nfs3::Nfs3Result<T, E>) -> nfsstat3 {
    match result {
        nfs3_types::nfs3::Nfs3Result::Ok(value) => panic!("succeeded with {value:?}"),
        nfs3_types::nfs3::Nfs3Result::Err((status, _)) => status,
    }
}

pub(crate) async fn create(client: &mut Client, directory: &nfs_fh3, name: &[u8]) -> (nfs_fh3, fattr3) {
    let how = createhow3::GUARDED(sattr3::default());
    let made = client.create(&CREATE3args { where_: at(directory, name), how }).await.unwrap().unwrap();
    (made.obj.unwrap(), made.obj_attributes.unwrap())
}

pub(crate) async fn write(
    client: &mut Client,
    file: &nfs_fh3,
    offset: u64,
    data: &[u8],
    stable: stable_how,
) -> WRITE3resok {
    let (file, count) = (file.clone(), data.len() as u32);
    let arguments = WRITE3args { file, offset, count, stable, data: Opaque::borrowed(data) };
    client.write(&arguments).await.unwrap().unwrap()
}

pub(crate) fn packed(arguments: &impl Pack) -> Vec<u8> {
    let mut out = Vec::new();
    arguments.pack(&mut out).unwrap();
    out
}

/// A call without credential, as a record without mark.
pub(crate) fn call(xid: u32, program: u32, version: u32, procedure: u32, arguments: &[u8]) -> Vec<u8> {
    let mut out = words(&[xid, 0, 2, program, version, procedure, 0, 0, 0, 0]);
    out.extend(arguments);
    out
}

/// A WRITE of so many bytes at the beginning of a file, as a record without mark.
pub(crate) fn write_call(xid: u32, file: &nfs_fh3, bytes: usize) -> Vec<u8> {
    let (file, count, data) = (file.clone(), bytes as u32, Opaque::owned(vec![7; bytes]));
    let arguments = WRITE3args { file, offset: 0, count, stable: stable_how::UNSTABLE, data };
    call(xid, NFS, 3, 7, &packed(&arguments))
}

/// The mark of a record in one fragment.
pub(crate) fn mark(length: usize) -> u32 {
    length as u32 | 1 << 31
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(crate) fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_be_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap())
}

/// A connection on which anything may be said.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Sends a record in one fragment.
    pub(crate) async fn send(&mut self, record: &[u8]) {
        let mut out = mark(record.len()).to_be_bytes().to_vec();
        out.extend(record);
        self.stream.write_all(&out).await.unwrap();
    }

    /// Sends so many bytes of a record in one fragment, and not the rest.
    pub(crate) async fn send_part(&mut self, record: &[u8], bytes: usize) {
        self.send_bytes(&mark(record.len()).to_be_bytes()).await;
        self.send_bytes(&record[..bytes]).await;
    }

    /// Sends bytes as they are; the server may have closed the connection.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next record, with its reply header.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        timeout(PATIENCE, async {
            let mark = self.stream.read_u32().await.unwrap();
            assert_ne!(mark & 1 << 31, 0, "replies come in one fragment");
            let mut record = vec![0; (mark & !(1 << 31)) as usize];
            self.stream.read_exact(&mut record).await.unwrap();
            record
        })
        .await
        .expect("no reply came")
    }

    pub(crate) async fn exchange(&mut self, record: &[u8]) -> Vec<u8> {
        self.send(record).await;
        self.receive().await
    }

    /// Whether the server closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.stream.read(&mut byte)).await.expect("the connection stays open");
        matches!(read, Ok(0) | Err(_))
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.stream.readable()).await.is_err()
    }
}

/// Waits until something becomes true.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it never became true");
}
