//! Ten thousand clients that are connected and silent: they cost little memory, and delay nobody.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_integration::skip::skip;
use tidegate_replicator::store::{Body, ObjectName, PutMode};

use crate::{FLAT, Front, store_at};

/// Clients.
const CONNECTIONS: usize = 10_000;
/// What either end of them needs, with some for everything else.
const OPEN_FILES: u64 = CONNECTIONS as u64 + 1_000;
/// What each may cost, in bytes.
const BYTES_MAX: u64 = 16 << 10;
/// Bytes that come and go while the others are silent.
const OBJECT_BYTES: usize = 3 << 20;

/// Lets this process, and the gateway that it starts, open so many files, or as many as it may; answers how many.
fn open_files_max(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let soft = maximum.map_or(wanted, |most| most.min(wanted));
        setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum }).expect("soft up to hard");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// What the gateway has in memory.
pub(crate) fn resident_bytes(front: &Front) -> u64 {
    let status = front.gateway.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["memory"]["resident_bytes"].as_u64().expect("a number")
}

/// Puts and gets an object through a connection of its own.
pub(crate) fn put_and_get(front: &Front, name: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = store_at(&front.endpoint(), FLAT);
        let object = ObjectName::new(name).expect("a name");
        let data = bytes::Bytes::from(vec![7; OBJECT_BYTES]);
        store.put(&object, Body::Bytes(data.clone()), PutMode::Overwrite).await.expect("put");
        assert_eq!(store.get(&object, None).await.expect("got"), data);
    });
}

#[test]
fn ten_thousand_idle_connections_are_no_burden() {
    let most = open_files_max(OPEN_FILES);
    if most < OPEN_FILES {
        return skip("idle", &format!("at most {most} files may be open, and {OPEN_FILES} are wanted"));
    }
    let front = Front::start();
    put_and_get(&front, "before");
    let before = resident_bytes(&front);
    let mut idle = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(front.address).expect("connected");
        // Some have asked before, some have begun a head, most are silent.
        match number % 100 {
            0 => stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent"),
            1 => stream.write_all(b"GET / HT").expect("sent"),
            _ => {}
        }
        idle.push(stream);
    }
    put_and_get(&front, "among-them");
    let cost = resident_bytes(&front).saturating_sub(before);
    assert!(cost < BYTES_MAX * CONNECTIONS as u64, "{cost} bytes for {CONNECTIONS} connections");
    drop(idle);
    put_and_get(&front, "after");
    front.stop();
}
