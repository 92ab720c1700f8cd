//! Digests of bytes that are here already: of the source of a copy, and of a part that was copied.
//!
//! What is read for them may lie far away, so nothing is read that no client asks about: a checksum that is known is
//! taken as it is, and a client that names no algorithm gets none for bytes that it did not send.

use futures::TryStreamExt;
use tidegate_protocols::objects::{
    Checksum, ChecksumAlgorithm, ChecksumKind, DataStream, Digests, ObjectError, sums,
};
use tidegate_replicator::map::PartRecord;

use super::Access;

/// Reads bytes for their checksum.
pub(super) async fn checksum(
    mut data: DataStream,
    algorithm: ChecksumAlgorithm,
) -> Result<Checksum, ObjectError> {
    let mut summing = sums::Summing::new(algorithm);
    while let Some(piece) = data.try_next().await? {
        summing.update(&piece);
    }
    Ok(Checksum { algorithm, kind: ChecksumKind::Full, value: summing.finish() })
}

/// Reads bytes for their checksum and their MD5.
pub(super) async fn all(mut data: DataStream, algorithm: ChecksumAlgorithm) -> Result<Digests, ObjectError> {
    let (mut summing, mut md5) = (sums::Summing::new(algorithm), sums::SummingMd5::default());
    while let Some(piece) = data.try_next().await? {
        summing.update(&piece);
        md5.update(&piece);
    }
    let checksum = Checksum { algorithm, kind: ChecksumKind::Full, value: summing.finish() };
    Ok(Digests { md5: md5.finish_hex(), checksum: Some(checksum) })
}

impl Access {
    /// Reads a part of an upload for its checksum. [`ObjectError::Conflict`] when it is replaced meanwhile.
    pub(super) async fn checksum_of_part(
        &self,
        part: &PartRecord,
        algorithm: ChecksumAlgorithm,
    ) -> Result<Checksum, ObjectError> {
        let gone = |error| if error == ObjectError::NoSuchKey { ObjectError::Conflict } else { error };
        let data = self.data_of(part.inode, part.size).await.map_err(gone)?;
        checksum(data, algorithm).await.map_err(gone)
    }
}
