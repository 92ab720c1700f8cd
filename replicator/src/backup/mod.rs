//! Backup: a frozen map of what lies outside the shares.
//!
//! Reads a [`Source`] and makes of it, and of the map that it had before, a new root. Nothing of it goes through a live
//! map: what is here knows neither journal nor RocksDB, nor what a source is made of.
//!
//! | step | does | file |
//! |---|---|---|
//! | list | everything that the source has, in any order, sorted by path on the local disk | `list.rs`, `sorter.rs` |
//! | compare | the sorted list with the names of the base, folder by folder: numbers, names, what is gone | `plan.rs` |
//! | join | names of files that have several, by their inode | `links.rs` |
//! | read | the content of what is new or looks changed; new chunks into local packs | `take.rs` |
//! | apply | the edits, sorted by key, to the base's tree; new nodes into local packs | `edits.rs` |
//!
//! **A crash** at any step leaves packs that nothing refers to and whose chunks count as duplicates when the run is begun
//! anew. The caller publishes the root; what was published before is never touched.
//!
//! **Numbers.** A name keeps its inode number from run to run, and its place in listings, so that two runs differ only where
//! the source does. [`Inode::generation`](crate::map::Inode::generation) is the number that the file has at the source:
//! together with size and times it says that a file has not changed.
//!
//! **Memory** is bounded by [`Tools::memory_bytes_max`], the ingest's own bound, the names of one file, and a page of
//! names for each level of folders. Everything that grows with the source is sorted or queued in files without names.
//!
//! Not here: how a source is read, when, and what becomes of the root.

mod before;
mod edits;
mod error;
mod found;
mod gone;
mod inodes;
mod links;
mod list;
mod plan;
mod record;
mod report;
mod run;
mod sorter;
mod source;
mod spool;
mod take;

pub use error::{BackupError, SourceError};
pub use found::{Found, Trust};
pub use report::{LEFT_OUT_MAX, LeftOut, Report};
pub use run::{Base, Options, Outcome, Tools, back_up};
pub use source::{
    Content, Cut, Ended, Late, Listed, Observer, Opened, Receipt, Source, Take, Told, Wanted, WantedFiles,
};
