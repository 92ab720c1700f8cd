//! Reading objects: GetObject and HeadObject, with ranges, part numbers and conditions.
//!
//! A conditional read that finds nothing new answers 304 with the ETag and without a body. A range has one
//! interval of bytes (RFC 9110 section 14.1.2); `partNumber` names a part of an object that was made of
//! parts, and part 1 of any other is the whole object. Headers that a signed request overrides
//! (`response-content-type` and so on) are those of the answer.

use std::ops::Range;

use futures::{StreamExt, TryStreamExt};
use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{
    self, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob,
    Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::actions::ask_for_object;
use super::checksums;
use super::errors::{custom, invalid_request, s3_error};
use super::facts::{Conditions, facts_of};
use super::lock;
use super::metadata::{class_to_wire, refuse_unknown, to_headers, user_to_wire};
use super::operations::Operations;
use super::values::{
    etag, http_date, object_name, read_conditions, timestamp, version_of, version_to_wire, who_of,
};
use crate::objects::{
    Asked, Checksum, DataStream, Lock, ObjectError, ObjectInfo, ObjectName, OpenObject, VersionId, Who,
};

/// How many tags an object has; the answer of HeadObject has no other place for it.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// What GetObject and HeadObject have in common.
struct Question<'a> {
    matches: Option<&'a ETagCondition>,
    differs: Option<&'a ETagCondition>,
    modified_since: Option<&'a Timestamp>,
    unmodified_since: Option<&'a Timestamp>,
    range: Option<dto::Range>,
    part_number: Option<i32>,
    checksum: bool,
}

/// What is answered of an object.
struct Answer {
    range: Range<u64>,
    content_range: Option<String>,
    parts_count: Option<i32>,
    checksum: dto::Checksum,
}

/// What is told of an object besides what it holds.
#[derive(Default)]
struct Besides {
    lock: Lock,
    /// How many it has.
    tags: usize,
}

impl Question<'_> {
    /// As [`Question::answer`]; a part has its own checksum, if it is known.
    async fn answer_of(&self, object: &dyn OpenObject) -> S3Result<Answer> {
        let info = object.info();
        let mut answer = self.answer(info)?;
        let part = self.part_number.and_then(|number| u32::try_from(number).ok()?.checked_sub(1));
        let Some(before) = part.filter(|_| self.checksum && info.parts.count() > 0) else {
            return Ok(answer);
        };
        let found = object.part_checksums(before, 1).await.map_err(s3_error)?;
        if let Some(checksum) = found.first() {
            let kind = info.checksum.as_ref().map_or(checksum.kind, |whole| whole.kind);
            answer.checksum = checksums::to_wire(Some(&Checksum { kind, ..checksum.clone() }));
        }
        Ok(answer)
    }

    fn answer(&self, info: &ObjectInfo) -> S3Result<Answer> {
        let conditions =
            read_conditions(self.matches, self.differs, self.modified_since, self.unmodified_since)?;
        conditions.check_read(info).map_err(|error| unfulfilled(error, info))?;
        let (range, is_partial) = self.range_of(info)?;
        let is_whole = range == (0..info.size);
        let checksum = info.checksum.as_ref().filter(|_| self.checksum && is_whole);
        Ok(Answer {
            content_range: is_partial.then(|| content_range(&range, info.size)),
            parts_count: self
                .part_number
                .filter(|_| info.parts.count() > 0)
                .map(|_| info.parts.count() as i32),
            checksum: checksums::to_wire(checksum),
            range,
        })
    }

    /// Which bytes, and whether the answer is one of a part of the object.
    fn range_of(&self, info: &ObjectInfo) -> S3Result<(Range<u64>, bool)> {
        match (self.range, self.part_number) {
            (None, None) => Ok((0..info.size, false)),
            (Some(range), None) => Ok((satisfy(range, info.size)?, true)),
            (None, Some(number)) => Ok((part_range(number, info)?, info.size > 0)),
            (Some(_), Some(_)) => {
                Err(invalid_request("Cannot specify both Range header and partNumber query parameter"))
            }
        }
    }
}

/// The bytes of a range in an object of `size` bytes; never none.
pub(super) fn satisfy(range: dto::Range, size: u64) -> S3Result<Range<u64>> {
    let found = range.check(size).ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| {
        let mut error = s3_error(ObjectError::InvalidRange);
        // RFC 9110 section 14.4: the client is told how long the object is.
        if let Ok(length) = HeaderValue::try_from(format!("bytes */{size}")) {
            let xml = HeaderValue::from_static("application/xml");
            let headers = [(http::header::CONTENT_RANGE, length), (CONTENT_TYPE, xml)];
            error.set_headers(HeaderMap::from_iter(headers));
        }
        error
    })
}

fn part_range(number: i32, info: &ObjectInfo) -> S3Result<Range<u64>> {
    let number = u32::try_from(number).ok().filter(|number| (1..=10_000).contains(number));
    let Some(number) = number else {
        return Err(super::multipart::invalid_part_number());
    };
    let found =
        if info.parts.count() == 0 && number == 1 { Some(0..info.size) } else { info.parts.range(number) };
    found.ok_or_else(|| {
        let why = "The requested partnumber is not satisfiable";
        custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, why)
    })
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// The error of a condition that does not hold; 304 says what the client has.
fn unfulfilled(error: ObjectError, info: &ObjectInfo) -> S3Error {
    let not_modified = error == ObjectError::NotModified;
    let mut answer = s3_error(error);
    if not_modified {
        let mut headers = HeaderMap::new();
        let date = http_date(info.modified).and_then(|date| HeaderValue::try_from(date).ok());
        let tag = HeaderValue::try_from(format!("\"{}\"", info.etag)).ok();
        headers.extend([(ETAG, tag), (LAST_MODIFIED, date)].into_iter().filter_map(|(n, v)| Some((n, v?))));
        for (name, value) in to_headers(&info.metadata) {
            if let Some(name) = name.filter(|name| name == "cache-control" || name == "expires") {
                headers.insert(name, value);
            }
        }
        answer.set_headers(headers);
    }
    answer
}

/// A body of an answer.
fn stream_body(data: DataStream) -> StreamingBlob {
    let frames = data.map_ok(Frame::data);
    StreamingBlob::from(s3s::Body::http_body_unsync(StreamBody::new(frames)))
}

/// A body whose first bytes are there: what cannot be read at all is an error of the request, and not a connection
/// that breaks after a good beginning.
async fn begun(mut data: DataStream) -> S3Result<StreamingBlob> {
    let first = data.next().await.transpose().map_err(s3_error)?;
    let first = futures::stream::iter(first.map(Ok));
    Ok(stream_body(first.chain(data).boxed()))
}

fn storage_and_headers(info: &ObjectInfo) -> (Option<dto::StorageClass>, HeaderMap) {
    (class_to_wire(info.storage_class.as_deref()), to_headers(&info.metadata))
}

impl Operations {
    /// GetObject.
    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let who = who_of(&request)?;
        refuse_unknown(&request.headers)?;
        let input = &request.input;
        let version = version_of(input.version_id.as_deref())?;
        let overrides = overrides_of_get(input)?;
        refuse_unsigned(&request, &overrides)?;
        let name = object_name(&input.bucket, &input.key);
        let object = self.open_for(&request, &name, version.as_ref()).await?;
        let question = Question {
            matches: input.if_match.as_ref(),
            differs: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
            range: input.range,
            part_number: input.part_number,
            checksum: is_enabled(input.checksum_mode.as_ref()),
        };
        let answer = question.answer_of(object.as_ref()).await?;
        let besides = self.besides(&request, &who, &name, version.as_ref(), object.info()).await;
        let mut output = get_output(object.as_ref(), answer, &besides).await?;
        output.expiration = self.expiration(&who, &name, version.as_ref(), object.info()).await;
        let mut response = S3Response::new(output);
        response.headers = storage_and_headers(object.info()).1;
        response.headers.extend(overrides);
        Ok(response)
    }

    /// HeadObject.
    pub(super) async fn head_object_of(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let who = who_of(&request)?;
        refuse_unknown(&request.headers)?;
        let input = &request.input;
        let version = version_of(input.version_id.as_deref())?;
        let overrides = overrides_of_head(input)?;
        refuse_unsigned(&request, &overrides)?;
        let name = object_name(&input.bucket, &input.key);
        let object = self.open_for(&request, &name, version.as_ref()).await?;
        let question = Question {
            matches: input.if_match.as_ref(),
            differs: input.if_none_match.as_ref(),
            modified_since: input.if_modified_since.as_ref(),
            unmodified_since: input.if_unmodified_since.as_ref(),
            range: input.range,
            part_number: input.part_number,
            checksum: is_enabled(input.checksum_mode.as_ref()),
        };
        let answer = question.answer_of(object.as_ref()).await?;
        let besides = self.besides(&request, &who, &name, version.as_ref(), object.info()).await;
        let mut output = head_output(object.info(), answer, &besides);
        output.expiration = self.expiration(&who, &name, version.as_ref(), object.info()).await;
        let mut response = S3Response::new(output);
        response.headers = storage_and_headers(object.info()).1;
        if besides.tags > 0 {
            response.headers.insert(TAG_COUNT, HeaderValue::from(besides.tags));
        }
        response.headers.extend(overrides);
        Ok(response)
    }
}

impl Operations {
    /// Opens the object of a request, or says why not.
    pub(super) async fn open_for<T: Send + Sync>(
        &self,
        request: &S3Request<T>,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> S3Result<Box<dyn OpenObject>> {
        let (who, conditions) = (who_of(request)?, facts_of(request).of_request());
        self.find_for(&who, &conditions, name, version).await.map_err(s3_error)
    }

    /// Opens an object. That it is not there is said to who may list the bucket; others are denied.
    pub(super) async fn find_for(
        &self,
        who: &Who,
        conditions: &Conditions,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> Result<Box<dyn OpenObject>, ObjectError> {
        match self.view().open(who, name, version).await {
            Err(ObjectError::NoSuchKey | ObjectError::DeleteMarker { named: false, .. })
                if !self.may_list(who, &name.bucket, conditions).await =>
            {
                Err(ObjectError::AccessDenied)
            }
            opened => opened,
        }
    }

    async fn may_list(&self, who: &Who, bucket: &str, conditions: &Conditions) -> bool {
        let bucket = Some(bucket);
        let asked = Asked { action: "s3:ListBucket", bucket, key: None, version: None, conditions };
        self.view().authorize(who, &asked).await != Err(ObjectError::AccessDenied)
    }

    /// What of the lock and the tags of an object its reader may know: each by the permission to ask for it.
    async fn besides<T: Send + Sync>(
        &self,
        request: &S3Request<T>,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        info: &ObjectInfo,
    ) -> Besides {
        let conditions = facts_of(request).all();
        let may = |action| ask_for_object(self.view(), who, action, name, version, &conditions);
        let mut besides = Besides::default();
        if info.lock.retention.is_some() && may("s3:GetObjectRetention").await.is_ok() {
            besides.lock.retention = info.lock.retention;
        }
        besides.lock.legal_hold = info.lock.legal_hold && may("s3:GetObjectLegalHold").await.is_ok();
        let of_tags = match version {
            Some(_) => "s3:GetObjectVersionTagging",
            None => "s3:GetObjectTagging",
        };
        if !info.tags.is_empty() && may(of_tags).await.is_ok() {
            besides.tags = info.tags.len();
        }
        besides
    }

    /// When an object expires that was not named by its version.
    async fn expiration(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        info: &ObjectInfo,
    ) -> Option<String> {
        if version.is_some() {
            return None;
        }
        self.expiration_of(who, name, info.size, info.modified, &info.tags).await
    }
}

fn is_enabled(mode: Option<&dto::ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == dto::ChecksumMode::ENABLED)
}

async fn get_output(object: &dyn OpenObject, answer: Answer, besides: &Besides) -> S3Result<GetObjectOutput> {
    let info = object.info();
    let length = answer.range.end - answer.range.start;
    let body = if length == 0 { None } else { Some(begun(object.read(answer.range)).await?) };
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) =
        lock::to_wire(&besides.lock);
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body,
        checksum_crc32: answer.checksum.checksum_crc32,
        checksum_crc32c: answer.checksum.checksum_crc32c,
        checksum_crc64nvme: answer.checksum.checksum_crc64nvme,
        checksum_sha1: answer.checksum.checksum_sha1,
        checksum_sha256: answer.checksum.checksum_sha256,
        checksum_type: answer.checksum.checksum_type,
        content_length: Some(length as i64),
        content_range: answer.content_range,
        e_tag: Some(etag(&info.etag)),
        last_modified: Some(timestamp(info.modified)),
        metadata: user_to_wire(&info.metadata),
        parts_count: answer.parts_count,
        storage_class: storage_and_headers(info).0,
        tag_count: (besides.tags > 0).then_some(besides.tags as i32),
        version_id: version_to_wire(info.version.as_ref()),
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        ..GetObjectOutput::default()
    })
}

fn head_output(info: &ObjectInfo, answer: Answer, besides: &Besides) -> HeadObjectOutput {
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) =
        lock::to_wire(&besides.lock);
    HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        checksum_crc32: answer.checksum.checksum_crc32,
        checksum_crc32c: answer.checksum.checksum_crc32c,
        checksum_crc64nvme: answer.checksum.checksum_crc64nvme,
        checksum_sha1: answer.checksum.checksum_sha1,
        checksum_sha256: answer.checksum.checksum_sha256,
        checksum_type: answer.checksum.checksum_type,
        content_length: Some((answer.range.end - answer.range.start) as i64),
        content_range: answer.content_range,
        e_tag: Some(etag(&info.etag)),
        last_modified: Some(timestamp(info.modified)),
        metadata: user_to_wire(&info.metadata),
        parts_count: answer.parts_count,
        storage_class: storage_and_headers(info).0,
        version_id: version_to_wire(info.version.as_ref()),
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        ..HeadObjectOutput::default()
    }
}

/// Whoever shows no key does not say how an answer is to be taken: else anybody could have a page of this host made of what somebody
/// has put there.
fn refuse_unsigned<T>(request: &S3Request<T>, overrides: &HeaderMap) -> S3Result<()> {
    if request.credentials.is_some() || overrides.is_empty() {
        return Ok(());
    }
    Err(invalid_request("Request specific response headers cannot be used for anonymous GET requests."))
}

fn overrides_of_get(input: &GetObjectInput) -> S3Result<HeaderMap> {
    overrides(
        [
            ("cache-control", input.response_cache_control.as_deref()),
            ("content-disposition", input.response_content_disposition.as_deref()),
            ("content-encoding", input.response_content_encoding.as_deref()),
            ("content-language", input.response_content_language.as_deref()),
            ("content-type", input.response_content_type.as_deref()),
        ],
        input.response_expires.as_ref(),
    )
}

fn overrides_of_head(input: &HeadObjectInput) -> S3Result<HeaderMap> {
    overrides(
        [
            ("cache-control", input.response_cache_control.as_deref()),
            ("content-disposition", input.response_content_disposition.as_deref()),
            ("content-encoding", input.response_content_encoding.as_deref()),
            ("content-language", input.response_content_language.as_deref()),
            ("content-type", input.response_content_type.as_deref()),
        ],
        input.response_expires.as_ref(),
    )
}

fn overrides(pairs: [(&'static str, Option<&str>); 5], expires: Option<&Timestamp>) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut date = Vec::new();
    let date = match expires {
        Some(expires) if expires.format(TimestampFormat::HttpDate, &mut date).is_ok() => {
            std::str::from_utf8(&date).ok()
        }
        _ => None,
    };
    for (name, value) in pairs.into_iter().chain([("expires", date)]) {
        let Some(value) = value else { continue };
        let Ok(value) = HeaderValue::try_from(value) else {
            return Err(super::errors::invalid_argument("a response- header cannot be sent"));
        };
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::PartSizes;

    fn int(first: u64, last: Option<u64>) -> dto::Range {
        dto::Range::Int { first, last }
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        assert_eq!(satisfy(int(0, Some(4)), 10).unwrap(), 0..5);
        assert_eq!(satisfy(int(5, None), 10).unwrap(), 5..10);
        assert_eq!(satisfy(int(5, Some(99)), 10).unwrap(), 5..10);
        assert_eq!(satisfy(dto::Range::Suffix { length: 3 }, 10).unwrap(), 7..10);
        assert_eq!(satisfy(dto::Range::Suffix { length: 30 }, 10).unwrap(), 0..10);
        for (range, size) in [
            (int(10, None), 10),
            (int(0, None), 0),
            (dto::Range::Suffix { length: 0 }, 10),
            (dto::Range::Suffix { length: 1 }, 0),
        ] {
            let error = satisfy(range, size).unwrap_err();
            assert_eq!(error.status_code(), Some(StatusCode::RANGE_NOT_SATISFIABLE));
        }
    }

    #[test]
    fn parts_are_ranges_of_their_object() {
        let parts = PartSizes::new([4, 4, 2]);
        let info = ObjectInfo { size: 10, parts, ..ObjectInfo::default() };
        assert_eq!(part_range(3, &info).unwrap(), 8..10);
        assert_eq!(part_range(4, &info).unwrap_err().code().as_str(), "InvalidPartNumber");
        assert_eq!(part_range(0, &info).unwrap_err().code().as_str(), "InvalidArgument");
        let whole = ObjectInfo { size: 10, ..ObjectInfo::default() };
        assert_eq!(part_range(1, &whole).unwrap(), 0..10);
        assert!(part_range(2, &whole).is_err());
    }
}
