//! Cut, digest, compress, seal, pack: bytes in, bytes out.
//!
//! This crate does no I/O, knows no async and reads no clock. What it makes is described in
//! `docs/format.md`.

mod ids;

pub use ids::{ChunkId, DomainId, Location, PackId, RepositoryId, SealEpoch, ShareId};
