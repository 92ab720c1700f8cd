//! Taking in: bytes become chunks in local packs, each content once.
//!
//! The engine of commits and of backup sources. The caller's thread cuts, names and looks up
//! ([`Ingest`]); other threads compress, seal, write and sync, and the caller's helps rather than waits. Files smaller than a frame share frames
//! with their neighbours.
//!
//! **What is a duplicate.** A chunk that [`Known::find`] finds, or that came earlier in this run.
//! The second kind is not durable yet, so nothing may refer to what a run has put before
//! [`Ingest::durable`] has passed the [`Mark`] taken after it, or [`Ingest::finish`] has returned.
//!
//! **Crash.** A pack appears under its name whole and synced, or not at all ([`pack_file_name`],
//! [`remove_leftovers`]). A run that dies is run again, into new packs with new ids.
//!
//! **Bounds.** Frames by [`IngestOptions::memory_bytes_max`]; the window that cuts are found in, four
//! of the longest chunks and at least 1 MiB; the ids of packs not yet finished, some 100 bytes each.
//!
//! Not here: what is a duplicate beyond the run (behind [`Known`]), the way to the store (`upload`).

mod cutting;
mod error;
mod gate;
mod in_flight;
mod job_queue;
mod known;
mod open_pack;
mod options;
mod pack_file;
mod pipeline;
mod report;
mod tree_sink;
mod window;

pub use cutting::{CutChunk, Ingest, Mark, PackIds, random_pack_ids};
pub use error::{IngestError, IngestErrorKind};
pub use known::{FinishedPack, FinishedPacks, Known};
pub use options::{IngestOptions, PACK_BYTES_TARGET_MAX, PACK_BYTES_TARGET_MIN, WORKERS_MAX};
pub use pack_file::{pack_file_name, pack_of_file_name, remove_leftovers};
pub use report::IngestReport;
pub use tree_sink::TreeSink;
