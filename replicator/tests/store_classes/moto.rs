//! moto's S3 server as a process: it knows the Glacier flow, and is told how fast a thaw goes on.
//!
//! Needs a Python with `moto[server]` (`pip install 'moto[server]'`): `TIDEGATE_TEST_PYTHON`, else `python3`. Without it there
//! is nothing to test, and the test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const START_MAX: Duration = Duration::from_mins(1);
/// Lines of its log until it says where it listens.
const LINES_MAX: usize = 50;

/// A server that is ended with this.
pub(crate) struct Moto {
    process: Child,
    /// `127.0.0.1:port`.
    address: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Moto {
    /// Starts one on a port of its choice; none where there is no moto.
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var("TIDEGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let has_moto = Command::new(&python).args(["-c", "import moto.server"]).output();
        if !has_moto.is_ok_and(|done| done.status.success()) {
            println!("not run: {python} has no moto.server; pip install 'moto[server]'");
            return None;
        }
        let mut process = Command::new(&python)
            .args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let address = address_in(&mut log);
        // Its log goes on, and is to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = address.unwrap_or_else(|| {
            let _ = process.kill();
            panic!("moto did not say where it listens")
        });
        let moto = Self { process, address };
        moto.wait();
        Some(moto)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    pub(crate) fn create_bucket(&self, bucket: &str) {
        assert!(self.ask("PUT", &format!("/{bucket}"), "").is_some_and(|answer| answer.contains(" 200 ")));
    }

    /// From now on a thaw takes so many looks at its object.
    pub(crate) fn thaw_after(&self, looks: u32) {
        let body = format!(
            r#"{{"model_name": "s3::keyrestore", "transition": {{"progression": "manual", "times": {looks}}}}}"#
        );
        let answer = self.ask("POST", "/moto-api/state-manager/set-transition", &body);
        assert!(answer.as_ref().is_some_and(|answer| answer.contains(" 201 ")), "{answer:?}");
    }

    fn wait(&self) {
        let until = Instant::now() + START_MAX;
        while self.ask("GET", "/moto-api/data.json", "").is_none() {
            assert!(Instant::now() < until, "moto does not answer");
            std::thread::yield_now();
        }
    }

    /// A request without a signature, which moto does not look at.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8(answer).ok().filter(|answer| !answer.is_empty())
    }
}

/// ` * Running on http://127.0.0.1:43210`.
fn address_in(log: &mut impl BufRead) -> Option<String> {
    for line in log.lines().take(LINES_MAX) {
        let line = line.ok()?;
        if let Some((_, rest)) = line.split_once("Running on http://") {
            let end = rest.find(|end: char| end.is_whitespace() || end == '/').unwrap_or(rest.len());
            return Some(rest[..end].to_owned());
        }
    }
    None
}
