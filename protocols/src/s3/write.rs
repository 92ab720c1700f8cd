//! Writing and removing objects: PutObject, DeleteObject and DeleteObjects.
//!
//! Everything that can be refused is refused before the body is read. Each key of a DeleteObjects is asked about by
//! itself, and what is denied is so in its own row. A body is believed only when the view
//! has seen its end and its digests; see [`super::body`].

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    self, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, ObjectIdentifier, PutObjectInput, PutObjectOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::actions::{BYPASS, ask_for_object, wants_bypass};
use super::body::RequestBody;
use super::checksums;
use super::errors::{conditional_error, s3_error};
use super::facts::{Conditions as Facts, facts_of, of_version};
use super::lock;
use super::metadata::{from_request, refuse_unknown, storage_class};
use super::operations::{Operations, note_of};
use super::tagging;
use super::values::{
    change_conditions, check_key, delete_conditions, etag, object_name, version_of, version_to_wire, who_of,
};
use crate::objects::{Conditions, Deletion, NewObject, VersionId, Who};

/// Keys of one DeleteObjects.
const DELETIONS_MAX: usize = 1000;
/// Deletions of one DeleteObjects that are carried out at the same time.
const DELETIONS_AT_ONCE: usize = 32;
/// Says how far a change is safe.
const DURABILITY: HeaderName = HeaderName::from_static("x-tidegate-durability");

/// What the answer to a change says of its durability: `local`, in the journal of this machine, or
/// `repository`.
pub(super) fn durability(in_repository: bool) -> HeaderMap {
    let how = if in_repository { "repository" } else { "local" };
    HeaderMap::from_iter([(DURABILITY, HeaderValue::from_static(how))])
}

/// The object to be made of the headers of a request, without conditions and checksum.
pub(super) fn new_object(
    headers: &HeaderMap,
    user: Option<&dto::Metadata>,
    tags: Option<&str>,
) -> S3Result<NewObject> {
    refuse_unknown(headers)?;
    let (retention, legal_hold) = lock::from_headers(headers)?;
    Ok(NewObject {
        metadata: from_request(headers, user)?,
        tags: tagging::from_header(tags)?,
        storage_class: storage_class(headers)?,
        retention,
        legal_hold,
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
        let conditions = change_conditions(input.if_match.as_ref(), input.if_none_match.as_ref());
        let conditional = !conditions.is_empty();
        let new = new_object(&request.headers, input.metadata.as_ref(), input.tagging.as_deref())?;
        let mut body = RequestBody::new(
            stream,
            input.content_length,
            &request.headers,
            request.trailing_headers.clone(),
            note_of(&request),
        )?;
        let tags = new.tags.clone();
        let new = NewObject { conditions, ..new };
        let name = object_name(&input.bucket, &input.key);
        let put = self.view().put(&who, &name, new, &mut body).await;
        let done = put.map_err(|error| body.explain(error, conditional))?;
        let expiration = self.expiration_of(&who, &name, body.seen(), done.modified, &tags).await;
        let checksum = checksums::to_wire(done.checksum.as_ref());
        let output = PutObjectOutput {
            expiration,
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&done.etag)),
            version_id: version_to_wire(done.version.as_ref()),
            ..PutObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, durability(done.in_repository)))
    }

    /// DeleteObject.
    pub(super) async fn delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let who = who_of(&request)?;
        let wants_bypass = wants_bypass(&facts_of(&request));
        let input = request.input;
        let version = version_of(input.version_id.as_deref())?;
        let conditions = delete_conditions(
            input.if_match.as_ref(),
            input.if_match_size,
            input.if_match_last_modified_time.as_ref(),
        )?;
        let conditional = !conditions.is_empty();
        let name = object_name(&input.bucket, &input.key);
        // Whether the caller may bypass was asked with all else; without a version there is nothing to pass.
        let bypass = wants_bypass && version.is_some();
        let deleted = self.view().delete(&who, &name, version.as_ref(), &conditions, bypass).await;
        let deletion = deleted.map_err(|error| conditional_error(error, conditional))?;
        let output = DeleteObjectOutput {
            delete_marker: deletion.marker.then_some(true),
            version_id: version_to_wire(deletion.version.as_ref()),
            ..DeleteObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, durability(deletion.in_repository)))
    }

    /// DeleteObjects: each key by itself, with an error of its own. Of durability the answer says what holds for all that
    /// were deleted, and nothing when none was.
    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let who = who_of(&request)?;
        let facts = facts_of(&request);
        let (conditions, bypass) = (facts.of_request(), wants_bypass(&facts));
        let input = request.input;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETIONS_MAX {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        self.view().bucket(&who, &input.bucket).await.map_err(s3_error)?;
        let several = Several { who: &who, bucket: &input.bucket, conditions: &conditions, bypass };
        let deletions = objects.into_iter().map(|object| self.delete_one(&several, object));
        let outcomes = futures::stream::iter(deletions).buffered(DELETIONS_AT_ONCE);
        let outcomes: Vec<_> = outcomes.collect().await;
        let quiet = input.delete.quiet == Some(true);
        let mut output = DeleteObjectsOutput::default();
        let done: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
        let headers = if done.is_empty() {
            HeaderMap::new()
        } else {
            durability(done.iter().all(|deletion| deletion.in_repository))
        };
        for (object, outcome) in outcomes {
            match outcome {
                Ok(_) if quiet => {}
                Ok(deletion) => output.deleted.get_or_insert_default().push(row(object, &deletion)),
                Err(error) => output.errors.get_or_insert_default().push(error_of_key(object, &error)),
            }
        }
        Ok(S3Response::with_headers(output, headers))
    }

    async fn delete_one(
        &self,
        several: &Several<'_>,
        object: ObjectIdentifier,
    ) -> (Named, S3Result<Deletion>) {
        let matches = object.e_tag.map(ETagCondition::ETag);
        let named = Named { key: object.key, version: object.version_id };
        let outcome = async {
            check_key(&named.key)?;
            let version = version_of(named.version.as_deref())?;
            let conditions =
                delete_conditions(matches.as_ref(), object.size, object.last_modified_time.as_ref())?;
            self.delete_if(several, &named.key, version.as_ref(), &conditions).await
        };
        let outcome = outcome.await;
        (named, outcome)
    }

    async fn delete_if(
        &self,
        several: &Several<'_>,
        key: &str,
        version: Option<&VersionId>,
        conditions: &Conditions,
    ) -> S3Result<Deletion> {
        let name = object_name(several.bucket, key);
        let mut facts = several.conditions.clone();
        facts.extend(version.iter().flat_map(|version| of_version(version)));
        let bypass = several.bypass && version.is_some();
        let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        for action in [action].into_iter().chain(bypass.then_some(BYPASS)) {
            let asked = ask_for_object(self.view(), several.who, action, &name, version, &facts);
            asked.await.map_err(s3_error)?;
        }
        let deleted = self.view().delete(several.who, &name, version, conditions, bypass).await;
        deleted.map_err(|error| conditional_error(error, !conditions.is_empty()))
    }
}

/// What the deletions of one request have in common.
struct Several<'a> {
    who: &'a Who,
    bucket: &'a str,
    conditions: &'a Facts,
    bypass: bool,
}

/// An object as a request names it.
struct Named {
    key: String,
    version: Option<String>,
}

/// What is answered of a deletion: a marker by its own version, whether it was made or taken away.
fn row(named: Named, deletion: &Deletion) -> DeletedObject {
    let version = version_to_wire(deletion.version.as_ref());
    DeletedObject {
        delete_marker: deletion.marker.then_some(true),
        delete_marker_version_id: version.filter(|_| deletion.marker),
        key: Some(named.key),
        version_id: named.version,
    }
}

fn error_of_key(named: Named, error: &S3Error) -> dto::Error {
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(named.key),
        message: error.message().map(str::to_owned),
        version_id: named.version,
    }
}
