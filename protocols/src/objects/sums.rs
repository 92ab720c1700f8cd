//! Digests of uploads in parts, from the digests of the parts (Amazon S3 user guide, "Checking object integrity").

use base64_simd::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};

use super::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// The MD5 of some bytes, in hexadecimal.
pub fn md5_hex(bytes: &[u8]) -> String {
    let mut md5 = SummingMd5::default();
    md5.update(bytes);
    md5.finish_hex()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The checksum of the checksums of parts, given in base64; none when one of them is no base64.
pub fn composite(algorithm: ChecksumAlgorithm, parts: &[&str]) -> Option<Checksum> {
    let mut sums = Vec::new();
    for part in parts {
        sums.extend_from_slice(&STANDARD.decode_to_vec(part).ok()?);
    }
    let value = format!("{}-{}", of_bytes(algorithm, &sums), parts.len());
    Some(Checksum { algorithm, kind: ChecksumKind::Composite, value })
}

/// The checksum of all bytes, from those of the parts in base64 and the parts' lengths. Only of the cyclic ones
/// can it be known.
pub fn combined(algorithm: ChecksumAlgorithm, parts: &[(&str, u64)]) -> Option<Checksum> {
    let (crc, bytes) = match algorithm {
        ChecksumAlgorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
        ChecksumAlgorithm::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
        ChecksumAlgorithm::Crc64Nvme => (CrcAlgorithm::Crc64Nvme, 8),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
    };
    let mut all: Option<u64> = None;
    for (part, length) in parts {
        let sum = STANDARD.decode_to_vec(part).ok().filter(|sum| sum.len() == bytes)?;
        let sum = sum.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        all = Some(all.map_or(sum, |before| checksum_combine(crc, before, sum, *length)));
    }
    let value = STANDARD.encode_to_string(&all?.to_be_bytes()[8 - bytes..]);
    Some(Checksum { algorithm, kind: ChecksumKind::Full, value })
}

/// A checksum that is computed piece by piece.
pub struct Summing(Hasher);

enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Summing {
    /// Of no bytes yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self(match algorithm {
            ChecksumAlgorithm::Crc32 => Hasher::Crc32(Crc32::new()),
            ChecksumAlgorithm::Crc32c => Hasher::Crc32c(Crc32c::new()),
            ChecksumAlgorithm::Crc64Nvme => Hasher::Crc64Nvme(Crc64Nvme::new()),
            ChecksumAlgorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
        })
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Hasher::Crc32(hasher) => hasher.update(bytes),
            Hasher::Crc32c(hasher) => hasher.update(bytes),
            Hasher::Crc64Nvme(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The checksum, in base64.
    pub fn finish(self) -> String {
        match self.0 {
            Hasher::Crc32(hasher) => STANDARD.encode_to_string(hasher.finalize()),
            Hasher::Crc32c(hasher) => STANDARD.encode_to_string(hasher.finalize()),
            Hasher::Crc64Nvme(hasher) => STANDARD.encode_to_string(hasher.finalize()),
            Hasher::Sha1(hasher) => STANDARD.encode_to_string(hasher.finalize()),
            Hasher::Sha256(hasher) => STANDARD.encode_to_string(hasher.finalize()),
        }
    }
}

/// An MD5 that is computed piece by piece.
pub struct SummingMd5(Md5);

impl Default for SummingMd5 {
    fn default() -> Self {
        Self(Md5::new())
    }
}

impl SummingMd5 {
    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The MD5, in hexadecimal.
    pub fn finish_hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// A checksum as S3 writes it, in base64.
pub fn written(value: &[u8]) -> String {
    STANDARD.encode_to_string(value)
}

/// What [`written`] gave; none for what is no base64.
pub fn read(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok()
}

/// The checksum of some bytes, in base64.
pub fn of_bytes(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    let mut summing = Summing::new(algorithm);
    summing.update(bytes);
    summing.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_all_bytes_follows_from_those_of_the_parts() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at * 7 + at / 3) as u8).collect();
        let parts: Vec<&[u8]> = vec![&bytes[..1], &bytes[1..60_000], &bytes[60_000..]];
        for algorithm in ChecksumAlgorithm::ALL {
            let sums: Vec<_> = parts.iter().map(|part| of_bytes(algorithm, part)).collect();
            let sized: Vec<_> =
                sums.iter().zip(&parts).map(|(sum, part)| (&**sum, part.len() as u64)).collect();
            let whole = combined(algorithm, &sized).map(|checksum| checksum.value);
            let is_cyclic = !matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
            assert_eq!(whole, is_cyclic.then(|| of_bytes(algorithm, &bytes)), "{algorithm:?}");
            let composite = composite(algorithm, &sums.iter().map(|sum| &**sum).collect::<Vec<_>>());
            assert!(composite.is_some_and(|checksum| checksum.value.ends_with("-3")));
        }
        assert_eq!(combined(ChecksumAlgorithm::Crc32, &[("no base64!", 1)]), None);
    }

    #[test]
    fn known_values() {
        assert_eq!(md5_hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        // "123456789": the check values of the catalogues of cyclic redundancy codes.
        assert_eq!(of_bytes(ChecksumAlgorithm::Crc32, b"123456789"), "y/Q5Jg==");
        assert_eq!(of_bytes(ChecksumAlgorithm::Crc32c, b"123456789"), "4waSgw==");
        assert_eq!(of_bytes(ChecksumAlgorithm::Crc64Nvme, b"123456789"), "rosUhgp5mIg=");
    }
}
