//! What can go wrong, and what the caller should do about it.
//!
//! Owns the one public [`Error`] of the crate. Its [`ErrorKind`] prescribes the reaction; its text
//! says what was found, where, and what was expected. Texts carry ids, lengths and offsets only: no
//! plaintext, no key and no name out of a share.

use std::io;

use crate::{DomainId, PackId, SealEpoch};

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes are not what was written: use another copy, and report this one.
    Damaged,
    /// The bytes do not authenticate: the key is wrong, or they were damaged, forged or moved here
    /// from another place. With a key that opens other objects, treat as [`ErrorKind::Damaged`].
    NotAuthentic,
    /// The bytes were never written by this program under this kind of name: write nothing here.
    Foreign,
    /// The bytes were sealed under an epoch whose key is not at hand: read the keys again.
    UnknownEpoch,
    /// The bytes are of a newer format: use a newer program, write nothing.
    Unsupported,
    /// A named limit would be exceeded: start a new pack, or refuse the input.
    LimitExceeded,
    /// The caller broke the contract of the call, or gave a setting out of range.
    Misuse,
    /// The writer underneath failed: give this output up.
    Output,
}

/// An error: a kind that says what to do, and a text that says what happened.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Cause);

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Cause::Form { .. } | Cause::Digest { .. } | Cause::Checksum { .. } | Cause::ObjectKind { .. } => {
                ErrorKind::Damaged
            }
            Cause::Seal { .. } => ErrorKind::NotAuthentic,
            Cause::Magic { .. } => ErrorKind::Foreign,
            Cause::Epoch { .. } => ErrorKind::UnknownEpoch,
            Cause::Version { .. } => ErrorKind::Unsupported,
            Cause::Limit { .. } => ErrorKind::LimitExceeded,
            Cause::Setting { .. } | Cause::Contract { .. } => ErrorKind::Misuse,
            Cause::Output { .. } => ErrorKind::Output,
        }
    }
}

/// The private detail of an [`Error`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{what} is malformed: {why}")]
    Form { what: &'static str, why: String },
    #[error("a chunk of {bytes} bytes at offset {offset} of its frame does not have the expected digest")]
    Digest { offset: u32, bytes: u32 },
    #[error("{what} does not have the checksum that it states")]
    Checksum { what: &'static str },
    #[error("object {name:?} is of kind {found}, expected kind {expected}")]
    ObjectKind { name: String, found: u8, expected: u8 },
    #[error("{what} does not authenticate: wrong key, damaged, or moved from another place")]
    Seal { what: String },
    #[error("{what} does not begin with the magic of Tidegate")]
    Magic { what: String },
    #[error(
        "sealed under epoch {} of domain {domain}, whose key is not at hand; read the keys again", epoch.0
    )]
    Epoch { domain: DomainId, epoch: SealEpoch },
    #[error("{what} has format version {found}; this program reads up to {known}; use a newer program")]
    Version { what: &'static str, found: u16, known: u16 },
    #[error("{what} would be {value}; the limit is {limit}")]
    Limit { what: &'static str, value: u64, limit: u64 },
    #[error("{field} is {value}; allowed is {allowed}")]
    Setting { field: &'static str, value: i64, allowed: String },
    #[error("{why}")]
    Contract { why: &'static str },
    #[error("could not write pack {pack}")]
    Output { pack: PackId, source: io::Error },
}

/// Malformed bytes, as an error.
pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Error {
    Cause::Form { what, why: why.into() }.into()
}

/// A broken contract, as an error.
pub(crate) fn misuse(why: &'static str) -> Error {
    Cause::Contract { why }.into()
}

/// Refuses a value over its limit.
pub(crate) fn bounded(what: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit {
        return Err(Cause::Limit { what, value, limit }.into());
    }
    Ok(())
}
