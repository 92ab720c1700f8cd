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
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

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

/// All keys of one domain. Share it as `Arc<DomainKeys>`. Seal epochs are added while it is shared: everybody who has
/// it opens what is sealed under them from then on, and seals under the newest. Nothing else ever changes.
pub struct DomainKeys {
    repository: RepositoryId,
    domain: DomainId,
    chunk_ids: SecretKey,
    cuts: SecretKey,
    node_ids: SecretKey,
    boundaries: SecretKey,
    handles: SecretKey,
    /// At least one.
    seals: RwLock<BTreeMap<SealEpoch, SealKeys>>,
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
        if seals.is_empty() {
            return Err(misuse("a domain needs at least one seal epoch"));
        }
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
            seals: RwLock::new(seals),
        })
    }

    /// Adds a seal epoch; nothing happens if it is known. Refuses one of another root secret (`Misuse`).
    pub fn learn(&self, root: &SecretKey, epoch: SealEpoch, secret: &SecretKey) -> Result<()> {
        if root.derive(context::CHUNK_IDS) != self.chunk_ids {
            return Err(misuse("a seal epoch of another root secret"));
        }
        let mut seals = self.seals.write().unwrap_or_else(PoisonError::into_inner);
        seals.entry(epoch).or_insert_with(|| SealKeys::new(secret));
        Ok(())
    }

    /// Whether what is sealed under an epoch can be opened.
    pub fn knows(&self, epoch: SealEpoch) -> bool {
        self.seals().contains_key(&epoch)
    }

    /// How many seal epochs are known.
    pub fn epochs(&self) -> usize {
        self.seals().len()
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
        *self.seals().keys().next_back().expect("there is at least one, and none is ever removed")
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
        self.sealing(epoch, |seal| seal.packs.keyed(pack.as_bytes()))
    }

    /// The key from which the keys of control objects are derived by their salts.
    pub(crate) fn object_key(&self, epoch: SealEpoch) -> Result<SecretKey> {
        self.sealing(epoch, |seal| seal.objects.clone())
    }

    fn sealing<T>(&self, epoch: SealEpoch, take: impl FnOnce(&SealKeys) -> T) -> Result<T> {
        let seals = self.seals();
        seals.get(&epoch).map(take).ok_or_else(|| Cause::Epoch { domain: self.domain, epoch }.into())
    }

    /// Adding an epoch is one step, so what a panic left behind is whole.
    fn seals(&self) -> RwLockReadGuard<'_, BTreeMap<SealEpoch, SealKeys>> {
        self.seals.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainKeys")
            .field("repository", &self.repository)
            .field("domain", &self.domain)
            .field("current_epoch", &self.current_epoch())
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
    fn an_epoch_is_learned_by_everybody_who_has_the_keys_and_only_of_the_same_root() {
        let root = SecretKey::new([3; 32]);
        let seal = |byte| SecretKey::new([byte; 32]);
        let seals = vec![(SealEpoch(1), seal(1))];
        let keys = DomainKeys::new(RepositoryId::new([0; 16]), DomainId::new([0; 16]), &root, seals);
        let keys = std::sync::Arc::new(keys.expect("one epoch"));
        let held = keys.clone();
        keys.learn(&root, SealEpoch(7), &seal(7)).expect("the same root");
        assert!(held.knows(SealEpoch(7)) && held.current_epoch() == SealEpoch(7) && held.epochs() == 2);
        let before = held.object_key(SealEpoch(7)).expect("known");
        keys.learn(&root, SealEpoch(7), &seal(8)).expect("known already");
        assert_eq!(held.object_key(SealEpoch(7)).expect("known"), before, "what is known does not change");
        let error = keys.learn(&seal(9), SealEpoch(9), &seal(9)).expect_err("another root");
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(!held.knows(SealEpoch(9)));
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
