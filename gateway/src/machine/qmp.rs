//! The monitor of a QEMU process: JSON lines over a local socket (QEMU Machine Protocol specification).
//!
//! Only what is needed to ask whether a machine runs and to end it. Answers are bounded in length, and every call in
//! time by whoever makes it.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// The longest line of an answer, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Events that are passed over while waiting for one answer.
const EVENTS_MAX: usize = 1_000;

/// A connection to a monitor that takes commands.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects; none if nobody listens there, so that no such process is.
    pub(super) async fn connect(socket: &Path) -> io::Result<Option<Self>> {
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut monitor = Self { stream: BufReader::new(stream) };
        let greeting = monitor.line().await?;
        if greeting.get("QMP").is_none() {
            return Err(strange("no greeting"));
        }
        monitor.call("qmp_capabilities").await?;
        Ok(Some(monitor))
    }

    /// Carries a command out that has no arguments; gives what it returns.
    pub(super) async fn call(&mut self, command: &str) -> io::Result<Value> {
        let line = format!("{}\n", json!({ "execute": command }));
        self.stream.get_mut().write_all(line.as_bytes()).await?;
        for _ in 0..EVENTS_MAX {
            let mut answer = self.line().await?;
            if let Some(returned) = answer.get_mut("return") {
                return Ok(returned.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(strange(&error.to_string()));
            }
        }
        Err(strange("events without end, and no answer"))
    }

    /// Waits until the process closes its end, which it does as it ends.
    pub(super) async fn ended(&mut self) {
        // An error says that it is gone as well as an end does.
        while self.line().await.is_ok() {}
    }

    async fn line(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(|error| strange(&error.to_string()))
    }
}

fn strange(what: &str) -> io::Error {
    io::Error::other(format!("the monitor of QEMU answers strangely: {what}"))
}
