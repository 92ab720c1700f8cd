//! Objects that only who has the keys may read.

use super::header::{ObjectHeader, Protection, SALT_LEN};
use super::{OBJECT_BYTES_MAX, ObjectKind};
use crate::aead::{Cipher, TAG_LEN};
use crate::error::{Cause, Result, bounded};
use crate::{DomainKeys, RepositoryId, SealEpoch, SecretKey};

/// Context string of the derivation for objects sealed by one secret. Part of the format.
const SECRET_CONTEXT: &str = "tidegate format 1: secret -> objects";

/// Seals an object under the current epoch of a domain. `name` is its full name in the repository, `salt`
/// 32 fresh random bytes. `LimitExceeded` over [`OBJECT_BYTES_MAX`].
pub fn seal_object(
    keys: &DomainKeys,
    kind: ObjectKind,
    name: &str,
    salt: [u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let epoch = keys.current_epoch();
    let header = ObjectHeader { kind, protection: Protection::Domain, epoch, salt };
    seal(header, &keys.object_key(epoch)?, keys.repository(), name, plaintext)
}

/// Opens what [`seal_object`] made. The kind of the error tells what it is otherwise: `Foreign` bytes that
/// are no object, `Unsupported` one of a newer version, `Damaged` one of another kind or cut short,
/// `UnknownEpoch` one under a key that is not at hand, `NotAuthentic` a wrong key, damage, or an object
/// that was moved here from another name or repository.
pub fn open_object(keys: &DomainKeys, kind: ObjectKind, name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let (header, sealed) = ObjectHeader::read(kind, Protection::Domain, name, bytes)?;
    open(header, &keys.object_key(header.epoch)?, keys.repository(), name, sealed)
}

/// Seals an object under one secret, for what must open before there are domain keys: key slots, and the
/// secrets of domains. Otherwise as [`seal_object`].
pub fn seal_object_with(
    secret: &SecretKey,
    repository: RepositoryId,
    kind: ObjectKind,
    name: &str,
    salt: [u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let header = ObjectHeader { kind, protection: Protection::Secret, epoch: SealEpoch(0), salt };
    seal(header, &secret.derive(SECRET_CONTEXT), repository, name, plaintext)
}

/// Opens what [`seal_object_with`] made. Errors as [`open_object`].
pub fn open_object_with(
    secret: &SecretKey,
    repository: RepositoryId,
    kind: ObjectKind,
    name: &str,
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let (header, sealed) = ObjectHeader::read(kind, Protection::Secret, name, bytes)?;
    open(header, &secret.derive(SECRET_CONTEXT), repository, name, sealed)
}

fn seal(
    header: ObjectHeader,
    key: &SecretKey,
    repository: RepositoryId,
    name: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let length = (ObjectHeader::LEN + plaintext.len() + TAG_LEN) as u64;
    bounded("length of an object", length, OBJECT_BYTES_MAX)?;
    let mut out = Vec::with_capacity(length as usize);
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(plaintext);
    let cipher = object_cipher(key, &header.salt);
    cipher.seal(0, &authenticated(header, repository, name), &mut out, ObjectHeader::LEN);
    Ok(out)
}

fn open(
    header: ObjectHeader,
    key: &SecretKey,
    repository: RepositoryId,
    name: &str,
    sealed: &[u8],
) -> Result<Vec<u8>> {
    let mut plaintext = Vec::new();
    object_cipher(key, &header.salt)
        .open(0, &authenticated(header, repository, name), sealed, &mut plaintext)
        .map_err(|_| Cause::Seal { what: format!("object {name:?}") })?;
    Ok(plaintext)
}

fn object_cipher(key: &SecretKey, salt: &[u8; SALT_LEN]) -> Cipher {
    Cipher::new(&key.keyed(salt))
}

/// Header, repository and name: the first two have fixed lengths, so no two triples give the same bytes.
fn authenticated(header: ObjectHeader, repository: RepositoryId, name: &str) -> Vec<u8> {
    [&header.to_bytes()[..], repository.as_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
