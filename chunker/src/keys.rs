//! Secrets: what is derived from what.
//!
//! ```text
//! root secret of a domain ──derive──> chunk ids | cut table | node ids | node boundaries | handles
//! secret of a seal epoch  ──derive──> pack keys ──keyed with pack id──> key of one pack
//!                                     object keys ──keyed with salt──> key of one object
//! ```
//!
//! `derive` is BLAKE3 in its key derivation mode with the context strings below; `keyed` is BLAKE3
//! in keyed mode. Ids hang on the root secret alone, so that sealing secrets rotate and dedup stays.
//!
//! Promises: secrets are wiped when dropped, are never printed, and are compared in constant time.
//! Not here: where secrets come from and how they are wrapped.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Cause, Result, misuse};
use crate::{DomainId, PackId, RepositoryId, SealEpoch};

/// Context strings of the derivations. They are part of the format.
mod context {
    pub(super) const CHUNK_IDS: &str = "tidegate format 1: domain root -> chunk ids";
    pub(super) const CUTS: &str = "tidegate format 1: domain root -> cut table";
    pub(super) const NODE_IDS: &str = "tidegate format 1: domain root -> tree node ids";
    pub(super) const BOUNDARIES: &str = "tidegate format 1: domain root -> tree node boundaries";
    pub(super) const HANDLES: &str = "tidegate format 1: domain root -> file handles";
    pub(super) const PACKS: &str = "tidegate format 1: seal epoch -> packs";
    pub(super) const OBJECTS: &str = "tidegate format 1: seal epoch -> objects";
}

/// 32 secret bytes: wiped when dropped, hidden from `Debug`, compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The secret with these bytes. They must come from a cryptographic source of chance.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for wrapping them in a key slot. Never print or log them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A secret for another purpose: BLAKE3 `derive_key` with this context string.
    #[must_use]
    pub fn derive(&self, context: &str) -> Self {
        Self(blake3::derive_key(context, &self.0))
    }

    /// A secret for the thing that `label` names: BLAKE3 keyed with this secret over `label`.
    #[must_use]
    pub fn keyed(&self, label: &[u8]) -> Self {
        Self(self.digest(label))
    }

    /// BLAKE3 of `bytes`, keyed with this secret.
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// All keys of one domain. Share it as `Arc<DomainKeys>`; it never changes, rotation makes a new one.
pub struct DomainKeys {
    repository: RepositoryId,
    domain: DomainId,
    chunk_ids: SecretKey,
    cuts: SecretKey,
    node_ids: SecretKey,
    boundaries: SecretKey,
    handles: SecretKey,
    seals: BTreeMap<SealEpoch, SealKeys>,
    current: SealEpoch,
}

/// What one seal epoch gives.
struct SealKeys {
    packs: SecretKey,
    objects: SecretKey,
}

impl DomainKeys {
    /// Derives the keys of a domain. New frames and objects are sealed under the highest epoch given.
    ///
    /// Refuses an empty list of seal epochs and an epoch that is given twice (`Misuse`).
    pub fn new(
        repository: RepositoryId,
        domain: DomainId,
        root: &SecretKey,
        seals: Vec<(SealEpoch, SecretKey)>,
    ) -> Result<Self> {
        let given = seals.len();
        let seals: BTreeMap<_, _> =
            seals.into_iter().map(|(epoch, secret)| (epoch, SealKeys::new(&secret))).collect();
        let Some(&current) = seals.keys().next_back() else {
            return Err(misuse("a domain needs at least one seal epoch"));
        };
        if seals.len() != given {
            return Err(misuse("a seal epoch is given twice"));
        }
        Ok(Self {
            repository,
            domain,
            chunk_ids: root.derive(context::CHUNK_IDS),
            cuts: root.derive(context::CUTS),
            node_ids: root.derive(context::NODE_IDS),
            boundaries: root.derive(context::BOUNDARIES),
            handles: root.derive(context::HANDLES),
            seals,
            current,
        })
    }

    /// The repository that these keys belong to.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The domain that these keys belong to.
    pub fn domain(&self) -> DomainId {
        self.domain
    }

    /// The epoch under which new frames and objects are sealed.
    pub fn current_epoch(&self) -> SealEpoch {
        self.current
    }

    /// The key for the keyed check in file handles.
    pub fn handle_key(&self) -> &SecretKey {
        &self.handles
    }

    pub(crate) fn chunk_id_key(&self) -> &SecretKey {
        &self.chunk_ids
    }

    pub(crate) fn cut_key(&self) -> &SecretKey {
        &self.cuts
    }

    pub(crate) fn node_id_key(&self) -> &SecretKey {
        &self.node_ids
    }

    pub(crate) fn boundary_key(&self) -> &SecretKey {
        &self.boundaries
    }

    /// The key that seals all frames and the index of one pack.
    pub(crate) fn pack_key(&self, epoch: SealEpoch, pack: PackId) -> Result<SecretKey> {
        Ok(self.seal(epoch)?.packs.keyed(pack.as_bytes()))
    }

    /// The key from which the keys of control objects are derived by their salts.
    pub(crate) fn object_key(&self, epoch: SealEpoch) -> Result<&SecretKey> {
        Ok(&self.seal(epoch)?.objects)
    }

    fn seal(&self, epoch: SealEpoch) -> Result<&SealKeys> {
        self.seals.get(&epoch).ok_or_else(|| Cause::Epoch { domain: self.domain, epoch }.into())
    }
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainKeys")
            .field("repository", &self.repository)
            .field("domain", &self.domain)
            .field("current_epoch", &self.current)
            .finish_non_exhaustive()
    }
}

impl SealKeys {
    fn new(secret: &SecretKey) -> Self {
        Self { packs: secret.derive(context::PACKS), objects: secret.derive(context::OBJECTS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::testing::keys;

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?} {:?}", SecretKey::new([0xab; 32]), keys());
        assert!(!text.contains("171") && !text.contains("abab"), "{text}");
    }

    #[test]
    fn secrets_compare_by_value() {
        assert_eq!(SecretKey::new([1; 32]), SecretKey::new([1; 32]));
        assert_ne!(SecretKey::new([1; 32]), SecretKey::new([2; 32]));
    }

    #[test]
    fn the_highest_epoch_seals_and_an_unknown_one_says_so() {
        let keys = keys();
        assert_eq!(keys.current_epoch(), SealEpoch(2));
        let error = keys.object_key(SealEpoch(9)).expect_err("not given");
        assert_eq!(error.kind(), ErrorKind::UnknownEpoch);
    }

    #[test]
    fn a_domain_without_epochs_or_with_one_twice_is_refused() {
        let make = |seals| {
            DomainKeys::new(
                RepositoryId::new([0; 16]),
                DomainId::new([0; 16]),
                &SecretKey::new([0; 32]),
                seals,
            )
        };
        let seal = || (SealEpoch(1), SecretKey::new([0; 32]));
        assert_eq!(make(vec![]).expect_err("none").kind(), ErrorKind::Misuse);
        assert_eq!(make(vec![seal(), seal()]).expect_err("twice").kind(), ErrorKind::Misuse);
    }

    #[test]
    fn every_derived_key_differs() {
        let keys = keys();
        let mut all: Vec<[u8; 32]> =
            [keys.chunk_id_key(), keys.cut_key(), keys.node_id_key(), keys.boundary_key(), keys.handle_key()]
                .map(|key| *key.as_bytes())
                .to_vec();
        for epoch in [SealEpoch(1), SealEpoch(2)] {
            all.push(*keys.object_key(epoch).expect("known").as_bytes());
            all.push(*keys.pack_key(epoch, PackId::new([1; 32])).expect("known").as_bytes());
            all.push(*keys.pack_key(epoch, PackId::new([2; 32])).expect("known").as_bytes());
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
