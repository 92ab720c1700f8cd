//! The UDP server, for the small programs that clients ask by datagram: MOUNT and the port mapper.
//!
//! A datagram is a call, its reply another. Replies are small on purpose: source addresses of
//! datagrams can be forged, and a server that answers more than it was asked is a weapon. So lists are cut
//! to what fits ([`Transport::reply_bytes_max`]); over TCP they are longer. A reply comes from the address that was asked,
//! also where the server listens at all of them (`datagram.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::datagram::{Asked, Datagrams};
use super::tcp::canonical;
use crate::rpc::{Incoming, Programs, Reply, Transport};

/// The largest datagram taken, in bytes: as large as the largest that is sent.
const DATAGRAM_BYTES_MAX: usize = Transport::Udp.reply_bytes_max();
/// Calls in flight; more are not read, and the kernel drops what it cannot keep.
const CALLS_MAX: usize = 64;

/// A datagram address.
pub(crate) struct UdpServer {
    socket: Arc<Datagrams>,
    stop: CancellationToken,
}

impl UdpServer {
    /// Listens at `address`.
    pub(crate) async fn bind(address: SocketAddr, stop: CancellationToken) -> io::Result<Self> {
        Ok(Self { socket: Arc::new(Datagrams::bind(address).await?), stop })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.address()
    }

    /// Serves `programs` until stopped, then waits for calls in flight.
    pub(crate) async fn run(self, programs: Arc<Programs>) {
        let slots = Arc::new(Semaphore::new(CALLS_MAX));
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the slots are never closed");
            let (length, asked) = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                received = self.socket.receive(&mut buffer) => match received {
                    Ok(received) => received,
                    Err(error) => {
                        tracing::debug!(%error, "failed to receive a datagram");
                        continue;
                    }
                },
            };
            let record = Bytes::copy_from_slice(&buffer[..length]);
            let (socket, programs) = (Arc::clone(&self.socket), Arc::clone(&programs));
            tokio::spawn(async move {
                if let Some(reply) = answer(&programs, record, asked.by).await {
                    send(&socket, reply, &asked).await;
                }
                drop(slot);
            });
        }
        let _all = slots.acquire_many(CALLS_MAX as u32).await;
    }
}

async fn answer(programs: &Programs, record: Bytes, peer: SocketAddr) -> Option<Reply> {
    match programs.receive(record, canonical(peer), Transport::Udp) {
        Incoming::Call(call) => programs.answer(call).await,
        Incoming::Reply(reply) => Some(reply),
        Incoming::Unreadable => None,
    }
}

async fn send(socket: &Datagrams, reply: Reply, asked: &Asked) {
    if reply.len() > DATAGRAM_BYTES_MAX {
        tracing::debug!(client = %asked.by.ip(), bytes = reply.len(), "reply too large for a datagram");
        return;
    }
    if let Err(error) = socket.reply(&reply.to_vec(), asked).await {
        tracing::debug!(%error, "failed to send a datagram");
    }
}
