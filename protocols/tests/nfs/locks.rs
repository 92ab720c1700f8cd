//! Goal: a lock call of a client that was mounted without `nolock` is refused at once, and the log says what
//! to do, once a minute for each client. Method: the calls that such a client makes, and a subscriber
//! that keeps the lines of the log.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::harness::{Raw, call, serve, word, words};
use crate::warnings::Warnings;

const NLM: u32 = 100_021;
const TEST: u32 = 1;
const LOCK: u32 = 2;
const CANCEL: u32 = 3;
const UNLOCK: u32 = 4;
const SHARE: u32 = 20;
const UNSHARE: u32 = 21;
const GRANTED: u32 = 0;
const NO_LOCKS: u32 = 2;
const PORTMAP: u32 = 100_000;
const PROC_UNAVAIL: u32 = 3;
const GARBAGE_ARGS: u32 = 4;

/// A connection from one of the addresses of this machine.
async fn from(host: [u8; 4], address: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((host, 0).into()).unwrap();
    Raw { stream: socket.connect(address).await.unwrap() }
}

/// The arguments of a lock call, as far as they are read: what the client knows the call by.
fn cookie(bytes: &[u8]) -> Vec<u8> {
    let mut arguments = words(&[bytes.len() as u32]);
    arguments.extend(bytes);
    arguments.resize(arguments.len().next_multiple_of(4), 0);
    arguments
}

#[tokio::test]
async fn a_lock_is_refused_at_once_and_each_client_is_told_once_to_mount_with_nolock() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let served = serve().await;
    let addresses = served.server.addresses();
    let (nfs, portmap) = (addresses.nfs[0], addresses.portmap[0]);

    let mut mapper = from([127, 0, 0, 1], portmap).await;
    for version in [1, 3, 4] {
        let reply = mapper.exchange(&call(1, PORTMAP, 2, 3, &words(&[NLM, version, 6, 0]))).await;
        assert_eq!((word(&reply, 5), word(&reply, 6)), (0, u32::from(nfs.port())), "version {version}");
        let mut raw = from([127, 0, 0, 1], nfs).await;
        for (procedure, status) in [(TEST, NO_LOCKS), (LOCK, NO_LOCKS), (CANCEL, GRANTED), (UNLOCK, GRANTED)]
        {
            // What follows the cookie is not looked at.
            let arguments = [cookie(b"five!"), vec![0xff; 60]].concat();
            let reply = raw.exchange(&call(2, NLM, version, procedure, &arguments)).await;
            let results = [cookie(b"five!"), words(&[status])].concat();
            assert_eq!((word(&reply, 5), &reply[24..]), (0, &results[..]), "{version} {procedure}");
        }
    }
    let lines = warnings.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("nolock") && lines[0].contains("client=127.0.0.1 "), "{lines:?}");

    from([127, 0, 0, 2], nfs).await.exchange(&call(5, NLM, 4, LOCK, &cookie(b""))).await;
    from([127, 0, 0, 2], nfs).await.exchange(&call(6, NLM, 4, LOCK, &cookie(b""))).await;
    let lines = warnings.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("client=127.0.0.2 "), "{lines:?}");
}

#[tokio::test]
async fn share_reservations_are_refused_and_calls_that_would_be_answered_by_a_call_are_unavailable() {
    let served = serve().await;
    let mut raw = served.raw().await;
    for (procedure, status) in [(SHARE, NO_LOCKS), (UNSHARE, GRANTED)] {
        let reply = raw.exchange(&call(1, NLM, 3, procedure, &cookie(b"12345678"))).await;
        let results = [cookie(b"12345678"), words(&[status, 0])].concat();
        assert_eq!((word(&reply, 5), &reply[24..]), (0, &results[..]), "{procedure}");
        let reply = raw.exchange(&call(1, NLM, 1, procedure, &cookie(b""))).await;
        assert_eq!(word(&reply, 5), PROC_UNAVAIL, "version 1 has none");
    }
    for procedure in (5..20).chain([24]) {
        let reply = raw.exchange(&call(1, NLM, 4, procedure, &cookie(b""))).await;
        assert_eq!(word(&reply, 5), PROC_UNAVAIL, "{procedure}");
    }
    for wrong in [words(&[]), words(&[1025]), words(&[8, 1]), [words(&[1028]), vec![0; 1028]].concat()] {
        let reply = raw.exchange(&call(1, NLM, 4, LOCK, &wrong)).await;
        assert_eq!(word(&reply, 5), GARBAGE_ARGS, "{}", wrong.len());
    }
}
