//! The answer to a form: empty, a document, or a word where to go on, as the form asks for it.

use http::header::{CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use s3s::Body;
use s3s::dto::PostResponse;
use s3s::xml::{Serialize, Serializer};

use super::policy::Fields;
use crate::objects::{ObjectName, PutDone};
use crate::s3::listing::percent_encode;
use crate::s3::values::{header, version_to_wire};
use crate::s3::write::durability;

/// The answer to a form whose file was written.
pub(super) fn of(
    done: &PutDone,
    name: &ObjectName,
    fields: &Fields,
    head: &Parts,
    secure: bool,
) -> Response<Body> {
    let etag = format!("\"{}\"", done.etag);
    let mut headers = durability(done.in_repository);
    insert(&mut headers, ETAG, &etag);
    let version = HeaderName::from_static("x-amz-version-id");
    insert(&mut headers, version, version_to_wire(done.version.as_ref()).as_deref().unwrap_or_default());
    let asked = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    if let Some(place) = asked.and_then(|place| redirection(place, name, &etag)) {
        insert(&mut headers, LOCATION, &place);
        return answer(StatusCode::SEE_OTHER, headers, Body::empty());
    }
    let location = location(name, head, secure);
    insert(&mut headers, LOCATION, &location);
    match fields.get("success_action_status").map(String::as_str) {
        Some("200") => answer(StatusCode::OK, headers, Body::empty()),
        Some("201") => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            answer(StatusCode::CREATED, headers, document(name, &location, &etag))
        }
        _ => answer(StatusCode::NO_CONTENT, headers, Body::empty()),
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Where the object is, as the client called this server.
fn location(name: &ObjectName, head: &Parts, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    let host = header(&head.headers, HOST.as_str()).unwrap_or_default();
    // In the path of the form there is a bucket, or the host has it.
    let bucket = head.uri.path().trim_matches('/');
    let bucket = if bucket.is_empty() { String::new() } else { format!("/{bucket}") };
    format!("{scheme}://{host}{bucket}/{}", percent_encode(&name.key))
}

/// Where the form wants to go on, with what came of it; none if that is no address of the web.
fn redirection(place: &str, name: &ObjectName, etag: &str) -> Option<String> {
    let uri: Uri = place.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let pairs = [("bucket", name.bucket.as_str()), ("key", &name.key), ("etag", etag)];
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let place = place.split('#').next().unwrap_or(place);
    let joint = if uri.query().is_some() { '&' } else { '?' };
    Some(format!("{place}{joint}{query}"))
}

fn document(name: &ObjectName, location: &str, etag: &str) -> Body {
    let response = PostResponse { location, bucket: &name.bucket, key: &name.key, etag };
    let mut text = Vec::new();
    let mut xml = Serializer::new(&mut text);
    // Writing into memory does not fail.
    let written = xml.decl().and_then(|()| response.serialize(&mut xml));
    if written.is_ok() { Body::from(text) } else { Body::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_goes_on_where_it_wants_to() {
        let name = ObjectName { bucket: "bucket".into(), key: "a b".into() };
        let go = |place: &str| redirection(place, &name, "\"e\"");
        let query = "bucket=bucket&key=a+b&etag=%22e%22";
        assert_eq!(go("https://example.com/done"), Some(format!("https://example.com/done?{query}")));
        assert_eq!(go("http://example.com/?x=1"), Some(format!("http://example.com/?x=1&{query}")));
        for wrong in ["", "/done", "javascript:alert(1)", "not an address"] {
            assert_eq!(go(wrong), None, "{wrong}");
        }
    }
}
