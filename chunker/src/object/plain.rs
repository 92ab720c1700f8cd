//! Objects that anybody may read: bound to their name by a checksum.

use super::ObjectKind;
use super::header::{ObjectHeader, Protection, SALT_LEN};
use crate::SealEpoch;
use crate::error::{Cause, Result};

/// Writes an object that is not sealed. `name` is its full name in the repository.
pub fn write_plain_object(kind: ObjectKind, name: &str, payload: &[u8]) -> Vec<u8> {
    let salt = checksum(kind, name, payload);
    let header = ObjectHeader { kind, protection: Protection::Plain, epoch: SealEpoch(0), salt };
    [&header.to_bytes()[..], payload].concat()
}

/// Reads an object that is not sealed, and checks that it is whole and has this kind and name. That nobody
/// forged it is not known.
pub fn read_plain_object(kind: ObjectKind, name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let (header, payload) = ObjectHeader::read(kind, Protection::Plain, name, bytes)?;
    if header.epoch != SealEpoch(0) || header.salt != checksum(kind, name, payload) {
        return Err(Cause::Checksum { what: "plain object" }.into());
    }
    Ok(payload.to_vec())
}

fn checksum(kind: ObjectKind, name: &str, payload: &[u8]) -> [u8; SALT_LEN] {
    let blank =
        ObjectHeader { kind, protection: Protection::Plain, epoch: SealEpoch(0), salt: [0; SALT_LEN] };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&blank.to_bytes()).update(&(name.len() as u32).to_le_bytes());
    hasher.update(name.as_bytes()).update(payload);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_object_round_trips_and_every_flipped_bit_shows() {
        let bytes = write_plain_object(ObjectKind::Config, "config", b"payload");
        assert_eq!(read_plain_object(ObjectKind::Config, "config", &bytes).expect("whole"), b"payload");
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_plain_object(ObjectKind::Config, "config", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_plain_object_under_another_name_or_kind_is_refused() {
        let bytes = write_plain_object(ObjectKind::Config, "config", b"payload");
        assert!(read_plain_object(ObjectKind::Config, "confi", &bytes).is_err());
        assert!(read_plain_object(ObjectKind::Head, "config", &bytes).is_err());
    }
}
