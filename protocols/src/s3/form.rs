//! Uploads by forms of web pages (Amazon S3 API reference, "POST Object").
//!
//! ```text
//! fields → signature of the policy → conditions of the policy → permission → the file, piece by piece, to the view
//! ```
//!
//! Owns the way of a form from the connection to the view and back. Fields have bounds and are read first; the file is
//! never held as a whole. A form without a policy is one of somebody without a key, and nothing of its file is read
//! before the view has allowed it. Fields after the file are passed over, as S3 does.

mod answer;
mod fields;
mod parser;
mod policy;
mod signature;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Error, S3ErrorCode, S3Result};

pub(super) use self::parser::Parser;
pub(super) use self::policy::{Fields, check as check_policy};

use self::parser::{Event, FormError};
use self::policy::{POLICY, SIGNATURE, SIGNATURE_V2};
use super::access::BaseDomain;
use super::actions::{self, Needs};
use super::body::RequestBody;
use super::errors::{custom, denied, s3_error};
use super::facts::{Facts, Shown};
use super::incoming::WatchedBody;
use super::note::Note;
use super::target::Target;
use super::values::{check_key, header, now, object_name};
use super::write::new_object;
use crate::objects::{ObjectView, PUT_BYTES_MAX, Who};

/// The operation, as logs and permissions call it.
const OPERATION: &str = "PostObject";
/// What stands in a key for the name of the file.
const FILE_NAME: &str = "${filename}";

/// Takes forms for a view.
pub(super) struct Forms {
    view: Arc<dyn ObjectView>,
    domain: Option<BaseDomain>,
}

/// The fields of a form whose file has begun.
struct Begun {
    fields: Fields,
    file_name: Option<String>,
    file: FileStream,
}

/// A form that may go on.
struct Admitted {
    /// Who sends it.
    who: Who,
    /// How that was shown.
    shown: Shown,
    /// How many bytes its file may have.
    range: std::ops::RangeInclusive<u64>,
}

impl Forms {
    /// Into the buckets of a view.
    pub(super) fn new(view: Arc<dyn ObjectView>, domain: Option<BaseDomain>) -> Self {
        Self { view, domain }
    }

    /// Carries out an upload.
    pub(super) async fn carry_out(
        &self,
        request: Request<WatchedBody>,
        note: &Arc<Note>,
    ) -> S3Result<Response<Body>> {
        note.set_operation(OPERATION);
        let (head, body) = request.into_parts();
        let target = Target::of(self.domain.as_ref(), &head.headers, &head.uri);
        let Some(target) = target.filter(|target| target.key.is_empty()) else {
            return Err(S3ErrorCode::MethodNotAllowed.into());
        };
        let content_type = header(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let begun = begin(Parser::new(content_type).map_err(form_error)?, body).await?;
        let fields = expand(begun.fields, begun.file_name.as_deref());
        let Admitted { who, shown, range } = self.admit(&fields, &target.bucket, note).await?;
        let key = fields.get("key").ok_or_else(|| signature::missing("key"))?;
        check_key(key)?;
        let (headers, user) = fields::to_headers(&fields, &head.headers)?;
        let facts = Facts::new(&headers, None, shown).over(note.tls_version());
        self.ask(&who, &facts, &target.bucket, key).await?;
        let new = new_object(&headers, Some(&user), header(&headers, "x-amz-tagging"))?;
        let stream = StreamingBlob::wrap(begun.file);
        let mut body = RequestBody::of_form(stream, range, &headers, Arc::clone(note))?;
        let name = object_name(&target.bucket, key);
        let put = self.view.put(&who, &name, new, &mut body).await;
        let done = put.map_err(|error| body.explain(error, false))?;
        Ok(answer::of(&done, &name, &fields, &head, note.is_secure()))
    }

    async fn admit(&self, fields: &Fields, bucket: &str, note: &Note) -> S3Result<Admitted> {
        let Some(policy) = fields.get(POLICY) else {
            if [SIGNATURE, SIGNATURE_V2].iter().any(|name| fields.contains_key(*name)) {
                return Err(signature::missing(POLICY));
            }
            return Ok(Admitted { who: note.who(None), shown: Shown::Nothing, range: 0..=PUT_BYTES_MAX });
        };
        let (access_key, shown) = signature::check(self.view.as_ref(), policy, fields).await?;
        let range = policy::check(policy, fields, bucket, now())?;
        Ok(Admitted { who: note.who(Some(access_key)), shown, range })
    }

    async fn ask(&self, who: &Who, facts: &Facts<'_>, bucket: &str, key: &str) -> S3Result<()> {
        let Some(Needs::Now(needs)) = actions::needs_of(OPERATION, facts) else { return Err(denied()) };
        let asked = actions::ask(self.view.as_ref(), who, facts, &needs, Some(bucket), Some(key));
        asked.await.map_err(s3_error)
    }
}

/// Reads a form up to its file.
async fn begin(mut parser: Parser, mut body: WatchedBody) -> S3Result<Begun> {
    let mut fields = Fields::new();
    loop {
        match parser.next().map_err(form_error)? {
            Some(Event::Field(name, value)) => {
                if fields.insert(name, value).is_some() {
                    return Err(form_error(FormError::Malformed));
                }
            }
            Some(Event::File(file_name)) => {
                return Ok(Begun { fields, file_name, file: FileStream { parser, body, failed: false } });
            }
            Some(Event::Data(_) | Event::End) => return Err(form_error(FormError::Malformed)),
            None => match body.frame().await {
                None => return Err(form_error(FormError::Incomplete)),
                Some(Err(_)) => return Err(form_error(FormError::Cut)),
                Some(Ok(frame)) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    parser.push(&bytes).map_err(form_error)?;
                }
            },
        }
    }
}

/// The key gets the name of the file, without the folders that it lay in.
fn expand(mut fields: Fields, file_name: Option<&str>) -> Fields {
    let name = file_name.unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    if let Some(key) = fields.get_mut("key") {
        *key = key.replace(FILE_NAME, name);
    }
    fields
}

fn form_error(error: FormError) -> S3Error {
    match error {
        FormError::Malformed => S3Error::with_message(
            S3ErrorCode::MalformedPOSTRequest,
            "The body of your POST request is not well-formed multipart/form-data.",
        ),
        FormError::TooLong => custom(
            "MaxPostPreDataLengthExceeded",
            StatusCode::BAD_REQUEST,
            "Your POST request fields preceding the upload file were too large.",
        ),
        FormError::NoFile => S3Error::with_message(
            S3ErrorCode::IncorrectNumberOfFilesInPostRequest,
            "POST requires exactly one file upload per request.",
        ),
        FormError::Incomplete | FormError::Cut => S3ErrorCode::IncompleteBody.into(),
    }
}

/// The bytes of the file of a form, and then the rest of the form, so that the next request can follow.
struct FileStream {
    parser: Parser,
    body: WatchedBody,
    failed: bool,
}

impl FileStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FormError>> {
        loop {
            match self.parser.next()? {
                Some(Event::Data(bytes)) => return Poll::Ready(Ok(Some(bytes))),
                Some(_) => continue,
                None => {}
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.parser.finish().map(|()| None)),
                Some(Err(_)) => return Poll::Ready(Err(FormError::Cut)),
                Some(Ok(frame)) => self.parser.push(&frame.into_data().unwrap_or_default())?,
            }
        }
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, FormError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let read = std::task::ready!(FileStream::poll(&mut self, cx)).transpose();
        self.failed = matches!(read, None | Some(Err(_)));
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_goes_into_the_key_without_its_folders() {
        let key = |key: &str, name: Option<&str>| {
            expand(Fields::from([("key".to_owned(), key.to_owned())]), name)["key"].clone()
        };
        assert_eq!(key("user/${filename}", Some("a.txt")), "user/a.txt");
        assert_eq!(key("user/${filename}", Some("C:\\x\\a.txt")), "user/a.txt");
        assert_eq!(key("user/${filename}", Some("/x/a.txt")), "user/a.txt");
        assert_eq!(key("user/${filename}", None), "user/");
        assert_eq!(key("plain", Some("a.txt")), "plain");
    }
}
