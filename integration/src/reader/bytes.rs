//! Numbers and pieces out of bytes, and hex.

use std::fmt::Write;

use super::{Read, Refused, expect, refuse};

/// Bytes that are taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return refuse(format!("{length} bytes are wanted where {} are left", self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Refused("as many as were asked for".into()))
    }

    pub(super) fn u8(&mut self) -> Read<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// An unsigned LEB128 in its shortest form.
    pub(super) fn number(&mut self) -> Read<u64> {
        let mut number = 0_u64;
        for place in 0..10 {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            expect(place < 9 || bits <= 1, "a number has more than 64 bits")?;
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                expect(place == 0 || bits != 0, "a number is not in its shortest form")?;
                return Ok(number);
            }
        }
        refuse("a number has more than 64 bits")
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Read<()> {
        expect(self.0.is_empty(), "bytes follow the end")
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings take everything");
        text
    })
}

/// The bytes of lower-case hex.
pub(super) fn from_hex(text: &str) -> Read<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => refuse("not a digit of lower-case hex"),
    };
    expect(text.len().is_multiple_of(2), "an odd number of hex digits")?;
    text.as_bytes().chunks_exact(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// The `N` bytes of lower-case hex.
pub(super) fn array_from_hex<const N: usize>(text: &str) -> Read<[u8; N]> {
    from_hex(text)?.try_into().map_err(|_| Refused(format!("{text:?} is not {N} bytes of hex")))
}
