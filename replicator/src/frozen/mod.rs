//! A frozen share, read without a gateway: from the repository and its key alone.
//!
//! Owns what restore and check share: a reader of one domain that asks the store directly
//! ([`DomainReader`]), the map of one root by inode ([`Frozen`]), and the two ways in which reading
//! fails ([`ReadError`]). Nothing is written anywhere.
//!
//! Bounds: memory by the budget that the reader is given, and by the page of a listing.
//!
//! Not here: caches on disk and live maps; the gateway has those.

mod error;
mod inodes;
mod locate;
mod path;
mod reader;

pub use error::ReadError;
pub(crate) use error::with_causes;
pub use inodes::{Extents, Frozen, PAGE_ENTRIES_MAX};
pub use locate::LocateInIndex;
pub use path::path_text;
pub use reader::DomainReader;
