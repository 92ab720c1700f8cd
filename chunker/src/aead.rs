//! AES-256-GCM, as all sealed bytes of the format use it.
//!
//! The nonce is a 32-bit number, little-endian, followed by eight zero bytes. Every key here seals one
//! pack or one object; who calls [`Cipher::seal`] owes that no number meets a key twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::SecretKey;

/// Length of the authentication tag that ends sealed bytes.
pub(crate) const TAG_LEN: usize = 16;

/// The bytes did not authenticate.
pub(crate) struct NotAuthentic;

/// A key, ready for use.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("the key has 32 bytes")))
    }

    /// Encrypts `buffer` from `start` on in place and appends the tag.
    pub(crate) fn seal(&self, number: u32, aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(number), Aad::from(aad), &mut buffer[start..])
            .expect("the plaintext is below the 64 GiB of AES-GCM");
        buffer.extend_from_slice(tag.as_ref());
    }

    /// Encrypts `plaintext` and as many zeros behind it as `sealed` has room for before its tag, which is
    /// its last [`TAG_LEN`] bytes.
    pub(crate) fn seal_into(&self, number: u32, aad: &[u8], plaintext: &[u8], sealed: &mut [u8]) {
        let (ciphertext, rest) = sealed.split_at_mut(plaintext.len());
        let padding = vec![0; rest.len() - TAG_LEN];
        self.0
            .seal_out_of_place_scatter(nonce(number), Aad::from(aad), plaintext, ciphertext, &padding, rest)
            .expect("the plaintext is below the 64 GiB of AES-GCM, and the room is what it takes");
    }

    /// Decrypts ciphertext and tag into `plaintext`, whose length becomes theirs without the tag.
    /// What it holds after an error means nothing.
    pub(crate) fn open(
        &self,
        number: u32,
        aad: &[u8],
        sealed: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), NotAuthentic> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
        if plaintext.capacity() < ciphertext.len() {
            // Fresh zeros cost nothing; growing would copy what is about to be overwritten.
            *plaintext = vec![0; ciphertext.len()];
        }
        plaintext.resize(ciphertext.len(), 0);
        self.0
            .open_separate_gather(nonce(number), Aad::from(aad), ciphertext, tag, plaintext)
            .map_err(|_| NotAuthentic)
    }
}

fn nonce(number: u32) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    use aes_gcm::{Aes256Gcm, Key};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_independent_implementation_opens_what_we_seal(
            key: [u8; 32], number: u32, aad: Vec<u8>, plaintext: Vec<u8>, padding: u8,
        ) {
            let mut sealed = plaintext.clone();
            let cipher = Cipher::new(&SecretKey::new(key));
            cipher.seal(number, &aad, &mut sealed, 0);

            let mut nonce = [0; 12];
            nonce[..4].copy_from_slice(&number.to_le_bytes());
            let theirs = Aes256Gcm::new(&Key::<Aes256Gcm>::from(key));
            let opened = theirs.decrypt(&nonce.into(), Payload { msg: &sealed, aad: &aad });
            prop_assert_eq!(opened.expect("authentic"), plaintext.clone());
            let resealed = theirs.encrypt(&nonce.into(), Payload { msg: &plaintext, aad: &aad });
            prop_assert_eq!(resealed.expect("sealed"), sealed.clone());

            let mut padded = vec![1; plaintext.len() + usize::from(padding) + TAG_LEN];
            cipher.seal_into(number, &aad, &plaintext, &mut padded);
            let zeros = vec![0; padding.into()];
            let expected = Payload { msg: &[&plaintext[..], &zeros].concat(), aad: &aad };
            prop_assert_eq!(padded, theirs.encrypt(&nonce.into(), expected).expect("sealed"));

            let mut out = Vec::new();
            prop_assert!(cipher.open(number, &aad, &sealed, &mut out).is_ok());
            prop_assert_eq!(out, plaintext);
        }
    }
}
