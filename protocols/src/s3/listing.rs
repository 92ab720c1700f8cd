//! Listing keys: ListObjects and ListObjectsV2.
//!
//! Both ask the view for one page after a name and differ in how the next page is asked for: version 1 by a
//! marker that the client sees, version 2 by a token that it does not ([`super::token`]). With
//! `encoding-type=url` names are percent-encoded, as XML cannot say every character of a key.

use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::checksums::{algorithm_to_wire, kind_to_wire};
use super::errors::{invalid_argument, s3_error};
use super::metadata::class_in_document;
use super::operations::Operations;
use super::token::Token;
use super::values::{etag, owner, timestamp, who_of};
use crate::objects::{ListEntry, ListQuery, Listing, ObjectInfo, PAGE_ENTRIES_MAX, Who};

/// Whether names are percent-encoded in an answer.
#[derive(Clone, Copy)]
pub(super) struct Encoding(bool);

impl Encoding {
    /// What a request asks for.
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some(EncodingType::URL) => Ok(Self(true)),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    /// A name as the answer has it.
    pub(super) fn name(self, name: &str) -> String {
        if self.0 { percent_encode(name) } else { name.to_owned() }
    }

    /// What the answer says of it.
    pub(super) fn to_wire(self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// Everything but letters, digits and `-_.~/` is encoded.
pub(super) fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// How many entries a page may have: what is asked for, up to the bound of S3.
pub(super) fn page_limit(asked: Option<i32>, what: &'static str) -> S3Result<usize> {
    match asked {
        None => Ok(PAGE_ENTRIES_MAX),
        Some(asked) => match usize::try_from(asked) {
            Ok(asked) => Ok(asked.min(PAGE_ENTRIES_MAX)),
            Err(_) => Err(invalid_argument(what)),
        },
    }
}

/// What is not empty.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn object(key: &str, info: &ObjectInfo, encoding: Encoding, own: Option<&str>) -> Object {
    let checksum = info.checksum.as_ref();
    Object {
        checksum_algorithm: checksum.map(|checksum| vec![algorithm_to_wire(checksum.algorithm)]),
        checksum_type: checksum.map(|checksum| kind_to_wire(checksum.kind)),
        e_tag: Some(etag(&info.etag)),
        key: Some(encoding.name(key)),
        last_modified: Some(timestamp(info.modified)),
        owner: own.map(owner),
        restore_status: None,
        size: Some(info.size as i64),
        storage_class: Some(ObjectStorageClass::from(class_in_document(info.storage_class.as_deref()))),
    }
}

/// The objects and the prefixes of a page.
fn split(listing: &Listing, encoding: Encoding, own: Option<&str>) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in &listing.entries {
        match entry {
            ListEntry::Object { key, info } => objects.push(object(key, info, encoding, own)),
            ListEntry::Prefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(encoding.name(prefix)) });
            }
        }
    }
    (objects, prefixes)
}

/// The name after which the next page begins, if there is one.
fn next_name(listing: &Listing) -> Option<&str> {
    listing.entries.last().filter(|_| listing.more).map(ListEntry::name)
}

impl Operations {
    async fn page(&self, who: &Who, bucket: &str, query: &ListQuery) -> S3Result<Listing> {
        if query.limit == 0 {
            self.view().bucket(who, bucket).await.map_err(s3_error)?;
            return Ok(Listing::default());
        }
        self.view().list(who, bucket, query).await.map_err(s3_error)
    }

    /// ListObjects.
    pub(super) async fn list(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let who = who_of(&request)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let query = ListQuery {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: filled(input.delimiter),
            after: filled(input.marker),
            limit: page_limit(
                input.max_keys,
                "Argument maxKeys must be an integer between 0 and 2147483647",
            )?,
        };
        let listing = self.page(&who, &input.bucket, &query).await?;
        let own = self.owner_of(&who, &input.bucket).await?;
        let (objects, prefixes) = split(&listing, encoding, Some(&own));
        // Without a delimiter the next page begins after the last key, and S3 does not repeat it.
        let next = next_name(&listing).filter(|_| query.delimiter.is_some());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.name(&query.prefix)),
            marker: Some(encoding.name(query.after.as_deref().unwrap_or_default())),
            max_keys: Some(query.limit as i32),
            is_truncated: Some(listing.more),
            next_marker: next.map(|name| encoding.name(name)),
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            delimiter: query.delimiter.as_deref().map(|delimiter| encoding.name(delimiter)),
            encoding_type: encoding.to_wire(),
            request_charged: None,
        }))
    }

    /// ListObjectsV2.
    pub(super) async fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let who = who_of(&request)?;
        let input = request.input;
        let encoding = Encoding::of(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = filled(input.delimiter);
        let scope = [input.bucket.as_str(), &prefix, delimiter.as_deref().unwrap_or_default()];
        // An empty token is that of the first page.
        let token = input.continuation_token.as_deref().filter(|token| !token.is_empty());
        let after_token = token.map(|token| Token::read(token, &scope)).transpose()?;
        let start_after = filled(input.start_after);
        let query = ListQuery {
            after: after_token.or_else(|| start_after.clone()),
            limit: page_limit(
                input.max_keys,
                "Argument maxKeys must be an integer between 0 and 2147483647",
            )?,
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
        };
        let listing = self.page(&who, &input.bucket, &query).await?;
        let own = match input.fetch_owner {
            Some(true) => Some(self.owner_of(&who, &input.bucket).await?),
            Some(false) | None => None,
        };
        let (objects, prefixes) = split(&listing, encoding, own.as_deref());
        Ok(S3Response::new(ListObjectsV2Output {
            next_continuation_token: next_name(&listing).map(|name| Token::write(name, &scope)),
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.name(&prefix)),
            max_keys: Some(query.limit as i32),
            key_count: Some(listing.entries.len() as i32),
            continuation_token: input.continuation_token.clone(),
            is_truncated: Some(listing.more),
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            delimiter: delimiter.as_deref().map(|delimiter| encoding.name(delimiter)),
            encoding_type: encoding.to_wire(),
            start_after: start_after.map(|name| encoding.name(&name)),
            request_charged: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_byte_by_byte() {
        assert_eq!(percent_encode("a/b-_.~ ü+%\u{1}"), "a/b-_.~%20%C3%BC%2B%25%01");
    }

    #[test]
    fn pages_have_bounds() {
        assert_eq!(page_limit(None, "").unwrap(), 1000);
        assert_eq!(page_limit(Some(0), "").unwrap(), 0);
        assert_eq!(page_limit(Some(7), "").unwrap(), 7);
        assert_eq!(page_limit(Some(5000), "").unwrap(), 1000);
        assert!(page_limit(Some(-1), "").is_err());
    }
}
