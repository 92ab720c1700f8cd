//! What a client says of an object besides its bytes, from headers and back (Amazon S3 user guide, "Working
//! with object metadata").
//!
//! Headers are kept as they were sent, but for `aws-chunked` in `content-encoding`, which is of the transfer.
//! Headers that ask for what this server does not do (keys of customers, grants) are refused by
//! [`refuse_unknown`]: to pass over them would be a promise that is not kept.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::errors::{custom, invalid_argument, invalid_request, not_implemented};
use super::values::header;
use crate::objects::{HEADERS_BYTES_MAX, METADATA_BYTES_MAX, Metadata};

/// The headers that are given back.
const KEPT_HEADERS: [&str; 7] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    REDIRECT,
];
/// Where a website sends who asks for the object.
pub(super) const REDIRECT: &str = "x-amz-website-redirect-location";
/// How such a place begins.
const REDIRECT_STARTS: [&str; 3] = ["/", "http://", "https://"];
/// The type of an object of which the client said none.
const UNTYPED: HeaderValue = HeaderValue::from_static("binary/octet-stream");
/// The storage class that is not mentioned.
const STANDARD: &str = "STANDARD";
/// Storage classes that clients may ask for; they are remembered and change nothing. Those of which an object
/// must be restored before it can be read are not among them, as clients would wait for that.
const STORAGE_CLASSES: [&str; 5] =
    ["REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

/// The metadata in the headers of a request. `user` are the `x-amz-meta-` ones, decoded.
pub(super) fn from_request(headers: &HeaderMap, user: Option<&s3s::dto::Metadata>) -> S3Result<Metadata> {
    check_redirect(header(headers, REDIRECT))?;
    let mut kept = BTreeMap::new();
    for name in KEPT_HEADERS {
        let Some(value) = headers.get(name) else { continue };
        let Ok(value) = value.to_str() else {
            return Err(invalid_request("a header of the object's metadata is not plain text"));
        };
        let value = if name == "content-encoding" { without_transfer(value) } else { value.to_owned() };
        if !value.is_empty() {
            kept.insert(name.to_owned(), value);
        }
    }
    let user: BTreeMap<String, String> =
        user.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    if bytes_of(&user) > METADATA_BYTES_MAX || bytes_of(&kept) > HEADERS_BYTES_MAX {
        let why = "Your metadata headers exceed the maximum allowed metadata size of 2,048 bytes.";
        return Err(S3Error::with_message(S3ErrorCode::MetadataTooLarge, why));
    }
    Ok(Metadata { headers: kept, user })
}

fn bytes_of(pairs: &BTreeMap<String, String>) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Refuses a place where no website can send anybody.
fn check_redirect(place: Option<&str>) -> S3Result<()> {
    if place.is_none_or(|place| REDIRECT_STARTS.iter().any(|start| place.starts_with(start))) {
        return Ok(());
    }
    let why = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    Err(custom("InvalidRedirectLocation", StatusCode::BAD_REQUEST, why))
}

/// A `content-encoding` without the encoding of the transfer.
fn without_transfer(value: &str) -> String {
    let left = value.split(',').map(str::trim).filter(|part| !part.eq_ignore_ascii_case("aws-chunked"));
    left.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
}

/// The headers of an answer with an object.
pub(super) fn to_headers(metadata: &Metadata) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, UNTYPED);
    for (name, value) in &metadata.headers {
        let pair = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        if let (Ok(name), Ok(value)) = pair {
            headers.insert(name, value);
        }
    }
    headers
}

/// The user's own metadata on the wire.
pub(super) fn user_to_wire(metadata: &Metadata) -> Option<s3s::dto::Metadata> {
    let user = metadata.user.iter().map(|(name, value)| (name.clone(), value.clone()));
    (!metadata.user.is_empty()).then(|| user.collect())
}

/// The storage class that is asked for; the standard one is not kept.
pub(super) fn storage_class(headers: &HeaderMap) -> S3Result<Option<String>> {
    match header(headers, "x-amz-storage-class") {
        None | Some(STANDARD) => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => Err(S3Error::with_message(
            S3ErrorCode::InvalidStorageClass,
            "The storage class you specified is not valid",
        )),
    }
}

/// The storage class in an answer: the standard one is not mentioned in headers.
pub(super) fn class_to_wire(class: Option<&str>) -> Option<s3s::dto::StorageClass> {
    class.map(|class| s3s::dto::StorageClass::from(class.to_owned()))
}

/// The storage class in a document, where the standard one is.
pub(super) fn class_in_document(class: Option<&str>) -> String {
    class.unwrap_or(STANDARD).to_owned()
}

/// Refuses a change of an object whose headers ask for what is not done.
pub(super) fn refuse_unknown(headers: &HeaderMap) -> S3Result<()> {
    for (name, _) in headers {
        let name = name.as_str();
        if name.contains("server-side-encryption-customer-") {
            return Err(not_implemented("encryption with keys of the customer is not offered"));
        }
        if name.starts_with("x-amz-grant-") {
            let why = "The bucket does not allow ACLs";
            return Err(S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, why));
        }
        if name == "x-amz-write-offset-bytes" {
            return Err(not_implemented("objects cannot be appended to"));
        }
    }
    check_encryption(header(headers, "x-amz-server-side-encryption"))?;
    super::acl::check_canned(header(headers, "x-amz-acl"))
}

/// Refuses an encryption other than the one that there is.
fn check_encryption(algorithm: Option<&str>) -> S3Result<()> {
    match algorithm {
        None | Some("AES256") => Ok(()),
        Some("aws:kms" | "aws:kms:dsse") => {
            Err(not_implemented("encryption is AES256, with keys of the appliance"))
        }
        Some(_) => Err(invalid_argument("The encryption method specified is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_come_back_as_they_were_sent_but_for_the_transfer() {
        let sent = headers(&[
            ("content-type", "text/plain"),
            ("content-encoding", "gzip, aws-chunked"),
            ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
            ("x-other", "no"),
        ]);
        let metadata = from_request(&sent, None).unwrap();
        assert_eq!(metadata.headers["content-encoding"], "gzip");
        assert_eq!(metadata.headers.len(), 3);
        let back = to_headers(&metadata);
        assert_eq!(back["expires"], "Thu, 01 Dec 1994 16:00:00 GMT");
        let chunked = from_request(&headers(&[("content-encoding", "aws-chunked")]), None).unwrap();
        assert_eq!(chunked, Metadata::default());
        assert_eq!(to_headers(&chunked)[CONTENT_TYPE], UNTYPED);
    }

    #[test]
    fn a_website_sends_to_a_path_or_to_a_page() {
        let of = |place: &'static str| from_request(&headers(&[(REDIRECT, place)]), None).map(|_| ());
        assert!(of("/other").is_ok());
        assert!(of("https://example.com/").is_ok());
        assert_eq!(of("other").unwrap_err().code().as_str(), "InvalidRedirectLocation");
    }

    #[test]
    fn user_metadata_has_a_bound() {
        let of = |bytes: usize| {
            let user = [("k".to_owned(), "v".repeat(bytes - 1))].into_iter().collect();
            from_request(&HeaderMap::new(), Some(&user)).map(|_| ())
        };
        assert!(of(2048).is_ok());
        assert_eq!(of(2049).unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
    }

    #[test]
    fn the_headers_that_are_kept_have_a_bound_together() {
        let of = |bytes: usize| {
            let mut sent = headers(&[("content-language", "de"), ("x-other", "not kept")]);
            let left = bytes - "content-languagedecontent-disposition".len();
            sent.insert("content-disposition", HeaderValue::try_from("d".repeat(left)).unwrap());
            from_request(&sent, None).map(|_| ())
        };
        assert!(of(2048).is_ok());
        assert_eq!(of(2049).unwrap_err().code(), &S3ErrorCode::MetadataTooLarge);
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let refused: [&[(&str, &str)]; 6] = [
            &[("x-amz-server-side-encryption-customer-algorithm", "AES256")],
            &[("x-amz-server-side-encryption", "aws:kms")],
            &[("x-amz-server-side-encryption", "none")],
            &[("x-amz-acl", "nobody")],
            &[("x-amz-grant-read", "id=x")],
            &[("x-amz-acl", "public-read")],
        ];
        for pairs in refused {
            assert!(refuse_unknown(&headers(pairs)).is_err(), "{pairs:?}");
        }
        assert!(refuse_unknown(&headers(&[("x-amz-server-side-encryption", "AES256")])).is_ok());
    }

    #[test]
    fn storage_classes_are_those_of_s3() {
        assert_eq!(storage_class(&headers(&[("x-amz-storage-class", "STANDARD")])).unwrap(), None);
        let class = storage_class(&headers(&[("x-amz-storage-class", "STANDARD_IA")])).unwrap();
        assert_eq!(class.as_deref(), Some("STANDARD_IA"));
        assert!(storage_class(&headers(&[("x-amz-storage-class", "COLD")])).is_err());
    }
}
