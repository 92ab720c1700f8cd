//! Cut, digest, compress, seal, pack: bytes in, bytes out.
//!
//! This crate turns file data into packs of sealed frames and back. It does no I/O, knows no async, reads
//! no clock and has no randomness of its own. What it makes is described in `docs/format.md`.
//!
//! # The way of the bytes
//!
//! 1. A [`Cutter`] cuts data into chunks, by content or at fixed offsets.
//! 2. [`DomainKeys::chunk_id`] names a chunk by its content. Who has a chunk of that id already is done.
//! 3. A [`ChunkGroup`] gathers chunks of one kind; with a [`FrameSlot`] it is compressed and sealed into a
//!    frame, on any thread.
//! 4. A [`PackWriter`] writes frames one after the other, and an index of them at the end. It tells the
//!    [`Location`] of each chunk.
//! 5. Back: the bytes at a location are an [`UnverifiedFrame`]; opened, an [`OpenFrame`]; and a piece of it
//!    that has the right digest is a [`VerifiedChunk`].
//!
//! Control objects (heads, index runs, leases and so on) are sealed whole: [`seal_object`].
//!
//! Every failure is an [`Error`], whose [`ErrorKind`] says what to do about it.
//!
//! # Example
//!
//! ```
//! use tidegate_chunker::{
//!     ChunkKind, ChunkParams, Cutter, Decompressor, DomainId, DomainKeys, PackId, PackIndex, PackOptions,
//!     PackTail, PackWriter, RepositoryId, SealEpoch, SecretKey, UnverifiedFrame,
//! };
//!
//! # fn main() -> Result<(), tidegate_chunker::Error> {
//! // Secrets and ids are random; here they are not.
//! let keys = DomainKeys::new(
//!     RepositoryId::new([1; 16]),
//!     DomainId::new([2; 16]),
//!     &SecretKey::new([3; 32]),
//!     vec![(SealEpoch(1), SecretKey::new([4; 32]))],
//! )?;
//! let data = b"The tide turns twice a day.".repeat(10_000);
//!
//! // Cut, name and pack.
//! let pack = PackId::new([5; 32]);
//! let cutter = Cutter::content(&keys, ChunkParams::default());
//! let mut writer = PackWriter::create(Vec::new(), &keys, pack, PackOptions::default())?;
//! for chunk in cutter.chunks(&data) {
//!     writer.push(ChunkKind::Data, keys.chunk_id(chunk), chunk)?;
//! }
//! let (object, _summary) = writer.finish()?;
//!
//! // Read the index from the end of the pack, then each chunk from its frame.
//! let PackTail::Index(index) = PackIndex::from_tail(&keys, pack, &object)? else { panic!("it is all here") };
//! let mut read = Vec::new();
//! for placed in index.chunks() {
//!     let start = placed.location.frame_offset as usize;
//!     let bytes = object[start..start + placed.location.frame_bytes as usize].to_vec();
//!     let frame = UnverifiedFrame::new(bytes.into())?.open(&keys, Some(pack), &mut Decompressor::new())?;
//!     read.extend_from_slice(&frame.chunk(&keys, &placed.location, placed.id)?);
//! }
//! assert_eq!(read, data);
//! # Ok(())
//! # }
//! ```

mod aead;
mod compress;
mod cut;
mod digest;
mod error;
mod frame;
mod group;
mod ids;
mod keys;
mod kind;
mod object;
mod pack;
mod params;
mod sign;
#[cfg(test)]
mod testing;

pub use compress::{CompressionLevel, Compressor, Decompressor, Encoding};
pub use cut::{Cutter, FIXED_CHUNK_BYTES_MIN};
pub use error::{Error, ErrorKind, Result};
pub use frame::{
    AuthenticatedPiece, FRAME_BYTES_MAX, FrameHeader, FrameSlot, OpenFrame, Padding, SealedFrame,
    UnverifiedFrame, VerifiedChunk,
};
pub use group::{ChunkGroup, FRAME_TARGET_BYTES_MIN, FrameTarget};
pub use ids::{ChunkId, DomainId, Location, PackId, RepositoryId, SealEpoch, ShareId};
pub use keys::{DomainKeys, SecretKey};
pub use kind::ChunkKind;
pub use object::{
    OBJECT_BYTES_MAX, ObjectKind, open_object, open_object_with, read_plain_object, seal_object,
    seal_object_with, write_plain_object,
};
pub use pack::{
    IndexedFrame, PACK_BYTES_MAX, PACK_CHUNKS_MAX, PACK_TAIL_BYTES, PackFooter, PackHeader, PackIndex,
    PackOptions, PackSummary, PackTail, PackWriter, PlacedChunk,
};
pub use params::{
    CHUNK_AVG_BYTES_MAX, CHUNK_AVG_BYTES_MIN, CHUNK_BYTES_MAX, CHUNK_MAX_BYTES_MIN, CHUNK_MIN_BYTES_MAX,
    CHUNK_MIN_BYTES_MIN, ChunkParams,
};
pub use sign::{Digest, Signature, SigningKey, VerifyingKey};
