//! Local packs to the store: several at once, each once, with evidence at the end.
//!
//! **Order, and what a crash leaves.** A pack is first recorded as begun, then stored, then recorded
//! as uploaded ([`UploadLog`]). After a crash the store is asked about packs that are recorded as
//! begun or uploaded, and only what it does not have whole goes again: at most the packs that were in
//! flight. A pack belongs to its id for good, so storing it twice stores the same bytes.
//!
//! **Evidence.** [`Uploader::upload`] answers
//! [`DurablePacks`](crate::repository::DurablePacks), which publishing asks for. It comes from the
//! store's own word, never from the log alone: a record of last week does not prove that the pack is
//! still there.
//!
//! **Bounds.** Packs and bytes in flight, by [`UploadOptions`]. Retries, rates and time limits are the
//! business of the store's decorators.

mod error;
mod log;
mod uploader;

pub use error::UploadError;
pub use log::{MemoryUploadLog, UploadLog, UploadState};
pub use uploader::{LocalPack, UploadCounts, UploadOptions, Uploader};
