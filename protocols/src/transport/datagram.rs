//! Datagrams of which it is known to which address of this machine they came.
//!
//! A socket at all addresses (`0.0.0.0`, `::`) sends from the address that the route to the client suggests, which need not be the
//! one that the client asked: a firewall drops such a reply, and so does the kernel of a client that has connected its
//! socket. So the address is taken from each datagram and given to its reply (`IP_PKTINFO` in ip(7), `IPV6_RECVPKTINFO` in
//! ipv6(7)). One without it, which no Linux sends, is answered from wherever the route says.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket for datagrams.
pub(super) struct Datagrams(UdpSocket);

/// Who sent a datagram, and where to.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// By whom.
    pub(super) by: SocketAddr,
    at: At,
}

/// The address of this machine that a datagram came to, as its reply is to name it.
#[derive(Clone, Copy)]
enum At {
    V4(in_pktinfo),
    V6(in6_pktinfo),
    Unknown,
}

impl Datagrams {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            // It tells the addresses of IPv4 too, as those of IPv6 that stand for them.
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self(socket))
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next datagram: its length, and who asked. What is longer than the buffer is cut.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Asked)> {
        self.0.async_io(Interest::READABLE, || self.receive_now(buffer)).await
    }

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<(usize, Asked)> {
        let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
        let mut pieces = [IoSliceMut::new(buffer)];
        let descriptor = self.0.as_raw_fd();
        let received =
            recvmsg::<SockaddrStorage>(descriptor, &mut pieces, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let mut at = At::Unknown;
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let anywhere = in_addr { s_addr: 0 };
                    at = At::V4(in_pktinfo { ipi_ifindex: 0, ipi_addr: anywhere, ..info });
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    at = At::V6(in6_pktinfo { ipi6_ifindex: 0, ..info });
                }
                _ => {}
            }
        }
        let by = received.address.as_ref().and_then(socket_address);
        let by = by.ok_or_else(|| io::Error::other("a datagram without the address of its sender"))?;
        Ok((received.bytes, Asked { by, at }))
    }

    /// Sends a reply to whoever asked, from the address that was asked.
    pub(super) async fn reply(&self, bytes: &[u8], asked: &Asked) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || self.reply_now(bytes, asked)).await
    }

    fn reply_now(&self, bytes: &[u8], asked: &Asked) -> io::Result<()> {
        let from = match &asked.at {
            At::V4(info) => Some(ControlMessage::Ipv4PacketInfo(info)),
            At::V6(info) => Some(ControlMessage::Ipv6PacketInfo(info)),
            At::Unknown => None,
        };
        let to = SockaddrStorage::from(asked.by);
        let descriptor = self.0.as_raw_fd();
        sendmsg(descriptor, &[IoSlice::new(bytes)], from.as_slice(), MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}
