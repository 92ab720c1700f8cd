//! Objects and what is known of them.

use std::collections::BTreeMap;

use super::{Conditions, Lock, Retention, VersionId};
use crate::view::Time;

/// An object by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// The bucket.
    pub bucket: String,
    /// The key: 1 to [`super::KEY_BYTES_MAX`] bytes.
    pub key: String,
}

/// The object that a copy is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Which.
    pub name: ObjectName,
    /// Which version of it; none for the newest.
    pub version: Option<VersionId>,
    /// What must be so of it.
    pub conditions: Conditions,
}

/// The five checksums that S3 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (IEEE 802.3).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// As S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// What S3 writes so, in any case of letters.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }
}

/// Of what a checksum of an object in parts is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumKind {
    /// Of its bytes.
    #[default]
    Full,
    /// Of the checksums of its parts.
    Composite,
}

/// A checksum with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Which.
    pub algorithm: ChecksumAlgorithm,
    /// Of what.
    pub kind: ChecksumKind,
    /// As S3 writes it: base64, and for a composite one a dash and the number of parts.
    pub value: String,
}

/// What a body hashes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Its MD5, in hexadecimal.
    pub md5: String,
    /// The checksum that was asked for.
    pub checksum: Option<Checksum>,
}

/// Tags by name.
pub type Tags = BTreeMap<String, String>;

/// What a client says of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Headers that are given back as they are, by lower-case name: `content-type`, `cache-control`,
    /// `content-disposition`, `content-encoding`, `content-language`, `expires`,
    /// `x-amz-website-redirect-location`. Together at most [`super::HEADERS_BYTES_MAX`] bytes.
    pub headers: BTreeMap<String, String>,
    /// Its own metadata, by name without `x-amz-meta-`: together at most
    /// [`super::METADATA_BYTES_MAX`] bytes.
    pub user: BTreeMap<String, String>,
}

/// An object to be made, apart from name and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its tags.
    pub tags: Tags,
    /// The storage class that was asked for.
    pub storage_class: Option<String>,
    /// Until when it is kept; none for what the bucket says. [`super::ObjectError::NoLock`] where that has no lock.
    pub retention: Option<Retention>,
    /// Whether it is under a legal hold, if the caller says it.
    pub legal_hold: Option<bool>,
    /// What must be so for it to be made.
    pub conditions: Conditions,
    /// For an upload in parts, and for a copy: which checksum. For a copy, none means that of its source.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// For an upload in parts: of what.
    pub checksum_kind: ChecksumKind,
}

/// The lengths of the parts that an object was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartSizes {
    /// So many parts in a row are so many bytes long.
    runs: Vec<(u32, u64)>,
}

impl PartSizes {
    /// The sizes of parts, in order.
    pub fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut runs: Vec<(u32, u64)> = Vec::new();
        for size in sizes {
            match runs.last_mut() {
                Some((count, last)) if *last == size => *count += 1,
                _ => runs.push((1, size)),
            }
        }
        Self { runs }
    }

    /// What [`PartSizes::runs`] gave.
    pub fn from_runs(runs: Vec<(u32, u64)>) -> Self {
        Self { runs }
    }

    /// As runs of equal sizes: how many, how long.
    pub fn runs(&self) -> &[(u32, u64)] {
        &self.runs
    }

    /// How many parts there are; 0 for an object that was made in one piece.
    pub fn count(&self) -> u32 {
        self.runs.iter().map(|(count, _)| count).sum()
    }

    /// The sizes in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|(count, size)| std::iter::repeat_n(*size, *count as usize))
    }

    /// Where a part lies in the object; parts count from 1.
    pub fn range(&self, number: u32) -> Option<std::ops::Range<u64>> {
        let before = number.checked_sub(1)? as usize;
        let size = self.iter().nth(before)?;
        let start: u64 = self.iter().take(before).sum();
        Some(start..start + size)
    }
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectInfo {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Time,
    /// Without quotes. The MD5 of its bytes in hexadecimal; or, with a dash in it, of its parts, or opaque.
    pub etag: String,
    /// What the client said of it.
    pub metadata: Metadata,
    /// Its tags.
    pub tags: Tags,
    /// The storage class that was asked for.
    pub storage_class: Option<String>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The parts that it was made of.
    pub parts: PartSizes,
    /// Which version it is; none where the bucket never had versions.
    pub version: Option<VersionId>,
    /// Its lock.
    pub lock: Lock,
}

/// An object that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutDone {
    /// Without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When.
    pub modified: Time,
    /// Which version it is; none where the bucket has no versions.
    pub version: Option<VersionId>,
    /// Whether the answer waited until the object is in the repository, or in the local journal alone.
    pub in_repository: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_number() {
        let sizes = PartSizes::new([5, 5, 5, 2]);
        assert_eq!(sizes.runs(), [(3, 5), (1, 2)]);
        assert_eq!(sizes.count(), 4);
        assert_eq!(sizes.range(1), Some(0..5));
        assert_eq!(sizes.range(4), Some(15..17));
        assert_eq!(sizes.range(0), None);
        assert_eq!(sizes.range(5), None);
        assert_eq!(PartSizes::default().count(), 0);
    }
}
