//! A server that gives every request the same answer, whatever it asks.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These bytes, then the connection is kept until the client closes it.
    Whole(String),
    /// These bytes, then the connection ends.
    Cut(&'static str),
    /// None at all.
    Never,
}

impl Answer {
    pub(crate) fn whole(status: &str, body: &str) -> Self {
        Self::Whole(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

/// Serves on a loopback port until the test ends.
pub(crate) async fn serve(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(converse(socket, answer.clone()));
        }
    });
    address
}

async fn converse(mut socket: TcpStream, answer: Answer) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = socket.read(&mut piece).await {
        request.extend_from_slice(&piece[..read]);
        if !request.windows(4).any(|window| window == b"\r\n\r\n") {
            continue;
        }
        request.clear();
        match &answer {
            Answer::Whole(bytes) => {
                let _ = socket.write_all(bytes.as_bytes()).await;
            }
            Answer::Cut(bytes) => {
                let _ = socket.write_all(bytes.as_bytes()).await;
                return;
            }
            Answer::Never => {}
        }
    }
}
