//! The repository on a store: stores, packs, index, tree, heads, lease, upload, restore, check, garbage collection, copies, seeds, scrub, warming, archive.

pub mod archive;
pub mod backup;
mod blocking;
mod chance;
pub mod check;
pub mod collect;
pub mod fetch;
pub mod frozen;
pub mod ingest;
pub mod map;
pub mod mirror;
mod observer;
pub mod repository;
mod reseal;
pub mod restore;
pub mod scrub;
pub mod seed;
pub mod shred;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod tree;
mod verify;
pub mod warm;
