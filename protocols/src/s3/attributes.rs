//! GetObjectAttributes: what is known of an object, of which the client names what it wants.

use s3s::dto::{
    GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes,
    ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::checksums;
use super::errors::{invalid_argument, s3_error};
use super::listing::page_limit;
use super::metadata::{class_in_document, refuse_unknown};
use super::operations::Operations;
use super::values::{etag, object_name, timestamp, version_of, version_to_wire};
use crate::objects::{Checksum, PartSizes};

/// The attributes that exist.
const KNOWN: [&str; 5] = [
    ObjectAttributes::ETAG,
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::OBJECT_PARTS,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
];

/// A page of the parts that an object was made of, with their checksums where they are known.
fn parts(sizes: &PartSizes, sums: &[Checksum], after: usize, limit: usize) -> GetObjectAttributesParts {
    let sums = sums.iter().map(Some).chain(std::iter::repeat(None));
    let page = sizes.iter().enumerate().skip(after).take(limit).zip(sums);
    let page: Vec<ObjectPart> = page
        .map(|((place, size), sum)| {
            let checksum = checksums::to_wire(sum);
            ObjectPart {
                checksum_crc32: checksum.checksum_crc32,
                checksum_crc32c: checksum.checksum_crc32c,
                checksum_crc64nvme: checksum.checksum_crc64nvme,
                checksum_sha1: checksum.checksum_sha1,
                checksum_sha256: checksum.checksum_sha256,
                part_number: Some(place as i32 + 1),
                size: Some(size as i64),
            }
        })
        .collect();
    let end = after + page.len();
    GetObjectAttributesParts {
        is_truncated: Some(end < sizes.count() as usize),
        max_parts: Some(limit as i32),
        next_part_number_marker: Some(end as i32),
        part_number_marker: Some(after as i32),
        parts: Some(page),
        total_parts_count: Some(sizes.count() as i32),
    }
}

impl Operations {
    /// GetObjectAttributes.
    pub(super) async fn attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        refuse_unknown(&request.headers)?;
        let input = &request.input;
        let version = version_of(input.version_id.as_deref())?;
        // Clients name them in one header or in several.
        let named = input.object_attributes.iter().flat_map(|names| names.as_str().split(','));
        let asked: Vec<&str> = named.map(str::trim).collect();
        if asked.is_empty() || asked.iter().any(|name| !KNOWN.contains(name)) {
            return Err(invalid_argument("Invalid attribute name specified."));
        }
        let limit = page_limit(input.max_parts, "max-parts must not be negative")?;
        let Ok(after) = usize::try_from(input.part_number_marker.unwrap_or(0)) else {
            return Err(invalid_argument("part-number-marker must not be negative"));
        };
        let name = object_name(&input.bucket, &input.key);
        let object = self.open_for(&request, &name, version.as_ref()).await?;
        let info = object.info();
        let is_asked = |name: &str| asked.contains(&name);
        let class = || StorageClass::from(class_in_document(info.storage_class.as_deref()));
        let in_parts = is_asked(ObjectAttributes::OBJECT_PARTS) && info.parts.count() > 0;
        let sums = match u32::try_from(after) {
            Ok(after) if in_parts => object.part_checksums(after, limit).await.map_err(s3_error)?,
            _ => Vec::new(),
        };
        let checksum = info.checksum.as_ref().filter(|_| is_asked(ObjectAttributes::CHECKSUM));
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: checksum.map(|checksum| checksums::to_wire(Some(checksum))),
            e_tag: is_asked(ObjectAttributes::ETAG).then(|| etag(&info.etag)),
            last_modified: Some(timestamp(info.modified)),
            object_parts: in_parts.then(|| parts(&info.parts, &sums, after, limit)),
            object_size: is_asked(ObjectAttributes::OBJECT_SIZE).then_some(info.size as i64),
            storage_class: is_asked(ObjectAttributes::STORAGE_CLASS).then(class),
            version_id: version_to_wire(info.version.as_ref()),
            ..GetObjectAttributesOutput::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_pages() {
        let sizes = PartSizes::new([5, 5, 2]);
        let page = parts(&sizes, &[], 0, 2);
        assert_eq!(page.is_truncated, Some(true));
        assert_eq!(page.next_part_number_marker, Some(2));
        let rest = parts(&sizes, &[], 2, 2);
        assert_eq!(rest.is_truncated, Some(false));
        let last = &rest.parts.unwrap()[0];
        assert_eq!((last.part_number, last.size), (Some(3), Some(2)));
    }
}
