//! Lower-case hex in names and JSON.
//!
//! [`HexId`] is what every identifier of the format can do: print itself and be read back from its
//! only spelling. As a serde module (`#[serde(with = "hex")]`) it writes identifiers as strings.

use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use tidegate_chunker::{ChunkId, DomainId, PackId, RepositoryId, ShareId};

/// An identifier whose `Display` is fixed-length lower-case hex.
pub(crate) trait HexId: Display + Sized {
    /// Reads the only spelling.
    fn from_hex(text: &str) -> Option<Self>;
}

macro_rules! hex_ids {
    ($($id:ty),*) => {
        $(impl HexId for $id {
            fn from_hex(text: &str) -> Option<Self> {
                <$id>::from_hex(text)
            }
        })*
    };
}

hex_ids!(ChunkId, DomainId, PackId, RepositoryId, ShareId);

/// Declares an identifier of `$n` bytes that only the repository uses.
macro_rules! repository_id {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $n]);

        impl $name {
            /// The identifier with these bytes.
            pub const fn new(bytes: [u8; $n]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }

            /// Reads lower-case hex of exactly twice its length.
            pub fn from_hex(text: &str) -> Option<Self> {
                $crate::repository::hex::decode(text)?.try_into().ok().map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::repository::hex::encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl $crate::repository::hex::HexId for $name {
            fn from_hex(text: &str) -> Option<Self> {
                $name::from_hex(text)
            }
        }
    };
}
pub(crate) use repository_id;

/// Bytes as lower-case hex.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Bytes from lower-case hex; `None` for anything else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// A number from exactly `2 * size_of(u32)` hex digits.
pub(crate) fn decode_u32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(decode(text)?.try_into().ok()?))
}

/// A number from exactly `2 * size_of(u64)` hex digits.
pub(crate) fn decode_u64(text: &str) -> Option<u64> {
    Some(u64::from_be_bytes(decode(text)?.try_into().ok()?))
}

/// Writes an identifier as a string.
pub(crate) fn serialize<T: HexId, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Reads an identifier from a string.
pub(crate) fn deserialize<'de, T: HexId, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct HexVisitor<T>(PhantomData<T>);

    impl<T: HexId> Visitor<'_> for HexVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("lower-case hex of the identifier's length")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::from_hex(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str("text"), &self))
        }
    }

    deserializer.deserialize_str(HexVisitor(PhantomData))
}

/// The same for byte strings of any length.
pub(crate) mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes bytes as a hex string.
    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(bytes))
    }

    /// Reads bytes from a hex string.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::decode(&text).ok_or_else(|| serde::de::Error::custom("expected lower-case hex"))
    }
}

/// The same for many packs, as one string.
pub(crate) mod packs {
    use serde::{Deserializer, Serializer};
    use tidegate_chunker::PackId;

    /// Writes ids one after the other.
    pub(crate) fn serialize<S: Serializer>(packs: &[PackId], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = packs.iter().flat_map(|pack| *pack.as_bytes()).collect();
        super::bytes::serialize(&bytes, serializer)
    }

    /// Reads whole ids.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PackId>, D::Error> {
        let bytes = super::bytes::deserialize(deserializer)?;
        let (packs, rest) = bytes.as_chunks::<{ PackId::LEN }>();
        if rest.is_empty() {
            Ok(packs.iter().map(|pack| PackId::new(*pack)).collect())
        } else {
            Err(serde::de::Error::custom("expected whole ids of packs"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(encode(&[0, 0xa5, 0xff]), "00a5ff");
        assert_eq!(decode("00a5ff"), Some(vec![0, 0xa5, 0xff]));
        for wrong in ["0", "0A", "0g", "é0"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode_u32("0000000a"), Some(10));
        assert_eq!(decode_u32("a"), None);
    }
}
