//! Keys and data for the tests of this crate: fixed, so that every run sees the same.

use crate::{DomainId, DomainKeys, RepositoryId, SealEpoch, SecretKey};

/// A domain with two seal epochs.
pub(crate) fn keys() -> DomainKeys {
    keys_of(1, 2, 3)
}

/// A domain that has nothing in common with [`keys`].
pub(crate) fn other_keys() -> DomainKeys {
    keys_of(4, 5, 6)
}

/// A domain with these ids and this root; the seal secrets are always the same.
pub(crate) fn keys_of(repository: u8, domain: u8, root: u8) -> DomainKeys {
    DomainKeys::new(
        RepositoryId::new([repository; 16]),
        DomainId::new([domain; 16]),
        &SecretKey::new([root; 32]),
        vec![(SealEpoch(1), SecretKey::new([0x51; 32])), (SealEpoch(2), SecretKey::new([0x52; 32]))],
    )
    .expect("two epochs")
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
