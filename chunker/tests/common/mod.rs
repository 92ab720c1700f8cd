//! What the golden tests share: fixed secrets, fixed bytes, hex.

use tidegate_chunker::{DomainId, DomainKeys, PackId, RepositoryId, SealEpoch, SecretKey};

/// The ids and secrets under which all fixtures were made.
pub(crate) const REPOSITORY: [u8; 16] = [0x11; 16];
pub(crate) const DOMAIN: [u8; 16] = [0x22; 16];
pub(crate) const ROOT: [u8; 32] = [0x33; 32];
pub(crate) const EPOCH: u32 = 7;
pub(crate) const EPOCH_SECRET: [u8; 32] = [0x44; 32];
pub(crate) const PACK: [u8; 32] = [0x55; 32];

/// The keys of the fixtures.
pub(crate) fn keys() -> DomainKeys {
    DomainKeys::new(
        RepositoryId::new(REPOSITORY),
        DomainId::new(DOMAIN),
        &SecretKey::new(ROOT),
        vec![(SealEpoch(EPOCH), SecretKey::new(EPOCH_SECRET))],
    )
    .expect("one epoch")
}

/// The pack of the fixtures.
pub(crate) fn pack() -> PackId {
    PackId::new(PACK)
}

/// The first bytes of BLAKE3's extended output over `name`: they do not compress.
pub(crate) fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
