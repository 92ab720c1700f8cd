//! From sockets to calls and back.
//!
//! | part | file |
//! |---|---|
//! | bounds, as settings | `transport/limits.rs` |
//! | memory and slots in flight | `transport/budget.rs` |
//! | what one client may take | `transport/clients.rs` |
//! | listener, connections, graceful stop | `transport/tcp.rs` |
//! | reading one connection | `transport/reader.rs` |
//! | writing one connection | `transport/writer.rs` |
//! | datagrams | `transport/udp.rs`, `transport/datagram.rs` |
//!
//! Each connection has one task that reads and, from its first call on, one that writes; every call
//! is a task of its own, so that replies leave in the order in which they are ready. When a bound is
//! reached the socket is not read: the client is slowed down by TCP and never gets an error.

mod budget;
mod clients;
mod datagram;
mod limits;
mod reader;
mod tcp;
mod udp;
mod writer;

pub(crate) use budget::{ConnectionBudget, InFlight, Reserved, ServerBudget};
pub use limits::{Limits, LimitsError};
pub(crate) use tcp::{Common, TcpServer, canonical, configure, listen};
pub(crate) use udp::UdpServer;
