//! Who may come in: secrets, the question whether a request is allowed, and which bucket a host name means.
//!
//! Every request is asked about here, before anything of its body is read; see [`super::actions`]. A caller without
//! a signature is somebody like any other, whom a view will most often refuse.
//!
//! Signatures are checked by `s3s` with secrets of the view, before the body is read. Only version 4 of the
//! signature is taken: version 2 covers neither the body nor the time of a request (forms are another matter, see
//! [`super::form`]). Clocks may differ by 15 minutes.

use std::sync::Arc;

use http::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::actions::{self, Needs};
use super::errors::{custom, denied, invalid_request, not_implemented, s3_error};
use super::facts::{Facts, Shown};
use super::note::Note;
use super::signed::unsigned_headers;
use crate::objects::{ObjectError, ObjectView, Who};

/// The longest time for which an address may be signed.
const SIGNED_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// Who the caller expects to own the bucket of a request.
const OWNER: &str = "x-amz-expected-bucket-owner";
/// Who the caller expects to own the bucket of the source of a copy.
const SOURCE_OWNER: &str = "x-amz-source-expected-bucket-owner";

/// Secrets of a view.
pub(super) struct Secrets(pub(super) Arc<dyn ObjectView>);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.0.secret(access_key).await;
        let unknown = || {
            let why = "The AWS Access Key Id you provided does not exist in our records.";
            S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, why)
        };
        // The copy is wiped when it is dropped, as ours is.
        secret.map(|secret| SecretKey::from(secret.as_str())).ok_or_else(unknown)
    }
}

/// Asks the view about every request before it is carried out, and notes which operation it is.
pub(super) struct Permissions(pub(super) Arc<dyn ObjectView>);

#[async_trait::async_trait]
impl S3Access for Permissions {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let Some(note) = context.extensions_mut().get::<Arc<Note>>().cloned() else {
            return Err(S3ErrorCode::InternalError.into());
        };
        note.set_operation(&operation);
        if is_version_two(context) {
            return Err(invalid_request(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        if context.credentials().is_some() {
            check_signed_headers(context, &note)?;
        }
        let who = note.who(context.credentials().map(|credentials| credentials.access_key.clone()));
        let shown = if who.access_key.is_some() { Shown::Signature } else { Shown::Nothing };
        let facts = Facts::new(context.headers(), context.uri().query(), shown).over(note.tls_version());
        // Whoever shows no key has no buckets, and may know that.
        if operation == "ListBuckets" && !facts.is_signed() {
            return Ok(());
        }
        let needs = match actions::needs_of(&operation, &facts) {
            Some(Needs::Now(needs)) => Some(needs),
            Some(Needs::Later) if facts.is_signed() => None,
            None if facts.is_signed() => return Err(not_implemented("the operation is not offered")),
            _ => return Err(denied()),
        };
        let (path, view) = (context.s3_path(), self.0.as_ref());
        let bucket = path.get_bucket_name();
        if let Some(needs) = needs {
            let asked = actions::ask(view, &who, &facts, &needs, bucket, path.get_object_key());
            asked.await.map_err(s3_error)?;
        }
        let source = facts.source().map(|source| source.bucket);
        for (name, bucket) in [(OWNER, bucket), (SOURCE_OWNER, source.as_deref())] {
            if let (Some(expected), Some(bucket)) = (facts.said(name), bucket) {
                check_owner(view, &who, bucket, expected).await?;
            }
        }
        Ok(())
    }
}

/// Refuses a signed request with headers that its signature had to cover and does not.
fn check_signed_headers(context: &S3AccessContext<'_>, note: &Note) -> S3Result<()> {
    let query = context.uri().query().unwrap_or_default();
    let Some(names) = unsigned_headers(context.headers(), query) else { return Ok(()) };
    note.set_unsigned_headers(names);
    let why = "There were headers present in the request which were not signed";
    Err(S3Error::with_message(S3ErrorCode::AccessDenied, why))
}

/// Refuses a request for a bucket whose owner is another than the caller expects. One that is not there has none: the
/// operation says so.
async fn check_owner(view: &dyn ObjectView, who: &Who, bucket: &str, expected: &str) -> S3Result<()> {
    match view.settings(who, bucket).await {
        Ok(settings) if settings.owner_name(&view.owner_name(who)) == expected => Ok(()),
        Ok(_) => Err(denied()),
        Err(ObjectError::NoSuchBucket) => Ok(()),
        Err(error) => Err(s3_error(error)),
    }
}

/// Refuses an address that was signed in the query for no time that can be, or for longer than a week.
pub(super) fn check_life(query: &str) -> S3Result<()> {
    let life = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "X-Amz-Expires");
    match life.map(|(_, seconds)| seconds.parse::<u32>()) {
        None => Ok(()),
        Some(Ok(seconds)) if (1..=SIGNED_SECONDS_MAX).contains(&seconds) => Ok(()),
        Some(_) => Err(custom(
            "AuthorizationQueryParametersError",
            StatusCode::BAD_REQUEST,
            "X-Amz-Expires must be a number of seconds between 1 and 604800",
        )),
    }
}

/// Whether a request is signed in version 2: these are the two ways, see `v2_check` of `s3s`.
fn is_version_two(context: &S3AccessContext<'_>) -> bool {
    let query = context.uri().query().unwrap_or_default();
    let in_query = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "Signature");
    let header = context.headers().get(http::header::AUTHORIZATION);
    in_query || header.is_some_and(|value| value.as_bytes().starts_with(b"AWS "))
}

/// A domain below which every name is a bucket: `bucket.domain`. Any other host is one that knows its bucket
/// from the path.
#[derive(Clone, Debug)]
pub(super) struct BaseDomain(String);

/// A domain that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no domain: letters, digits and dashes between single dots, and no port")]
pub struct DomainError(String);

impl BaseDomain {
    /// A domain, without a port.
    pub(super) fn new(domain: &str) -> Result<Self, DomainError> {
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if domain.split('.').all(is_label) {
            Ok(Self(domain.to_ascii_lowercase()))
        } else {
            Err(DomainError(domain.to_owned()))
        }
    }

    /// The bucket of a host, in lower case.
    pub(super) fn bucket(&self, host: &str) -> Option<String> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let bucket = name.strip_suffix(&self.0)?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }
}

impl S3Host for BaseDomain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let here = VirtualHost::new(self.0.as_str());
        Ok(match self.bucket(host) {
            Some(bucket) => here.with_bucket(bucket),
            None => here,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_the_domain_are_buckets() {
        let domain = BaseDomain::new("S3.Example.com").unwrap();
        assert_eq!(domain.bucket("photos.s3.example.com"), Some("photos".into()));
        assert_eq!(domain.bucket("a.b.S3.EXAMPLE.COM:9000"), Some("a.b".into()));
        for host in ["s3.example.com", "s3.example.com:80", "nas", "photos.example.com", "xs3.example.com"] {
            assert_eq!(domain.bucket(host), None, "{host}");
        }
    }

    #[test]
    fn an_address_is_signed_for_a_second_to_a_week() {
        for query in ["", "versionId=v", "X-Amz-Expires=1&x=1", "X-Amz-Expires=604800"] {
            assert!(check_life(query).is_ok(), "{query}");
        }
        for life in ["0", "604801", "-1", "abc", ""] {
            let query = &format!("x=1&X-Amz-Expires={life}");
            assert!(check_life(query).is_err(), "{query}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for domain in ["", ".", "a..b", "a_b", "host:80", "a/b"] {
            assert!(BaseDomain::new(domain).is_err(), "{domain}");
        }
    }
}
