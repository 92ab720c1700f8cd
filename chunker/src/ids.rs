//! Identifiers of the repository format.
//!
//! Owns the newtypes that name things in a repository. Every one is a fixed number of bytes, shown
//! as lower-case hex. They are compared, hashed and printed; what they mean is said by the module
//! that makes them. Not here: how an id is computed (`digest`) or chosen at random (the caller).

use std::fmt;

/// Declares an identifier of `$n` bytes.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $n]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $n;

            /// The identifier with these bytes.
            pub const fn new(bytes: [u8; $n]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }

            /// Reads an identifier of exactly this length; `None` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads lower-case hex of exactly twice this length.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $n];
                if text.len() != 2 * $n {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

identifier!(
    /// Names a chunk: keyed BLAKE3 of its plaintext, so that it reveals nothing without the key.
    ChunkId,
    32
);
identifier!(
    /// Names a pack: random, chosen when its file is opened, never used twice.
    PackId,
    32
);
identifier!(
    /// Names a repository: random, chosen when it is created.
    RepositoryId,
    16
);
identifier!(
    /// Names a domain: the shares that share ids, packs and so dedup.
    DomainId,
    16
);
identifier!(
    /// Names a share in the repository: random, chosen when the share is made.
    ShareId,
    16
);

/// Which generation of a sealing key sealed a frame or an object. Rotation adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealEpoch(pub u32);

/// Where a chunk lies: a frame of a pack, and the piece of that frame's plaintext.
///
/// A location is a *hint* wherever it is stored: compaction makes it stale, then the index answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The pack that holds the frame.
    pub pack: PackId,
    /// Offset of the frame in the pack, in bytes.
    pub frame_offset: u32,
    /// Length of the frame as stored (header, ciphertext, tag), in bytes.
    pub frame_bytes: u32,
    /// Offset of the chunk in the frame's plaintext, in bytes.
    pub chunk_offset: u32,
    /// Length of the chunk's plaintext, in bytes.
    pub chunk_bytes: u32,
}

impl Location {
    /// Length of the encoding in bytes.
    pub const LEN: usize = PackId::LEN + 16;

    /// Encodes as pack id, then the four numbers, little-endian, in the order of the fields.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..32].copy_from_slice(self.pack.as_bytes());
        for (at, number) in
            [self.frame_offset, self.frame_bytes, self.chunk_offset, self.chunk_bytes].iter().enumerate()
        {
            out[32 + 4 * at..36 + 4 * at].copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// Decodes what [`Location::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let number = |at: usize| {
            let start = 32 + 4 * at;
            u32::from_le_bytes([bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]])
        };
        let mut pack = [0; 32];
        pack.copy_from_slice(&bytes[..32]);
        Self {
            pack: PackId::new(pack),
            frame_offset: number(0),
            frame_bytes: number(1),
            chunk_offset: number(2),
            chunk_bytes: number(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_lengths() {
        let id = RepositoryId::new([0xa5; 16]);
        assert_eq!(RepositoryId::from_hex(&id.to_string()), Some(id));
        assert_eq!(RepositoryId::from_hex("a5"), None);
        assert_eq!(RepositoryId::from_hex(&"A5".repeat(16)), None);
    }

    #[test]
    fn a_location_round_trips() {
        let location = Location {
            pack: PackId::new([7; 32]),
            frame_offset: 1,
            frame_bytes: 2,
            chunk_offset: 3,
            chunk_bytes: u32::MAX,
        };
        assert_eq!(Location::from_bytes(&location.to_bytes()), location);
    }
}
