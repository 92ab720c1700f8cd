//! Frames: one or more chunks, compressed and sealed together.
//!
//! ```text
//! frame  = header, ciphertext, tag
//! header = version u8 | encoding u8 | kind u8 | reserved u8 | seal epoch u32 | sequence u32
//!        | plaintext bytes u32 | sealed bytes u32 | pack id 32 bytes            (little-endian)
//! ```
//!
//! The header comes first and names the frame's origin, so that a frame opens wherever it lies: in
//! its pack, in a cache, in another pack. All of it is authenticated together with the ids of the
//! repository and the domain, which are not stored: a frame shown under another repository, domain or
//! origin does not open.
//!
//! **Nonces.** The key belongs to one pack, the nonce is the sequence. A [`FrameSlot`] is the right to
//! use one sequence of one pack once: the pack writer hands each out a single time, it cannot be cloned,
//! and sealing consumes it.
//!
//! **Trust.** [`UnverifiedFrame`] holds bytes from outside. [`OpenFrame`] holds plaintext that somebody
//! with the keys has sealed. [`VerifiedChunk`] holds bytes that also have the digest that was asked
//! for. Nothing else turns one into the next.

mod header;
mod open;
mod seal;

pub use header::{FrameHeader, UnverifiedFrame};
pub use open::{AuthenticatedPiece, OpenFrame, VerifiedChunk};
pub use seal::{FrameSlot, Padding, SealedFrame};

pub(crate) use header::INDEX_SEQUENCE;
pub(crate) use seal::PackSeal;

/// Greatest plaintext of a frame, in bytes.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;

const _: () = assert!(FRAME_BYTES_MAX >= crate::params::CHUNK_BYTES_MAX, "each chunk fits a frame");
