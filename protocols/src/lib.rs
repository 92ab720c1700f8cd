//! NFS on the wire, and the traits of what it serves.
//!
//! This crate knows nothing of chunks, RocksDB or the cloud; it could be published alone.

pub mod view;
