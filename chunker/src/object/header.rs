//! The header that all control objects share.

use super::{OBJECT_BYTES_MAX, ObjectKind};
use crate::SealEpoch;
use crate::error::{Cause, Result, bounded, malformed};

const MAGIC: [u8; 8] = *b"TIDEGATE";

/// The version of the object format that this program writes, and the newest that it reads.
const OBJECT_VERSION: u16 = 1;

/// Length of the salt in bytes.
pub(super) const SALT_LEN: usize = 32;

/// How a body is protected. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Protection {
    Plain = 0,
    Domain = 1,
    Secret = 2,
}

#[derive(Clone, Copy)]
pub(super) struct ObjectHeader {
    pub(super) kind: ObjectKind,
    pub(super) protection: Protection,
    pub(super) epoch: SealEpoch,
    pub(super) salt: [u8; SALT_LEN],
}

impl ObjectHeader {
    pub(super) const LEN: usize = 16 + SALT_LEN;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&OBJECT_VERSION.to_le_bytes());
        out[10] = self.kind as u8;
        out[11] = self.protection as u8;
        out[12..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[16..].copy_from_slice(&self.salt);
        out
    }

    /// Reads header and body of an object that should be of this kind and so protected.
    pub(super) fn read<'a>(
        kind: ObjectKind,
        protection: Protection,
        name: &str,
        bytes: &'a [u8],
    ) -> Result<(Self, &'a [u8])> {
        bounded("length of an object", bytes.len() as u64, OBJECT_BYTES_MAX)?;
        if !bytes.starts_with(&MAGIC) {
            return Err(Cause::Magic { what: format!("object {name:?}") }.into());
        }
        let Some((header, body)) = bytes.split_first_chunk::<{ Self::LEN }>() else {
            return Err(malformed(
                "object",
                format!("{name:?} has {} bytes, less than a header", bytes.len()),
            ));
        };
        check_version(u16::from_le_bytes([header[8], header[9]]))?;
        if header[10] != kind as u8 {
            let (found, expected) = (header[10], kind as u8);
            return Err(Cause::ObjectKind { name: name.into(), found, expected }.into());
        }
        if header[11] != protection as u8 {
            let why = format!("{name:?} has protection {}, expected {}", header[11], protection as u8);
            return Err(malformed("object", why));
        }
        let epoch = SealEpoch(u32::from_le_bytes([header[12], header[13], header[14], header[15]]));
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&header[16..]);
        Ok((Self { kind, protection, epoch, salt }, body))
    }
}

fn check_version(found: u16) -> Result<()> {
    match found {
        OBJECT_VERSION => Ok(()),
        0 => Err(malformed("object", "version 0 does not exist")),
        _ => Err(Cause::Version { what: "object", found, known: OBJECT_VERSION }.into()),
    }
}
