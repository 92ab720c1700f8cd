//! Checksums between the wire and the view (Amazon S3 user guide, "Checking object integrity").
//!
//! Owns which checksum a body must fulfil and which is kept. A client names one by a header with its value
//! (`x-amz-checksum-*`), by a trailer (`x-amz-trailer`), or by `x-amz-sdk-checksum-algorithm` alone; when it
//! names none, CRC-64/NVME is computed, as S3 does.

use http::HeaderMap;
use s3s::S3Result;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto;

use super::errors::invalid_request;
use super::values::header;
use crate::objects::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// What is computed when a client names nothing.
pub(super) const DEFAULT: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// The header, and the trailer, of an algorithm.
pub(super) fn header_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

/// Bytes of a value of an algorithm.
fn value_bytes(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    }
}

/// Whether a value can be one of its algorithm at all.
pub(super) fn is_value(algorithm: ChecksumAlgorithm, value: &str) -> bool {
    let bytes = base64_simd::STANDARD.decode_to_vec(value);
    bytes.is_ok_and(|bytes| bytes.len() == value_bytes(algorithm))
}

/// Lets a hasher compute one more.
pub(super) fn enable(hasher: &mut ChecksumHasher, algorithm: ChecksumAlgorithm) {
    match algorithm {
        ChecksumAlgorithm::Crc32 => _ = hasher.crc32.get_or_insert_with(Crc32::new),
        ChecksumAlgorithm::Crc32c => _ = hasher.crc32c.get_or_insert_with(Crc32c::new),
        ChecksumAlgorithm::Crc64Nvme => _ = hasher.crc64nvme.get_or_insert_with(Crc64Nvme::new),
        ChecksumAlgorithm::Sha1 => _ = hasher.sha1.get_or_insert_with(Sha1::new),
        ChecksumAlgorithm::Sha256 => _ = hasher.sha256.get_or_insert_with(Sha256::new),
    }
}

/// Lets a hasher that has seen nothing yet (`at_start`) compute one more.
pub(super) fn enable_at_start(hasher: &mut ChecksumHasher, algorithm: ChecksumAlgorithm, at_start: bool) {
    if at_start {
        enable(hasher, algorithm);
    }
}

/// The value of one algorithm.
pub(super) fn value_of(computed: &dto::Checksum, algorithm: ChecksumAlgorithm) -> Option<&str> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => computed.checksum_crc32.as_deref(),
        ChecksumAlgorithm::Crc32c => computed.checksum_crc32c.as_deref(),
        ChecksumAlgorithm::Crc64Nvme => computed.checksum_crc64nvme.as_deref(),
        ChecksumAlgorithm::Sha1 => computed.checksum_sha1.as_deref(),
        ChecksumAlgorithm::Sha256 => computed.checksum_sha256.as_deref(),
    }
}

/// A checksum on the wire, with its kind.
pub(super) fn to_wire(checksum: Option<&Checksum>) -> dto::Checksum {
    let mut wire = dto::Checksum::default();
    let Some(checksum) = checksum else { return wire };
    let value = Some(checksum.value.clone());
    match checksum.algorithm {
        ChecksumAlgorithm::Crc32 => wire.checksum_crc32 = value,
        ChecksumAlgorithm::Crc32c => wire.checksum_crc32c = value,
        ChecksumAlgorithm::Crc64Nvme => wire.checksum_crc64nvme = value,
        ChecksumAlgorithm::Sha1 => wire.checksum_sha1 = value,
        ChecksumAlgorithm::Sha256 => wire.checksum_sha256 = value,
    }
    wire.checksum_type = Some(kind_to_wire(checksum.kind));
    wire
}

/// The one checksum that a client gave of something; two are an error.
pub(super) fn from_wire(wire: &dto::Checksum) -> S3Result<Option<Checksum>> {
    let kind = kind_from_wire(wire.checksum_type.as_ref())?.unwrap_or_default();
    let mut given = ChecksumAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let value = value_of(wire, algorithm)?.to_owned();
        Some(Checksum { algorithm, kind, value })
    });
    let (first, second) = (given.next(), given.next());
    if second.is_some() { Err(too_many()) } else { Ok(first) }
}

fn too_many() -> s3s::S3Error {
    invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

/// A kind on the wire.
pub(super) fn kind_to_wire(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::Full => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// A kind from the wire.
pub(super) fn kind_from_wire(kind: Option<&dto::ChecksumType>) -> S3Result<Option<ChecksumKind>> {
    match kind.map(dto::ChecksumType::as_str) {
        None => Ok(None),
        Some(dto::ChecksumType::FULL_OBJECT) => Ok(Some(ChecksumKind::Full)),
        Some(dto::ChecksumType::COMPOSITE) => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(invalid_request("Value for x-amz-checksum-type header is invalid.")),
    }
}

/// An algorithm from the wire.
pub(super) fn algorithm_from_wire(
    algorithm: Option<&dto::ChecksumAlgorithm>,
) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    match ChecksumAlgorithm::parse(algorithm.as_str()) {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(invalid_request("Checksum algorithm provided is unsupported.")),
    }
}

/// An algorithm on the wire.
pub(super) fn algorithm_to_wire(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.as_str())
}

/// What a client says of the checksum of a body that it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// Which algorithm it names.
    pub(super) algorithm: Option<ChecksumAlgorithm>,
    /// The value, when a header has it.
    pub(super) value: Option<String>,
    /// Whether the value follows the body in a trailer.
    pub(super) in_trailer: bool,
}

impl Claim {
    /// From the headers of a request, before anything of the body is read.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let named = named_algorithm(headers)?;
        let mut claim = Self { algorithm: named, ..Self::default() };
        let mut given = 0;
        for algorithm in ChecksumAlgorithm::ALL {
            if let Some(value) = headers.get(header_name(algorithm)) {
                let value = value.to_str().ok().filter(|value| is_value(algorithm, value));
                let Some(value) = value else { return Err(invalid_value()) };
                claim.algorithm = Some(algorithm);
                claim.value = Some(value.to_owned());
                given += 1;
            }
        }
        if let Some(algorithm) = trailer_algorithm(headers)? {
            claim.algorithm = Some(algorithm);
            claim.in_trailer = true;
            given += 1;
        }
        if given > 1 {
            return Err(too_many());
        }
        if given == 1 && named.is_some() && named != claim.algorithm {
            return Err(invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        Ok(claim)
    }
}

impl Claim {
    /// The checksum that a header says.
    pub(super) fn said(self) -> Option<(ChecksumAlgorithm, String)> {
        self.algorithm.zip(self.value)
    }
}

/// A value that cannot be a checksum.
pub(super) fn invalid_value() -> s3s::S3Error {
    invalid_request("Value for an x-amz-checksum- header or trailer is invalid.")
}

fn named_algorithm(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(name) = headers.get("x-amz-sdk-checksum-algorithm") else { return Ok(None) };
    match name.to_str().ok().and_then(ChecksumAlgorithm::parse) {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid.")),
    }
}

fn trailer_algorithm(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(names) = header(headers, "x-amz-trailer") else { return Ok(None) };
    let mut found = None;
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = |algorithm: &ChecksumAlgorithm| header_name(*algorithm).eq_ignore_ascii_case(name);
        let algorithm = ChecksumAlgorithm::ALL.into_iter().find(known);
        if algorithm.is_none() || found.is_some() {
            return Err(invalid_request("The value specified in the x-amz-trailer header is not supported"));
        }
        found = algorithm;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_client_names_a_checksum_by_value_by_trailer_or_by_name() {
        let claim = Claim::of(&headers(&[("x-amz-checksum-crc32", "AAAAAA==")])).unwrap();
        assert_eq!((claim.algorithm, claim.in_trailer), (Some(ChecksumAlgorithm::Crc32), false));
        assert_eq!(claim.value.as_deref(), Some("AAAAAA=="));
        let claim = Claim::of(&headers(&[("x-amz-trailer", "X-Amz-Checksum-SHA256")])).unwrap();
        assert_eq!((claim.algorithm, claim.in_trailer), (Some(ChecksumAlgorithm::Sha256), true));
        let claim = Claim::of(&headers(&[("x-amz-sdk-checksum-algorithm", "sha1")])).unwrap();
        assert_eq!((claim.algorithm, claim.value), (Some(ChecksumAlgorithm::Sha1), None));
        assert_eq!(Claim::of(&HeaderMap::new()).unwrap(), Claim::default());
    }

    #[test]
    fn claims_that_cannot_be_are_refused_before_the_body() {
        let refused: [&[(&str, &str)]; 6] = [
            &[("x-amz-checksum-crc32", "AAAA")],
            &[("x-amz-checksum-sha1", "not base64!")],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-crc32")],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-sdk-checksum-algorithm", "SHA1")],
            &[("x-amz-trailer", "x-amz-meta-late")],
        ];
        for pairs in refused {
            assert!(Claim::of(&headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn every_algorithm_is_computed_and_survives_the_wire() {
        for algorithm in ChecksumAlgorithm::ALL {
            let mut hasher = ChecksumHasher::default();
            enable(&mut hasher, algorithm);
            hasher.update(b"123456789");
            let computed = hasher.finalize();
            let value = value_of(&computed, algorithm).unwrap().to_owned();
            assert!(is_value(algorithm, &value));
            let checksum = Checksum { algorithm, kind: ChecksumKind::Composite, value };
            assert_eq!(from_wire(&to_wire(Some(&checksum))).unwrap(), Some(checksum));
        }
    }
}
