//! Requests made by hand, with a signature of our own making (Amazon S3 API reference, "Authenticating requests:
//! using the Authorization header" and "Signature calculations for chunked uploads"): for clients that misbehave.

use std::fmt::Write;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use s3s::dto::{Timestamp, TimestampFormat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hashes::hex;
use crate::memory::{ACCESS_KEY, SECRET_KEY};

pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    date: String,
    signature: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The text of an element of the answer's document.
    pub(crate) fn element(&self, name: &str) -> &str {
        let start = self.body.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
        start.split_once(&format!("</{name}>")).map_or("", |(text, _)| text)
    }

    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.element("Code"))
    }
}

impl Request {
    /// Of a path that needs no encoding.
    pub(crate) fn new(method: &'static str, path: &str, query: &str) -> Self {
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            date: String::new(),
            signature: String::new(),
        };
        request.headers.push(("host".into(), "localhost".into()));
        request.at(SystemTime::now())
    }

    pub(crate) fn at(mut self, time: SystemTime) -> Self {
        let mut text = Vec::new();
        Timestamp::from(time).format(TimestampFormat::DateTime, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap().replace(['-', ':'], "");
        self.date = format!("{}Z", text.split('.').next().unwrap());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bytes that are sent, and the length that is announced.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    /// The last bytes are not sent.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.body.truncate(self.body.len() - bytes);
        self
    }

    /// Signs it; `payload` is what stands for the body.
    pub(crate) fn sign(self, payload: &str) -> Self {
        let date = self.date.clone();
        let mut request = self.header("x-amz-date", &date).header("x-amz-content-sha256", payload);
        request.headers.sort();
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let mut headers = String::new();
        for (name, value) in &request.headers {
            writeln!(headers, "{name}:{value}").expect("memory");
        }
        let canonical =
            format!("{}\n{}\n{}\n{headers}\n{names}\n{payload}", request.method, request.path, request.query);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", scope(&date), sha256(canonical.as_bytes()));
        request.signature = sign_text(&date, &text);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{}, SignedHeaders={names}, Signature={}",
            scope(&date),
            request.signature
        );
        request.header("authorization", &authorization)
    }

    /// The body of a signed request in chunks, each with a signature that follows from the one before; with
    /// trailers if there are any. Call after [`Request::sign`].
    pub(crate) fn chunked(mut self, data: &[u8], trailer: Option<(&str, &str)>) -> Self {
        let mut body = Vec::new();
        let mut signature = self.signature.clone();
        for chunk in data.chunks(8192).chain([&b""[..]]) {
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{signature}\n{}\n{}",
                self.date,
                scope(&self.date),
                sha256(b""),
                sha256(chunk)
            );
            signature = sign_text(&self.date, &text);
            body.extend(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).into_bytes());
            body.extend(chunk);
            if !chunk.is_empty() || trailer.is_none() {
                body.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = trailer {
            let hash = sha256(format!("{name}:{value}\n").as_bytes());
            let text = format!(
                "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{signature}\n{hash}",
                self.date,
                scope(&self.date)
            );
            let signature = sign_text(&self.date, &text);
            body.extend(
                format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").into_bytes(),
            );
        }
        self.body = body;
        self
    }

    /// Announces the length of the body as it is now; the header is not signed.
    pub(crate) fn relength(self) -> Self {
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    /// One byte of the body is another one than was signed.
    pub(crate) fn flip(mut self, place: usize) -> Self {
        self.body[place] ^= 1;
        self
    }

    /// The bytes of the head.
    pub(crate) fn head(&self) -> Vec<u8> {
        let question = if self.query.is_empty() { "" } else { "?" };
        let mut head = format!("{} {}{question}{} HTTP/1.1\r\n", self.method, self.path, self.query);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("memory");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Sends it on a connection of its own, and reads the answer to its end.
    pub(crate) async fn send(&self, address: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&self.clone().header("connection", "close").head()).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(&self.body).await;
        read_answer(&mut stream).await
    }
}

/// Reads one answer up to the end of the connection.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes));
    read.await.expect("an end").expect("an answer");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Where and when a key signs.
pub(crate) fn scope(date: &str) -> String {
    format!("{}/us-east-1/s3/aws4_request", &date[..8])
}

/// In hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The signature of a text.
pub(crate) fn sign_text(date: &str, text: &str) -> String {
    let step = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = step(format!("AWS4{SECRET_KEY}").as_bytes(), &date[..8]);
    let key = ["us-east-1", "s3", "aws4_request"].iter().fold(key, |key, part| step(&key, part));
    hex(&step(&key, text))
}
