//! Writing and removing objects: PutObject, DeleteObject and DeleteObjects.
//!
//! Everything that can be refused is refused before the body is read. A body is believed only when the view
//! has seen its end and its digests; see [`super::body`].

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    self, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, ObjectIdentifier, PutObjectInput, PutObjectOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::body::RequestBody;
use super::checksums;
use super::errors::{conditional_error, not_implemented, s3_error};
use super::metadata::{from_request, refuse_unknown, storage_class};
use super::operations::{Operations, note_of};
use super::tagging;
use super::values::{change_conditions, check_key, check_version, etag, object_name, who_of};
use crate::objects::{NewObject, ObjectName, PutDone, Who};

/// Keys of one DeleteObjects.
const DELETIONS_MAX: usize = 1000;
/// Deletions of one DeleteObjects that are carried out at the same time.
const DELETIONS_AT_ONCE: usize = 32;
/// Says how far an object that was written is safe.
const DURABILITY: HeaderName = HeaderName::from_static("x-tidegate-durability");

/// What the answer to a change says of its durability: `local`, in the journal of this machine, or
/// `repository`.
pub(super) fn durability(done: &PutDone) -> HeaderMap {
    let how = if done.in_repository { "repository" } else { "local" };
    HeaderMap::from_iter([(DURABILITY, HeaderValue::from_static(how))])
}

/// The object to be made of the headers of a request, without conditions and checksum.
pub(super) fn new_object(
    headers: &HeaderMap,
    user: Option<&dto::Metadata>,
    tags: Option<&str>,
) -> S3Result<NewObject> {
    refuse_unknown(headers)?;
    Ok(NewObject {
        metadata: from_request(headers, user)?,
        tags: tagging::from_header(tags)?,
        storage_class: storage_class(headers)?,
        ..NewObject::default()
    })
}

impl Operations {
    /// PutObject.
    pub(super) async fn put(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let who = who_of(&request)?;
        let stream = request.input.body.take();
        let input = &request.input;
        check_key(&input.key)?;
        let conditions = change_conditions(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let conditional = !conditions.is_empty();
        let new = new_object(&request.headers, input.metadata.as_ref(), input.tagging.as_deref())?;
        let mut body = RequestBody::new(
            stream,
            input.content_length,
            &request.headers,
            request.trailing_headers.clone(),
            note_of(&request),
        )?;
        let new = NewObject { conditions, ..new };
        let name = object_name(&input.bucket, &input.key);
        let put = self.view().put(&who, &name, new, &mut body).await;
        let done = put.map_err(|error| body.explain(error, conditional))?;
        let checksum = checksums::to_wire(done.checksum.as_ref());
        let output = PutObjectOutput {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&done.etag)),
            ..PutObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, durability(&done)))
    }

    /// DeleteObject.
    pub(super) async fn delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(not_implemented("conditions of deletions are ETags"));
        }
        let conditions = change_conditions(input.if_match.as_ref(), None)?;
        let conditional = !conditions.is_empty();
        let name = object_name(&input.bucket, &input.key);
        let deleted = self.view().delete(&who, &name, None, &conditions, false).await;
        deleted.map_err(|error| conditional_error(error, conditional))?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    /// DeleteObjects: each key by itself, with an error of its own.
    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETIONS_MAX {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        self.view().bucket(&who, &input.bucket).await.map_err(s3_error)?;
        let deletions = objects.into_iter().map(|object| self.delete_one(&who, &input.bucket, object));
        let outcomes = futures::stream::iter(deletions).buffered(DELETIONS_AT_ONCE);
        let outcomes: Vec<_> = outcomes.collect().await;
        let quiet = input.delete.quiet == Some(true);
        let mut output = DeleteObjectsOutput::default();
        for (key, outcome) in outcomes {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => {
                    let deleted = DeletedObject { key: Some(key), ..DeletedObject::default() };
                    output.deleted.get_or_insert_default().push(deleted);
                }
                Err(error) => output.errors.get_or_insert_default().push(error_of_key(key, &error)),
            }
        }
        Ok(S3Response::new(output))
    }

    async fn delete_one(&self, who: &Who, bucket: &str, object: ObjectIdentifier) -> (String, S3Result<()>) {
        let key = object.key;
        let name = object_name(bucket, &key);
        let matches = object.e_tag.map(ETagCondition::ETag);
        let is_unknown = object.last_modified_time.is_some() || object.size.is_some();
        let outcome = async {
            check_key(&key)?;
            check_version(object.version_id.as_deref())?;
            if is_unknown {
                return Err(not_implemented("conditions of deletions are ETags"));
            }
            self.delete_if(who, &name, matches.as_ref()).await
        };
        let outcome = outcome.await;
        (key, outcome)
    }

    async fn delete_if(&self, who: &Who, name: &ObjectName, matches: Option<&ETagCondition>) -> S3Result<()> {
        let conditions = change_conditions(matches, None)?;
        let deleted = self.view().delete(who, name, None, &conditions, false).await;
        deleted.map(drop).map_err(|error| conditional_error(error, matches.is_some()))
    }
}

fn error_of_key(key: String, error: &S3Error) -> dto::Error {
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id: None,
    }
}
