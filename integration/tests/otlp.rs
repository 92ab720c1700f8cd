//! Goal: a gateway with `[otlp]` sends its metrics, and what its clients call, to a collector; nothing before that is
//! set, and nothing after it is taken out again.
//!
//! Method: the real program, an NFS client, and a collector that reads HTTP by itself and keeps the bodies. Texts stand in
//! protobuf as they are, so names are looked for in the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tidegate_integration::client::Client;
use tidegate_integration::gateway::{Gateway, SHARE};

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a collector got: the path, and the body.
type Got = (String, Vec<u8>);

fn collector() -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                while let Some(got) = answer(&socket) {
                    if sender.send(got).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, receiver)
}

/// Reads a request and answers that all is well; none at the end of the connection.
fn answer(mut socket: &TcpStream) -> Option<Got> {
    let mut reader = BufReader::new(socket);
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        path = path.or_else(|| line.strip_prefix("POST ")?.split(' ').next().map(str::to_owned));
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some((path.expect("a POST"), body))
}

/// What came, and what comes.
struct Collected {
    coming: Receiver<Got>,
    came: Vec<Got>,
}

impl Collected {
    /// Waits for a request to a path that has all of these texts in it, unless there was one.
    fn wait_for(&mut self, path: &str, texts: &[&str]) {
        let until = Instant::now() + PATIENCE;
        let has = |body: &[u8], text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        let is_it = |(at, body): &Got| at == path && texts.iter().all(|text| has(body, text));
        while !self.came.iter().any(is_it) {
            let left = until.saturating_duration_since(Instant::now());
            let next = self.coming.recv_timeout(left);
            self.came.push(next.unwrap_or_else(|_| panic!("no {texts:?} at {path}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_sends_its_metrics_and_what_its_clients_call_while_it_is_told_to() {
    let (address, coming) = collector();
    let mut got = Collected { coming, came: Vec::new() };
    let folder = tempfile::tempdir().expect("a folder");
    let table = |every: &str| {
        format!(
            "\n[otlp]\nendpoint = \"http://{address}\"\nmetrics_every = \"{every}\"\ntraces_per_second = 1000\n"
        )
    };
    let mut gateway = Gateway::create_with(folder.path(), &table("1h"));
    gateway.start();
    got.wait_for("/v1/metrics", &["service.name", "tidegate_share_serving", SHARE]);
    let mut client = Client::connect(gateway.address(), "d").await.expect("it serves");
    client.put("file", b"content").await.expect("written");
    got.wait_for("/v1/traces", &["WRITE", "client.address", "127.0.0.1"]);
    gateway.commit();
    got.wait_for("/v1/traces", &["commit", "tidegate.share", "tidegate.bytes_read"]);
    // Settings that change are in force with the next round: metrics come again.
    got.came.clear();
    gateway.change_settings("\"1h\"", "\"5s\"");
    gateway.reload();
    got.wait_for("/v1/metrics", &["tidegate_nfs_call_seconds", "procedure", "WRITE"]);
    gateway.change_settings(&table("5s"), "\n");
    gateway.reload();
    // What was under way by then may still come; after that nothing does, for longer than two rounds.
    let until = Instant::now() + PATIENCE;
    while got.coming.recv_timeout(Duration::from_secs(12)) != Err(RecvTimeoutError::Timeout) {
        assert!(Instant::now() < until, "it goes on");
    }
    assert!(gateway.stop().success());
}
