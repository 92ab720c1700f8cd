//! What a signature of version 4 covers, and where it stands (Amazon S3 API reference, "Authenticating Requests (AWS Signature
//! Version 4)").
//!
//! `s3s` checks a signature over the headers that the client names, and over no others. Whoever holds a signed request, such as an
//! address that somebody shared, could add headers to it, which would be obeyed as if the signer had meant them: the source of a
//! copy, the wish to pass a lock. So headers that S3 wants signed and that are not are found here. Names are read and compared as
//! `s3s` does it, letter by letter: a name that it does not find is in no signature, and neither is a value that is no text.
//!
//! A signature in the query goes before one in `Authorization`, as with `s3s`; a request with both is refused by the front.

use std::collections::BTreeSet;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{Timestamp, TimestampFormat};

use super::values::{header, whole_seconds};
use crate::view::Time;

/// The field of a query with the signature.
pub(super) const SIGNATURE: &str = "X-Amz-Signature";
/// Fields of a query that show who sends a request.
const SHOWING: [&str; 3] = ["X-Amz-Algorithm", SIGNATURE, "Signature"];
/// The field of a query with the names of signed headers.
const SIGNED: &str = "X-Amz-SignedHeaders";
/// The header that every signature covers.
const HOST: &str = "host";
/// How the names of headers begin that S3 wants signed.
const AMAZON: &str = "x-amz-";
/// Another one that it wants signed.
const MD5: &str = "content-md5";
/// Headers that may come unsigned all the same. The hash of the body is part of what is signed, or, in an address, can only bind
/// the body; the other two change nothing but what is told, and SDKs of AWS leave them unsigned: that for Rust both in addresses,
/// that for JavaScript the name of a browser in some of its versions.
const FREE: [&str; 3] = ["x-amz-checksum-mode", "x-amz-content-sha256", "x-amz-user-agent"];

/// Whether the signature of a request stands in its query.
pub(super) fn is_in_query(query: &str) -> bool {
    field(query, SIGNATURE).is_some()
}

/// The moment of a signature, as signatures name it: `20260131T123015Z`.
pub(super) fn moment(text: &str) -> Option<Time> {
    let (date, time) = text.split_once('T')?;
    let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
    let (hour, minute, rest) = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{rest}");
    whole_seconds(&Timestamp::parse(TimestampFormat::DateTime, &text).ok()?).ok()
}

/// Whether a request shows who sends it in the query and in a header, of which one could be another's.
pub(super) fn is_shown_twice(headers: &HeaderMap, query: &str) -> bool {
    headers.contains_key(AUTHORIZATION) && SHOWING.iter().any(|name| field(query, name).is_some())
}

/// The names of the headers of a signed request that its signature had to cover and does not, between commas.
pub(super) fn unsigned_headers(headers: &HeaderMap, query: &str) -> Option<String> {
    let list = names(headers, query).unwrap_or_default();
    let signed: BTreeSet<&str> = list.split(';').collect();
    let is_unsigned = |name: &HeaderName, value: &HeaderValue| {
        needs_signature(name.as_str())
            && !(signed.contains(name.as_str()) && std::str::from_utf8(value.as_bytes()).is_ok())
    };
    let found = headers.iter().filter(|(name, value)| is_unsigned(name, value));
    let mut unsigned: BTreeSet<&str> = found.map(|(name, _)| name.as_str()).collect();
    if !signed.contains(HOST) {
        unsigned.insert(HOST);
    }
    (!unsigned.is_empty()).then(|| unsigned.into_iter().collect::<Vec<_>>().join(", "))
}

fn needs_signature(name: &str) -> bool {
    (name.starts_with(AMAZON) && !FREE.contains(&name)) || name == MD5
}

/// The names of the signed headers, between semicolons.
fn names(headers: &HeaderMap, query: &str) -> Option<String> {
    if is_in_query(query) {
        return field(query, SIGNED);
    }
    names_of(header(headers, AUTHORIZATION.as_str())?).map(str::to_owned)
}

/// The same of an `Authorization`, which `s3s` takes in this order alone.
fn names_of(authorization: &str) -> Option<&str> {
    let (_, rest) = authorization.split_once(|letter: char| letter.is_ascii_whitespace())?;
    let (_, rest) = rest.trim_start().strip_prefix("Credential=")?.split_once(',')?;
    let (names, _) = rest.trim_start().strip_prefix("SignedHeaders=")?.split_once(',')?;
    Some(names)
}

fn field(query: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(authorization: &str, names: &[&'static str]) -> HeaderMap {
        let mut headers: HeaderMap =
            names.iter().map(|name| (name.parse().unwrap(), "value".parse().unwrap())).collect();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn by(names: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=key/20260101/r/s3/aws4_request, SignedHeaders={names}, Signature=c"
        )
    }

    fn unsigned(authorization: &str, query: &str, names: &[&'static str]) -> Option<String> {
        unsigned_headers(&with(authorization, names), query)
    }

    #[test]
    fn who_sends_a_request_is_shown_once() {
        let headers = with("anything", &[]);
        for query in ["x=1&X-Amz-Signature=c", "X-Amz-Algorithm=a", "Signature=c&Expires=1"] {
            assert!(is_shown_twice(&headers, query), "{query}");
            assert!(!is_shown_twice(&HeaderMap::new(), query), "{query}");
        }
        for query in ["", "X-Amz-Expires=1", "versionId=Signature"] {
            assert!(!is_shown_twice(&headers, query), "{query}");
        }
    }

    #[test]
    fn moments_are_read() {
        assert_eq!(moment("20151021T072800Z"), Some(Time { seconds: 1_445_412_480, nanos: 0 }));
        for wrong in ["", "T", "20151021", "20151021T0728Z", "20151321T072800Z", "2015-10-21T07:28:00Z", "äT"]
        {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_to_be_signed_is() {
        let sent =
            ["host", "x-amz-date", "x-amz-acl", "content-md5", "content-type", "range", "amz-sdk-request"];
        assert_eq!(unsigned(&by("content-md5;host;x-amz-acl;x-amz-date"), "", &sent), None);
        assert_eq!(unsigned(&by("host;x-amz-date"), "", &sent).as_deref(), Some("content-md5, x-amz-acl"));
        assert_eq!(unsigned(&by("content-md5;x-amz-acl;x-amz-date"), "", &sent).as_deref(), Some("host"));
        assert_eq!(unsigned(&by("host"), "", &["host", "x-amzn-trace-id"]), None);
        assert_eq!(unsigned(&by("host"), "", &FREE), None);
        let narrow = by("host;x-amz-date").replace(", ", ",");
        assert_eq!(unsigned(&narrow, "", &["x-amz-date", "x-amz-acl"]).as_deref(), Some("x-amz-acl"));
    }

    #[test]
    fn the_list_of_an_address_goes_before_that_of_a_header() {
        let query = "X-Amz-SignedHeaders=host%3Bx-amz-acl&X-Amz-Signature=c";
        assert_eq!(unsigned("", query, &["x-amz-acl"]), None);
        assert_eq!(
            unsigned(&by("host;x-amz-tagging"), query, &["x-amz-tagging"]).as_deref(),
            Some("x-amz-tagging")
        );
        let list_alone = "X-Amz-SignedHeaders=host%3Bx-amz-acl";
        assert_eq!(unsigned(&by("host"), list_alone, &["x-amz-acl"]).as_deref(), Some("x-amz-acl"));
    }

    /// Each of these leaves the signature good, as `s3s` reads it.
    #[test]
    fn no_list_but_that_which_was_signed_counts() {
        let header = &["x-amz-acl"];
        for names in ["host;X-Amz-Acl", "host; x-amz-acl", "host;x-amz-acl "] {
            assert_eq!(unsigned(&by(names), "", header).as_deref(), Some("x-amz-acl"), "{names}");
        }
        let algorithm = format!("SignedHeaders=host;x-amz-acl, {}", by("host").split_once(' ').unwrap().1);
        assert_eq!(unsigned(&algorithm, "", header).as_deref(), Some("x-amz-acl"));
        let behind = by("host").replace("Signature=c", "Signature=c SignedHeaders=host;x-amz-acl,");
        assert_eq!(unsigned(&behind, "", header).as_deref(), Some("x-amz-acl"));
        assert_eq!(unsigned("AWS4-HMAC-SHA256 SignedHeaders=host", "", &[]).as_deref(), Some("host"));
        let mut bytes = with(&by("host;x-amz-acl"), &[]);
        bytes.insert("x-amz-acl", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(unsigned_headers(&bytes, "").as_deref(), Some("x-amz-acl"));
    }
}
