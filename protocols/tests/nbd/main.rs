//! Claims about the NBD server, against a volume in memory and with a client of the tests' own.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod client;
mod hostile;
mod memory;
mod negotiation;
mod requests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use memory::{Memory, Shelf};
use tidegate_protocols::nbd::{NbdLimits, NbdServer};

/// A server of one volume of so many bytes.
fn serve(size: usize, read_only: bool, limits: NbdLimits) -> (NbdServer, Arc<Memory>, SocketAddr) {
    let disk = Memory::new(size, read_only);
    let view = Arc::new(Shelf { disk: disk.clone(), admits: true });
    let server = NbdServer::builder(view).address(([127, 0, 0, 1], 0).into()).limits(limits).start().unwrap();
    let address = server.addresses()[0];
    (server, disk, address)
}
