//! Secrets in the JSON of sealed objects: 64 hex digits, for `#[serde(with = "secret_hex")]`.
//!
//! Reading decodes straight from the payload, which its owner wipes; no copy is left behind.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use tidegate_chunker::SecretKey;
use zeroize::Zeroizing;

use super::hex;

pub(super) fn serialize<S: Serializer>(secret: &SecretKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Zeroizing::new(hex::encode(secret.as_bytes())))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretKey, D::Error> {
    struct SecretVisitor;

    impl Visitor<'_> for SecretVisitor {
        type Value = SecretKey;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("64 digits of lower-case hex")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<SecretKey, E> {
            let bytes = Zeroizing::new(hex::decode(text).unwrap_or_default());
            let bytes: Result<[u8; SecretKey::LEN], _> = bytes.as_slice().try_into();
            bytes.map(|bytes| SecretKey::new(*Zeroizing::new(bytes))).map_err(|_| E::custom("no secret"))
        }
    }

    deserializer.deserialize_str(SecretVisitor)
}
