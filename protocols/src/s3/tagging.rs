//! Tags of objects: PutObjectTagging, GetObjectTagging, DeleteObjectTagging and the header `x-amz-tagging`.
//!
//! Owns their bounds (Amazon S3 user guide, "Categorizing your objects using tags"): at most ten, names of 1 to
//! 128 characters, values of at most 256, letters, digits, spaces and `+ - = . _ : / @`; names do not begin
//! with `aws:` and are there once.

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::actions::ask_for_object;
use super::errors::{invalid_argument, s3_error};
use super::facts::{facts_of, of_tags};
use super::operations::Operations;
use super::values::{object_name, version_of, version_to_wire, who_of};
use super::write::durability;
use crate::objects::{TAGS_MAX, Tags};

/// The longest name of a tag in characters.
const NAME_CHARACTERS_MAX: usize = 128;
/// The longest value of a tag in characters.
const VALUE_CHARACTERS_MAX: usize = 256;

/// The tags in the header of a change, which has the form of a query.
pub(super) fn from_header(header: Option<&str>) -> S3Result<Tags> {
    let Some(header) = header else { return Ok(Tags::new()) };
    let pairs = form_urlencoded::parse(header.as_bytes());
    collect(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())), TAGS_MAX).map_err(|error| {
        // In a header a wrong tag is a wrong argument, in a document it is a wrong tag.
        let why = error.message().unwrap_or_default().to_owned();
        S3Error::with_message(S3ErrorCode::InvalidArgument, why)
    })
}

/// The tags of a document, at most `most`.
pub(super) fn from_document(tags: Vec<Tag>, most: usize) -> S3Result<Tags> {
    let pairs: Option<Vec<_>> = tags.into_iter().map(|tag| Some((tag.key?, tag.value?))).collect();
    match pairs {
        Some(pairs) => collect(pairs.into_iter(), most),
        None => Err(S3ErrorCode::MalformedXML.into()),
    }
}

fn collect(pairs: impl Iterator<Item = (String, String)>, most: usize) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for (name, value) in pairs {
        check(&name, &value)?;
        if tags.insert(name, value).is_some() {
            return Err(invalid_tag("Cannot provide multiple Tags with the same key"));
        }
        if tags.len() > most {
            let why = format!("There may be at most {most} tags");
            return Err(S3Error::with_message(S3ErrorCode::InvalidTag, why));
        }
    }
    Ok(tags)
}

fn check(name: &str, value: &str) -> S3Result<()> {
    let characters = name.chars().count();
    if characters == 0 || characters > NAME_CHARACTERS_MAX || !is_plain(name) {
        return Err(invalid_tag("The TagKey you have provided is invalid"));
    }
    if name.to_ascii_lowercase().starts_with("aws:") {
        return Err(invalid_tag("System tags cannot be added/updated by requester"));
    }
    if value.chars().count() > VALUE_CHARACTERS_MAX || !is_plain(value) {
        return Err(invalid_tag("The TagValue you have provided is invalid"));
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c))
}

fn invalid_tag(why: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidTag, why)
}

/// Tags in a document.
pub(super) fn to_document(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(name, value)| Tag { key: Some(name), value: Some(value) }).collect()
}

impl Operations {
    /// PutObjectTagging.
    pub(super) async fn set_tags(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let who = who_of(&request)?;
        let mut conditions = facts_of(&request).all();
        let input = request.input;
        let version = version_of(input.version_id.as_deref())?;
        let name = object_name(&input.bucket, &input.key);
        let tags = from_document(input.tagging.tag_set, TAGS_MAX)?;
        conditions.extend(of_tags(&tags));
        let action = if version.is_some() { "s3:PutObjectVersionTagging" } else { "s3:PutObjectTagging" };
        let asked = ask_for_object(self.view(), &who, action, &name, version.as_ref(), &conditions);
        asked.await.map_err(s3_error)?;
        let set = self.view().set_tags(&who, &name, version.as_ref(), tags).await.map_err(s3_error)?;
        let output = PutObjectTaggingOutput { version_id: version_to_wire(set.version.as_ref()) };
        Ok(S3Response::with_headers(output, durability(set.in_repository)))
    }

    /// GetObjectTagging.
    pub(super) async fn tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let who = who_of(&request)?;
        let version = version_of(request.input.version_id.as_deref())?;
        let name = object_name(&request.input.bucket, &request.input.key);
        let object = self.view().open(&who, &name, version.as_ref()).await.map_err(s3_error)?;
        let tag_set = to_document(object.info().tags.clone());
        let version_id = version_to_wire(object.info().version.as_ref());
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
    }

    /// DeleteObjectTagging.
    pub(super) async fn delete_tags(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let who = who_of(&request)?;
        let version = version_of(request.input.version_id.as_deref())?;
        let name = object_name(&request.input.bucket, &request.input.key);
        let set = self.view().set_tags(&who, &name, version.as_ref(), Tags::new()).await;
        let set = set.map_err(s3_error)?;
        let output = DeleteObjectTaggingOutput { version_id: version_to_wire(set.version.as_ref()) };
        Ok(S3Response::with_headers(output, durability(set.in_repository)))
    }
}

/// The tags of a copy: those of the header when the directive replaces them.
pub(super) fn of_copy(directive: Option<&str>, header: Option<&str>) -> S3Result<(Tags, bool)> {
    match directive {
        None | Some("COPY") => Ok((Tags::new(), true)),
        Some("REPLACE") => Ok((from_header(header)?, false)),
        Some(_) => Err(invalid_argument("Unknown tagging directive.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header_have_the_form_of_a_query() {
        let tags = from_header(Some("a=1&b%20c=x+y&empty=")).unwrap();
        assert_eq!(tags["b c"], "x y");
        assert_eq!(tags["empty"], "");
        assert_eq!(tags.len(), 3);
        assert_eq!(from_header(None).unwrap(), Tags::new());
    }

    #[test]
    fn tags_have_the_bounds_of_s3() {
        let one = |name: &str, value: &str| check(name, value).map_err(|error| error.code().clone());
        assert_eq!(one(&"ü".repeat(128), &"v".repeat(256)), Ok(()));
        let wrong = Err(S3ErrorCode::InvalidTag);
        assert_eq!(one(&"n".repeat(129), ""), wrong);
        assert_eq!(one("", "v"), wrong);
        assert_eq!(one("n", &"v".repeat(257)), wrong);
        assert_eq!(one("n", "a&b"), wrong);
        assert_eq!(one("AWS:n", ""), wrong);
        let many =
            |count: usize| collect((0..count).map(|tag| (tag.to_string(), String::new())), TAGS_MAX).is_ok();
        assert!(many(10));
        assert!(!many(11));
        assert!(from_header(Some("a=1&a=2")).is_err());
    }
}
