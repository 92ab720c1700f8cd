//! What is under way: ListParts and ListMultipartUploads.

use s3s::dto::{
    CommonPrefix, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as WirePart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::checksums;
use super::errors::{invalid_argument, s3_error};
use super::listing::{Encoding, filled, page_limit};
use super::metadata::class_in_document;
use super::operations::Operations;
use super::values::{etag, object_name, owner, timestamp, who_of};
use crate::objects::{Part, PartQuery, Upload, UploadQuery, Uploads};

fn part(part: &Part) -> WirePart {
    let checksum = checksums::to_wire(part.checksum.as_ref());
    WirePart {
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(timestamp(part.modified)),
        part_number: Some(i32::from(part.number)),
        size: Some(part.size as i64),
    }
}

fn initiator(id: &str) -> Initiator {
    Initiator { display_name: Some(id.to_owned()), id: Some(id.to_owned()) }
}

fn class(class: Option<&str>) -> StorageClass {
    StorageClass::from(class_in_document(class))
}

fn upload(upload: &Upload, encoding: Encoding, own: &str) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: upload.algorithm.map(checksums::algorithm_to_wire),
        checksum_type: upload.algorithm.map(|_| checksums::kind_to_wire(upload.kind)),
        initiated: Some(timestamp(upload.begun)),
        initiator: Some(initiator(&upload.owner)),
        key: Some(encoding.name(&upload.key)),
        owner: Some(owner(own)),
        storage_class: Some(class(upload.storage_class.as_deref())),
        upload_id: Some(upload.id.clone()),
    }
}

/// Where the next page begins: after the last upload or the last prefix, whichever comes later.
fn next_markers(page: &Uploads) -> (Option<String>, Option<String>) {
    if !page.more {
        return (None, None);
    }
    match (page.uploads.last(), page.prefixes.last()) {
        (Some(upload), Some(prefix)) if *prefix > upload.key => (Some(prefix.clone()), None),
        (Some(upload), _) => (Some(upload.key.clone()), Some(upload.id.clone())),
        (None, prefix) => (prefix.cloned(), None),
    }
}

impl Operations {
    /// ListParts.
    pub(super) async fn parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let marker = input.part_number_marker.unwrap_or(0);
        let Ok(after) = u16::try_from(marker.min(i32::from(u16::MAX))) else {
            return Err(invalid_argument("Argument part-number-marker must not be negative"));
        };
        let limit =
            page_limit(input.max_parts, "Argument max-parts must be an integer between 0 and 2147483647")?;
        let name = object_name(&input.bucket, &input.key);
        let query = PartQuery { after, limit };
        let page = self.view().parts(&who, &name, &input.upload_id, &query).await.map_err(s3_error)?;
        let own = self.owner_of(&who, &name.bucket).await?;
        let last = page.parts.last().map_or(after, |part| part.number);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: page.algorithm.map(checksums::algorithm_to_wire),
            checksum_type: page.algorithm.map(|_| checksums::kind_to_wire(page.kind)),
            initiator: Some(initiator(&self.view().owner_name(&who))),
            is_truncated: Some(page.more && limit > 0),
            key: Some(input.key),
            max_parts: Some(limit as i32),
            next_part_number_marker: Some(i32::from(last)),
            owner: Some(owner(&own)),
            part_number_marker: Some(marker),
            parts: Some(page.parts.iter().map(part).collect()),
            storage_class: Some(class(page.storage_class.as_deref())),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        }))
    }

    /// ListMultipartUploads.
    pub(super) async fn uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let after_key = filled(input.key_marker);
        let query = UploadQuery {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: filled(input.delimiter),
            // Without a key the marker of an upload means nothing.
            after_upload: filled(input.upload_id_marker).filter(|_| after_key.is_some()),
            after_key,
            limit: page_limit(
                input.max_uploads,
                "Argument max-uploads must be an integer between 0 and 2147483647",
            )?,
        };
        let page = if query.limit == 0 {
            self.view().bucket(&who, &input.bucket).await.map_err(s3_error)?;
            Uploads::default()
        } else {
            self.view().uploads(&who, &input.bucket, &query).await.map_err(s3_error)?
        };
        let own = self.owner_of(&who, &input.bucket).await?;
        let (next_key, next_upload) = next_markers(&page);
        let prefixes =
            page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.name(prefix)) });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: Some(prefixes.collect()),
            delimiter: query.delimiter.as_deref().map(|delimiter| encoding.name(delimiter)),
            encoding_type: encoding.to_wire(),
            is_truncated: Some(page.more),
            key_marker: Some(encoding.name(query.after_key.as_deref().unwrap_or_default())),
            max_uploads: Some(query.limit as i32),
            next_key_marker: next_key.map(|key| encoding.name(&key)),
            next_upload_id_marker: next_upload,
            prefix: Some(encoding.name(&query.prefix)),
            request_charged: None,
            upload_id_marker: Some(query.after_upload.unwrap_or_default()),
            uploads: Some(page.uploads.iter().map(|found| upload(found, encoding, &own)).collect()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ChecksumKind;
    use crate::view::Time;

    fn begun(key: &str) -> Upload {
        Upload {
            key: key.into(),
            id: format!("id of {key}"),
            begun: Time { seconds: 0, nanos: 0 },
            owner: "o".into(),
            algorithm: None,
            kind: ChecksumKind::Full,
            storage_class: None,
        }
    }

    #[test]
    fn the_next_page_begins_after_what_comes_last() {
        let page = |uploads: &[&str], prefixes: &[&str]| Uploads {
            uploads: uploads.iter().map(|key| begun(key)).collect(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            more: true,
        };
        let key = |page: Uploads| next_markers(&page);
        assert_eq!(key(page(&["a", "c"], &["b/"])), (Some("c".into()), Some("id of c".into())));
        assert_eq!(key(page(&["a"], &["b/"])), (Some("b/".into()), None));
        assert_eq!(key(page(&[], &["b/"])), (Some("b/".into()), None));
        assert_eq!(key(Uploads::default()), (None, None));
    }
}
