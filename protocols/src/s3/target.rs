//! Which bucket and key a request is about, for what is answered before `s3s` sees it. The rules are those of `s3s`:
//! the bucket is in the host if that lies below the base domain, and else the first part of the path.

use http::header::HOST;
use http::{HeaderMap, Uri};

use super::access::BaseDomain;

/// A bucket, and what comes after it in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The bucket.
    pub(super) bucket: String,
    /// The key; empty for the bucket itself.
    pub(super) key: String,
}

impl Target {
    /// Of a request; none for the root.
    pub(super) fn of(domain: Option<&BaseDomain>, headers: &HeaderMap, uri: &Uri) -> Option<Self> {
        let path = decode(uri.path())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if let Some(bucket) = domain.zip(host).and_then(|(domain, host)| domain.bucket(host)) {
            return Some(Self { bucket, key: path.to_owned() });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        (!bucket.is_empty()).then(|| Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, uri: &str) -> Option<(String, String)> {
        let domain = BaseDomain::new("s3.example.com").unwrap();
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        Target::of(Some(&domain), &headers, &uri.parse().unwrap()).map(|target| (target.bucket, target.key))
    }

    #[test]
    fn a_bucket_is_in_the_host_or_in_the_path() {
        let is = |bucket: &str, key: &str| Some((bucket.to_owned(), key.to_owned()));
        assert_eq!(target("localhost:9000", "/bucket/a/b%20c?x=/"), is("bucket", "a/b c"));
        assert_eq!(target("s3.example.com", "/bucket"), is("bucket", ""));
        assert_eq!(target("photos.s3.example.com", "/a"), is("photos", "a"));
        assert_eq!(target("photos.s3.example.com", "/"), is("photos", ""));
        assert_eq!(target("localhost", "/"), None);
        assert_eq!(target("localhost", "/a%2"), None);
        assert_eq!(target("localhost", "/%ff"), None);
    }
}
