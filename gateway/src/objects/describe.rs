//! Records of the map and what the wire says of objects, put into each other's words.

use tidegate_protocols::objects::{
    Checksum, ChecksumAlgorithm, ChecksumKind, Metadata, NewObject, ObjectError, ObjectInfo, PartSizes, Tags,
    VersionId, sums,
};
use tidegate_protocols::view::Time;
use tidegate_replicator::map::{Inode, InodeNumber, ObjectChecksum, ObjectMetadata, ObjectRecord, Timestamp};

use crate::namespace::locked::{lock_of, retention_record};
use crate::namespace::objects::{Held, Which};

pub(super) fn time(at: Timestamp) -> Time {
    Time { seconds: at.seconds, nanos: at.nanos }
}

/// The number of an algorithm in records.
pub(super) fn algorithm_code(algorithm: ChecksumAlgorithm) -> u8 {
    match algorithm {
        ChecksumAlgorithm::Crc32 => 1,
        ChecksumAlgorithm::Crc32c => 2,
        ChecksumAlgorithm::Crc64Nvme => 3,
        ChecksumAlgorithm::Sha1 => 4,
        ChecksumAlgorithm::Sha256 => 5,
    }
}

/// The algorithm of a number; none for 0, and for one of a newer program.
pub(super) fn algorithm(code: u8) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm_code(*algorithm) == code)
}

pub(super) fn kind(composite: bool) -> ChecksumKind {
    if composite { ChecksumKind::Composite } else { ChecksumKind::Full }
}

pub(super) fn checksum_record(checksum: &Checksum) -> ObjectChecksum {
    ObjectChecksum {
        algorithm: algorithm_code(checksum.algorithm),
        composite: checksum.kind == ChecksumKind::Composite,
        value: checksum.value.clone(),
    }
}

pub(super) fn checksum(record: &ObjectChecksum) -> Option<Checksum> {
    let algorithm = algorithm(record.algorithm)?;
    Some(Checksum { algorithm, kind: kind(record.composite), value: record.value.clone() })
}

/// What a client says of a new object, as a record.
pub(super) fn metadata_record(new: &NewObject, checksum: Option<&Checksum>) -> ObjectMetadata {
    ObjectMetadata {
        headers: new.metadata.headers.clone(),
        user: new.metadata.user.clone(),
        tags: new.tags.clone(),
        storage_class: new.storage_class.clone(),
        checksum: checksum.map(checksum_record),
        retention: new.retention.as_ref().map(retention_record),
        legal_hold: new.legal_hold == Some(true),
    }
}

/// A version as clients name it.
pub(super) fn version_id(which: Which) -> VersionId {
    match which {
        Which::Null => VersionId::null(),
        Which::Order(order) => VersionId::new(format!("{order:016x}")),
    }
}

/// The version that a client names.
pub(super) fn which(version: &VersionId) -> Result<Which, ObjectError> {
    let text = version.as_str();
    if text == VersionId::NULL {
        return Ok(Which::Null);
    }
    match u64::from_str_radix(text, 16) {
        // Each has one name.
        Ok(order) if order > 0 && version_id(Which::Order(order)) == *version => Ok(Which::Order(order)),
        _ => Err(ObjectError::InvalidArgument("Invalid version id specified".into())),
    }
}

/// What is known of a file as an object.
pub(super) fn info(held: &Held, flat: bool, part_runs: &[(u32, u64)]) -> ObjectInfo {
    let listed = tagged(held, flat);
    let Some(record) = &held.record else { return listed };
    let (metadata, holds) = (&record.metadata, holds(held, record, flat));
    ObjectInfo {
        metadata: Metadata { headers: metadata.headers.clone(), user: metadata.user.clone() },
        parts: PartSizes::from_runs(if holds { part_runs.to_vec() } else { Vec::new() }),
        ..listed
    }
}

/// What a list holds of a file as an object, and its tags.
pub(super) fn tagged(held: &Held, flat: bool) -> ObjectInfo {
    let tags = held.record.as_ref().map(|record| record.metadata.tags.clone() as Tags);
    ObjectInfo { tags: tags.unwrap_or_default(), ..listed(held, flat) }
}

/// What a list holds of a file as an object: nothing of what its client said of it, which may be much of many.
pub(super) fn listed(held: &Held, flat: bool) -> ObjectInfo {
    let Held { node, record } = held;
    let unrecorded = ObjectRecord::default();
    let record = record.as_ref().unwrap_or(&unrecorded);
    let (metadata, holds) = (&record.metadata, holds(held, record, flat));
    ObjectInfo {
        size: node.inode.size,
        modified: time(node.inode.times.modified),
        etag: if holds { record.etag.clone() } else { opaque_etag(node.number, &node.inode) },
        storage_class: metadata.storage_class.clone(),
        checksum: metadata.checksum.as_ref().filter(|_| holds).and_then(checksum),
        lock: lock_of(metadata),
        ..ObjectInfo::default()
    }
}

/// Whether ETag, checksum and parts of a record are those of its file. In a share, where NFS clients write too, they are only
/// while the file is as it was when they were recorded.
fn holds(held: &Held, record: &ObjectRecord, flat: bool) -> bool {
    !record.etag.is_empty() && (flat || record.change == held.node.inode.change)
}

/// An ETag that is another one after every change; the dash keeps clients from taking it for an MD5.
fn opaque_etag(number: InodeNumber, inode: &Inode) -> String {
    let parts = [number.0, inode.generation, inode.change].map(u64::to_le_bytes);
    format!("{}-1", sums::md5_hex(parts.as_flattened()))
}
