//! A client: one connection that is kept, one request at a time, every answer checked.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tidegate_benches::Outcome;
use tokio::net::TcpStream;

use crate::noise::Noise;

/// How much of an answer that is an error a message quotes.
const QUOTED_CHARACTERS: usize = 300;

/// See the head of this module.
pub(crate) struct Client(SendRequest<Noise>);

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Why it ended is what the request says that was under way.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a body.
    pub(crate) async fn put(&mut self, request: Request<()>, body: Noise) -> Outcome<()> {
        let mut answer = self.exchange(request, body).await?.into_body();
        while answer.frame().await.transpose()?.is_some() {}
        Ok(())
    }

    /// Fetches so many bytes, and keeps none.
    pub(crate) async fn get(&mut self, request: Request<()>, bytes: u64) -> Outcome<()> {
        let mut answer = self.exchange(request, Noise::none()).await?.into_body();
        let mut found = 0;
        while let Some(frame) = answer.frame().await {
            found += frame?.data_ref().map_or(0, bytes::Bytes::len) as u64;
        }
        if found == bytes { Ok(()) } else { Err(format!("{found} bytes came, not {bytes}").into()) }
    }

    /// Fetches a text.
    pub(crate) async fn text(&mut self, request: Request<()>) -> Outcome<String> {
        let answer = self.exchange(request, Noise::none()).await?;
        Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().into())?)
    }

    async fn exchange(&mut self, request: Request<()>, body: Noise) -> Outcome<Response<Incoming>> {
        let about = (request.method().clone(), request.uri().clone());
        self.0.ready().await?;
        let answer = self.0.send_request(request.map(|()| body)).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let (method, target) = about;
        let status = answer.status();
        let said = answer.into_body().collect().await?.to_bytes();
        let said: String = String::from_utf8_lossy(&said).chars().take(QUOTED_CHARACTERS).collect();
        Err(format!("{method} {target} was answered {status}: {said}").into())
    }
}
