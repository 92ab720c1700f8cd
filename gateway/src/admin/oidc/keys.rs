//! The keys of a provider (RFC 7517): those that can be for what is verified here, each with the one algorithm that it is for.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The most keys of a provider that are kept.
const KEYS_MAX: usize = 64;

/// The key that a token wants to be verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    algorithm: Algorithm,
    id: Option<String>,
}

impl Wanted {
    /// None of another algorithm than those that are taken.
    pub(super) fn new(algorithm: Algorithm, id: Option<String>) -> Option<Self> {
        matches!(algorithm, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA)
            .then_some(Self { algorithm, id })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A key, and what it is for.
struct Key {
    algorithm: Algorithm,
    id: Option<String>,
    key: DecodingKey,
}

/// All keys of a provider that can be used.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// Those of a set. Keys of other kinds, or for other uses, are passed over, as the set's rules want (RFC 7517 section 5).
    pub(super) fn of(set: &Value) -> Option<Self> {
        let keys = set.get("keys")?.as_array()?;
        Some(Self(keys.iter().filter_map(usable).take(KEYS_MAX).collect()))
    }

    /// The key of that id. A token that names none is verified by the only key of its kind, if there is but one.
    pub(super) fn find(&self, wanted: &Wanted) -> Option<&DecodingKey> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == wanted.algorithm && (wanted.id.is_none() || key.id == wanted.id));
        let first = fitting.next()?;
        (wanted.id.is_some() || fitting.next().is_none()).then_some(&first.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn usable(key: &Value) -> Option<Key> {
    let key: Jwk = serde_json::from_value(key.clone()).ok()?;
    let (algorithm, said) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &key.common;
    let is_to_sign = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let is_for_it = common.key_algorithm.is_none_or(|algorithm| algorithm == said);
    if !(is_to_sign && verifies && is_for_it) {
        return None;
    }
    Some(Key { algorithm, id: common.key_id.clone(), key: DecodingKey::from_jwk(&key).ok()? })
}
