//! NFS on the wire, and the traits of what it serves.
//!
//! This crate knows nothing of chunks, RocksDB or the cloud; it could be published alone.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod caller;
pub mod mount;
pub mod nfs3;
pub mod portmap;
pub mod retransmission;
pub mod rpc;
pub mod server;
mod telemetry;
mod transport;
pub mod view;
pub mod xdr;

pub use server::{Addresses, NfsServer, NfsServerBuilder, StartError};
pub use telemetry::SlowCalls;
pub use transport::{Limits, LimitsError};
