//! What a read says of itself that cannot be read, and is then as if it had not been said.
//!
//! A `Range` that is none, or several at once, means the whole object, and a date that is none is no condition (RFC 9110
//! sections 14.2, 13.1.3 and 13.1.4); `s3s` refuses both. They are taken out before it looks, unless they are among what
//! the client has signed: a signature of a request with fewer headers would be a wrong one, so those stay refused. A date in
//! one of the two obsolete forms (RFC 9110 section 5.6.7) is written anew in the one that `s3s` reads.

use http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use s3s::dto::{self, Timestamp, TimestampFormat};

use super::values::header;

/// What stands before the names of signed headers in `Authorization`.
const SIGNED: &str = "SignedHeaders=";
/// The field of a query with the same names.
const SIGNED_FIELD: &str = "X-Amz-SignedHeaders";

/// Takes out of a GET or HEAD what cannot be read and may be ignored.
pub(super) fn ignore<B>(request: &mut Request<B>) {
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return;
    }
    for name in [RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        let query = request.uri().query().unwrap_or_default();
        if is_readable(request.headers(), &name) || is_signed(request.headers(), query, &name) {
            continue;
        }
        let anew = (name != RANGE).then(|| in_present_form(request.headers(), &name)).flatten();
        match anew {
            Some(date) => drop(request.headers_mut().insert(&name, date)),
            None => drop(request.headers_mut().remove(&name)),
        }
    }
}

fn is_readable(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return true };
    let is_one = |text: &str| {
        if *name == RANGE {
            dto::Range::parse(text).is_ok()
        } else {
            Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
        }
    };
    values.next().is_none() && value.to_str().is_ok_and(is_one)
}

/// A single date of whatever form.
fn in_present_form(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let date = httpdate::parse_http_date(values.next()?.to_str().ok()?).ok()?;
    if values.next().is_some() { None } else { httpdate::fmt_http_date(date).parse().ok() }
}

fn is_signed(headers: &HeaderMap, query: &str, name: &HeaderName) -> bool {
    let names = |list: &str| list.split(';').any(|signed| signed.trim().eq_ignore_ascii_case(name.as_str()));
    let said = header(headers, AUTHORIZATION.as_str()).and_then(|text| text.split_once(SIGNED));
    let by_header = said.is_some_and(|(_, rest)| rest.split(',').next().is_some_and(names));
    by_header
        || form_urlencoded::parse(query.as_bytes()).any(|(field, list)| field == SIGNED_FIELD && names(&list))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a header of a GET.
    fn left(uri: &str, authorization: &str, name: HeaderName, value: &str) -> bool {
        let request = Request::get(uri).header(AUTHORIZATION, authorization).header(&name, value);
        let mut request = request.body(()).expect("a request");
        ignore(&mut request);
        request.headers().contains_key(&name)
    }

    #[test]
    fn what_cannot_be_read_is_ignored_and_all_else_stays() {
        let left = |name, value| left("/bucket/key", "", name, value);
        for value in ["bytes=0-4", "bytes=5-", "bytes=-5"] {
            assert!(left(RANGE, value), "{value}");
        }
        for value in ["bytes=0-1,3-4", "bytes=5-4", "bytes=", "lines=1-2", "0-4"] {
            assert!(!left(RANGE, value), "{value}");
        }
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert!(left(name.clone(), "Wed, 21 Oct 2015 07:28:00 GMT"));
            for obsolete in ["Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015"] {
                let mut request = Request::get("/").header(&name, obsolete).body(()).expect("a request");
                ignore(&mut request);
                assert_eq!(request.headers()[&name], "Wed, 21 Oct 2015 07:28:00 GMT", "{obsolete}");
            }
            assert!(!left(name, "yesterday"));
        }
    }

    #[test]
    fn what_was_signed_stays() {
        let by = |names: &str| format!("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders={names}, Signature=c");
        assert!(left("/", &by("host;range;x-amz-date"), RANGE, "bytes=5-4"));
        assert!(!left("/", &by("host;x-amz-date"), RANGE, "bytes=5-4"));
        assert!(left("/?X-Amz-SignedHeaders=host%3Brange", "", RANGE, "bytes=5-4"));
        assert!(!left("/?X-Amz-SignedHeaders=host", "", RANGE, "bytes=5-4"));
    }

    #[test]
    fn only_reads_ignore_anything() {
        let mut request = Request::put("/").header(RANGE, "bytes=5-4").body(()).expect("a request");
        ignore(&mut request);
        assert!(request.headers().contains_key(RANGE));
    }
}
