//! Signatures (Ed25519, RFC 8032) by a key that follows from a secret, and digests to be signed.
//!
//! For what leaves the repository by another way than its stores, and is received by somebody who does not have its
//! key: he knows the verifying key, which is public.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::SecretKey;

/// What the secret of a signing key is derived for.
const CONTEXT: &str = "tidegate 2026-11 Ed25519 signing key";

/// A key that signs. The pair is wiped when it is dropped, by the library that keeps it.
pub struct SigningKey(Ed25519KeyPair);

/// A key that verifies: public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; VerifyingKey::LEN]);

/// A signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature([u8; Signature::LEN]);

/// BLAKE3 of bytes that come piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Digest(blake3::Hasher);

impl SigningKey {
    /// The key that follows from a secret: always the same.
    pub fn of(secret: &SecretKey) -> Self {
        let seed = secret.derive(CONTEXT);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes());
        Self(pair.expect("every 32 bytes are a seed of Ed25519"))
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; Signature::LEN];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        Signature(bytes)
    }

    /// The key that verifies what this one signs.
    pub fn verifying(&self) -> VerifyingKey {
        let mut bytes = [0; VerifyingKey::LEN];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(bytes)
    }
}

impl VerifyingKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The key with these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Its bytes as hex.
    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Reads what [`VerifyingKey::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|bytes| Self(*bytes.as_bytes()))
    }

    /// Whether this is the signature of this message by the key's other half.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature.0).is_ok()
    }
}

impl Signature {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// The signature with these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl Digest {
    /// Length of the result in bytes.
    pub const LEN: usize = 32;

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything so far.
    pub fn finish(&self) -> [u8; Self::LEN] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_message_and_one_key() {
        let key = SigningKey::of(&SecretKey::new([1; 32]));
        let signature = key.sign(b"a manifest");
        assert!(key.verifying().verifies(b"a manifest", &signature));
        assert!(!key.verifying().verifies(b"another", &signature));
        let other = SigningKey::of(&SecretKey::new([2; 32]));
        assert!(!other.verifying().verifies(b"a manifest", &signature));
        let mut spoilt = *signature.as_bytes();
        spoilt[3] ^= 1;
        assert!(!key.verifying().verifies(b"a manifest", &Signature::new(spoilt)));
        let again = SigningKey::of(&SecretKey::new([1; 32]));
        assert_eq!(again.verifying(), key.verifying(), "it follows from the secret");
        assert_eq!(VerifyingKey::from_hex(&key.verifying().to_hex()), Some(key.verifying()));
        assert_eq!(VerifyingKey::from_hex("0102"), None);
    }

    #[test]
    fn a_digest_does_not_depend_on_the_pieces() {
        let (mut one, mut two) = (Digest::default(), Digest::default());
        one.update(b"some bytes");
        two.update(b"some");
        two.update(b" bytes");
        assert_eq!(one.finish(), two.finish());
        assert_eq!(one.finish(), *blake3::hash(b"some bytes").as_bytes());
    }
}
