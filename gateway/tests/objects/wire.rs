//! Objects over the wire: a server of S3 on a port of its own, and requests that the key of the scene signs (Amazon S3 API
//! reference, "Authenticating requests: using the Authorization header"), each on a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use tidegate_gateway::objects::Objects;
use tidegate_protocols::s3::S3Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The access key of the scene, and its secret.
const ACCESS_KEY: &str = "admin";
const SECRET: &str = "secret";
/// What stands for a body that is not signed.
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Longer than any answer takes on a busy machine, one that waits for room included.
const PATIENCE: Duration = Duration::from_mins(5);

/// A server. It ends with this.
pub struct Wire {
    address: SocketAddr,
    _server: S3Server,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// 0 where there is none.
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn start(objects: &Arc<Objects>) -> Self {
        let builder = S3Server::builder(objects.clone()).address(([127, 0, 0, 1], 0).into());
        let server = builder.start().unwrap();
        Self { address: server.addresses()[0], _server: server }
    }

    /// One request. Path and query need no encoding, and the names of the query are in order.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, &head(method, path, query, headers, body.len()), body).await
    }

    pub async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.call("PUT", path, "", &[], body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "", &[], b"").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, "", &[], b"").await
    }

    /// Makes a copy of an object, both by their paths.
    pub async fn copy(&self, from: &str, path: &str) -> Answer {
        let source = from.trim_start_matches('/');
        self.call("PUT", path, "", &[("x-amz-copy-source", source)], b"").await
    }

    /// Begins an upload in parts; its id.
    pub async fn begin_upload(&self, path: &str) -> String {
        let begun = self.call("POST", path, "uploads=", &[], b"").await;
        assert_eq!(begun.status, 200, "{begun:?}");
        begun.element("UploadId")
    }

    pub async fn put_part(&self, path: &str, upload: &str, number: u16, body: &[u8]) -> Answer {
        let query = format!("partNumber={number}&uploadId={upload}");
        self.call("PUT", path, &query, &[], body).await
    }

    /// Completes an upload of these parts, by number and ETag.
    pub async fn complete(&self, path: &str, upload: &str, parts: &[(u16, String)]) -> Answer {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            })
            .collect();
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.call("POST", path, &format!("uploadId={upload}"), &[], document.as_bytes()).await
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    /// The value of a header, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The texts of all elements of a name, in order.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let (opens, closes) = (format!("<{name}>"), format!("</{name}>"));
        let text = String::from_utf8_lossy(&self.body);
        let rests = text.split(opens.as_str()).skip(1);
        rests.filter_map(|rest| Some(rest.split_once(closes.as_str())?.0.to_owned())).collect()
    }

    /// The text of the first of them; nothing where there is none.
    pub fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// Status and code of an error.
    pub fn error(&self) -> (u16, String) {
        (self.status, self.element("Code"))
    }
}

/// Sends a request, and reads its answer to the end of the connection.
pub async fn exchange<S: AsyncRead + AsyncWrite>(stream: S, head: &str, body: &[u8]) -> Answer {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let sent = async {
        // The server may answer and close before it has read everything.
        for bytes in [head.as_bytes(), body] {
            if writing.write_all(bytes).await.is_err() {
                return;
            }
        }
        let _ = writing.flush().await;
    };
    let mut bytes = Vec::new();
    let received = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut bytes));
    let ((), received) = tokio::join!(sent, received);
    // What came before a connection broke is the answer that there is.
    let _ = received.expect("an answer in time");
    Answer::read(&bytes)
}

/// The head of a signed request with a body of so many bytes, the last of its connection.
pub fn head(method: &str, path: &str, query: &str, headers: &[(&str, &str)], length: usize) -> String {
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let own = [("host", "localhost"), ("x-amz-content-sha256", PAYLOAD), ("x-amz-date", date.as_str())];
    let mut signed: Vec<(&str, &str)> = own.into_iter().chain(headers.iter().copied()).collect();
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines = |between: &str, end: &str| -> String {
        signed.iter().map(|(name, value)| format!("{name}{between}{value}{end}")).collect()
    };
    let canonical = format!("{method}\n{path}\n{query}\n{}\n{names}\n{PAYLOAD}", lines(":", "\n"));
    let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
    let parts = [&date[..8], "us-east-1", "s3", "aws4_request", text.as_str()];
    let signature = parts.iter().fold(format!("AWS4{SECRET}").into_bytes(), |key, part| keyed(&key, part));
    let question = if query.is_empty() { "" } else { "?" };
    format!(
        "{method} {path}{question}{query} HTTP/1.1\r\n{}authorization: AWS4-HMAC-SHA256 \
         Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n",
        lines(": ", "\r\n"),
        hex(&signature)
    )
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
