//! Uploads in parts: CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload.
//!
//! Owns the checks of numbers, order and checksums that need no view. An upload of which the client names no
//! checksum computes CRC-64/NVME of the whole object, as S3 does. The kind of a checksum follows its algorithm
//! unless it is said: composite, but for CRC-64/NVME, which is always of the whole object.

use http::header::HOST;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart as WirePart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto};

use super::body::RequestBody;
use super::checksums;
use super::errors::{conditional_error, invalid_argument, invalid_request, not_implemented, s3_error};
use super::listing::percent_encode;
use super::metadata::refuse_unknown;
use super::operations::{Operations, note_of};
use super::values::{
    change_conditions, check_key, etag, header, object_name, timestamp, version_to_wire, who_of,
};
use super::write::{durability, new_object};
use crate::objects::{
    ChecksumAlgorithm, ChecksumKind, CompletedPart, Completion, NewObject, ObjectError, PART_NUMBER_MAX,
    PartName,
};

/// The error of a part's number out of its bounds.
pub(super) fn invalid_part_number() -> S3Error {
    invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
}

fn part_number(number: i32) -> S3Result<u16> {
    let number = u16::try_from(number).ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    number.ok_or_else(invalid_part_number)
}

/// A part by the names of a request.
pub(super) fn part_name(bucket: &str, key: &str, upload: &str, number: i32) -> S3Result<PartName> {
    check_key(key)?;
    let number = part_number(number)?;
    Ok(PartName { object: object_name(bucket, key), upload: upload.to_owned(), number })
}

/// Which checksum an upload computes, and of what.
fn checksum_of_upload(
    algorithm: Option<ChecksumAlgorithm>,
    kind: Option<ChecksumKind>,
) -> S3Result<(ChecksumAlgorithm, ChecksumKind)> {
    use ChecksumAlgorithm::{Crc64Nvme, Sha1, Sha256};
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok((checksums::DEFAULT, ChecksumKind::Full)),
            Some(_) => Err(invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    match (algorithm, kind) {
        (Crc64Nvme, Some(ChecksumKind::Composite)) => Err(invalid_request(
            "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm.",
        )),
        (Sha1 | Sha256, Some(ChecksumKind::Full)) => Err(invalid_request(
            "The FULL_OBJECT checksum type cannot be used with the sha checksum algorithms.",
        )),
        (Crc64Nvme, _) => Ok((algorithm, ChecksumKind::Full)),
        (_, kind) => Ok((algorithm, kind.unwrap_or(ChecksumKind::Composite))),
    }
}

fn completed_part(part: WirePart) -> S3Result<CompletedPart> {
    let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
        return Err(S3ErrorCode::MalformedXML.into());
    };
    let wire = dto::Checksum {
        checksum_crc32: part.checksum_crc32,
        checksum_crc32c: part.checksum_crc32c,
        checksum_crc64nvme: part.checksum_crc64nvme,
        checksum_sha1: part.checksum_sha1,
        checksum_sha256: part.checksum_sha256,
        checksum_type: None,
    };
    let checksum = checksums::from_wire(&wire)?;
    Ok(CompletedPart { number: part_number(number)?, etag: etag.into_value(), checksum })
}

/// The parts of a completion, each named once and in order.
fn completed_parts(parts: Option<Vec<WirePart>>) -> S3Result<Vec<CompletedPart>> {
    let parts = parts.unwrap_or_default();
    if parts.is_empty() || parts.len() > usize::from(PART_NUMBER_MAX) {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let parts: Vec<CompletedPart> = parts.into_iter().map(completed_part).collect::<S3Result<_>>()?;
    if parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(s3_error(ObjectError::InvalidPartOrder));
    }
    Ok(parts)
}

/// What a completion says the whole object must be.
fn completion(input: &mut CompleteMultipartUploadInput) -> S3Result<Completion> {
    let wire = dto::Checksum {
        checksum_crc32: input.checksum_crc32.take(),
        checksum_crc32c: input.checksum_crc32c.take(),
        checksum_crc64nvme: input.checksum_crc64nvme.take(),
        checksum_sha1: input.checksum_sha1.take(),
        checksum_sha256: input.checksum_sha256.take(),
        checksum_type: input.checksum_type.take(),
    };
    let mut checksum = checksums::from_wire(&wire)?;
    if let Some(checksum) = &mut checksum
        && checksum.value.contains('-')
    {
        checksum.kind = ChecksumKind::Composite;
    }
    let size = match input.mpu_object_size.map(u64::try_from) {
        None => None,
        Some(Ok(size)) => Some(size),
        Some(Err(_)) => return Err(invalid_argument("x-amz-mp-object-size is negative")),
    };
    Ok(Completion {
        parts: completed_parts(input.multipart_upload.take().and_then(|upload| upload.parts))?,
        checksum,
        size,
        conditions: change_conditions(input.if_match.as_ref(), input.if_none_match.as_ref()),
    })
}

/// Where an object is, as the client called this server.
fn location<T>(request: &S3Request<T>) -> String {
    let is_secure = note_of(request).is_some_and(|note| note.is_secure());
    let scheme = if is_secure { "https" } else { "http" };
    let host = header(&request.headers, HOST.as_str()).unwrap_or_default();
    format!("{scheme}://{host}{}", request.uri.path())
}

impl Operations {
    /// CreateMultipartUpload.
    pub(super) async fn create_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        check_key(&input.key)?;
        let named = checksums::algorithm_from_wire(input.checksum_algorithm.as_ref())?;
        let kind = checksums::kind_from_wire(input.checksum_type.as_ref())?;
        let (algorithm, checksum_kind) = checksum_of_upload(named, kind)?;
        let new = new_object(&request.headers, input.metadata.as_ref(), input.tagging.as_deref())?;
        let new = NewObject { algorithm: Some(algorithm), checksum_kind, ..new };
        let name = object_name(&input.bucket, &input.key);
        let upload = self.view().create_upload(&who, &name, new).await.map_err(s3_error)?;
        let abort = self.abort_of(&who, &name).await;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            abort_date: abort.as_ref().map(|(due, _)| timestamp(*due)),
            abort_rule_id: abort.map(|(_, rule)| percent_encode(&rule)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload),
            checksum_algorithm: named.map(checksums::algorithm_to_wire),
            checksum_type: named.map(|_| checksums::kind_to_wire(checksum_kind)),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    /// UploadPart.
    pub(super) async fn put_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let who = who_of(&request)?;
        let stream = request.input.body.take();
        let input = &request.input;
        refuse_unknown(&request.headers)?;
        let part = part_name(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
        let mut body = RequestBody::new(
            stream,
            input.content_length,
            &request.headers,
            request.trailing_headers.clone(),
            note_of(&request),
        )?;
        let named = body.named();
        let put = self.view().put_part(&who, &part, named, &mut body).await;
        let done = put.map_err(|error| body.explain(error, false))?;
        let checksum = checksums::to_wire(done.digests.checksum.as_ref());
        let output = UploadPartOutput {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            e_tag: Some(etag(&done.digests.md5)),
            ..UploadPartOutput::default()
        };
        // Parts never wait for the repository: their object does.
        Ok(S3Response::with_headers(output, durability(false)))
    }

    /// CompleteMultipartUpload.
    pub(super) async fn complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (who, location) = (who_of(&request)?, location(&request));
        let mut input = request.input;
        check_key(&input.key)?;
        let completion = completion(&mut input)?;
        let conditional = !completion.conditions.is_empty();
        let name = object_name(&input.bucket, &input.key);
        let completed = self.view().complete_upload(&who, &name, &input.upload_id, &completion).await;
        let done = completed.map_err(|error| conditional_error(error, conditional))?;
        let checksum = checksums::to_wire(done.checksum.as_ref());
        let output = CompleteMultipartUploadOutput {
            location: Some(location),
            expiration: self.expiration_of_new(&who, &name, &done).await,
            bucket: Some(input.bucket),
            key: Some(input.key),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&done.etag)),
            version_id: version_to_wire(done.version.as_ref()),
            ..CompleteMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, durability(done.in_repository)))
    }

    /// AbortMultipartUpload.
    pub(super) async fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        if input.if_match_initiated_time.is_some() {
            return Err(not_implemented("an abort has no conditions"));
        }
        let name = object_name(&input.bucket, &input.key);
        self.view().abort_upload(&who, &name, &input.upload_id).await.map_err(s3_error)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i32) -> WirePart {
        WirePart { part_number: Some(number), e_tag: Some(etag("e")), ..WirePart::default() }
    }

    fn code(numbers: &[i32]) -> Result<usize, S3ErrorCode> {
        let parts = numbers.iter().map(|number| part(*number)).collect();
        completed_parts(Some(parts)).map(|parts| parts.len()).map_err(|error| error.code().clone())
    }

    #[test]
    fn parts_are_named_once_and_in_order() {
        assert_eq!(code(&[1, 2, 10_000]), Ok(3));
        assert_eq!(code(&[2, 1]), Err(S3ErrorCode::InvalidPartOrder));
        assert_eq!(code(&[2, 2]), Err(S3ErrorCode::InvalidPartOrder));
        assert_eq!(code(&[0]), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(code(&[10_001]), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(code(&[]), Err(S3ErrorCode::MalformedXML));
    }

    #[test]
    fn the_kind_of_a_checksum_follows_its_algorithm() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
        use ChecksumKind::{Composite, Full};
        let of = |algorithm, kind| checksum_of_upload(algorithm, kind).ok();
        assert_eq!(of(None, None), Some((Crc64Nvme, Full)));
        assert_eq!(of(None, Some(Full)), None);
        assert_eq!(of(Some(Crc32), None), Some((Crc32, Composite)));
        assert_eq!(of(Some(Crc32), Some(Full)), Some((Crc32, Full)));
        assert_eq!(of(Some(Crc64Nvme), None), Some((Crc64Nvme, Full)));
        assert_eq!(of(Some(Crc64Nvme), Some(Composite)), None);
        assert_eq!(of(Some(Sha256), Some(Full)), None);
    }
}
