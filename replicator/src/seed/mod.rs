//! Seeds: a repository on a disk that travels, for a store behind a link that is too slow for the first copy.
//!
//! ```text
//! <folder>/objects/...         every object of the repository, under its name
//! <folder>/manifest            one line an object: BLAKE3 as hex, length in bytes, name
//! <folder>/manifest.signature  Ed25519 over the BLAKE3 of the manifest, as hex
//! ```
//!
//! [`export`] writes it beside running gateways; it is a copy like any other (`mirror`), so running it again brings it
//! up to date. [`import`] checks every object against the manifest and stores it; whoever runs it, beside the far
//! store say, needs the signer's public key and no key of the repository. What came to be meanwhile follows by itself
//! once the far store is a target.
//!
//! Order of an import, and what a crash after each step leaves: key slots and domains, `config`, then packs, index,
//! plans, claims, snapshots, heads. At every step the far store holds no repository yet, or one that can be served.
//! An import that is run again stores only what is not there in its length.
//!
//! The manifest reveals what a listing of the store would: names and lengths.

mod export;
mod import;
mod manifest;

use std::path::PathBuf;

pub use export::{Exported, export};
pub use import::{Imported, import};
pub use manifest::SIGNER_BYTES;

use crate::mirror::MirrorError;
use crate::repository::RepositoryError;
use crate::store::StoreError;

/// Why a seed could not be written, or stored.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The repository, or the far store.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Copying to the disk.
    #[error(transparent)]
    Copy(#[from] MirrorError),
    /// The disk.
    #[error("failed to use {path}")]
    Disk {
        /// What of it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The copy on the disk is not whole, so it is not signed.
    #[error("the repository could not be copied whole: {why}")]
    NotWhole {
        /// What is in the way.
        why: String,
    },
    /// The manifest is not what was signed, or was signed by somebody else. Nothing was stored.
    #[error(
        "the manifest in {folder} was not signed by the given signer: it is another seed, or was changed"
    )]
    NotSigned {
        /// The folder.
        folder: PathBuf,
    },
    /// A line of the manifest cannot be read. Nothing was stored.
    #[error("line {line} of the manifest cannot be read: it is of a newer program, or was changed")]
    BadLine {
        /// Counted from 1.
        line: u64,
    },
    /// An object is not what the manifest says. What was stored before it stays.
    #[error("{object} is not what the manifest says: copy the disk again")]
    Changed {
        /// Its name.
        object: String,
    },
    /// The far store holds another repository, or something else. Nothing was stored.
    #[error("{address} holds something else ({found:?}): choose another prefix")]
    Occupied {
        /// The address.
        address: String,
        /// One of the objects found.
        found: String,
    },
    /// The caller asked to stop.
    #[error("it was stopped; to run it again goes on")]
    Cancelled,
}

impl From<StoreError> for SeedError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}
