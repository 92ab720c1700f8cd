//! From the fields of a form to the headers that say the same of a PUT, so that one reading serves both.

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{Metadata, Tagging};
use s3s::xml::{Deserialize, Deserializer};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::policy::Fields;
use crate::objects::TAGS_MAX;
use crate::s3::tagging::from_document;

/// Fields that are called like headers.
const NAMES: [&str; 9] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-date",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// Beginnings of others.
const BEGINNINGS: [&str; 4] =
    ["x-amz-object-lock-", "x-amz-server-side-encryption", "x-amz-checksum-", "x-amz-sdk-checksum-"];
/// How the object's own metadata begin.
const USER: &str = "x-amz-meta-";

/// The headers of a form, and the object's own metadata.
pub(super) fn to_headers(fields: &Fields, sent: &HeaderMap) -> S3Result<(HeaderMap, Metadata)> {
    let (mut headers, mut user) = (HeaderMap::new(), Metadata::new());
    for name in [REFERER, USER_AGENT] {
        headers.extend(sent.get(&name).map(|value| (name, value.clone())));
    }
    for (name, value) in fields {
        if let Some(name) = name.strip_prefix(USER) {
            // What cannot be a header could never be given back.
            say(&mut HeaderMap::new(), &format!("{USER}{name}"), value)?;
            user.insert(name.to_owned(), value.clone());
        } else if name == "acl" {
            say(&mut headers, "x-amz-acl", value)?;
        } else if name == "tagging" {
            say(&mut headers, "x-amz-tagging", &tags(value)?)?;
        } else if NAMES.contains(&name.as_str()) || BEGINNINGS.iter().any(|start| name.starts_with(start)) {
            say(&mut headers, name, value)?;
        }
    }
    Ok((headers, user))
}

fn say(headers: &mut HeaderMap, name: &str, value: &str) -> S3Result<()> {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
        return Ok(());
    }
    let why = format!("The value of the field '{name}' is not valid");
    Err(S3Error::with_message(S3ErrorCode::InvalidArgument, why))
}

/// The tags of a form, which are a document there, in the form of a query.
fn tags(document: &str) -> S3Result<String> {
    let mut xml = Deserializer::new(document.as_bytes());
    let Ok(tagging) = Tagging::deserialize(&mut xml) else { return Err(S3ErrorCode::MalformedXML.into()) };
    let tags = from_document(tagging.tag_set, TAGS_MAX)?;
    Ok(form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_what_headers_say() {
        let document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>";
        let fields: Fields = [
            ("content-type", "text/plain"),
            ("acl", "private"),
            ("tagging", document),
            ("x-amz-meta-who", "ü"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-copy-source", "bucket/other"),
            ("authorization", "no"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let (headers, user) = to_headers(&fields, &HeaderMap::new()).unwrap();
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["x-amz-tagging"], "a+b=1%2B2");
        assert_eq!(headers["x-amz-object-lock-legal-hold"], "ON");
        assert_eq!(headers.len(), 4);
        assert_eq!(user["who"], "ü");
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        let of = |name: &str, value: &str| {
            to_headers(&Fields::from([(name.to_owned(), value.to_owned())]), &HeaderMap::new()).is_err()
        };
        assert!(of("content-type", "a\r\nx: y"));
        assert!(of("tagging", "no document"));
        assert!(of("x-amz-meta-a b", "it could never be given back"));
    }
}
