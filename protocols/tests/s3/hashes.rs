//! Digests for the tests, in one piece.

use std::fmt::Write;

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use tidegate_protocols::objects::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// The digest of bytes.
pub(crate) fn digest(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Crc32::checksum(bytes).to_vec(),
        ChecksumAlgorithm::Crc32c => Crc32c::checksum(bytes).to_vec(),
        ChecksumAlgorithm::Crc64Nvme => Crc64Nvme::checksum(bytes).to_vec(),
        ChecksumAlgorithm::Sha1 => Sha1::checksum(bytes).to_vec(),
        ChecksumAlgorithm::Sha256 => Sha256::checksum(bytes).to_vec(),
    }
}

/// As S3 writes it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// The checksum of all bytes.
pub(crate) fn checksum_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
    Checksum { algorithm, kind: ChecksumKind::Full, value: base64(&digest(algorithm, bytes)) }
}

/// The checksum of the checksums of parts.
pub(crate) fn composite(algorithm: ChecksumAlgorithm, parts: &[Bytes]) -> Checksum {
    let all: Vec<u8> = parts.iter().flat_map(|part| digest(algorithm, part)).collect();
    let value = format!("{}-{}", base64(&digest(algorithm, &all)), parts.len());
    Checksum { algorithm, kind: ChecksumKind::Composite, value }
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("memory");
    }
    text
}
