//! Copies: CopyObject and UploadPartCopy.
//!
//! Owns the rules of their directives: metadata and tags are those of the source (`COPY`) or those of the
//! request (`REPLACE`). A copy of an object onto itself must change something, or is refused as at Amazon's.
//! A condition on the source that does not hold is 412, whichever it is.

use s3s::dto::{
    self, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, UploadPartCopyInput,
    UploadPartCopyOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::actions::ask_for_object;
use super::checksums;
use super::errors::{conditional_error, invalid_argument, invalid_request, not_implemented, s3_error};
use super::facts::{Conditions, facts_of};
use super::metadata::{REDIRECT, refuse_unknown};
use super::multipart::part_name;
use super::operations::Operations;
use super::tagging;
use super::values::{
    change_conditions, check_key, etag, object_name, read_conditions, timestamp, version_of, version_to_wire,
    who_of,
};
use super::write::{durability, new_object};
use crate::objects::{CopySource, NewObject, ObjectError, ObjectName, PartCopy, Tags, VersionId, Who};

/// The object that is named by `x-amz-copy-source`, and its version.
fn source_name(source: &dto::CopySource) -> S3Result<(ObjectName, Option<VersionId>)> {
    let dto::CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("the source of a copy is a bucket and a key"));
    };
    check_key(key)?;
    Ok((object_name(bucket, key), version_of(version_id.as_deref())?))
}

/// An error of a copy. A source that was not modified is a condition that does not hold; a delete marker is no
/// source, and the headers of an answer with one would be taken for those of what the copy makes.
fn copy_error(error: ObjectError, conditional: bool) -> S3Error {
    match error {
        ObjectError::NotModified => conditional_error(ObjectError::PreconditionFailed, conditional),
        ObjectError::DeleteMarker { named: false, .. } => {
            conditional_error(ObjectError::NoSuchKey, conditional)
        }
        ObjectError::DeleteMarker { named: true, .. } => invalid_request(
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        ),
        error => conditional_error(error, conditional),
    }
}

fn keeps_metadata(directive: Option<&dto::MetadataDirective>) -> S3Result<bool> {
    match directive.map(dto::MetadataDirective::as_str) {
        None | Some(dto::MetadataDirective::COPY) => Ok(true),
        Some(dto::MetadataDirective::REPLACE) => Ok(false),
        Some(_) => Err(invalid_argument("Unknown metadata directive.")),
    }
}

/// The bytes of `x-amz-copy-source-range`, which has both ends.
pub(super) fn source_range(range: Option<&str>) -> S3Result<Option<std::ops::Range<u64>>> {
    let Some(range) = range else { return Ok(None) };
    match dto::Range::parse(range) {
        Ok(dto::Range::Int { first, last: Some(last) }) => Ok(Some(first..last + 1)),
        _ => Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are \
             the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

impl Operations {
    /// CopyObject.
    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let who = who_of(&request)?;
        let input = &request.input;
        check_key(&input.key)?;
        let (source_name, source_version) = source_name(&input.copy_source)?;
        let mut source = CopySource {
            name: source_name,
            version: source_version,
            conditions: read_conditions(
                input.copy_source_if_match.as_ref(),
                input.copy_source_if_none_match.as_ref(),
                input.copy_source_if_modified_since.as_ref(),
                input.copy_source_if_unmodified_since.as_ref(),
            )?,
        };
        let name = object_name(&input.bucket, &input.key);
        let keep_metadata = keeps_metadata(input.metadata_directive.as_ref())?;
        let directive = input.tagging_directive.as_ref().map(dto::TaggingDirective::as_str);
        let (tags, keep_tags) = tagging::of_copy(directive, input.tagging.as_deref())?;
        let new = new_object(&request.headers, input.metadata.as_ref(), None)?;
        let moved = request.headers.contains_key(REDIRECT);
        let restores = source.version.is_some();
        if source.name == name && keep_metadata && new.storage_class.is_none() && !moved && !restores {
            return Err(invalid_request(
                "This copy request is illegal because it is trying to copy an object to itself without \
                 changing the object's metadata, storage class, website redirect location or encryption \
                 attributes.",
            ));
        }
        let conditions = destination_conditions(&request.headers)?;
        let conditional = !conditions.is_empty();
        let algorithm = checksums::algorithm_from_wire(input.checksum_algorithm.as_ref())?;
        let new = NewObject { tags, conditions, algorithm, ..new };
        let named = source.version.clone();
        let said = facts_of(&request).of_request();
        let source_tags = self.fix_version(&who, &said, &mut source).await?;
        if keep_tags && !source_tags.is_empty() {
            self.may_keep_tags(&who, &source.name, named.as_ref(), &name).await?;
        }
        let copied = self.view().copy(&who, &source, &name, new, keep_metadata, keep_tags).await;
        let done = copied.map_err(|error| copy_error(error, conditional))?;
        let checksum = checksums::to_wire(done.checksum.as_ref());
        let result = CopyObjectResult {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&done.etag)),
            last_modified: Some(timestamp(done.modified)),
        };
        let output = CopyObjectOutput {
            expiration: self.expiration_of_new(&who, &name, &done).await,
            copy_object_result: Some(result),
            copy_source_version_id: version_to_wire(source.version.as_ref()),
            version_id: version_to_wire(done.version.as_ref()),
            ..CopyObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, durability(done.in_repository)))
    }

    /// Names the version that a source without one leads to, where its bucket keeps versions: it is what is copied, and
    /// what the answer says.
    async fn fix_version(
        &self,
        who: &Who,
        conditions: &Conditions,
        source: &mut CopySource,
    ) -> S3Result<Tags> {
        let found = self.find_for(who, conditions, &source.name, source.version.as_ref()).await;
        let found = found.map_err(|error| copy_error(error, false))?;
        source.version = source.version.take().or_else(|| found.info().version.clone());
        Ok(found.info().tags.clone())
    }

    /// Tags of a source are read and written by a copy that keeps them, so the caller must be allowed to do both.
    async fn may_keep_tags(
        &self,
        who: &Who,
        source: &ObjectName,
        version: Option<&VersionId>,
        name: &ObjectName,
    ) -> S3Result<()> {
        let read = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
        ask_for_object(self.view(), who, read, source, version, &[]).await.map_err(s3_error)?;
        ask_for_object(self.view(), who, "s3:PutObjectTagging", name, None, &[]).await.map_err(s3_error)
    }

    /// UploadPartCopy.
    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let who = who_of(&request)?;
        let input = &request.input;
        refuse_unknown(&request.headers)?;
        let part = part_name(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
        let (source_name, source_version) = source_name(&input.copy_source)?;
        let mut source = CopySource {
            name: source_name,
            version: source_version,
            conditions: read_conditions(
                input.copy_source_if_match.as_ref(),
                input.copy_source_if_none_match.as_ref(),
                input.copy_source_if_modified_since.as_ref(),
                input.copy_source_if_unmodified_since.as_ref(),
            )?,
        };
        let range = source_range(input.copy_source_range.as_deref())?;
        let said = facts_of(&request).of_request();
        self.fix_version(&who, &said, &mut source).await?;
        let copy = PartCopy { source, range };
        let copied = self.view().copy_part(&who, &part, &copy).await;
        let done = copied.map_err(|error| copy_error(error, false))?;
        let checksum = checksums::to_wire(done.digests.checksum.as_ref());
        let result = CopyPartResult {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            e_tag: Some(etag(&done.digests.md5)),
            last_modified: Some(timestamp(done.modified)),
        };
        let output = UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: version_to_wire(copy.source.version.as_ref()),
            ..UploadPartCopyOutput::default()
        };
        // Parts never wait for the repository: their object does.
        Ok(S3Response::with_headers(output, durability(false)))
    }
}

/// `If-Match` and `If-None-Match` of a copy are about what it replaces.
fn destination_conditions(headers: &http::HeaderMap) -> S3Result<crate::objects::Conditions> {
    let read = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => match dto::ETagCondition::parse_http_header(value.as_bytes()) {
            Ok(condition) => Ok(Some(condition)),
            Err(_) => Err(invalid_argument("an ETag of the request cannot be read")),
        },
    };
    Ok(change_conditions(read("if-match")?.as_ref(), read("if-none-match")?.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_source_has_both_ends() {
        assert_eq!(source_range(Some("bytes=0-9")).unwrap(), Some(0..10));
        assert_eq!(source_range(None).unwrap(), None);
        for wrong in ["bytes=5-", "bytes=-5", "5-9", "bytes=9-5", ""] {
            assert!(source_range(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_that_was_not_modified_is_a_condition_that_does_not_hold() {
        let error = copy_error(ObjectError::NotModified, false);
        assert_eq!(error.code(), &s3s::S3ErrorCode::PreconditionFailed);
    }
}
