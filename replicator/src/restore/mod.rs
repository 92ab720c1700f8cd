//! Restore: a frozen share, or a part of it, written to a folder of this machine.
//!
//! Plan, then execute: [`Plan::make`] looks at share and folder, counts what is to be written, and
//! refuses what cannot work; [`Plan::execute`] consumes it and writes. Needs the repository and its key,
//! no gateway, and writes nothing but the folder.
//!
//! Promises:
//!
//! * **Never wrong bytes.** Every chunk is verified. A file of which something is missing or damaged is
//!   not there afterwards; it is reported by its path, and the restore goes on.
//! * **Never outside the folder.** Every file is reached by one name at a time from an open folder,
//!   links are not followed, and names that could lead elsewhere are refused.
//! * **Resumable.** What was restored stands in `.tidegate-restore` in the folder; a restore of the same
//!   root that is run again goes on there. When everything is restored it is removed.
//! * **Everything that the map has**: kinds, modes, owners (by root), times, links, extended attributes,
//!   holes. What this machine does not take is reported.
//!
//! Order of writes, for each batch of at most [`BATCH_BYTES_MAX`] bytes and [`RestoreOptions::files_max`]
//! files: files are made, empty and private; their data is fetched, ordered by pack, several requests at
//! once, and written, while the files of the next batch are made; each then gets owner, extended attributes,
//! mode and times, in this order; folders get theirs after everything in them; then the journal says how far
//! the restore has come. Every [`CHECKPOINT_EVERY`] the file system is synced first, so that this survives a loss of power.
//!
//! | cut | leaves | the next run |
//! |---|---|---|
//! | before a batch is written down | some of its files, whole or not | writes them again |
//! | after | its files, whole | skips them unread |
//! | at the end, before the journal is removed | everything | finds nothing to do, removes it |
//!
//! Memory: the reader's budget, two batches of metadata and open files, and a page of names for each level of folders.
//!
//! Not here: which root, and how progress looks (the command line).

mod attributes;
mod batch;
mod error;
mod execute;
mod folder;
mod journal;
mod links;
mod observer;
mod plan;
mod report;
mod traversal;

pub use batch::BATCH_BYTES_MAX;
pub use error::RestoreError;
pub use journal::{CHECKPOINT_EVERY, STATE_FOLDER};
pub use observer::{Observer, Silent};
pub use plan::{Plan, RestoreOptions, RestoreSource, Totals};
pub use report::{FAILURES_MAX, Failure, RestoreReport};
