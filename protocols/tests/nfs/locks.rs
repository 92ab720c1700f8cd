//! Goal: a lock call of a client that was mounted without `nolock` fails at once, and the log says what
//! to do, once a minute for each client. Method: the calls that such a client makes, and a subscriber
//! that keeps the lines of the log.

use std::fmt::{Debug, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::harness::{NFS, PATIENCE, Raw, call, serve, word, words};

const NLM: u32 = 100_021;
const NLM_LOCK: u32 = 2;
const PORTMAP: u32 = 100_000;
const PROG_UNAVAIL: u32 = 1;

/// Keeps warnings, fields and all.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A connection from one of the addresses of this machine.
async fn from(host: [u8; 4], address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((host, 0).into()).unwrap();
    Raw { stream: socket.connect(address).await.unwrap() }
}

#[tokio::test]
async fn a_lock_call_fails_at_once_and_each_client_is_told_once_to_mount_with_nolock() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let served = serve().await;
    let addresses = served.server.addresses();
    let (nfs, portmap) = (addresses.nfs[0], addresses.portmap[0]);

    // As the Linux client does: version 4 of the lock manager over TCP, then over UDP, then by guess.
    let port_of_locks = call(1, PORTMAP, 2, 3, &words(&[NLM, 4, 6, 0]));
    let mut first = from([127, 0, 0, 1], portmap).await;
    let reply = first.exchange(&port_of_locks).await;
    assert_eq!((word(&reply, 5), word(&reply, 6)), (0, u32::from(portmap.port())), "a port that refuses");
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 400];
    datagrams.send_to(&call(2, PORTMAP, 2, 3, &words(&[NLM, 4, 17, 0])), portmap).await.unwrap();
    let length = timeout(PATIENCE, datagrams.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((length, word(&buffer, 6)), (28, u32::from(portmap.port())));
    let refused = first.exchange(&call(6, NLM, 4, NLM_LOCK, &[0; 100])).await;
    assert_eq!((word(&refused, 2), word(&refused, 5)), (0, PROG_UNAVAIL), "at that port");
    for version in [1, 3, 4] {
        let mut raw = from([127, 0, 0, 1], nfs).await;
        let reply = raw.exchange(&call(3, NLM, version, NLM_LOCK, &[0; 100])).await;
        assert_eq!((word(&reply, 2), word(&reply, 5)), (0, PROG_UNAVAIL), "version {version}");
    }
    let dumped = first.exchange(&call(4, PORTMAP, 2, 4, &[])).await;
    let mappings = dumped[28..].chunks_exact(20);
    assert!(mappings.clone().any(|mapping| word(mapping, 0) == NFS));
    assert!(!mappings.clone().any(|mapping| word(mapping, 0) == NLM), "it is not registered");

    let lines = warnings.0.lock().clone();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("nolock") && lines[0].contains("client=127.0.0.1 "), "{lines:?}");

    from([127, 0, 0, 2], nfs).await.exchange(&call(5, NLM, 4, NLM_LOCK, &[])).await;
    from([127, 0, 0, 2], portmap).await.exchange(&port_of_locks).await;
    let lines = warnings.0.lock().clone();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("client=127.0.0.2 "), "{lines:?}");
}
