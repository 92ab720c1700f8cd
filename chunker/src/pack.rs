//! Packs: files of frames with a sealed index at their end.
//!
//! ```text
//! pack   = header, frame, frame, ..., sealed index, footer
//! header = magic 8 | seal epoch u32 | crc32c u32 | pack id 32
//! index  = ciphertext of the index, tag
//! footer = pack id 32 | seal epoch u32 | index offset u32 | index bytes u32 | crc32c u32 | magic 8
//! ```
//!
//! The footer has a fixed length and ends the file: a reader fetches the tail, learns where the index
//! is, and usually has it in hand already. A file without a whole footer was never finished.
//!
//! **Order of writes.** Header, frames in the order in which they are appended, index, footer; nothing
//! is written twice. The caller syncs the file after [`PackWriter::finish`]. After a crash before that, a
//! file without a valid footer is dropped, with all its chunks, and its id is never used again: nothing
//! may refer to a chunk of a pack before the pack is finished and synced.
//!
//! **Bounds.** A pack has at most [`PACK_BYTES_MAX`] bytes and [`PACK_CHUNKS_MAX`] chunks. The index is
//! authenticated with the footer and the ids of repository and domain, under the pack's key and a sequence
//! that no frame has.

mod index;
mod layout;
mod writer;

pub use index::{IndexedFrame, PackIndex, PackTail, PlacedChunk};
pub use layout::{PACK_TAIL_BYTES, PackFooter, PackHeader};
pub use writer::{PackOptions, PackSummary, PackWriter};

/// Greatest length of a pack in bytes, without index and footer.
pub const PACK_BYTES_MAX: u64 = 1 << 30;

/// Greatest number of chunks in a pack.
pub const PACK_CHUNKS_MAX: u64 = 1 << 20;
