//! A client of the admin API: one HTTP call a connection, over the gateway's Unix socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::exit::Failure;
use super::terminal::failed;
use crate::control::{ControlError, ErrorKind};

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Below which all calls of the API lie.
const API: &str = "/api/v1";
/// How long one call may take: longer than any wait for a job, and than any direct answer.
const CALL_TIME_MAX: Duration = Duration::from_mins(2);

/// The admin API of the gateway behind a socket.
#[derive(Clone, Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether a gateway answers there at all.
    pub(super) async fn is_there(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// The text of `/metrics`.
    pub(super) async fn metrics(&self) -> Result<String, Failure> {
        let exchange = self.exchange(Method::GET, "/metrics", Bytes::new());
        let answer = tokio::time::timeout(CALL_TIME_MAX, exchange).await;
        let (status, body) = answer.map_err(|_| self.no_answer("it takes too long"))??;
        if !status.is_success() {
            return Err(self.no_answer(&format!("it answered {status}")));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    pub(super) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| failed("write down the request", &error))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let answer =
            tokio::time::timeout(CALL_TIME_MAX, self.exchange(method, &format!("{API}{path}"), body)).await;
        let (status, body) = answer.map_err(|_| self.no_answer("it takes too long"))??;
        if status.is_success() {
            return Ok(
                serde_json::from_slice(&body).map_err(|error| failed("read the gateway's answer", &error))?
            );
        }
        let unreadable = |_| {
            ControlError::new(ErrorKind::Failed, format!("the gateway answered {status} without saying why"))
                .todo("use the version of `tidegate` that runs as the gateway")
        };
        Err(serde_json::from_slice::<ControlError>(&body).unwrap_or_else(unreadable).into())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.not_reached(&error))?;
        let broke = |error: hyper::Error| self.no_answer(&error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "tidegate")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| failed("write down the request", &error))?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(broke)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.no_answer(&error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection ends once the exchange drops its sender; how it ends shows in the exchange.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }

    fn not_reached(&self, error: &io::Error) -> Failure {
        let place = self.socket.display();
        if error.kind() == io::ErrorKind::PermissionDenied {
            let message = format!("the admin socket {place} may not be used by this user");
            return ControlError::new(ErrorKind::Denied, message)
                .todo("run the command as root or as the gateway's user")
                .into();
        }
        Failure::no_gateway(format!("no gateway answers on {place}: {error}"))
    }

    fn no_answer(&self, reason: &str) -> Failure {
        Failure::no_gateway(format!("the gateway on {} gave no answer: {reason}", self.socket.display()))
    }
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("docs-1_a.b"), "docs-1_a.b");
        assert_eq!(segment("../a?b#c ä"), "..%2Fa%3Fb%23c%20%C3%A4");
    }

    #[tokio::test]
    async fn without_a_gateway_the_exit_code_says_so() {
        let client = Client::new("/nowhere/admin.sock".into());
        assert!(!client.is_there().await);
        let failure = client.get::<serde_json::Value>("/status").await.expect_err("nobody there");
        assert_eq!(failure.code, 11);
        assert!(failure.error.todo.is_some());
    }
}
