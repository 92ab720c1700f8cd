//! The alphabet of node and value encodings: bytes, variable-length numbers, ids and hints.
//!
//! A number is unsigned LEB128 in its shortest form: seven bits a byte, low ones first, the top bit
//! set on all bytes but the last. A longer form of the same number is refused.
//!
//! The hints of a list of references:
//!
//! ```text
//! number  n of packs             at most the number of references
//! n * 32  pack ids               in the order in which the references use them
//! per reference:
//!   number  0: no hint, else 1 + place in the list of packs
//!   4 numbers, unless 0: frame offset, frame bytes, chunk offset, chunk bytes, each under 2^32
//! ```

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use tidegate_chunker::{ChunkId, Location, PackId};

use super::ChunkRef;

/// What does not fit about some bytes; callers add which bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const CUT_SHORT: Malformed = Malformed("it ends too early");

/// Takes an encoding apart from the front. Never panics, never allocates more than it holds.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        if self.0.is_empty() { Err(CUT_SHORT) } else { Ok(self.0.get_u8()) }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<Bytes, Malformed> {
        if bytes <= self.0.len() { Ok(self.0.split_to(bytes)) } else { Err(CUT_SHORT) }
    }

    /// Reads a number that must not exceed `max`.
    pub(super) fn number(&mut self, max: u64) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if low << shift >> shift != low || (byte == 0 && shift > 0) {
                return Err(Malformed("a number is too large or not in its shortest form"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return if value <= max { Ok(value) } else { Err(Malformed("a number is out of range")) };
            }
        }
        Err(Malformed("a number is too large or not in its shortest form"))
    }

    pub(super) fn id(&mut self) -> Result<ChunkId, Malformed> {
        let bytes = self.take(ChunkId::LEN)?;
        ChunkId::from_slice(&bytes).ok_or(CUT_SHORT)
    }

    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes follow its end")) }
    }

    /// Reads the hints of these references into them.
    pub(super) fn hints(&mut self, references: &mut [&mut ChunkRef]) -> Result<(), Malformed> {
        let packs = self.number(references.len() as u64)? as usize;
        let packs = self.take(packs * PackId::LEN)?;
        for reference in references {
            reference.at = self.hint(&packs)?;
        }
        Ok(())
    }

    fn hint(&mut self, packs: &[u8]) -> Result<Option<Location>, Malformed> {
        let place = self.number((packs.len() / PackId::LEN) as u64)? as usize;
        if place == 0 {
            return Ok(None);
        }
        let pack = &packs[(place - 1) * PackId::LEN..place * PackId::LEN];
        let mut number = || self.number(u64::from(u32::MAX)).map(|number| number as u32);
        Ok(Some(Location {
            pack: PackId::from_slice(pack).ok_or(CUT_SHORT)?,
            frame_offset: number()?,
            frame_bytes: number()?,
            chunk_offset: number()?,
            chunk_bytes: number()?,
        }))
    }
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends the ids of these references.
pub(super) fn put_ids(out: &mut Vec<u8>, references: &[ChunkRef]) {
    for reference in references {
        out.extend_from_slice(reference.id.as_bytes());
    }
}

/// Appends the hints of these references.
pub(super) fn put_hints<'a>(out: &mut Vec<u8>, references: impl Iterator<Item = &'a ChunkRef> + Clone) {
    let mut packs = Vec::new();
    let mut places = HashMap::new();
    for location in references.clone().filter_map(|reference| reference.at) {
        places.entry(location.pack).or_insert_with(|| {
            packs.push(location.pack);
            packs.len() as u64
        });
    }
    put_number(out, packs.len() as u64);
    for pack in packs {
        out.extend_from_slice(pack.as_bytes());
    }
    for reference in references {
        let Some(at) = reference.at else {
            put_number(out, 0);
            continue;
        };
        put_number(out, places[&at.pack]);
        for number in [at.frame_offset, at.frame_bytes, at.chunk_offset, at.chunk_bytes] {
            put_number(out, u64::from(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<u64, Malformed> {
        let mut reader = Reader(Bytes::from_static(bytes));
        let number = reader.number(u64::MAX)?;
        reader.finish().map(|()| number)
    }

    #[test]
    fn numbers_round_trip_at_every_length() {
        for shift in 0..64 {
            for number in [(1_u64 << shift) - 1, 1 << shift, u64::MAX] {
                let mut out = Vec::new();
                put_number(&mut out, number);
                assert_eq!(Reader(out.into()).number(u64::MAX), Ok(number));
            }
        }
    }

    #[test]
    fn numbers_have_one_form_and_fit_64_bits() {
        assert_eq!(read(&[0x80, 0x01]), Ok(128));
        assert!(read(&[0x80, 0x00]).is_err(), "not the shortest form");
        assert!(read(&[0x80]).is_err(), "cut short");
        assert!(read(&[0xff; 10]).is_err(), "never ends");
        assert!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err(),
            "2^64 and more"
        );
        assert_eq!(Reader(Bytes::from_static(&[5])).number(4), Err(Malformed("a number is out of range")));
    }
}
