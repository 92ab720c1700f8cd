//! The body of an object or part on its way in: hashed once as it passes, believed only at its end.
//!
//! Owns the check of everything that a client claims of a body: its length, its `Content-MD5`, a checksum in a
//! header or in a trailer whose signature was checked. What the wire found wrong in the encoding (a signature of
//! a chunk, the SHA-256 of the payload, silence) has errors of S3 that a view does not know; the body
//! remembers them and [`RequestBody::explain`] prefers them to what the view says.
//!
//! Source: Amazon S3 API reference, PutObject and UploadPart; "Checking object integrity" of the user guide.

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};

use super::checksums::{self, Claim};
use super::errors::{conditional_error, custom};
use super::note::{BodyFault, Note};
use super::values::header;
use crate::objects::{Body, Checksum, ChecksumAlgorithm, ChecksumKind, Digests, ObjectError, PUT_BYTES_MAX};

/// The body of a request.
pub(super) struct RequestBody {
    stream: Option<StreamingBlob>,
    announced: Option<u64>,
    range: RangeInclusive<u64>,
    seen: u64,
    failed: bool,
    md5: Option<Md5>,
    expected_md5: Option<[u8; 16]>,
    hasher: Option<ChecksumHasher>,
    claim: Claim,
    kept: ChecksumAlgorithm,
    trailers: Option<TrailingHeaders>,
    note: Option<Arc<Note>>,
    refusal: Option<Refusal>,
}

/// What was wrong with a body, in words that a view does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    ChunkSignature,
    PayloadDigest,
    Silent,
    TrailerValue,
    TrailerMissing,
    TooLarge,
    TooSmall,
}

impl RequestBody {
    /// From a request; checks what can be checked before anything is read.
    pub(super) fn new(
        stream: Option<StreamingBlob>,
        announced: Option<i64>,
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
        note: Option<Arc<Note>>,
    ) -> S3Result<Self> {
        // A body in chunks of both kinds, of HTTP and of S3, has no other length.
        let decoded = || header(headers, "x-amz-decoded-content-length")?.parse().ok();
        let announced = announced.and_then(|bytes| u64::try_from(bytes).ok()).or_else(decoded);
        let Some(announced) = announced else { return Err(s3s::s3_error!(MissingContentLength)) };
        if announced > PUT_BYTES_MAX {
            return Err(conditional_error(ObjectError::TooLarge { max: PUT_BYTES_MAX }, false));
        }
        Self::with(stream, Some(announced), headers, trailers, note)
    }

    /// Of the file of a form, whose length is known at its end and lies within a range.
    pub(super) fn of_form(
        stream: StreamingBlob,
        range: RangeInclusive<u64>,
        headers: &HeaderMap,
        note: Arc<Note>,
    ) -> S3Result<Self> {
        Ok(Self { range, ..Self::with(Some(stream), None, headers, None, Some(note))? })
    }

    fn with(
        stream: Option<StreamingBlob>,
        announced: Option<u64>,
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
        note: Option<Arc<Note>>,
    ) -> S3Result<Self> {
        let claim = Claim::of(headers)?;
        let kept = claim.algorithm.unwrap_or(checksums::DEFAULT);
        let mut hasher = ChecksumHasher::default();
        if let Some(algorithm) = claim.algorithm {
            checksums::enable(&mut hasher, algorithm);
        }
        Ok(Self {
            stream,
            announced,
            range: 0..=PUT_BYTES_MAX,
            seen: 0,
            failed: false,
            md5: Some(Md5::new()),
            expected_md5: expected_md5(headers)?,
            hasher: Some(hasher),
            claim,
            kept,
            trailers,
            note,
            refusal: None,
        })
    }

    /// Which checksum the client names.
    pub(super) fn named(&self) -> Option<ChecksumAlgorithm> {
        self.claim.algorithm
    }

    /// How many bytes came so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The error on the wire of a change that got this body and ended with `error`.
    pub(super) fn explain(&self, error: ObjectError, conditional: bool) -> S3Error {
        match self.refusal {
            Some(refusal) => refusal.into_error(),
            None => conditional_error(error, conditional),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> ObjectError {
        self.refusal = Some(refusal);
        ObjectError::Body("it was refused on the way".into())
    }

    /// From an error of the stream. Its types are private to `s3s`: their texts are what can be seen.
    fn read_error(&mut self, error: &s3s::StdError) -> ObjectError {
        let fault = self.note.as_ref().and_then(|note| note.fault());
        let text = error.to_string();
        match fault {
            Some(BodyFault::Silent) => return self.refuse(Refusal::Silent),
            Some(BodyFault::Broken) => return ObjectError::IncompleteBody,
            Some(BodyFault::BadMd5) => return ObjectError::BadDigest("MD5"),
            Some(BodyFault::BadChecksum) => return ObjectError::BadDigest("checksum"),
            Some(BodyFault::TooLong) => return ObjectError::Body("it is too long".into()),
            Some(BodyFault::LargeChunk) => return ObjectError::Body("one of its chunks is too large".into()),
            None => {}
        }
        if text.contains("SignatureMismatch") {
            self.refuse(Refusal::ChunkSignature)
        } else if text.contains("Sha256Mismatch") {
            self.refuse(Refusal::PayloadDigest)
        } else if text.contains("Incomplete") || text.contains("LengthMismatch") {
            ObjectError::IncompleteBody
        } else {
            ObjectError::Body("its chunks are malformed".into())
        }
    }

    fn take(&mut self, bytes: &Bytes) -> Result<(), ObjectError> {
        self.seen += bytes.len() as u64;
        if let Some(note) = &self.note {
            note.passed_on();
        }
        if self.announced.is_some_and(|announced| self.seen > announced) {
            return Err(ObjectError::IncompleteBody);
        }
        if self.seen > *self.range.end() {
            return Err(self.refuse(Refusal::TooLarge));
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(hasher) = &mut self.hasher {
            checksums::enable_at_start(hasher, self.kept, self.seen == bytes.len() as u64);
            hasher.update(bytes);
        }
        Ok(())
    }

    /// Whether the body has the length that it must have.
    fn check_length(&mut self) -> Result<(), ObjectError> {
        if self.failed || self.announced.is_some_and(|announced| self.seen != announced) {
            return Err(ObjectError::IncompleteBody);
        }
        if self.range.contains(&self.seen) { Ok(()) } else { Err(self.refuse(Refusal::TooSmall)) }
    }

    /// What the client says the claimed checksum is.
    fn claimed_value(&mut self) -> Result<Option<(ChecksumAlgorithm, String)>, ObjectError> {
        let Some(algorithm) = self.claim.algorithm else { return Ok(None) };
        if !self.claim.in_trailer {
            return Ok(self.claim.value.clone().map(|value| (algorithm, value)));
        }
        let name = checksums::header_name(algorithm);
        let read = |trailers: &HeaderMap| {
            trailers.get(name).map(|value| value.to_str().unwrap_or_default().trim().to_owned())
        };
        match self.trailers.as_ref().and_then(|trailers| trailers.read(read)).flatten() {
            Some(value) if checksums::is_value(algorithm, &value) => Ok(Some((algorithm, value))),
            Some(_) => Err(self.refuse(Refusal::TrailerValue)),
            None => Err(self.refuse(Refusal::TrailerMissing)),
        }
    }
}

#[async_trait]
impl Body for RequestBody {
    fn announced_bytes(&self) -> Option<u64> {
        self.announced
    }

    fn compute(&mut self, algorithm: ChecksumAlgorithm) {
        self.kept = algorithm;
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.take(&bytes)?;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => {
                    self.stream = None;
                    self.failed = true;
                    return Err(self.read_error(&error));
                }
                None => {
                    self.stream = None;
                    return self.check_length().map(|()| None);
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<Digests, ObjectError> {
        if self.stream.is_some() && self.next().await?.is_some() {
            return Err(ObjectError::IncompleteBody);
        }
        self.check_length()?;
        let (Some(md5), Some(mut hasher)) = (self.md5.take(), self.hasher.take()) else {
            return Err(ObjectError::Internal);
        };
        checksums::enable_at_start(&mut hasher, self.kept, self.seen == 0);
        let (md5, computed) = (md5.finalize(), hasher.finalize());
        if self.expected_md5.is_some_and(|expected| expected != md5) {
            return Err(ObjectError::BadDigest("MD5"));
        }
        if let Some((algorithm, claimed)) = self.claimed_value()?
            && checksums::value_of(&computed, algorithm) != Some(claimed.as_str())
        {
            return Err(ObjectError::BadDigest(algorithm.as_str()));
        }
        let value = checksums::value_of(&computed, self.kept).map(str::to_owned);
        let kept = self.kept;
        let checksum = value.map(|value| Checksum { algorithm: kept, kind: ChecksumKind::Full, value });
        Ok(Digests { md5: hex(&md5), checksum })
    }
}

impl Refusal {
    fn into_error(self) -> S3Error {
        match self {
            Self::ChunkSignature => S3Error::with_message(
                S3ErrorCode::SignatureDoesNotMatch,
                "the signature of a chunk or of the trailers is wrong",
            ),
            Self::PayloadDigest => custom(
                "XAmzContentSHA256Mismatch",
                http::StatusCode::BAD_REQUEST,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
            Self::Silent => silence(),
            Self::TooLarge => S3Error::with_message(
                S3ErrorCode::EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size",
            ),
            Self::TooSmall => S3Error::with_message(
                S3ErrorCode::EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size",
            ),
            Self::TrailerValue => checksums::invalid_value(),
            Self::TrailerMissing => custom(
                "MalformedTrailerError",
                http::StatusCode::BAD_REQUEST,
                "The request contained trailing data that was not well-formed or did not conform to our \
                 published schema.",
            ),
        }
    }
}

/// The error of a client that was silent for too long.
pub(super) fn silence() -> S3Error {
    let why =
        "Your socket connection to the server was not read from or written to within the timeout period.";
    S3Error::with_message(S3ErrorCode::RequestTimeout, why)
}

/// The `Content-MD5` of a request.
pub(super) fn expected_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = base64_simd::STANDARD.decode_to_vec(value.as_bytes());
    let md5 = decoded.ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let invalid =
        || S3Error::with_message(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid.");
    md5.map(Some).ok_or_else(invalid)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &'static [u8], announced: i64, pairs: &[(&'static str, &'static str)]) -> RequestBody {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let stream = StreamingBlob::from(s3s::Body::from(Bytes::from_static(bytes)));
        RequestBody::new(Some(stream), Some(announced), &headers.collect(), None, None).unwrap()
    }

    async fn read(mut body: RequestBody) -> Result<Digests, ObjectError> {
        while body.next().await?.is_some() {}
        body.finish().await
    }

    #[tokio::test]
    async fn a_body_is_hashed_once_and_a_client_that_names_nothing_gets_crc64nvme() {
        let digests = read(body(b"123456789", 9, &[])).await.unwrap();
        assert_eq!(digests.md5, "25f9e794323b453885f5181f1b624d0b");
        let checksum = digests.checksum.unwrap();
        assert_eq!((checksum.algorithm, checksum.value.as_str()), (checksums::DEFAULT, "rosUhgp5mIg="));
        let empty = read(body(b"", 0, &[])).await.unwrap();
        assert_eq!(empty.checksum.unwrap().value, "AAAAAAAAAAA=");
    }

    #[tokio::test]
    async fn what_is_kept_and_what_is_claimed_may_differ() {
        let mut claimed = body(b"123456789", 9, &[("x-amz-checksum-crc32", "y/Q5Jg==")]);
        assert_eq!(claimed.named(), Some(ChecksumAlgorithm::Crc32));
        claimed.compute(ChecksumAlgorithm::Crc32c);
        let checksum = read(claimed).await.unwrap().checksum.unwrap();
        assert_eq!((checksum.algorithm, checksum.value.as_str()), (ChecksumAlgorithm::Crc32c, "4waSgw=="));
        let mut wrong = body(b"12345678X", 9, &[("x-amz-checksum-crc32", "y/Q5Jg==")]);
        wrong.compute(ChecksumAlgorithm::Crc32c);
        assert_eq!(read(wrong).await, Err(ObjectError::BadDigest("CRC32")));
    }

    #[tokio::test]
    async fn a_wrong_length_or_digest_is_not_believed() {
        assert_eq!(read(body(b"12345", 9, &[])).await, Err(ObjectError::IncompleteBody));
        assert_eq!(read(body(b"12345", 3, &[])).await, Err(ObjectError::IncompleteBody));
        let md5 = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
        assert_eq!(read(body(b"12345", 5, &md5)).await, Err(ObjectError::BadDigest("MD5")));
        let right = [("content-md5", "gnzLDuqKcGxMNKFokfhOew==")];
        assert!(read(body(b"12345", 5, &right)).await.is_ok());
    }

    #[tokio::test]
    async fn an_announced_trailer_that_does_not_come_is_an_error() {
        let mut late = body(b"1", 1, &[("x-amz-trailer", "x-amz-checksum-crc32")]);
        while late.next().await.unwrap().is_some() {}
        let error = late.finish().await.unwrap_err();
        assert_eq!(late.explain(error, false).code().as_str(), "MalformedTrailerError");
    }
}
