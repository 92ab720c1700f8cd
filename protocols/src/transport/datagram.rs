//! A datagram socket that answers from the address it was asked at.
//!
//! A socket that listens at every address of a machine would send from whichever the route prefers; a client
//! that asked another one, and a firewall between, drop such a reply. So each datagram is received with the
//! address it came to, and its reply says that it comes from there.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// See the head of this module.
pub(super) struct DatagramSocket {
    socket: UdpSocket,
}

/// A datagram that came.
pub(super) struct Received {
    /// How many bytes of the buffer it is.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) peer: SocketAddr,
    /// The address of this machine that it came to, as far as the system said so.
    at: Option<Local>,
}

/// An address of this machine, as the system takes and gives it.
#[derive(Clone, Copy)]
enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl DatagramSocket {
    /// Listens at `address`; one of IPv6 takes IPv4 clients too.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        Ok(Self { socket })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a datagram; of one that is longer than `buffer` the rest is lost.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || self.try_receive(buffer)).await
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut said = nix::cmsg_space!(in_pktinfo, in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut said), MsgFlags::empty())?;
        let peer = message.address.as_ref().and_then(address_of);
        let peer = peer.ok_or_else(|| io::Error::other("a datagram came without its sender"))?;
        let at = message.cmsgs()?.find_map(|said| match said {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
            _ => None,
        });
        Ok(Received { length: message.bytes, peer, at })
    }

    /// Answers a datagram.
    pub(super) async fn answer(&self, bytes: &[u8], received: &Received) -> io::Result<()> {
        let peer = SockaddrStorage::from(received.peer);
        let from = received.at.map(Local::as_sender);
        let from: Vec<_> = from.iter().map(Local::said).collect();
        let fd = self.socket.as_raw_fd();
        let send = || Ok(sendmsg(fd, &[IoSlice::new(bytes)], &from, MsgFlags::empty(), Some(&peer))?);
        self.socket.async_io(Interest::WRITABLE, send).await.map(drop)
    }
}

impl Local {
    /// As the address to send from, on whatever interface the route says; an address of a link is one of its
    /// interface only.
    fn as_sender(self) -> Self {
        match self {
            Self::V4(info) => Self::V4(in_pktinfo { ipi_ifindex: 0, ..info }),
            Self::V6(info) if Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() => {
                Self::V6(info)
            }
            Self::V6(info) => Self::V6(in6_pktinfo { ipi6_ifindex: 0, ..info }),
        }
    }

    fn said(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

fn address_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Asks a socket that listens everywhere at `asked`; the reply must come from there, or a connected socket
    /// does not see it.
    async fn is_answered_from_where_it_asked(listening: &str, asked: &str) -> bool {
        let server = DatagramSocket::bind(listening.parse().unwrap()).await.unwrap();
        let port = server.address().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(format!("{asked}:{port}")).await.unwrap();
        client.send(b"question").await.unwrap();
        let mut buffer = [0; 64];
        let received = server.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..received.length], b"question");
        assert_eq!(received.peer.port(), client.local_addr().unwrap().port());
        server.answer(b"answer", &received).await.unwrap();
        let answered = timeout(Duration::from_secs(10), client.recv(&mut buffer)).await;
        answered.is_ok_and(|length| buffer[..length.unwrap()] == *b"answer")
    }

    #[tokio::test]
    async fn a_reply_comes_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            assert!(is_answered_from_where_it_asked("0.0.0.0:0", asked).await, "{asked}");
        }
    }

    #[tokio::test]
    async fn so_does_the_reply_of_a_socket_for_both_versions() {
        if UdpSocket::bind("[::]:0").await.is_err() {
            println!("skipped: this machine has no IPv6");
            return;
        }
        assert!(is_answered_from_where_it_asked("[::]:0", "127.0.0.2").await);
    }
}
