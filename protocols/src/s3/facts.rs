//! What a request says that a policy may ask for (Service Authorization Reference, "Condition keys for Amazon S3").
//!
//! Owns the way from headers and query to condition keys and their values. A key of which the request says nothing
//! is not there, as policies tell absence from emptiness. Values are those of the request alone: what the view
//! knows of the caller or of the object that is there, it adds itself.

use http::HeaderMap;
use s3s::S3Request;
use s3s::dto::CopySource;

use super::values::{header, now};
use super::{lock, operations, signed};
use crate::objects::{Retention, Tags, VersionId};

/// Condition keys with their values.
pub(super) type Conditions = Vec<(String, Vec<String>)>;

/// Headers that stand for a condition key of the same name after `s3:`.
const HEADERS: [&str; 7] = [
    "if-match",
    "if-none-match",
    "x-amz-acl",
    "x-amz-metadata-directive",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-website-redirect-location",
];
/// Parts of the query that stand for a condition key of the same name after `s3:`.
const QUERY: [&str; 3] = ["prefix", "delimiter", "max-keys"];

/// How a request shows who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Not at all.
    Nothing,
    /// By a signature in a header, or in the query.
    Signature,
    /// By a signature in a form.
    Form,
    /// By a signature of version 2 in a form.
    FormV2,
}

/// What a request says.
pub(super) struct Facts<'a> {
    headers: &'a HeaderMap,
    query: Vec<(String, String)>,
    shown: Shown,
    tls_version: Option<&'static str>,
}

/// The source of a copy by its names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Option<VersionId>,
}

/// What a request says, whose document was read.
pub(super) fn facts_of<T>(request: &S3Request<T>) -> Facts<'_> {
    let shown = if request.credentials.is_some() { Shown::Signature } else { Shown::Nothing };
    let tls_version = operations::note_of(request).and_then(|note| note.tls_version());
    Facts::new(&request.headers, request.uri.query(), shown).over(tls_version)
}

impl<'a> Facts<'a> {
    /// Of headers and a query as they were sent.
    pub(super) fn new(headers: &'a HeaderMap, query: Option<&str>, shown: Shown) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        Self { headers, query: pairs.collect(), shown, tls_version: None }
    }

    /// Of a request over this version of TLS.
    pub(super) fn over(self, tls_version: Option<&'static str>) -> Self {
        Self { tls_version, ..self }
    }

    /// Whether a signature was checked.
    pub(super) fn is_signed(&self) -> bool {
        self.shown != Shown::Nothing
    }

    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The version that is named.
    pub(super) fn version(&self) -> Option<VersionId> {
        self.asked("versionId").filter(|name| !name.is_empty()).map(VersionId::new)
    }

    /// The source of a copy. One that cannot be read is the source of no copy: the request fails.
    pub(super) fn source(&self) -> Option<Source> {
        match CopySource::parse(header(self.headers, "x-amz-copy-source")?).ok()? {
            CopySource::Bucket { bucket, key, version_id } => Some(Source {
                bucket: bucket.into(),
                key: key.into(),
                version: version_id.filter(|name| !name.is_empty()).map(VersionId::new),
            }),
            _ => None,
        }
    }

    /// Whether a header was sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// What a header says.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        header(self.headers, name)
    }

    /// Whether a header says `true`, as `s3s` reads it.
    pub(super) fn is_true(&self, name: &str) -> bool {
        header(self.headers, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// What is so of the request, whatever it is about.
    pub(super) fn of_request(&self) -> Conditions {
        let mut conditions = Conditions::new();
        let mut say = |key: &str, value: Option<&str>| {
            conditions.extend(value.map(|value| (key.to_owned(), vec![value.to_owned()])));
        };
        say("aws:Referer", header(self.headers, "referer"));
        say("aws:UserAgent", header(self.headers, "user-agent"));
        say("s3:x-amz-content-sha256", header(self.headers, "x-amz-content-sha256"));
        say("s3:signatureversion", self.signature_version());
        say("s3:authType", self.auth_type());
        say("s3:signatureAge", self.signature_age().as_deref());
        say("s3:TlsVersion", self.tls_version);
        conditions
    }

    fn signature_version(&self) -> Option<&'static str> {
        match self.shown {
            Shown::Nothing => None,
            Shown::FormV2 => Some("AWS"),
            Shown::Form | Shown::Signature => Some("AWS4-HMAC-SHA256"),
        }
    }

    fn auth_type(&self) -> Option<&'static str> {
        match self.shown {
            Shown::Nothing => None,
            Shown::Form | Shown::FormV2 => Some("POST"),
            Shown::Signature if self.is_signed_in_query() => Some("REST-QUERY-STRING"),
            Shown::Signature => Some("REST-HEADER"),
        }
    }

    fn is_signed_in_query(&self) -> bool {
        self.asked(signed::SIGNATURE).is_some()
    }

    /// How many milliseconds ago the signature was made; one whose moment cannot be read is as old as can be.
    fn signature_age(&self) -> Option<String> {
        let in_header = || header(self.headers, "x-amz-date");
        let made = match self.shown {
            Shown::Nothing | Shown::FormV2 => return None,
            Shown::Form => in_header(),
            Shown::Signature if self.is_signed_in_query() => self.asked("X-Amz-Date"),
            Shown::Signature => in_header(),
        };
        let (made, now) = (made.and_then(signed::moment), now());
        let age = made.map_or(i64::MAX, |made| {
            let seconds = now.seconds.saturating_sub(made.seconds).max(0);
            seconds.saturating_mul(1000).saturating_add(i64::from(now.nanos / 1_000_000))
        });
        Some(age.to_string())
    }

    /// All that is so of the request and of what it is about.
    pub(super) fn all(&self) -> Conditions {
        let mut conditions = self.of_request();
        for name in HEADERS {
            conditions.extend(
                header(self.headers, name).map(|value| (format!("s3:{name}"), vec![value.to_owned()])),
            );
        }
        for name in QUERY {
            conditions.extend(self.asked(name).map(|value| (format!("s3:{name}"), vec![value.to_owned()])));
        }
        if let Some(version) = self.version() {
            conditions.extend(of_version(&version));
        }
        if let Some(source) = self.source() {
            let name = format!("{}/{}", source.bucket, source.key);
            conditions.push(("s3:x-amz-copy-source".to_owned(), vec![name]));
        }
        if let Some(tags) = header(self.headers, "x-amz-tagging") {
            conditions.extend(of_tags(&form_urlencoded::parse(tags.as_bytes()).into_owned().collect()));
        }
        // Headers that cannot be read are refused by the operation.
        if let Ok((retention, hold)) = lock::from_headers(self.headers) {
            conditions.extend(retention.iter().flat_map(of_retention));
            conditions.extend(hold.map(of_hold));
        }
        conditions
    }
}

/// What is so of a request that names a version.
pub(super) fn of_version(version: &VersionId) -> Conditions {
    vec![("s3:VersionId".to_owned(), vec![version.as_str().to_owned()])]
}

/// What is so of a request that sets tags.
pub(super) fn of_tags(tags: &Tags) -> Conditions {
    let each = tags.iter().map(|(name, value)| (format!("s3:RequestObjectTag/{name}"), vec![value.clone()]));
    let names = ("s3:RequestObjectTagKeys".to_owned(), tags.keys().cloned().collect());
    each.chain([names]).collect()
}

/// What is so of a request that sets a retention.
pub(super) fn of_retention(retention: &Retention) -> Conditions {
    let days = lock::days_left(retention.until, now());
    vec![
        ("s3:object-lock-mode".to_owned(), vec![lock::mode_to_wire(retention.mode).to_owned()]),
        ("s3:object-lock-retain-until-date".to_owned(), lock::date(retention.until).into_iter().collect()),
        ("s3:object-lock-remaining-retention-days".to_owned(), vec![days.to_string()]),
    ]
}

/// What is so of a request that sets or lifts a legal hold.
pub(super) fn of_hold(held: bool) -> (String, Vec<String>) {
    ("s3:object-lock-legal-hold".to_owned(), vec![lock::hold_to_wire(held).to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::policy::{REQUEST_KEYS, is_key, is_known};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn value(conditions: &Conditions, key: &str) -> Option<Vec<String>> {
        conditions.iter().find(|(known, _)| known == key).map(|(_, values)| values.clone())
    }

    #[test]
    fn absence_is_told_from_emptiness() {
        let none = HeaderMap::new();
        let query = Some("prefix=&list-type=2&X-Amz-Signature=c");
        let all = Facts::new(&none, query, Shown::Signature).all();
        assert_eq!(value(&all, "s3:prefix"), Some(vec![String::new()]));
        assert_eq!(value(&all, "s3:delimiter"), None);
        assert_eq!(value(&all, "s3:authType"), Some(vec!["REST-QUERY-STRING".into()]));
        let unsigned = Facts::new(&none, None, Shown::Nothing).all();
        assert_eq!(unsigned, Conditions::new());
    }

    /// What no request ever says of a key that may be asked for, a policy asks in vain.
    #[test]
    fn every_key_of_a_request_is_said_and_no_other() {
        let sent = headers(&[
            ("if-match", "\"e\""),
            ("if-none-match", "*"),
            ("referer", "https://example.com"),
            ("user-agent", "a browser"),
            ("x-amz-acl", "private"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-copy-source", "/from/key"),
            ("x-amz-date", "20151021T072800Z"),
            ("x-amz-metadata-directive", "COPY"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-tagging", "a=1"),
            ("x-amz-website-redirect-location", "/x"),
        ]);
        let query = Some("prefix=a&delimiter=/&max-keys=1&versionId=v");
        let all = Facts::new(&sent, query, Shown::Signature).over(Some("1.3")).all();
        for known in REQUEST_KEYS {
            assert!(all.iter().any(|(key, _)| is_key(known, key)), "{known}");
        }
        for (key, values) in &all {
            assert!(is_known(key) && !values.is_empty(), "{key}");
        }
    }

    #[test]
    fn the_age_of_a_signature_is_that_of_its_own_date() {
        let sent = headers(&[("x-amz-date", "20151021T072800Z")]);
        let age = |query, shown| {
            let said = value(&Facts::new(&sent, query, shown).of_request(), "s3:signatureAge");
            said.map(|values| values[0].parse::<i64>().unwrap())
        };
        let old = age(None, Shown::Signature).unwrap();
        assert!(old > 10 * 365 * 86_400_000 && old < i64::MAX, "{old}");
        let (in_query, later) =
            ("X-Amz-Signature=c&X-Amz-Date=29991021T072800Z", "X-Amz-Date=29991021T072800Z");
        let ahead = age(Some(in_query), Shown::Signature).unwrap();
        assert!((0..1000).contains(&ahead), "a clock may be ahead: {ahead}");
        assert!(age(Some(later), Shown::Signature).unwrap() >= old, "it is signed in the header");
        assert_eq!(age(Some("X-Amz-Signature=c"), Shown::Signature), Some(i64::MAX), "nobody knows when");
        assert!(age(None, Shown::Form).unwrap() >= old);
        assert_eq!(age(None, Shown::FormV2), None);
        assert_eq!(age(None, Shown::Nothing), None);
    }

    #[test]
    fn tags_and_locks_of_headers_are_said() {
        let sent = headers(&[
            ("x-amz-tagging", "a=1&b%20c=2"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-copy-source", "/from/a%20key?versionId=v1"),
            ("authorization", "AWS4-HMAC-SHA256 …"),
        ]);
        let facts = Facts::new(&sent, Some("versionId=v2"), Shown::Signature);
        let all = facts.all();
        assert_eq!(value(&all, "s3:RequestObjectTag/b c"), Some(vec!["2".into()]));
        assert_eq!(value(&all, "s3:RequestObjectTagKeys"), Some(vec!["a".into(), "b c".into()]));
        assert_eq!(value(&all, "s3:object-lock-legal-hold"), Some(vec!["ON".into()]));
        assert_eq!(value(&all, "s3:x-amz-copy-source"), Some(vec!["from/a key".into()]));
        assert_eq!(value(&all, "s3:VersionId"), Some(vec!["v2".into()]));
        assert_eq!(value(&all, "s3:authType"), Some(vec!["REST-HEADER".into()]));
        assert_eq!(facts.source().unwrap().version, Some(VersionId::new("v1")));
        let in_query = Facts::new(&sent, Some("X-Amz-Signature=c"), Shown::Signature).of_request();
        assert_eq!(value(&in_query, "s3:authType"), Some(vec!["REST-QUERY-STRING".into()]), "it goes first");
    }
}
