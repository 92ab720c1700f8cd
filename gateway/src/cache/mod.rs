//! The cache on disk: what the repository has too, kept here because it may be read again.
//!
//! ```text
//! ChunkReader ── Layered ── PackFrames ── LocalFrames        packs made here, kept after their upload
//!                   └────── GatheredFrames ── DiskCache      frames that came from the store, verbatim
//!                                  └───────── StoreFrames    the store
//! Keeper ── Policy                                           what goes when room is short
//! Warmth                                             what is brought here before anybody asks
//! ReadAhead                                                  what a sequential reader will want next
//! ```
//!
//! Two kinds of *unit* are evicted, each as a whole file: a pack that was made here and is uploaded and
//! indexed, and a file of gathered frames. Nothing in this folder is checked before it is served but by
//! the reader that everything goes through: a frame names its origin, so it opens wherever it lies, and
//! what does not open is forgotten here and asked of the store.
//!
//! Bounds: bytes by the setting and by the room that the file system has left ([`Room`]); memory of the
//! index by [`DiskCache`]; frames on their way to the disk by its queue. When a bound is met something
//! is not cached; nobody waits.

mod contents;
mod disk;
mod file;
mod keeper;
mod policy;
mod read_ahead;
mod room;
mod source;
mod warmth;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use disk::{DiskCache, DiskCacheBounds};
pub(crate) use keeper::{Keeper, Swept};
pub(crate) use policy::{Place, Policy, Unit};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use room::{FileSystem, Room, Volume};
pub(crate) use source::{GatheredFrames, PackFrames, Tally};
pub(crate) use warmth::Warmth;
