//! The encoder, and the body that it builds.
//!
//! A body is a list of segments. Small items go into one growing buffer; a payload that already
//! lies in memory is taken as segments of its own, so that it reaches the socket without a copy.

use bytes::{BufMut, Bytes, BytesMut};

use super::padding;

/// Room for a typical reply, so that most bodies are one allocation.
const TYPICAL_BODY_BYTES: usize = 256;

/// An encoded message, in pieces to be sent one after the other.
#[derive(Clone, Debug, Default)]
pub struct Body {
    segments: Vec<Bytes>,
    length: usize,
}

impl Body {
    /// The pieces in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// The bytes of all pieces together.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing in it, as in the reply of a NULL procedure.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces in order, given away.
    pub fn into_segments(self) -> Vec<Bytes> {
        self.segments
    }

    /// A copy in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments.concat()
    }
}

/// Builds a [`Body`].
#[derive(Debug, Default)]
pub struct Encoder {
    finished: Vec<Bytes>,
    finished_bytes: usize,
    open: BytesMut,
}

impl Encoder {
    /// An empty encoder with room for a typical reply.
    pub fn new() -> Self {
        Self::with_capacity(TYPICAL_BODY_BYTES)
    }

    /// An empty encoder with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { finished: Vec::new(), finished_bytes: 0, open: BytesMut::with_capacity(bytes) }
    }

    /// An unsigned 32-bit integer.
    pub fn u32(&mut self, value: u32) {
        self.open.put_u32(value);
    }

    /// An unsigned 64-bit integer.
    pub fn u64(&mut self, value: u64) {
        self.open.put_u64(value);
    }

    /// A boolean.
    pub fn boolean(&mut self, value: bool) {
        self.open.put_u32(u32::from(value));
    }

    /// Opaque data of a length that both sides know.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.open.put_slice(bytes);
        self.open.put_bytes(0, padding(bytes.len()));
    }

    /// Opaque data with its length, copied. It must be shorter than 4 GiB.
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.open.put_u32(bytes.len() as u32);
        self.fixed(bytes);
    }

    /// Opaque data with its length, taken piece by piece without a copy.
    pub fn opaque_pieces(&mut self, pieces: Vec<Bytes>) {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        self.open.put_u32(length as u32);
        self.close_segment();
        for piece in pieces {
            self.push(piece);
        }
        self.open.put_bytes(0, padding(length));
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.finished_bytes + self.open.len()
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the message.
    pub fn finish(mut self) -> Body {
        self.close_segment();
        Body { segments: self.finished, length: self.finished_bytes }
    }

    fn close_segment(&mut self) {
        let segment = self.open.split().freeze();
        self.push(segment);
    }

    fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.finished_bytes += segment.len();
            self.finished.push(segment);
        }
    }
}

/// Bytes that opaque data of `length` bytes takes in a message, with its length and padding.
pub const fn opaque_bytes(length: usize) -> usize {
    4 + length + padding(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xdr::Decoder;

    #[test]
    fn pieces_are_sent_from_where_they_lie() {
        let piece = Bytes::from(vec![7; 4097]);
        let mut encoder = Encoder::new();
        encoder.u32(1);
        encoder.opaque_pieces(vec![piece.clone(), Bytes::new(), piece.slice(..4)]);
        let body = encoder.finish();
        assert_eq!(body.segments()[1].as_ptr(), piece.as_ptr());
        assert_eq!(body.len(), 4 + opaque_bytes(4101));
        assert_eq!(body.len(), body.to_vec().len());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            number in any::<u32>(),
            large in any::<u64>(),
            flag in any::<bool>(),
            fixed in any::<[u8; 8]>(),
            data in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..200,
        ) {
            let whole = Bytes::from(data.clone());
            let cut = cut.min(whole.len());
            let mut encoder = Encoder::new();
            encoder.u32(number);
            encoder.opaque(&data);
            encoder.u64(large);
            encoder.opaque_pieces(vec![whole.slice(..cut), whole.slice(cut..)]);
            encoder.boolean(flag);
            encoder.fixed(&fixed);
            let body = encoder.finish();
            prop_assert_eq!(body.len() % 4, 0);
            let mut decoder = Decoder::new(Bytes::from(body.to_vec()));
            prop_assert_eq!(decoder.u32(), Ok(number));
            let copied = decoder.opaque(200).unwrap();
            prop_assert_eq!(copied.as_ref(), data.as_slice());
            prop_assert_eq!(decoder.u64(), Ok(large));
            let taken = decoder.opaque(200).unwrap();
            prop_assert_eq!(taken.as_ref(), data.as_slice());
            prop_assert_eq!(decoder.boolean(), Ok(flag));
            prop_assert_eq!(decoder.fixed::<8>(), Ok(fixed));
            prop_assert_eq!(decoder.remaining(), 0);
        }
    }
}
