//! Goal: the log says of a slow call what it waited for: the journal, or the store.
//!
//! Method: the NFS server over an appliance, with a log of its own. A change is asked for while the journal has much
//! to bring to its disk first; a file is read that only the store has, which is slow by order.

#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use nfs3_client::Nfs3Client;
use nfs3_client::tokio::TokioIo;
use nfs3_types::nfs3::{MKDIR3args, READ3args, diropargs3, nfs_fh3, sattr3};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::Opaque;
use parking_lot::Mutex;
use support::{ROOT, config, create, init, lookup, noise, open, open_within, slot_key, write};
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets};
use tidegate_protocols::view::{Call, Caller, FileView, Handle};
use tidegate_protocols::{Limits, NfsServer};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::store::{Fault, FaultStore, MemoryStore, Rule, Store};
use tokio::net::TcpStream;

const TOP: InodeNumber = InodeNumber::ROOT;
const MIB: usize = 1 << 20;

/// What the process has logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn keep_log() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).try_init().unwrap());
}

/// The lines about slow calls of a procedure.
fn slow_calls(procedure: &str) -> Vec<String> {
    let named = format!("procedure=\"{procedure}\"");
    let log = String::from_utf8_lossy(&LOG.lock()).into_owned();
    log.lines()
        .filter(|line| line.contains("slow call") && line.contains(&named))
        .map(str::to_owned)
        .collect()
}

/// A client of an appliance whose calls are slow from `slow_call` on.
struct Client {
    server: NfsServer,
    nfs: Nfs3Client<TokioIo<TcpStream>>,
}

impl Client {
    async fn of(appliance: &Appliance, slow_call: Duration) -> Self {
        let limits = Limits { slow_call, ..Limits::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let builder = NfsServer::builder(appliance.files().clone()).nfs_address(any).limits(limits);
        let server = builder.start().await.unwrap();
        let stream = TcpStream::connect(server.addresses().nfs[0]).await.unwrap();
        let root = auth_unix {
            stamp: 0,
            machinename: Opaque::owned(b"test".to_vec()),
            uid: 0,
            gid: 0,
            gids: Vec::new(),
        };
        let credential = opaque_auth::auth_unix(&root);
        let nfs = Nfs3Client::new_with_auth(TokioIo::new(stream), credential, opaque_auth::default());
        Self { server, nfs }
    }
}

fn travelling(handle: &Handle) -> nfs_fh3 {
    nfs_fh3 { data: Opaque::owned(handle.as_bytes().to_vec()) }
}

fn call() -> Call {
    let address = ([127, 0, 0, 1], 700).into();
    Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_disk_keeps_waiting_is_logged_with_the_journal() {
    const ATTEMPTS: usize = 8;
    keep_log();
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let key = slot_key(folder.path());
    drop(init(store.clone(), &key).await);
    let budgets = Budgets { memory_bytes: 1 << 30, dirty_bytes: 1 << 30, cache_bytes: 1 << 30 };
    let appliance = open_within(&folder.path().join("data"), store, &key, budgets).await;
    appliance.serve(config("docs")).await.unwrap();
    let namespace = appliance.namespace("docs").unwrap();
    let file = create(&namespace, TOP, b"file").await.unwrap();
    let root = travelling(&appliance.files().mount(&call(), b"/docs").await.unwrap());
    let mut client = Client::of(&appliance, Duration::from_millis(1)).await;
    // One record, which nobody waits for: whoever changes something next waits until the disk has it.
    let data = Bytes::from(noise(1, 24 * MIB));
    let is_told = |line: &String| line.contains("waited_for=the journal ");
    for attempt in 0..ATTEMPTS {
        namespace.write(&ROOT, file, 0, data.clone()).await.unwrap();
        let name = format!("folder-{attempt}").into_bytes();
        let where_ = diropargs3 { dir: root.clone(), name: name.into() };
        client.nfs.mkdir(&MKDIR3args { where_, attributes: sattr3::default() }).await.unwrap().unwrap();
        if slow_calls("MKDIR").iter().any(is_told) {
            break;
        }
    }
    let lines = slow_calls("MKDIR");
    assert!(lines.iter().any(is_told), "{lines:?}");
    client.server.stop().await;
    appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_read_from_a_slow_store_is_logged_with_the_store() {
    const SLOW: Duration = Duration::from_millis(200);
    keep_log();
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let key = slot_key(folder.path());
    drop(init(store.clone(), &key).await);
    let home = open(&folder.path().join("home"), store.clone(), &key).await;
    home.serve(config("docs")).await.unwrap();
    let namespace = home.namespace("docs").unwrap();
    let file = create(&namespace, TOP, b"file").await.unwrap();
    let content = noise(2, 4 * MIB);
    write(&namespace, file, 0, &content).await.unwrap();
    home.commit("docs").await.unwrap();
    home.close().await.unwrap();

    let slow = FaultStore::new(store, 1);
    let away = open(&folder.path().join("away"), Arc::new(slow.clone()), &key).await;
    away.attach("docs", AttachPoint::Newest).await.unwrap();
    away.serve(config("docs")).await.unwrap();
    // Its attributes are here, its data is not.
    lookup(&away.namespace("docs").unwrap(), TOP, b"file").await.unwrap();
    let root = away.files().mount(&call(), b"/docs").await.unwrap();
    let found = away.files().lookup(&call(), &root, b"file").await.unwrap();
    let mut client = Client::of(&away, SLOW / 2).await;
    slow.inject(Rule::any(), Fault::Delay(SLOW));
    let count = MIB as u32 / 2;
    let arguments = READ3args { file: travelling(&found.handle), offset: 0, count };
    let read = client.nfs.read(&arguments).await.unwrap().unwrap();
    let data = read.data.as_ref().to_vec();
    assert!(data == content[..count as usize], "what was read differs");
    let lines = slow_calls("READ");
    assert!(lines.len() == 1 && lines[0].contains("waited_for=the store "), "{lines:?}");
    slow.clear();
    client.server.stop().await;
    away.close().await.unwrap();
}
