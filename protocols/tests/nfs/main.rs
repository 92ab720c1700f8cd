//! The NFS server over real loopback connections, against a file system in memory.
//!
//! Method: `nfs3_client` and `nfs3_types`, written by others, are the client wherever a well-formed
//! call is enough; hand-made records go where a client must misbehave, repeat itself or wait.

#![allow(clippy::unwrap_used, clippy::result_large_err)]

#[path = "../common/mod.rs"]
#[allow(unreachable_pub)]
mod common;

mod directories;
mod errors;
mod harness;
mod hostile;
mod locks;
mod malformed;
mod mounting;
mod pressure;
mod procedures;
mod registering;
mod repetition;
mod warnings;
