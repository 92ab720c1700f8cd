//! External data representation (RFC 4506): what every message on the wire is written in.
//!
//! Owns the [`Decoder`], which reads a received record without copying its opaque parts, and the
//! [`Encoder`], which builds a [`Body`] of segments so that large payloads are sent from where they
//! lie. Every variable length is checked against a limit before anything is taken or allocated.
//!
//! Knows no message of any protocol: those are written with these primitives where they belong.

mod decode;
mod encode;

pub use decode::{DecodeError, Decoder};
pub use encode::{Body, Encoder, opaque_bytes};

/// Bytes that follow `length` bytes of opaque data so that the next item is aligned to four.
pub(crate) const fn padding(length: usize) -> usize {
    (4 - length % 4) % 4
}
