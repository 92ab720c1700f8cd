//! The decoder: items from the front of a record.
//!
//! Opaque data comes out as slices of the record's own buffer, so a WRITE payload is never copied.
//! Nothing is allocated for a length that was only announced: an announced length must be within
//! the caller's limit and within the bytes that are really there.

use bytes::{Buf, Bytes};

use super::padding;

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ends inside an item.
    #[error("record ends inside an item")]
    Short,
    /// An announced length is above its limit.
    #[error("length {length} is above the limit of {limit}")]
    TooLong {
        /// As announced.
        length: u32,
        /// As allowed.
        limit: usize,
    },
    /// A discriminant or an enumeration has a value that the protocol does not define.
    #[error("value {0} is not defined here")]
    Undefined(u32),
}

/// Reads items off the front of a record.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
}

impl Decoder {
    /// Reads `bytes` from their start.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// An unsigned 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes.try_get_u32().map_err(|_| DecodeError::Short)
    }

    /// An unsigned 64-bit integer.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.bytes.try_get_u64().map_err(|_| DecodeError::Short)
    }

    /// A boolean: zero or one, and nothing else.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Undefined(other)),
        }
    }

    /// Opaque data of a length that both sides know, a multiple of four.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        const { assert!(N.is_multiple_of(4), "padding of fixed opaque data is not implemented") };
        let mut out = [0; N];
        self.bytes.try_copy_to_slice(&mut out).map_err(|_| DecodeError::Short)?;
        Ok(out)
    }

    /// Opaque data of at most `limit` bytes, as a slice of the record.
    pub fn opaque(&mut self, limit: usize) -> Result<Bytes, DecodeError> {
        let length = self.length(limit)?;
        if self.bytes.len() < length + padding(length) {
            return Err(DecodeError::Short);
        }
        let data = self.bytes.split_to(length);
        self.bytes.advance(padding(length));
        Ok(data)
    }

    /// The number of items of an array of at most `limit` items.
    pub fn length(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let length = self.u32()?;
        if length as usize > limit {
            Err(DecodeError::TooLong { length, limit })
        } else {
            Ok(length as usize)
        }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// All that is left.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &'static [u8]) -> Decoder {
        Decoder::new(Bytes::from_static(bytes))
    }

    #[test]
    fn opaque_data_is_a_slice_of_the_record() {
        let record = Bytes::from_static(b"\0\0\0\x05hello\0\0\0\0\0\0\x01");
        let mut decoder = Decoder::new(record.clone());
        let data = decoder.opaque(16).unwrap();
        assert_eq!(data.as_ref(), b"hello");
        assert_eq!(data.as_ptr(), record[4..].as_ptr());
        assert_eq!(decoder.u32(), Ok(1));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_data_is_looked_at() {
        assert_eq!(
            decoder(b"\xff\xff\xff\xff").opaque(400),
            Err(DecodeError::TooLong { length: u32::MAX, limit: 400 })
        );
    }

    #[test]
    fn a_length_beyond_the_record_is_short() {
        assert_eq!(decoder(b"\0\0\0\x09abcd").opaque(400), Err(DecodeError::Short));
        assert_eq!(decoder(b"\0\0\0\x05abcde").opaque(400), Err(DecodeError::Short));
        assert_eq!(decoder(b"\0\0\0").u32(), Err(DecodeError::Short));
    }

    #[test]
    fn a_boolean_is_zero_or_one() {
        assert_eq!(decoder(b"\0\0\0\x02").boolean(), Err(DecodeError::Undefined(2)));
        assert_eq!(decoder(b"\0\0\0\x01").boolean(), Ok(true));
    }
}
