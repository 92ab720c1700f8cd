//! What black-box tests share: a gateway as a process of its own, an NFS client, and a load whose
//! outcome is known.
//!
//! The program under test is the binary that was built with the tests, or the one that
//! `TIDEGATE_PROGRAM` names. It is started, killed and asked through its command line and over NFS only.

pub mod attempt;
pub mod chance;
pub mod client;
pub mod disk;
pub mod gate;
pub mod gateway;
pub mod guest;
pub mod load;
pub mod machines;
pub mod manifest;
pub mod nfs;
pub mod reader;
pub mod scribe;
pub mod skip;
pub mod tools;
